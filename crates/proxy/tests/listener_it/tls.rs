//! TLS: which certificate, which protocol, and what is refused.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bartizan_config::snapshot::{CertificatePlan, HostPattern, ListenerPlan, TlsPlan, TlsVersion};
use bartizan_model::Reference;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    http2::{ask, client},
    support::{Gateway, PATIENCE, get, plan, rest},
};

/// Certificates by label, each with its key, for given names.
pub(crate) struct Authority {
    pub secrets: HashMap<Reference, Vec<u8>>,
    roots: Vec<CertificateDer<'static>>,
}

impl Authority {
    pub(crate) fn new(certificates: &[(&str, &[&str])]) -> Authority {
        let mut authority = Authority { secrets: HashMap::new(), roots: Vec::new() };
        for (label, names) in certificates {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            authority.roots.push(made.cert.der().clone());
            authority.secrets.insert(chain(label), made.cert.pem().into_bytes());
            authority.secrets.insert(key(label), made.signing_key.serialize_pem().into_bytes());
        }
        authority
    }

    fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_of(alpn, rustls::DEFAULT_VERSIONS)
    }

    fn client_of(
        &self,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for root in &self.roots {
            roots.add(root.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

pub(crate) fn chain(label: &str) -> Reference {
    Reference::File(PathBuf::from(format!("/{label}.pem")))
}

pub(crate) fn key(label: &str) -> Reference {
    Reference::File(PathBuf::from(format!("/{label}.key")))
}

pub(crate) fn certificate(label: &str, hostnames: &[&str]) -> CertificatePlan {
    let hostnames = hostnames
        .iter()
        .map(|name| match name.strip_prefix("*.") {
            Some(suffix) => HostPattern::Suffix(suffix.into()),
            None => HostPattern::Exact((*name).into()),
        })
        .collect();
    CertificatePlan { hostnames, chain: chain(label), key: key(label) }
}

pub(crate) fn tls(certificates: Vec<CertificatePlan>) -> ListenerPlan {
    ListenerPlan { tls: Some(TlsPlan { certificates, minimum: TlsVersion::Tls12, clients: None }), ..plan() }
}

pub(crate) async fn connect(
    address: SocketAddr,
    config: ClientConfig,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream))
        .await
        .expect("a handshake in time")
}

async fn facts(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(get("/facts").as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("tls=") {
        let mut buffer = [0; 1024];
        let length = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(length, 0);
        seen.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn alpn_chooses_http2_or_http1_and_without_it_http1_is_spoken() {
    let authority = Authority::new(&[("a", &["a.test"])]);
    let gateway = Gateway::start_with(1, tls(vec![certificate("a", &[])]), authority.secrets.clone());
    let stream = connect(gateway.address, authority.client(&["h2", "http/1.1"]), "a.test").await.unwrap();
    let answer = ask(&mut client(stream).await, "/facts").await.unwrap();
    assert!(answer.contains("http2=true tls=TLSv1.3 a.test Some(\"h2\")"), "{answer}");
    for (alpn, shown) in [(&["http/1.1"][..], "Some(\"http/1.1\")"), (&[], "None")] {
        let mut stream = connect(gateway.address, authority.client(alpn), "a.test").await.unwrap();
        let answer = facts(&mut stream).await;
        assert!(answer.contains(&format!("http2=false tls=TLSv1.3 a.test {shown}")), "{answer}");
    }
    connect(gateway.address, authority.client(&["spdy/3"]), "a.test").await.unwrap_err();
    gateway.events.wait("tls_incompatible").await;
}

#[tokio::test]
async fn a_listener_without_http2_never_settles_on_it() {
    let authority = Authority::new(&[("a", &["a.test"])]);
    let mut plan = tls(vec![certificate("a", &[])]);
    plan.http2 = false;
    let gateway = Gateway::start_with(1, plan, authority.secrets.clone());
    let stream = connect(gateway.address, authority.client(&["h2", "http/1.1"]), "a.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn the_name_asked_for_chooses_the_certificate_and_an_unknown_name_is_refused() {
    let authority = Authority::new(&[
        ("a", &["a.test"]),
        ("b", &["b.test", "*.b.test"]),
        ("given", &["*.c.test", "deep.down.c.test"]),
    ]);
    let certificates = vec![
        certificate("a", &[]),
        certificate("b", &[]),
        certificate("given", &["deep.down.c.test", "*.c.test"]),
    ];
    let gateway = Gateway::start_with(1, tls(certificates), authority.secrets.clone());
    let cases = [
        ("a.test", true),
        ("A.TEST", true),
        ("b.test", true),
        ("x.b.test", true),
        ("deep.down.c.test", true),
        ("x.c.test", true),
        ("x.y.b.test", false),
        ("x.a.test", false),
        ("test", false),
        ("other.test", false),
    ];
    for (name, served) in cases {
        let result = connect(gateway.address, authority.client(&[]), name).await;
        match served {
            true => assert!(result.is_ok(), "{name}: {result:?}"),
            false => {
                let error = result.expect_err(name).to_string();
                assert!(error.to_lowercase().contains("unrecogni"), "{name}: {error}");
            }
        }
    }
    gateway.events.wait("tls_name_unknown").await;
}

#[tokio::test]
async fn without_a_name_the_first_certificate_answers_only_if_it_was_given_none() {
    for (hostnames, served) in [(&[][..], true), (&["127.0.0.1.test"], false)] {
        let authority = Authority::new(&[("a", &["127.0.0.1", "127.0.0.1.test"])]);
        let gateway =
            Gateway::start_with(1, tls(vec![certificate("a", hostnames)]), authority.secrets.clone());
        // A client that connects to an address sends no name.
        let result = connect(gateway.address, authority.client(&[]), "127.0.0.1").await;
        assert_eq!(result.is_ok(), served, "{result:?}");
        if !served {
            gateway.events.wait("tls_name_missing").await;
        }
    }
}

#[tokio::test]
async fn what_cannot_serve_is_a_problem_when_it_is_prepared_and_all_are_told() {
    let authority = Authority::new(&[("a", &["a.test"]), ("b", &["b.test"])]);
    let mut secrets = authority.secrets.clone();
    secrets.insert(chain("empty"), b"nothing here".to_vec());
    secrets
        .insert(key("empty"), b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n".to_vec());
    let gateway = Gateway::start_with(1, plan(), secrets);
    let mixed = |label: &str, with: &str| CertificatePlan {
        hostnames: Vec::new(),
        chain: chain(label),
        key: key(with),
    };
    let cases = [
        (vec![mixed("a", "b")], vec!["/b.key: the key does not belong to the certificate in file:///a.pem"]),
        (vec![mixed("gone", "gone")], vec!["/gone.pem: not found", "/gone.key: not found"]),
        (vec![mixed("empty", "a")], vec!["/empty.pem: there is no certificate"]),
        (vec![mixed("a", "empty")], vec!["/empty.key: "]),
        (vec![certificate("a", &["x.test"])], vec!["not valid for x.test"]),
        (vec![certificate("a", &["*.a.test"])], vec!["not valid for *.a.test"]),
        (vec![certificate("a", &["a.test"]), certificate("a", &["a.test"])], vec!["already serves a.test"]),
        (Vec::new(), vec!["at least one certificate"]),
        (vec![mixed("a", "b"), mixed("gone", "b")], vec!["/b.key: the key", "/gone.pem: not found"]),
    ];
    for (certificates, expected) in cases {
        let problems = gateway.prepare(&tls(certificates)).unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem} / {expected}");
            assert!(!problem.contains("c2VjcmV0") && !problem.contains("secret"), "{problem}");
        }
    }
    let prepared = gateway.prepare(&tls(vec![certificate("a", &[])])).unwrap().unwrap();
    let facts = &prepared.certificates()[0];
    assert_eq!(facts.hostnames, [HostPattern::Exact("a.test".into())]);
    assert!(facts.not_before < facts.not_after);
    assert!(gateway.prepare(&plan()).unwrap().is_none());
}

#[tokio::test]
async fn a_client_hello_in_pieces_of_one_byte_is_served() {
    let authority = Authority::new(&[("a", &["a.test"])]);
    let gateway = Gateway::start_with(1, tls(vec![certificate("a", &[])]), authority.secrets.clone());
    let name = ServerName::try_from("a.test").unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(authority.client(&[])), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    // The record itself split into records of one byte, each in a segment of its own.
    let mut stream = gateway.connect().await;
    stream.set_nodelay(true).unwrap();
    for byte in &hello[5..] {
        stream.write_all(&[0x16, 0x03, 0x01, 0x00, 0x01, *byte]).await.unwrap();
    }
    let mut answer = [0; 6];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!((answer[0], answer[5]), (0x16, 2), "a server hello");
}

#[tokio::test]
async fn what_is_no_tls_or_too_slow_is_refused_and_counted() {
    let authority = Authority::new(&[("a", &["a.test"])]);
    let mut plan = tls(vec![certificate("a", &[])]);
    plan.admission.handshake_timeout = Duration::from_millis(200);
    let gateway = Gateway::start_with(1, plan, authority.secrets.clone());
    let mut clear = gateway.connect().await;
    clear.write_all(get("/").as_bytes()).await.unwrap();
    assert!(!rest(&mut clear).await.starts_with(b"HTTP"));
    gateway.events.wait("tls_malformed").await;
    let mut huge = gateway.connect().await;
    // A client hello that declares 16 MiB.
    huge.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]).await.unwrap();
    let _ = huge.write_all(&[0; 16 * 1024]).await;
    rest(&mut huge).await;
    let mut silent = gateway.connect().await;
    assert!(rest(&mut silent).await.is_empty());
    gateway.events.wait("tls_timeout").await;
    let mut gone = gateway.connect().await;
    gone.write_all(&[0x16]).await.unwrap();
    drop(gone);
    gateway.events.wait("tls_broken").await;
    connect(gateway.address, authority.client(&[]), "a.test").await.unwrap();
}

#[tokio::test]
async fn a_session_is_resumed_on_any_core_and_after_a_reload_but_not_under_another_trust() {
    let authority = Authority::new(&[("a", &["a.test"])]);
    let plan = tls(vec![certificate("a", &[])]);
    let gateway = Gateway::start_with(2, plan.clone(), authority.secrets.clone());
    let client = authority.client(&[]);
    let resumed = async |address| {
        let mut stream = connect(address, client.clone(), "a.test").await.unwrap();
        facts(&mut stream).await.ends_with("true")
    };
    assert!(!resumed(gateway.address).await);
    for _ in 0..4 {
        assert!(resumed(gateway.address).await);
    }
    gateway.apply(plan.clone());
    sleep(Duration::from_millis(100)).await;
    assert!(resumed(gateway.address).await);
    let mut stricter = plan;
    stricter.tls.as_mut().unwrap().minimum = TlsVersion::Tls13;
    gateway.apply(stricter);
    sleep(Duration::from_millis(100)).await;
    assert!(!resumed(gateway.address).await);
}

#[tokio::test]
async fn the_lowest_version_is_what_the_plan_says() {
    let authority = Authority::new(&[("a", &["a.test"])]);
    for (minimum, served) in [(TlsVersion::Tls12, true), (TlsVersion::Tls13, false)] {
        let mut plan = tls(vec![certificate("a", &[])]);
        plan.tls.as_mut().unwrap().minimum = minimum;
        let gateway = Gateway::start_with(1, plan, authority.secrets.clone());
        match connect(gateway.address, authority.client_of(&[], &[&rustls::version::TLS12]), "a.test").await {
            Ok(mut stream) => assert!(served && facts(&mut stream).await.contains("tls=TLSv1.2 a.test")),
            Err(error) => assert!(!served, "{error}"),
        }
        if !served {
            gateway.events.wait("tls_incompatible").await;
        }
    }
}
