use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::*;

const NOW: i64 = 1_700_000_000;

fn made(change: impl FnOnce(&mut CertificateParams)) -> Result<ClientCertificate, Unreadable> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    ClientCertificate::read(params.self_signed(&key).unwrap().der())
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn email(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().unwrap())
}

fn with(names: Vec<SanType>) -> ClientCertificate {
    made(|params| params.subject_alt_names = names).unwrap()
}

#[test]
fn names_are_read_by_type_and_compared_as_their_type_is() {
    let certificate = made(|params| {
        params.subject_alt_names =
            vec![uri("spiffe://X/A"), dns("API.Example.com"), email("Anna@Example.COM")];
        params.distinguished_name.push(DnType::CommonName, "Anna");
    })
    .unwrap();
    let shown: Vec<String> = certificate.names().iter().map(|name| format!("{name:?}")).collect();
    assert_eq!(
        shown[..4],
        [
            "Uri(\"spiffe://X/A\")",
            "Dns(\"api.example.com\")",
            "Email(\"Anna@example.com\")",
            "SubjectCommonName(\"Anna\")"
        ]
    );
    assert_eq!(certificate.names()[4], CertificateName::Fingerprint(Fingerprint::of(certificate.der())));
}

#[test]
fn a_name_that_is_none_of_its_type_makes_the_certificate_unreadable() {
    for name in [
        dns("good.test evil.test"),
        dns("good.test\0.evil.test"),
        dns(""),
        dns("a..b"),
        dns("a.*.b"),
        email("nobody"),
        email("a@b@c"),
        email("a b@c.test"),
        uri("no-scheme"),
        uri("spiffe://x/a b"),
        uri("spiffe://x/a\"b"),
    ] {
        let shown = format!("{name:?}");
        assert!(made(|params| params.subject_alt_names = vec![name]).is_err(), "{shown}");
    }
    assert!(made(|params| params.subject_alt_names = vec![dns("*.ok.test")]).is_ok());
    assert!(ClientCertificate::read(b"no certificate").is_err());
    let many = (0..=NAMES_MAX).map(|at| dns(&format!("n{at}.test"))).collect();
    assert!(made(|params| params.subject_alt_names = many).is_err());
}

#[test]
fn two_common_names_are_none() {
    let two = made(|params| {
        params.distinguished_name.push(DnType::CommonName, "anna");
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "admin");
    })
    .unwrap();
    assert_eq!(two.names_of(NameType::SubjectCommonName).count(), 0);
}

#[test]
fn a_fingerprint_is_written_with_or_without_colons() {
    let plain = "00ff".repeat(16);
    let colons = "00:FF:".repeat(16);
    assert_eq!(Fingerprint::parse(&plain), Fingerprint::parse(colons.trim_end_matches(':')));
    assert_eq!(Fingerprint::parse(&plain).unwrap().to_string(), plain);
    for wrong in ["", "00", &"00ff".repeat(17), &"zz".repeat(32)] {
        assert!(Fingerprint::parse(wrong).is_err(), "{wrong}");
    }
}

fn table(entries: &[(NameType, &str, &str, Option<&str>)]) -> CertificateTable {
    let mut table = CertificateTable::default();
    for (name_type, name, consumer, listener) in entries {
        let name = CertificateName::parse(*name_type, name).unwrap();
        let grants =
            CertificateGrants { roles: vec![format!("{consumer}-by-{name}").into()], tags: Vec::new() };
        let owner =
            Owner { consumer: (*consumer).into(), listener: listener.map(Into::into), grants: grants.into() };
        assert_eq!(table.insert(name, owner), None);
    }
    table
}

fn judged(
    rule: &CertificateRule,
    table: &CertificateTable,
    certificate: &ClientCertificate,
) -> Result<String, CertificateFlaw> {
    rule.judge(certificate, table, "public", NOW).map(|identity| identity.consumer().to_string())
}

