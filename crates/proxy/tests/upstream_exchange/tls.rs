//! TLS toward the origin: whom we believe, what we ask for.

use std::{sync::Arc, time::Duration};

use bartizan_config::snapshot::upstream::{
    ClientIdentityPlan, UpstreamPlan, UpstreamProtocol, UpstreamTlsPlan,
};
use bartizan_model::{Reference, SecretValue};
use bartizan_proxy::upstream::{ForwardErrorKind, PreparedUpstream, Retry, UpstreamSet};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::support::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn server(&self, name: &str, alpn: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A server that asks for certificates of this authority.
    fn asking(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&provider),
        );
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A chain and a key for a client, PEM.
    fn client(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// An origin behind TLS; what it notes of a head begins with the SNI.
async fn origin(acceptor: TlsAcceptor) -> Origin {
    Origin::raw(move |stream, _, seen| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while let Some(head) = read_head(&mut stream).await {
                let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
                seen.heads.borrow_mut().push(format!("{name} {head}"));
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

fn trusting(origin: &Origin, name: Option<&str>) -> UpstreamPlan {
    let mut plan = plan(&[origin.address]);
    plan.tls = Some(UpstreamTlsPlan {
        server_name: name.map(Into::into),
        authorities: Some(Reference::File("ca.pem".into())),
        client: None,
        danger_accept_any_certificate: false,
    });
    plan
}

fn prepare(plan: UpstreamPlan, pem: &str) -> Arc<PreparedUpstream> {
    prepare_after(plan, pem, None).get("orders").unwrap().clone()
}

fn prepare_after(plan: UpstreamPlan, pem: &str, previous: Option<&UpstreamSet>) -> UpstreamSet {
    let secrets = |_: &Reference| Ok(SecretValue::new(pem.as_bytes().to_vec()));
    UpstreamSet::prepare(&[Arc::new(plan)], &secrets, previous).unwrap()
}

#[test]
fn an_origin_that_proves_its_name_is_spoken_to() {
    on_a_core(async || {
        let authority = Authority::new();
        let origin = origin(authority.server("orders.internal", &["http/1.1"])).await;
        let (pools, upstream) =
            (pools(), prepare(trusting(&origin, Some("orders.internal")), &authority.pem()));
        let (sent, body) = read(call(&pools, &upstream).await.unwrap()).await;
        assert_eq!((&*body, sent.reused), (&b"ok"[..], false));
        assert!(called(&pools, &upstream).await.reused);
        assert!(origin.seen.heads.borrow()[0].starts_with("orders.internal GET / HTTP/1.1"));
    });
}

#[test]
fn an_address_is_a_name_too() {
    on_a_core(async || {
        let authority = Authority::new();
        let origin = origin(authority.server("127.0.0.1", &[])).await;
        let upstream = prepare(trusting(&origin, None), &authority.pem());
        called(&pools(), &upstream).await;
    });
}

#[test]
fn an_origin_that_cannot_prove_itself_gets_no_request() {
    let (authority, other) = (Authority::new(), Authority::new());
    let expired = {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["orders.internal".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let leaf = params.signed_by(&key, &authority.0).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    };
    let cases = [
        ("another name", authority.server("payments.internal", &[])),
        ("another authority", other.server("orders.internal", &[])),
        ("an expired certificate", expired),
        ("only HTTP/2", authority.server("orders.internal", &["h2"])),
    ];
    for (name, acceptor) in cases {
        on_a_core(async || {
            let origin = origin(acceptor).await;
            let pools = pools();
            let upstream = prepare(trusting(&origin, Some("orders.internal")), &authority.pem());
            let error = call(&pools, &upstream).await.expect_err(name);
            assert_eq!(
                (error.kind, error.retry),
                (ForwardErrorKind::TlsFailed, Retry::Yes),
                "{name}: {error}"
            );
            assert!(origin.seen.heads.borrow().is_empty(), "{name}");
            assert_eq!((pools.counts().open, upstream.endpoints[0].state.in_flight()), (0, 0), "{name}");
        });
    }
}

#[test]
fn any_certificate_is_accepted_only_where_the_plan_says_danger() {
    on_a_core(async || {
        let origin = origin(Authority::new().server("anything.test", &[])).await;
        let mut plan = trusting(&origin, None);
        plan.tls = Some(UpstreamTlsPlan {
            server_name: None,
            authorities: None,
            client: None,
            danger_accept_any_certificate: true,
        });
        called(&pools(), &prepare(plan, "")).await;
    });
}

#[test]
fn clear_text_where_tls_is_wanted_fails() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let mut plan = trusting(&origin, Some("orders.internal"));
        plan.connect_timeout = Duration::from_millis(100);
        let error = call(&pools(), &prepare(plan, &Authority::new().pem())).await.unwrap_err();
        assert!(matches!(error.kind, ForwardErrorKind::TlsFailed | ForwardErrorKind::Timeout), "{error}");
    });
}

#[test]
fn http2_is_agreed_on_by_alpn() {
    on_a_core(async || {
        let authority = Authority::new();
        let acceptor = authority.server("orders.internal", &["h2", "http/1.1"]);
        let origin = Origin::raw(move |stream, _, _| {
            let acceptor = acceptor.clone();
            async move {
                let stream = hyper_util::rt::TokioIo::new(acceptor.accept(stream).await.unwrap());
                let service =
                    hyper::service::service_fn(|_| async { Ok::<_, hyper::Error>(answer(200, "ok")) });
                let server = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                let _ = server.serve_connection(stream, service).await;
            }
        })
        .await;
        let mut plan = trusting(&origin, Some("orders.internal"));
        plan.protocol = UpstreamProtocol::Http2;
        let (sent, body) = read(call(&pools(), &prepare(plan, &authority.pem())).await.unwrap()).await;
        assert_eq!((sent.response.version(), &*body), (http::Version::HTTP_2, &b"ok"[..]));
    });
}

#[test]
fn connections_outlive_a_reload_but_not_a_change_of_trust() {
    on_a_core(async || {
        let (authority, other) = (Authority::new(), Authority::new());
        let origin = origin(authority.server("orders.internal", &[])).await;
        let plan = trusting(&origin, Some("orders.internal"));
        let pools = pools();
        let first = prepare_after(plan.clone(), &authority.pem(), None);
        called(&pools, first.at(0).unwrap()).await;
        let same = prepare_after(plan.clone(), &authority.pem(), Some(&first));
        assert!(called(&pools, same.at(0).unwrap()).await.reused);
        assert!(Arc::ptr_eq(
            &first.at(0).unwrap().endpoints[0].state,
            &same.at(0).unwrap().endpoints[0].state
        ));
        let both = format!("{}{}", authority.pem(), other.pem());
        let wider = prepare_after(plan.clone(), &both, Some(&same));
        assert!(!called(&pools, wider.at(0).unwrap()).await.reused);
        let distrusting = prepare_after(plan, &other.pem(), Some(&wider));
        let error = call(&pools, distrusting.at(0).unwrap()).await.unwrap_err();
        assert_eq!(error.kind, ForwardErrorKind::TlsFailed);
    });
}

#[test]
fn a_handshake_that_does_not_end_is_a_timeout() {
    on_a_core(async || {
        let origin = Origin::raw(|mut stream, _, _| async move {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        })
        .await;
        let mut plan = trusting(&origin, Some("orders.internal"));
        plan.connect_timeout = Duration::from_millis(50);
        let pools = pools();
        let error = call(&pools, &prepare(plan, &Authority::new().pem())).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ForwardErrorKind::Timeout, Retry::Yes));
        assert_eq!(pools.counts().open, 0);
        until("the origin sees the end", || origin.seen.closed.get() == 1).await;
    });
}

