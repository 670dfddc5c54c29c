//! The demo's certificate authority: made at first start, private to this machine.
//!
//! Its key signs one certificate for local names. The authority's certificate is what clients are told to trust; it is
//! constrained to those names, so that whoever steals the key cannot impersonate anything else to a machine that
//! trusts it.

use std::{
    fs, io,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};

use crate::service::Failure;

/// The folder's name in the data directory.
pub(super) const FOLDER: &str = "tls";

/// How long the authority is valid.
const AUTHORITY_DAYS: u64 = 3_650;

/// How long the certificate is valid: what clients accept at most.
const CERTIFICATE_DAYS: u64 = 397;

/// A certificate that is older than this is made anew at the next start.
const RENEW_AFTER: Duration = Duration::from_secs(300 * 24 * 3_600);

/// Files of the authority.
pub(super) struct Kept {
    /// What clients trust.
    pub(super) certificate_of_authority: PathBuf,
    /// What the gateway shows.
    pub(super) certificate: PathBuf,
    /// Its key.
    pub(super) certificate_key: PathBuf,
}

/// The kept authority and certificate, made where they are missing or old.
pub(super) fn keep(data_dir: &Path, address: IpAddr) -> Result<Kept, Failure> {
    let folder = data_dir.join(FOLDER);
    let kept = Kept {
        certificate_of_authority: folder.join("ca.pem"),
        certificate: folder.join("localhost.pem"),
        certificate_key: folder.join("localhost.key"),
    };
    let failed =
        |what: String| Failure::Process(format!("the demo's certificate in {}: {what}", folder.display()));
    fs::create_dir_all(&folder).map_err(|error| failed(error.to_string()))?;
    make(&folder, &kept, address).map_err(|error| failed(error.to_string()))?;
    Ok(kept)
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
}

fn make(folder: &Path, kept: &Kept, address: IpAddr) -> Result<(), Error> {
    let key_path = folder.join("ca.key");
    let known =
        fs::read_to_string(&key_path).ok().zip(fs::read_to_string(&kept.certificate_of_authority).ok());
    let issuer = match known {
        // The authority is described by constants, so its certificate need not be read again to sign with its key.
        Some((key, _)) => Issuer::new(authority_params()?, KeyPair::from_pem(&key)?),
        None => {
            let key = KeyPair::generate()?;
            let params = authority_params()?;
            let certificate = params.self_signed(&key)?;
            write(&key_path, 0o600, &key.serialize_pem())?;
            write(&kept.certificate_of_authority, 0o644, &certificate.pem())?;
            // A certificate of an earlier authority is worth nothing now.
            remove(&kept.certificate)?;
            Issuer::new(params, key)
        }
    };
    if is_fresh(&kept.certificate)
        && kept.certificate_key.exists()
        && !names_another(&folder.join("address"), address)
    {
        return Ok(());
    }
    let key = KeyPair::generate()?;
    let certificate = certificate_params(address)?.signed_by(&key, &issuer)?;
    write(&kept.certificate_key, 0o600, &key.serialize_pem())?;
    write(&kept.certificate, 0o644, &certificate.pem())?;
    write(&folder.join("address"), 0o644, &address.to_string())?;
    Ok(())
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Bartizan demo authority (this machine only)");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0])),
            GeneralSubtree::IpAddress(CidrSubnet::V6(std::net::Ipv6Addr::LOCALHOST.octets(), [0xff; 16])),
        ],
        excluded_subtrees: Vec::new(),
    });
    validity(&mut params, AUTHORITY_DAYS);
    Ok(params)
}

fn certificate_params(address: IpAddr) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    let local = [IpAddr::from([127, 0, 0, 1]), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];
    for ip in local.into_iter().chain((address.is_loopback() && !local.contains(&address)).then_some(address))
    {
        params.subject_alt_names.push(SanType::IpAddress(ip));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    validity(&mut params, CERTIFICATE_DAYS);
    Ok(params)
}

fn validity(params: &mut CertificateParams, days: u64) {
    let now = SystemTime::now();
    // A clock that is an hour behind must not make the first call fail.
    params.not_before = (now - Duration::from_secs(3_600)).into();
    params.not_after = (now + Duration::from_secs(days * 24 * 3_600)).into();
}

fn is_fresh(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|meta| meta.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < RENEW_AFTER))
}

/// Whether the certificate was made for an address that is not the one asked for now.
fn names_another(note: &Path, address: IpAddr) -> bool {
    fs::read_to_string(note).map_or(true, |text| text.trim() != address.to_string())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file with its mode from the first byte on.
fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    remove(path)?;
    fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}
