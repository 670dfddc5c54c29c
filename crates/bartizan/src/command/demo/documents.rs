//! The demo's documents, written where they can be read and edited.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use super::authority::Kept;
use crate::service::Failure;

/// The folder's name in the data directory.
pub(super) const FOLDER: &str = "documents";

const TEMPLATES: [(&str, &str); 3] = [
    ("listeners.yaml", include_str!("../../../templates/demo/listeners.yaml")),
    ("policies.yaml", include_str!("../../../templates/demo/policies.yaml")),
    ("routes.yaml", include_str!("../../../templates/demo/routes.yaml")),
];

/// Where the demo listens, and where its sample API does.
pub(super) struct Addresses {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) plain: Option<SocketAddr>,
    pub(super) sample: SocketAddr,
}

/// Writes the documents and returns their folder. Each start writes them anew, because the sample API's port changes.
pub(super) fn write(
    data_dir: &Path,
    addresses: &Addresses,
    authority: &Kept,
    models: &str,
) -> Result<PathBuf, Failure> {
    let Addresses { http, https, plain, sample } = addresses;
    let folder = data_dir.join(FOLDER);
    let failed =
        |error: io::Error| Failure::Process(format!("{} cannot be written: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(failed)?;
    let values = [
        ("{{http}}", http.to_string()),
        ("{{https}}", https.to_string()),
        ("{{https_port}}", https.port().to_string()),
        ("{{sample}}", sample.to_string()),
        ("{{certificate}}", authority.certificate.display().to_string()),
        ("{{certificate_key}}", authority.certificate_key.display().to_string()),
    ];
    for (name, template) in TEMPLATES {
        let text = values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value));
        fs::write(folder.join(name), text).map_err(failed)?;
    }
    fs::write(folder.join("models.yaml"), models).map_err(failed)?;
    match plain {
        Some(plain) => fs::write(folder.join("plain.yaml"), plain_listener(*plain)).map_err(failed)?,
        None => remove(&folder.join("plain.yaml"))?,
    }
    Ok(folder)
}

fn plain_listener(address: SocketAddr) -> String {
    format!(
        "# Clear text for clients on this machine that cannot be told a certificate authority.\n\
         apiVersion: management.v1\nkind: Listener\nmetadata: {{ name: plain }}\n\
         spec: {{ addresses: [\"{address}\"] }}\n"
    )
}

/// The redirect names the TLS port, so a port that is left open is chosen here, before the documents are written.
pub(super) fn settle_port(address: SocketAddr) -> Result<SocketAddr, Failure> {
    if address.port() != 0 {
        return Ok(address);
    }
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Failure::Process(format!("no port is free on {}: {error}", address.ip())))
}

/// Removes a file or folder; one that is not there is as good as removed.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    let outcome = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::Process(format!("{} cannot be removed: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