#[test]
fn a_listed_certificate_belongs_to_the_consumer_that_lists_it() {
    let any = CertificateRule { from: None, template: None };
    let only_uri = CertificateRule { from: Some(NameType::Uri), template: None };
    let printed = with(vec![dns("printed.test")]);
    let fingerprint = printed.fingerprint().to_string();
    let table = table(&[
        (NameType::Uri, "spiffe://x/anna", "anna", None),
        (NameType::Dns, "bert.test", "bert", None),
        (NameType::Dns, "inside.test", "bert", Some("internal")),
        (NameType::SubjectCommonName, "spiffe://x/carl", "carl", None),
        (NameType::Fingerprint, &fingerprint, "dora", None),
    ]);
    let cases: Vec<(&CertificateRule, ClientCertificate, Result<&str, CertificateFlaw>)> = vec![
        (&any, with(vec![uri("spiffe://x/anna")]), Ok("anna")),
        (&any, with(vec![dns("BERT.test"), dns("other.test")]), Ok("bert")),
        (&any, printed.clone(), Ok("dora")),
        (&only_uri, with(vec![uri("spiffe://x/anna"), dns("bert.test")]), Ok("anna")),
        (&any, with(vec![uri("spiffe://x/anna"), dns("bert.test")]), Err(CertificateFlaw::Ambiguous)),
        (&only_uri, with(vec![dns("bert.test")]), Err(CertificateFlaw::Nobody)),
        (&only_uri, printed, Err(CertificateFlaw::Nobody)),
        (&any, with(vec![dns("inside.test")]), Err(CertificateFlaw::Nobody)),
        // The same text as another type is another name.
        (&any, with(vec![uri("spiffe://x/carl")]), Err(CertificateFlaw::Nobody)),
        (&any, with(vec![uri("spiffe://x/anna/more")]), Err(CertificateFlaw::Nobody)),
        (&any, with(vec![dns("sub.bert.test")]), Err(CertificateFlaw::Nobody)),
        (&any, with(vec![]), Err(CertificateFlaw::Nobody)),
    ];
    for (at, (rule, certificate, expected)) in cases.into_iter().enumerate() {
        assert_eq!(judged(rule, &table, &certificate), expected.map(str::to_owned), "case {at}");
    }
    let inside = any.judge(&with(vec![dns("inside.test")]), &table, "internal", NOW);
    assert_eq!(&**inside.unwrap().consumer(), "bert");
}

#[test]
fn a_template_names_the_consumer_and_matches_the_whole_name() {
    let rule = |from, template: &str| CertificateRule {
        from: Some(from),
        template: Some(NameTemplate::parse(template).unwrap()),
    };
    let spiffe = rule(NameType::Uri, "spiffe://example.org/ns/{namespace}/sa/{consumer}");
    let host = rule(NameType::Dns, "{consumer}.clients.example.org");
    let none = CertificateTable::default();
    for (rule, name, expected) in [
        (&spiffe, uri("spiffe://example.org/ns/shop/sa/orders"), Some("orders")),
        (&spiffe, uri("spiffe://example.org/ns/shop/sa/orders/admin"), None),
        (&spiffe, uri("spiffe://example.org/ns/a/b/sa/orders"), None),
        (&spiffe, uri("spiffe://example.org/ns/shop/sa/"), None),
        (&spiffe, uri("spiffe://example.org/ns//sa/orders"), None),
        (&spiffe, uri("spiffe://example.org.evil/ns/shop/sa/orders"), None),
        (&spiffe, uri("x-spiffe://example.org/ns/shop/sa/orders"), None),
        (&spiffe, dns("orders"), None),
        (&host, dns("anna.clients.example.org"), Some("anna")),
        (&host, dns("evil.anna.clients.example.org"), None),
        (&host, dns("clients.example.org"), None),
    ] {
        let shown = format!("{name:?}");
        let judged = judged(rule, &none, &with(vec![name])).ok();
        assert_eq!(judged.as_deref(), expected, "{shown}");
    }
    for wrong in [
        "spiffe://x/{a}",
        "{consumer}{consumer}",
        "{consumer}/{consumer}",
        "{consumer",
        "consumer}",
        "{}/{consumer}",
    ] {
        assert!(NameTemplate::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_certificate_past_its_last_second_identifies_nobody_although_its_connection_lives() {
    let rule = CertificateRule { from: None, template: None };
    let table = table(&[(NameType::Dns, "anna.test", "anna", None)]);
    let certificate = with(vec![dns("anna.test")]);
    let end = certificate.not_after();
    assert!(rule.judge(&certificate, &table, "public", end).is_ok());
    assert_eq!(rule.judge(&certificate, &table, "public", end + 1), Err(CertificateFlaw::Expired));
    assert_eq!(CertificateFlaw::Expired.kind().reason(), bartizan_model::Reason::CredentialExpired);
    assert_eq!(CertificateFlaw::Nobody.kind().reason(), bartizan_model::Reason::CredentialInvalid);
}

#[test]
fn a_listed_name_brings_what_is_listed_with_it_and_a_template_brings_nothing() {
    let listed = table(&[
        (NameType::Dns, "anna.test", "anna", None),
        (NameType::Dns, "inside.test", "anna", Some("internal")),
    ]);
    assert!(listed.brings_roles());
    let brought = |rule: &CertificateRule, names: Vec<SanType>| -> Vec<String> {
        let identity = rule.judge(&with(names), &listed, "public", NOW).unwrap();
        identity.grants().flat_map(|grants| &grants.roles).map(ToString::to_string).collect()
    };
    let by_list = CertificateRule { from: None, template: None };
    assert_eq!(brought(&by_list, vec![dns("anna.test")]), ["anna-by-anna.test"]);
    // A name that counts at another listener brings nothing here.
    assert_eq!(brought(&by_list, vec![dns("anna.test"), dns("inside.test")]), ["anna-by-anna.test"]);
    let template = NameTemplate::parse("{consumer}.test").unwrap();
    let by_template = CertificateRule { from: Some(NameType::Dns), template: Some(template) };
    assert_eq!(brought(&by_template, vec![dns("anna.test")]), [""; 0]);
}