#[test]
fn an_upstream_that_asks_for_a_certificate_gets_the_plans_and_a_changed_one_opens_new_connections() {
    on_a_core(async || {
        let authority = Authority::new();
        let origin = origin(authority.asking("orders.internal")).await;
        let without = trusting(&origin, Some("orders.internal"));
        let (one, two) = (authority.client("gateway"), authority.client("gateway"));
        let mut plan = without.clone();
        let reference = |name: &str| Reference::File(name.into());
        plan.tls.as_mut().unwrap().client =
            Some(ClientIdentityPlan { chain: reference("chain.pem"), key: reference("key.pem") });
        let prepared =
            |plan: &UpstreamPlan, (chain, key): &(String, String), before: Option<&UpstreamSet>| {
                let secrets = |reference: &Reference| {
                    let text = match reference.to_string().as_str() {
                        "file://chain.pem" => chain.clone(),
                        "file://key.pem" => key.clone(),
                        _ => authority.pem(),
                    };
                    Ok(SecretValue::new(text.into_bytes()))
                };
                UpstreamSet::prepare(&[Arc::new(plan.clone())], &secrets, before)
            };
        let pools = pools();
        let first = prepared(&plan, &one, None).unwrap();
        called(&pools, first.at(0).unwrap()).await;
        let same = prepared(&plan, &one, Some(&first)).unwrap();
        assert!(called(&pools, same.at(0).unwrap()).await.reused);
        let other = prepared(&plan, &two, Some(&same)).unwrap();
        assert!(!called(&pools, other.at(0).unwrap()).await.reused);
        let error =
            call(&self::pools(), prepared(&without, &one, None).unwrap().at(0).unwrap()).await.unwrap_err();
        assert!(
            matches!(
                error.kind,
                ForwardErrorKind::TlsFailed | ForwardErrorKind::Misbehaved | ForwardErrorKind::Reset
            ),
            "{error}"
        );
        let crossed = (one.0.clone(), two.1.clone());
        let problems = prepared(&plan, &crossed, None).unwrap_err();
        assert_eq!(problems[0].field, "tls.clientCertificate");
        assert!(problems[0].message.contains("do not belong together"), "{problems:?}");
        assert!(!format!("{problems:?} {first:?}").contains("PRIVATE"));
    });
}
