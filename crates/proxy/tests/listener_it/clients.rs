//! Certificates of clients in real handshakes: who is let in, under which lists, and for how long.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bartizan_config::snapshot::{ClientAuthenticationPlan, ListenerPlan, RevocationPlan};
use bartizan_model::Reference;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use super::{
    support::{Gateway, PATIENCE, get},
    tls::{self, certificate},
};

/// An authority for clients.
struct House {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A client's chain and key, PEM.
struct Card {
    chain: String,
    key: String,
}

impl House {
    fn new(name: &str) -> House {
        House::made(name, |_| ())
    }

    fn made(name: &str, change: impl FnOnce(&mut CertificateParams)) -> House {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        House { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    /// An authority below this one.
    fn below(&self, name: &str, serial: u64) -> House {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        House { issuer: CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn card(&self, uri: &str, serial: u64) -> Card {
        self.card_with(uri, serial, |_| ())
    }

    fn card_with(&self, uri: &str, serial: u64, change: impl FnOnce(&mut CertificateParams)) -> Card {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Card { chain: made.pem(), key: key.serialize_pem() }
    }

    /// A list that revokes these serial numbers and must be renewed in `next` (year).
    fn list(&self, revoked: &[u64], next: i32) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(next, 1, 1),
            crl_number: SerialNumber::from(7_u64),
            issuing_distribution_point: None,
            revoked_certs: (revoked.iter())
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(*serial),
                    revocation_time: date_time_ymd(2020, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// A server's certificate, and secrets by name.
struct Door {
    server: tls::Authority,
}

impl Door {
    fn new(secrets: &[(&str, String)]) -> Door {
        let mut server = tls::Authority::new(&[("a", &["a.test"])]);
        for (name, text) in secrets {
            server.secrets.insert(file(name), text.clone().into_bytes());
        }
        Door { server }
    }

    fn open(&self, clients: ClientAuthenticationPlan) -> Gateway {
        Gateway::start_with(1, plan(clients), self.server.secrets.clone())
    }

    fn client(&self, card: Option<&Card>) -> ClientConfig {
        self.client_of(card, rustls::DEFAULT_VERSIONS)
    }

    fn client_of(
        &self,
        card: Option<&Card>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let server = &self.server.secrets[&tls::chain("a")];
        roots.add(CertificateDer::from_pem_slice(server).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match card {
            None => builder.with_no_client_auth(),
            Some(card) => {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(card.chain.as_bytes()).collect();
                let key = PrivateKeyDer::from_pem_slice(card.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.unwrap(), key).unwrap()
            }
        }
    }
}

fn file(name: &str) -> Reference {
    Reference::File(PathBuf::from(format!("/{name}")))
}

fn plan(clients: ClientAuthenticationPlan) -> ListenerPlan {
    let mut plan = tls::tls(vec![certificate("a", &[])]);
    plan.tls.as_mut().unwrap().clients = Some(clients);
    plan
}

fn required(authorities: &[&str]) -> ClientAuthenticationPlan {
    ClientAuthenticationPlan {
        required: true,
        authorities: authorities.iter().map(|name| file(name)).collect(),
        intermediates_max: 3,
        revocation: None,
    }
}

fn revoking(lists: &[&str]) -> ClientAuthenticationPlan {
    let revocation = RevocationPlan {
        lists: lists.iter().map(|name| file(name)).collect(),
        whole_chain: true,
        allow_unknown: false,
        allow_expired: false,
    };
    ClientAuthenticationPlan { revocation: Some(revocation), ..required(&["ca"]) }
}

/// Asks for the connection's facts. In TLS 1.3 a client hears of a refused certificate only when it reads.
async fn ask(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    stream.write_all(get("/facts").as_bytes()).await.ok()?;
    let mut seen = Vec::new();
    let mut buffer = [0; 2048];
    while !String::from_utf8_lossy(&seen).contains("tls=") {
        match timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap() {
            Ok(0) | Err(_) => return None,
            Ok(length) => seen.extend_from_slice(&buffer[..length]),
        }
    }
    Some(String::from_utf8(seen).unwrap())
}

async fn call(gateway: &Gateway, config: ClientConfig) -> Option<String> {
    let mut stream = tls::connect(gateway.address, config, "a.test").await.ok()?;
    ask(&mut stream).await
}

#[tokio::test]
async fn a_required_certificate_lets_in_whom_the_authority_vouches_for_and_nobody_else() {
    let (ca, other) = (House::new("clients"), House::new("clients"));
    let door = Door::new(&[("ca", ca.pem())]);
    let gateway = door.open(required(&["ca"]));
    let answer = call(&gateway, door.client(Some(&ca.card("spiffe://x/a", 1)))).await.unwrap();
    assert!(answer.contains("certificate=spiffe://x/a "), "{answer}");
    let expired = ca.card_with("spiffe://x/a", 2, |params| params.not_after = date_time_ymd(2021, 1, 1));
    let early = ca.card_with("spiffe://x/a", 3, |params| {
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2201, 1, 1);
    });
    let server_only = ca.card_with("spiffe://x/a", 4, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    // The same names from another house: its key did not sign.
    let foreign = other.card("spiffe://x/a", 5);
    for (card, refused) in [
        (None, "tls_certificate_missing"),
        (Some(&expired), "tls_certificate_expired"),
        (Some(&early), "tls_certificate_expired"),
        (Some(&server_only), "tls_certificate_untrusted"),
        (Some(&foreign), "tls_certificate_untrusted"),
    ] {
        let before = gateway.events.of(refused);
        assert_eq!(call(&gateway, door.client(card)).await, None, "{refused}");
        gateway.events.wait_beyond(refused, before).await;
        assert_eq!(gateway.events.of(refused), before + 1, "{refused}");
    }
    assert_eq!(gateway.events.of("opened"), 1);
}

#[tokio::test]
async fn an_optional_certificate_may_be_missing_but_must_hold_where_it_is_shown() {
    let (ca, other) = (House::new("clients"), House::new("others"));
    let door = Door::new(&[("ca", ca.pem())]);
    let gateway = door.open(ClientAuthenticationPlan { required: false, ..required(&["ca"]) });
    let none = call(&gateway, door.client(None)).await.unwrap();
    assert!(none.contains("certificate=none "), "{none}");
    let shown = call(&gateway, door.client(Some(&ca.card("spiffe://x/b", 1)))).await.unwrap();
    assert!(shown.contains("certificate=spiffe://x/b "), "{shown}");
    assert_eq!(call(&gateway, door.client(Some(&other.card("spiffe://x/b", 1)))).await, None);
    gateway.events.wait("tls_certificate_untrusted").await;
}

#[tokio::test]
async fn a_listener_that_asks_for_no_certificate_takes_none() {
    let ca = House::new("clients");
    let door = Door::new(&[]);
    let gateway = Gateway::start_with(1, tls::tls(vec![certificate("a", &[])]), door.server.secrets.clone());
    let answer = call(&gateway, door.client(Some(&ca.card("spiffe://x/b", 1)))).await.unwrap();
    assert!(answer.contains("certificate=none "), "{answer}");
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_so_is_one_that_no_valid_list_speaks_for() {
    let ca = House::new("clients");
    let below = ca.below("below", 90);
    let stranger = House::new("another");
    let door = Door::new(&[
        ("ca", ca.pem()),
        ("revokes-2", ca.list(&[2], 2200)),
        ("revokes-below", ca.list(&[90], 2200)),
        ("old", ca.list(&[], 2021)),
        ("foreign", stranger.list(&[], 2200)),
        ("of-below", below.list(&[4], 2200)),
    ]);
    let chained = |serial| {
        let card = below.card("spiffe://x/c", serial);
        Card { chain: format!("{}{}", card.chain, below.pem()), key: card.key }
    };
    let with = |lists: &[&str], change: fn(&mut RevocationPlan)| {
        let mut plan = revoking(lists);
        change(plan.revocation.as_mut().unwrap());
        plan
    };
    type Change = fn(&mut RevocationPlan);
    let same: Change = |_| ();
    let unknown: Change = |plan| plan.allow_unknown = true;
    let old: Change = |plan| plan.allow_expired = true;
    let leaf: Change = |plan| plan.whole_chain = false;
    let table: Vec<(&str, ClientAuthenticationPlan, Card, Option<&str>)> = vec![
        ("a list that names another", with(&["revokes-2"], same), ca.card("spiffe://x/a", 1), None),
        (
            "a list that names it",
            with(&["revokes-2"], same),
            ca.card("spiffe://x/a", 2),
            Some("tls_certificate_revoked"),
        ),
        (
            "named, and doubt allowed",
            with(&["revokes-2"], unknown),
            ca.card("spiffe://x/a", 2),
            Some("tls_certificate_revoked"),
        ),
        (
            "a list of somebody else",
            with(&["foreign"], same),
            ca.card("spiffe://x/a", 1),
            Some("tls_certificate_revocation_unknown"),
        ),
        ("the same, and doubt allowed", with(&["foreign"], unknown), ca.card("spiffe://x/a", 1), None),
        (
            "an old list",
            with(&["old"], same),
            ca.card("spiffe://x/a", 1),
            Some("tls_certificate_revocation_unknown"),
        ),
        ("an old list, and age allowed", with(&["old"], old), ca.card("spiffe://x/a", 1), None),
        ("a chain, lists for all of it", with(&["revokes-2", "of-below"], same), chained(3), None),
        (
            "a chain, its leaf revoked",
            with(&["revokes-2", "of-below"], same),
            chained(4),
            Some("tls_certificate_revoked"),
        ),
        (
            "a chain, its middle revoked",
            with(&["revokes-below", "of-below"], same),
            chained(3),
            Some("tls_certificate_revoked"),
        ),
        (
            "a chain, no list for its leaf",
            with(&["revokes-2"], same),
            chained(3),
            Some("tls_certificate_revocation_unknown"),
        ),
        ("a chain, only the leaf's list asked", with(&["of-below"], leaf), chained(3), None),
    ];
    for (name, clients, card, refused) in table {
        let gateway = door.open(clients);
        let answer = call(&gateway, door.client(Some(&card))).await;
        assert_eq!(answer.is_some(), refused.is_none(), "{name}");
        if let Some(refused) = refused {
            gateway.events.wait(refused).await;
        }
    }
}

#[tokio::test]
async fn a_chain_is_followed_to_its_longest_length_and_no_further() {
    let ca = House::new("clients");
    let (one, door) = (ca.below("one", 1), Door::new(&[("ca", ca.pem())]));
    let two = one.below("two", 2);
    let leaf = two.card("spiffe://x/d", 3);
    let card = Card { chain: format!("{}{}{}", leaf.chain, two.pem(), one.pem()), key: leaf.key };
    for (intermediates_max, served) in [(2, true), (1, false), (0, false)] {
        let gateway = door.open(ClientAuthenticationPlan { intermediates_max, ..required(&["ca"]) });
        assert_eq!(call(&gateway, door.client(Some(&card))).await.is_some(), served, "{intermediates_max}");
    }
}

#[tokio::test]
async fn an_authority_past_its_time_vouches_for_nobody_and_its_neighbour_goes_on() {
    let ended = House::made("ended", |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let alive = House::new("alive");
    let door = Door::new(&[("ended", ended.pem()), ("alive", alive.pem())]);
    let gateway = door.open(required(&["ended", "alive"]));
    assert_eq!(call(&gateway, door.client(Some(&ended.card("spiffe://x/e", 1)))).await, None);
    gateway.events.wait("tls_certificate_untrusted").await;
    assert!(call(&gateway, door.client(Some(&alive.card("spiffe://x/e", 1)))).await.is_some());
    let gateway = door.open(required(&["ended"]));
    assert_eq!(call(&gateway, door.client(Some(&ended.card("spiffe://x/e", 1)))).await, None);
}

#[tokio::test]
async fn no_session_is_resumed_where_certificates_are_asked_for() {
    let ca = House::new("clients");
    let door = Door::new(&[("ca", ca.pem())]);
    for wanted in [true, false] {
        let gateway = door.open(ClientAuthenticationPlan { required: wanted, ..required(&["ca"]) });
        for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
            // One configuration keeps the client's sessions between connections.
            let config = door.client_of(Some(&ca.card("spiffe://x/f", 1)), versions);
            for _ in 0..3 {
                let answer = call(&gateway, config.clone()).await.unwrap();
                assert!(answer.ends_with("false"), "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn connections_close_when_an_authority_is_removed_or_a_list_changes_and_stay_otherwise() {
    let (ca, second) = (House::new("clients"), House::new("second"));
    let mut door = Door::new(&[("ca", ca.pem()), ("second", second.pem()), ("list", ca.list(&[], 2200))]);
    door.server.secrets.insert(file("later"), ca.list(&[1], 2200).into_bytes());
    let card = ca.card("spiffe://x/g", 1);
    let both = required(&["ca", "second"]);
    let mut listed = revoking(&["list"]);
    listed.revocation.as_mut().unwrap().allow_unknown = true;
    let mut revoked = listed.clone();
    revoked.revocation.as_mut().unwrap().lists = vec![file("later")];
    for (name, before, after, stays) in [
        ("the same", both.clone(), both.clone(), true),
        ("an authority less", both.clone(), required(&["second"]), false),
        ("an authority more", required(&["ca"]), both.clone(), false),
        ("a list more", required(&["ca"]), listed.clone(), false),
        ("another list", listed, revoked, false),
        ("optional", both.clone(), ClientAuthenticationPlan { required: false, ..both }, false),
    ] {
        let gateway = door.open(before);
        let mut stream = tls::connect(gateway.address, door.client(Some(&card)), "a.test").await.unwrap();
        ask(&mut stream).await.unwrap();
        gateway.apply(plan(after));
        sleep(Duration::from_millis(150)).await;
        assert_eq!(ask(&mut stream).await.is_some(), stays, "{name}");
        if !stays {
            gateway.events.wait("listener_changed").await;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_trusted_is_told_when_it_is_prepared() {
    let ca = House::new("clients");
    let leaf = ca.card("spiffe://x/h", 1);
    let door = Door::new(&[
        ("ca", ca.pem()),
        ("leaf", leaf.chain.clone()),
        ("empty", "nothing".to_owned()),
        ("broken", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_owned()),
    ]);
    let gateway = door.open(required(&["ca"]));
    for (clients, expected) in [
        (required(&["leaf"]), vec!["/leaf: certificate 1: it is not the certificate of an authority"]),
        (required(&["empty", "gone"]), vec!["/empty: there is no certificate", "/gone: not found"]),
        (revoking(&["empty"]), vec!["/empty: there is no revocation list"]),
        (revoking(&["broken"]), vec!["/broken: revocation list 1 cannot be read"]),
    ] {
        let problems = gateway.prepare(&plan(clients)).unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem} / {expected}");
        }
    }
}

#[tokio::test]
async fn a_certificate_whose_names_cannot_be_read_is_refused_although_it_is_signed() {
    let ca = House::new("clients");
    let door = Door::new(&[("ca", ca.pem())]);
    let gateway = door.open(required(&["ca"]));
    let blank = ca.card_with("spiffe://x/i", 1, |params| {
        params.subject_alt_names.push(SanType::DnsName("good.test evil.test".try_into().unwrap()));
    });
    assert_eq!(call(&gateway, door.client(Some(&blank))).await, None);
    gateway.events.wait("tls_certificate_unreadable").await;
}
