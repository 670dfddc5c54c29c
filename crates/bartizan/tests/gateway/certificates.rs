//! Certificates of clients, end to end: who they are to the gateway, what upstreams hear of them, and how they end.

use bartizan_testkit::{Authority, Client, Documents, Origin, pki::Identity};
use rcgen::{CertificateParams, SanType, SerialNumber};

use crate::harness::{Gate, document, route, upstream, wait};

/// A gateway that asks for certificates on `web`, and another listener that does not.
struct Set {
    servers: Authority,
    clients: Authority,
    gate: Gate,
    origin: Origin,
}

const POLICY: &str =
    "{ methods: [{ type: ClientCertificate, clientCertificate: { passOn: true } }, { type: ApiKey }] }";

fn listener(name: &str, hosts: &str, clients: &str) -> String {
    let certificates = "certificates: [{ chainRef: file://server.pem, keyRef: file://server.key }]";
    let spec = format!(
        "{{ addresses: [\"127.0.0.1:0\"], protocol: HTTPS, hostnames: [{hosts}], tls: {{ {certificates}{clients} }} }}"
    );
    document("Listener", name, &spec)
}

fn documents(url: &str, authorities: &str) -> String {
    let clients = format!(
        ", clientAuthentication: {{ mode: optional, caCertificates: [{authorities}], crls: [file://list.pem], unknownRevocation: allow }}"
    );
    [
        listener("web", "api.test", &clients),
        listener("open", "open.test", ""),
        upstream("origin", &[url]),
        route("all", "/", "origin"),
        document("AuthenticationPolicy", "who", POLICY),
        document("Consumer", "anna", "{ roles: [buyer], certificates: [{ uri: \"spiffe://x/anna\" }] }"),
        document("Consumer", "bert", "{ certificates: [{ dns: bert.test, listener: open }] }"),
    ]
    .join("---\n")
}

impl Set {
    fn start() -> Set {
        let (servers, clients) = (Authority::new(), Authority::new());
        let origin = Origin::answering("ok");
        let server = servers.issue(&["api.test", "open.test"]);
        let set = Documents::new([
            ("gateway.yaml", documents(&origin.url(), "file://clients.pem, file://more.pem")),
            ("server.pem", server.chain),
            ("server.key", server.key),
            ("clients.pem", clients.pem()),
            ("more.pem", Authority::new().pem()),
            ("list.pem", clients.revoke(&[66])),
        ]);
        let gate = Gate::start_set(set, |_| (), &[]);
        Set { servers, clients, gate, origin }
    }

    fn card(&self, uri: &str, serial: u64) -> Identity {
        card(&self.clients, |params| {
            params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
            params.serial_number = Some(SerialNumber::from(serial));
        })
    }

    fn client(&self, card: &Identity) -> Client {
        Client::https_as(self.gate.web(), "api.test", &self.servers.pem(), card, false)
            .unwrap()
            .with_authority("api.test")
    }

    fn nobody(&self) -> Client {
        Client::https1(self.gate.web(), "api.test", &self.servers.pem()).unwrap().with_authority("api.test")
    }
}

fn card(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    authority.issue_with(&[], change)
}

#[test]
fn a_listed_certificate_calls_as_its_consumer_and_the_upstream_gets_it_verified() {
    let set = Set::start();
    let anna = set.card("spiffe://x/anna", 1);
    let forged = [
        ("client-cert", ":Zm9yZ2Vk:"),
        ("client-cert-chain", ":Zm9yZ2Vk:"),
        ("x-client-cert", "forged"),
        ("x-ssl-client-verify", "SUCCESS"),
        ("x-forwarded-client-cert", "By=forged"),
        ("x-consumer-name", "forged"),
    ];
    let answer = set.client(&anna).get("/", &forged);
    assert_eq!(answer.status, 200);
    let received = set.origin.take().remove(0);
    let pem: String = anna.chain.lines().filter(|line| !line.starts_with("-----")).collect();
    assert_eq!(received.header("client-cert"), Some(&*format!(":{pem}:")));
    assert_eq!(received.header("x-consumer-name"), Some("anna"));
    assert_eq!(received.header("x-consumer-roles"), Some("buyer"));
    for (name, _) in &forged[1..5] {
        assert_eq!(received.header(name), None, "{name}");
    }
    let record = set.gate.record_of(&answer);
    assert_eq!(record["consumer"], "anna");
    assert_eq!(record["credential"].as_str().unwrap().len(), 24, "{record}");
}

#[test]
fn who_shows_nothing_or_the_certificate_of_nobody_is_refused_and_no_claim_of_a_header_helps() {
    let set = Set::start();
    let claims = [("client-cert", ":Zm9v:"), ("x-ssl-client-s-dn", "CN=anna"), ("x-client-cert", "anna")];
    let none = set.nobody().get("/", &claims);
    assert_eq!((none.status.as_u16(), none.json()["code"].as_str()), (401, Some("CredentialMissing")));
    let ways: Vec<_> = none.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(ways, ["ClientCertificate", "ApiKey header=\"x-api-key\""]);
    let stranger = set.client(&set.card("spiffe://x/stranger", 2));
    // Present and of nobody is invalid: the key that could come after it is not looked at.
    for headers in [&[][..], &[("x-api-key", "hunter2")]] {
        let answer = stranger.get("/", headers);
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].as_str()),
            (401, Some("CredentialInvalid"))
        );
        assert!(!answer.text().contains("spiffe"), "{}", answer.text());
    }
    // Bert's name counts at another listener only, and that one asks for no certificate.
    let bert = set.clients.issue(&["bert.test"]);
    assert_eq!(set.client(&bert).get("/", &[]).status, 401);
    let open =
        Client::https_as(set.gate.gateway.address("open"), "open.test", &set.servers.pem(), &bert, false);
    assert_eq!(open.unwrap().with_authority("open.test").get("/", &[]).json()["code"], "CredentialMissing");
    assert!(set.origin.take().is_empty());
}

#[test]
fn a_host_of_another_listener_or_another_name_than_the_handshakes_is_misdirected() {
    let set = Set::start();
    let anna = set.card("spiffe://x/anna", 1);
    // The door that asks for nothing is opened, and the one that asks is asked for.
    let open = set.gate.gateway.address("open");
    let beside = Client::https1(open, "open.test", &set.servers.pem()).unwrap();
    assert_eq!(beside.with_authority("api.test").get("/", &[]).json()["code"], "WrongHost");
    let beside = Client::https1(open, "api.test", &set.servers.pem()).unwrap();
    assert_eq!(beside.with_authority("api.test").get("/", &[]).status, 421);
    for h2 in [false, true] {
        let client = Client::https_as(set.gate.web(), "api.test", &set.servers.pem(), &anna, h2).unwrap();
        assert_eq!(client.clone().with_authority("open.test").get("/", &[]).status, 421);
        assert_eq!(client.with_authority("api.test").get("/", &[]).status, 200);
    }
}

#[test]
fn a_removed_authority_or_a_new_revocation_ends_connections_and_lets_nobody_back() {
    let set = Set::start();
    let (anna, kept) = (set.card("spiffe://x/anna", 7), set.client(&set.card("spiffe://x/anna", 8)));
    assert_eq!(set.client(&anna).get("/", &[]).status, 200);
    assert_eq!(kept.get("/", &[]).status, 200);
    let revoked = set.client(&set.card("spiffe://x/anna", 66));
    assert!(try_get(&revoked).is_none(), "revoked from the beginning");
    let folder = set.gate.documents.path().to_owned();
    std::fs::write(folder.join("list.pem"), set.clients.revoke(&[66, 7])).unwrap();
    set.gate.gateway.signal("HUP");
    wait("the new list", || {
        Client::https_as(set.gate.web(), "api.test", &set.servers.pem(), &anna, false)
            .map_or(true, |client| try_get(&client.with_authority("api.test")).is_none())
    });
    // Its certificate is not revoked, but its handshake was held against another list.
    wait("the end of the old connection", || try_get(&kept).is_none());
    assert_eq!(set.client(&set.card("spiffe://x/anna", 8)).get("/", &[]).status, 200);
    set.gate.documents.write("gateway.yaml", documents(&set.origin.url(), "file://more.pem"));
    let other = set.card("spiffe://x/anna", 9);
    wait("the authority to be gone", || {
        Client::https_as(set.gate.web(), "api.test", &set.servers.pem(), &other, false)
            .map_or(true, |client| try_get(&client.with_authority("api.test")).is_none())
    });
    assert_eq!(set.nobody().get("/", &[]).status, 401, "who shows nothing may still knock");
}

fn try_get(client: &Client) -> Option<u16> {
    let request = client.request("GET", "/").body(Default::default()).unwrap();
    client.send(request).ok().map(|answer| answer.status.as_u16())
}

#[test]
fn roles_and_tags_hang_on_the_certificate_as_well_as_on_its_consumer() {
    let set = Set::start();
    let grant = |role: &str, path: &str| {
        document(
            "Role",
            role,
            &format!("{{ grants: [{{ routes: [all], when: 'request.path == \"{path}\"' }}] }}"),
        )
    };
    // The same authorities, so that no connection ends.
    let documents = documents(&set.origin.url(), "file://clients.pem, file://more.pem")
        .replace("passOn: true }", "roles: [partner], tags: [{ name: zone, value: outer }] }")
        .replace(
            "uri: \"spiffe://x/anna\" }]",
            "uri: \"spiffe://x/anna\" }, \
             { uri: \"spiffe://x/anna-admin\", roles: [operator], tags: [{ name: device, value: hsm }] }]",
        );
    let tagged =
        "'\"zone=outer\" in identity.tags && \"device=hsm\" in identity.tags && request.path == \"/tags\"'";
    let rules = format!("{{ rules: [{{ granted: true }}, {{ when: {tagged} }}] }}");
    let more = [
        documents,
        grant("buyer", "/buyer"),
        grant("partner", "/partner"),
        grant("operator", "/operator"),
        document("AuthorizationPolicy", "may", &rules),
    ];
    set.gate.documents.write("gateway.yaml", more.join("---\n"));
    set.gate.gateway.signal("HUP");
    let plain = set.client(&set.card("spiffe://x/anna", 1));
    wait("the roles", || plain.get("/none", &[]).status == 403);
    let admin = set.client(&set.card("spiffe://x/anna-admin", 2));
    for (path, by_plain, by_admin) in
        [("/buyer", 200, 200), ("/partner", 200, 200), ("/operator", 403, 200), ("/tags", 403, 200)]
    {
        assert_eq!(plain.get(path, &[]).status, by_plain, "{path}");
        assert_eq!(admin.get(path, &[]).status, by_admin, "{path}");
    }
    let roles: Vec<_> = (set.origin.take().iter())
        .filter_map(|one| one.header("x-consumer-roles").map(str::to_owned))
        .collect();
    assert!(roles.contains(&"buyer,partner".to_owned()), "{roles:?}");
    assert!(roles.contains(&"buyer,partner,operator".to_owned()), "{roles:?}");
}
