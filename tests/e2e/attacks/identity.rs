//! Who somebody claims to be: forwarding fields, identity fields, `Connection`, PROXY headers, hosts behind TLS.
//! Cases 41 to 43, 45, 46, 55.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bartizan_e2e::{Expect, House, Row, house::UPSTREAM_SECRET, run, table::Rows};
use bartizan_testkit::{Frames, Raw, Received, frames::Outcome};

pub(crate) fn rows() -> Vec<Row> {
    [forwarded(), values(), connection(), claims(), hosts(), secrets()]
        .into_iter()
        .flat_map(Rows::done)
        .collect()
}

fn with(fields: &str) -> String {
    format!("GET /public/get HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n")
}

/// A value that nobody but an attacker sends: it must not be in any header the origin gets.
const FORGED: &str = "6.6.6.6";

fn nothing_forged(received: &Received) -> Result<(), String> {
    for (name, value) in &received.headers {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        if text.contains(FORGED) || text.contains("forged") {
            return Err(format!("`{name}` was passed on"));
        }
    }
    Ok(())
}

fn is_client(received: &Received, client: &str) -> Result<(), String> {
    for name in ["x-client-ipaddress", "x-forwarded-for"] {
        if received.header(name) != Some(client) {
            return Err(format!("{name} is {:?}", received.header(name)));
        }
    }
    Ok(())
}

const CLEAN: Expect =
    Expect::Serves("served; the origin gets the connection's own address and nothing forged", |received| {
        nothing_forged(received)?;
        is_client(received, "127.0.0.1")
    });

fn forwarded() -> Rows {
    let addresses = [
        "X-Forwarded-For",
        "x-forwarded-FOR",
        "X-Client-IPAddress",
        "X-Real-IP",
        "True-Client-IP",
        "X-Client-IP",
        "Client-IP",
        "X-Cluster-Client-IP",
        "CF-Connecting-IP",
        "Fastly-Client-IP",
        "X-Forwarded",
        "X-Original-Forwarded-For",
        "X-Originating-IP",
        "X-ProxyUser-Ip",
        "X-Envoy-External-Address",
        "X-Azure-ClientIP",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-Scheme",
        "X-Forwarded-Ssl",
        "X-Forwarded-User",
        "X-Host",
        "X-Original-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-URI",
        "Front-End-Https",
        "X_Forwarded_For",
        "X.Forwarded.For",
        "X_FORWARDED_FOR",
        "X-Forwarded_For",
        "X_Real_IP",
        "X_Client_IPAddress",
        "X~Forwarded~For",
        "X-Forwarded-For_",
        "X!Real!IP",
    ];
    let rows = Rows::of(41).all_bytes(
        CLEAN,
        addresses.iter().map(|name| (format!("`{name}` from anyone"), with(&format!("{name}: {FORGED}")))),
    );
    rows.bytes(
        "`Forwarded` from anyone",
        with(&format!("Forwarded: for={FORGED};host=forged;proto=https")),
        CLEAN,
    )
    .bytes(
        "twenty lines of `X-Forwarded-For`",
        with(&[format!("X-Forwarded-For: {FORGED}").as_str(); 20].join("\r\n")),
        CLEAN,
    )
    .script("what a trusted proxy says counts", "the client is the address it names", |house| {
        let received = through_proxy(house, "X-Forwarded-For: 203.0.113.9")?;
        is_proxied(&received, "203.0.113.9")
    })
    .script(
        "what a client says before a trusted proxy appends",
        "the client is the rightmost address that is no proxy",
        |house| {
            let received = through_proxy(house, &format!("X-Forwarded-For: {FORGED}, 203.0.113.9"))?;
            is_proxied(&received, "203.0.113.9")
        },
    )
    .script("a trusted proxy says two things", "400; the origin sees nothing", |house| {
        refused_through_proxy(house, "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.10")
    })
    .script("a trusted proxy writes what is no address", "400; the origin sees nothing", |house| {
        refused_through_proxy(house, "X-Forwarded-For: 203.0.113.9, unknown-thing!")
    })
    .script("a trusted proxy may not say who the consumer is", "`X-Consumer-Name` is removed", |house| {
        let received = through_proxy(house, "X-Forwarded-For: 203.0.113.9\r\nX-Consumer-Name: forged")?;
        nothing_forged(&received)
    })
    .script("an alias through a trusted proxy", "removed", |house| {
        let received =
            through_proxy(house, &format!("X-Forwarded-For: 203.0.113.9\r\nX_Forwarded_For: {FORGED}"))?;
        nothing_forged(&received)
    })
}

fn proxy(house: &House, listener: &str) -> Result<Raw, String> {
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let raw = Raw::connect_from(source, house.at(listener)).map_err(|error| error.to_string())?;
    Ok(raw.with_timeout(Duration::from_secs(5)))
}

fn through_proxy(house: &House, fields: &str) -> Result<Received, String> {
    let answer = proxy(house, "trusting")?.send(with(fields)).try_answer_to("GET")?;
    if answer.status != 200 {
        return Err(format!("{} instead of 200", answer.status));
    }
    one(house)
}

fn one(house: &House) -> Result<Received, String> {
    let mut reached = house.reached()?;
    match (reached.pop(), reached.is_empty()) {
        (Some(received), true) => Ok(received),
        other => Err(format!("the origin got {other:?}")),
    }
}

fn is_proxied(received: &Received, client: &str) -> Result<(), String> {
    nothing_forged(received)
        .or_else(|why| if received.header("x-forwarded-for").is_some() { Ok(()) } else { Err(why) })?;
    match received.header("x-client-ipaddress") {
        Some(given) if given == client => Ok(()),
        other => Err(format!("the client is {other:?}")),
    }
}

fn refused_through_proxy(house: &House, fields: &str) -> Result<(), String> {
    let answer = proxy(house, "trusting")?.send(with(fields)).try_answer_to("GET")?;
    if answer.status == 400 {
        run::nothing_reached(house)
    } else {
        Err(format!("{} instead of 400", answer.status))
    }
}

/// Case 42: `/tenant` is published for `x-tenant: red` alone, `/checked` wants `x-tenant` of small letters.
fn values() -> Rows {
    let of = |path: &str, fields: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\nConnection: close\r\n\r\n")
    };
    let single = [
        "Authorization: Bearer a",
        "Content-Type: text/plain",
        "X-API-Key: a",
        "User-Agent: a",
        "Referer: a",
        "From: a",
        "Content-Location: /a",
        "If-Modified-Since: a",
        "Max-Forwards: 1",
        "Origin: http://a.test",
    ];
    Rows::of(42)
        .all_bytes(
            Expect::Closes(&[400]),
            single.iter().map(|line| (format!("twice `{line}`"), with(&format!("{line}\r\n{line}b")))),
        )
        .bytes(
            "a route's condition holds",
            of("/tenant", "X-Tenant: red"),
            Expect::Serves("served", |_| Ok(())),
        )
        .bytes(
            "the right value, then another",
            of("/tenant", "X-Tenant: red\r\nX-Tenant: blue"),
            Expect::Closes(&[400, 404]),
        )
        .bytes(
            "another value, then the right one",
            of("/tenant", "X-Tenant: blue\r\nX-Tenant: red"),
            Expect::Closes(&[400, 404]),
        )
        .bytes("the right value in a list", of("/tenant", "X-Tenant: red, blue"), Expect::Closes(&[400, 404]))
        .bytes("the right value under an alias", of("/tenant", "X_Tenant: red"), Expect::Closes(&[400, 404]))
        .bytes(
            "a header policy's pattern holds",
            of("/checked", "X-Tenant: red"),
            Expect::Serves("served", |_| Ok(())),
        )
        .bytes("a value that does not match", of("/checked", "X-Tenant: RED"), Expect::Closes(&[400]))
        .bytes(
            "a value that matches, then one that does not",
            of("/checked", "X-Tenant: red\r\nX-Tenant: RED"),
            Expect::Closes(&[400]),
        )
        .bytes(
            "a value that does not match, then one that does",
            of("/checked", "X-Tenant: RED\r\nX-Tenant: red"),
            Expect::Closes(&[400]),
        )
        .bytes("a required field under an alias", of("/checked", "X_Tenant: red"), Expect::Closes(&[400]))
        .bytes("a forbidden field", of("/checked", "X-Tenant: red\r\nX-Debug: 1"), Expect::Closes(&[400]))
        .bytes(
            "a forbidden field without a value",
            of("/checked", "X-Tenant: red\r\nX-Debug:"),
            Expect::Closes(&[400]),
        )
        .bytes(
            "a forbidden field under an alias is not passed on",
            of("/checked", "X-Tenant: red\r\nX_Debug: 1"),
            Expect::Serves("served; the origin gets no alias", |received| {
                let alias = received.headers.keys().any(|name| name.as_str().contains('_'));
                if alias { Err("the alias was passed on".to_owned()) } else { Ok(()) }
            }),
        )
        .script("a key that is right, then one that is not", "400 or 401; the origin sees nothing", |house| {
            let mut raw = house.raw();
            raw.send(format!(
                "GET /admin/get HTTP/1.1\r\nHost: a.test\r\nX-API-Key: {}\r\nX-API-Key: x\r\n\r\n",
                house.key
            ));
            let answer = raw.try_answer_to("GET")?;
            if matches!(answer.status, 400 | 401) {
                run::nothing_reached(house)
            } else {
                Err(answer.status.to_string())
            }
        })
}

fn connection() -> Rows {
    let guarded = [
        "Authorization",
        "X-API-Key",
        "x-api-key",
        "Cookie",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Content-Type",
        "X-Consumer-Name",
        "X-Request-ID",
        "X-Forwarded-For",
        "Forwarded",
        "X-Client-IPAddress",
        "X-Real-IP",
        "close, X-API-Key",
        "keep-alive, Host",
        "Expect",
        "Origin",
    ];
    let broken = ["a b", "\"close\"", "a/b", "close; x", "\u{e9}"];
    Rows::of(43)
        .all_bytes(
            Expect::Closes(&[400]),
            guarded.iter().map(|names| (format!("`Connection: {names}`"), with(&format!("Connection: {names}\r\nX-A: b")))),
        )
        .all_bytes(
            Expect::Closes(&[400]),
            broken.iter().map(|names| (format!("`Connection: {}`", names.escape_default()), with(&format!("Connection: {names}")))),
        )
        .bytes(
            "fields of the hop, and those that `Connection` names, end here",
            with("Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nProxy-Authorization: Basic eA=="),
            Expect::Serves("served; the origin gets none of them", |received| {
                let hop = ["x-hop", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade", "http2-settings"];
                let passed: Vec<&str> = hop.into_iter().filter(|name| received.headers.contains_key(*name)).collect();
                if passed.is_empty() { Ok(()) } else { Err(format!("{passed:?} passed")) }
            }),
        )
        .script("`Connection: x-api-key` with a right key", "400; the origin sees nothing", |house| {
            let mut raw = house.raw();
            raw.send(format!("GET /admin/get HTTP/1.1\r\nHost: a.test\r\nConnection: x-api-key\r\nX-API-Key: {}\r\n\r\n", house.key));
            run::closes(&mut raw, "GET", &[400])?;
            run::nothing_reached(house)
        })
}

fn claims() -> Rows {
    let names = [
        "X-Consumer-Name",
        "X-Consumer-Roles",
        "X-Consumer-ID",
        "X-Consumer-Anything",
        "x-consumer-NAME",
        "X_Consumer_Name",
        "X-Consumer_Name",
        "X.Consumer.Name",
        "X-Client-Cert",
        "X-Client-Cert-Subject",
        "X-Forwarded-Client-Cert",
        "X-SSL-Client-Verify",
        "X-SSL-Client-S-DN",
        "SSL-Client-Cert",
        "Client-Cert",
        "Client-Cert-Chain",
        "X-Amzn-Mtls-Clientcert",
        "X-Amzn-Oidc-Identity",
        "X-Remote-User",
        "Remote-User",
        "X-Auth-Request-User",
        "X-WebAuth-User",
        "X-Authenticated-Userid",
        "X-Goog-Authenticated-User-Email",
        "X-MS-Client-Principal-Name",
        "Tailscale-User-Login",
        "Remote_User",
        "X_Remote_User",
    ];
    const NOTHING: Expect = Expect::Serves("served; the origin gets nothing forged", nothing_forged);
    let v2 = |length: u16, rest: &[u8]| {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        bytes.extend(length.to_be_bytes());
        bytes.extend(rest);
        bytes
    };
    let addresses = [6, 6, 6, 6, 127, 0, 0, 1, 0x12, 0x34, 0, 80];
    let mut from_anyone = v2(12, &addresses);
    from_anyone.extend(with("X-A: b").bytes());
    Rows::of(45)
        .all_bytes(NOTHING, names.iter().map(|name| (format!("`{name}` from anyone"), with(&format!("{name}: forged")))))
        .script("a forged consumer beside a right key", "the origin gets the verified consumer alone, and no key", |house| {
            let mut raw = house.raw();
            raw.send(format!(
                "GET /admin/get HTTP/1.1\r\nHost: a.test\r\nX-Consumer-Name: forged\r\nX_Consumer_Name: forged\r\nX-Consumer-Roles: forged\r\nX-API-Key: {}\r\n\r\n",
                house.key
            ));
            let answer = raw.try_answer_to("GET")?;
            if answer.status != 200 {
                return Err(format!("{} instead of 200", answer.status));
            }
            let received = one(house)?;
            nothing_forged(&received)?;
            if received.headers.contains_key("x-api-key") {
                return Err("the key was passed on".to_owned());
            }
            match received.header("x-consumer-name") {
                Some("shop") => Ok(()),
                other => Err(format!("the consumer is {other:?}")),
            }
        })
        .script("a forged consumer in HTTP/2", "the origin gets nothing forged", |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            let mut fields = run::request("GET", "/public/get").to_vec();
            fields.push((b"x-consumer-name", b"forged"));
            fields.push((b"x_consumer_name", b"forged"));
            frames.request(1, &fields, true);
            match frames.outcome(1, Duration::from_secs(5)) {
                Outcome::Answered(200, _) => nothing_forged(&one(house)?),
                other => Err(format!("it got {other:?}")),
            }
        })
        .bytes(
            "a PROXY header, version 1, where none is declared",
            format!("PROXY TCP4 {FORGED} 127.0.0.1 1 80\r\n{}", with("X-A: b")),
            Expect::Closes(&[400]),
        )
        .bytes("a PROXY header, version 2, where none is declared", from_anyone, Expect::Closes(&[400]))
        .script("a PROXY header from another peer than declared", "400; the origin sees nothing", |house| {
            let mut raw = Raw::connect(house.at("proxied"));
            raw.send(format!("PROXY TCP4 {FORGED} 127.0.0.1 1 80\r\n{}", with("X-A: b")));
            run::closes(&mut raw, "GET", &[400])?;
            run::nothing_reached(house)
        })
        .script("a declared proxy's header", "the client is the one it names", |house| {
            let mut raw = proxy(house, "proxied")?;
            raw.send(format!("PROXY TCP4 203.0.113.9 127.0.0.1 1000 80\r\n{}", with("X-A: b")));
            raw.try_answer_to("GET")?;
            is_client(&one(house)?, "203.0.113.9")
        })
        .script("a declared proxy without a header", "closed", |house| proxied(house, with("X-A: b").as_bytes()))
        .script("a declared proxy that says nothing", "closed within the time for handshakes", |house| proxied(house, b""))
        .script("a declared proxy with a header that is too long", "closed", |house| {
            proxied(house, format!("PROXY TCP4 {}\r\n", "1".repeat(200)).as_bytes())
        })
        .script("a declared proxy with 60 KB of extensions", "closed", |house| {
            let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xf0\x00".to_vec();
            bytes.extend(vec![0; 0xf000]);
            proxied(house, &bytes)
        })
        .script("a declared proxy with two headers", "400; the origin sees nothing", |house| {
            let header = "PROXY TCP4 203.0.113.9 127.0.0.1 1000 80\r\n";
            proxied(house, format!("{header}PROXY TCP4 {FORGED} 127.0.0.1 1 80\r\n{}", with("X-A: b")).as_bytes())
        })
}

/// A declared proxy that sends this is refused.
fn proxied(house: &House, bytes: &[u8]) -> Result<(), String> {
    let mut raw = proxy(house, "proxied")?;
    raw.send(bytes);
    run::closes(&mut raw, "GET", &[0, 400])?;
    run::nothing_reached(house)
}

fn hosts() -> Rows {
    fn ask(house: &House, name: &str, host: &str, path: &str) -> Result<u16, String> {
        let mut raw = Raw::connect_tls(house.at("tls"), name, &house.ca, &["http/1.1"])
            .map_err(|error| error.to_string())?;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        Ok(raw.try_answer_to("GET")?.status)
    }
    fn expect(house: &House, name: &str, host: &str, path: &str, status: u16) -> Result<(), String> {
        match ask(house, name, host, path)? {
            given if given == status && status == 200 => Ok(()),
            given if given == status => run::nothing_reached(house),
            given => Err(format!("{given} instead of {status}")),
        }
    }
    fn stream(house: &House, name: &str, authority: &str) -> Result<(), String> {
        let raw =
            Raw::connect_tls(house.at("tls"), name, &house.ca, &["h2"]).map_err(|error| error.to_string())?;
        let mut frames = Frames::over(raw, &[]);
        let mut fields = run::request("GET", "/public/get");
        for field in &mut fields {
            match field.0 {
                b":authority" => field.1 = authority.as_bytes(),
                b":scheme" => field.1 = b"https",
                _ => {}
            }
        }
        frames.request(1, &fields, true);
        match frames.outcome(1, Duration::from_secs(5)) {
            Outcome::Answered(421, _) => run::nothing_reached(house),
            other => Err(format!("it got {other:?}")),
        }
    }
    Rows::of(46)
        .script("the handshake's own name", "200", |house| expect(house, "a.test", "a.test", "/public/get", 200))
        .script("the handshake's own name in capitals", "200", |house| expect(house, "a.test", "A.TEST:443", "/public/get", 200))
        .script("the name of another certificate", "421; the origin sees nothing", |house| {
            expect(house, "a.test", "b.test", "/public/get", 421)
        })
        .script("another name of the same certificate", "421; the origin sees nothing", |house| {
            expect(house, "a.test", "shared.test", "/public/get", 421)
        })
        .script("a route of another host by the wrong handshake", "421; the origin sees nothing", |house| {
            expect(house, "a.test", "b.test", "/only-b", 421)
        })
        .script("a route of another host by the right handshake", "200", |house| expect(house, "b.test", "b.test", "/only-b", 200))
        .script("an address instead of the name", "421; the origin sees nothing", |house| {
            expect(house, "a.test", "127.0.0.1", "/public/get", 421)
        })
        .script("the name of another certificate in HTTP/2", "421; the origin sees nothing", |house| stream(house, "a.test", "b.test"))
        .script("another name of the same certificate in HTTP/2", "421; the origin sees nothing", |house| {
            stream(house, "a.test", "shared.test")
        })
        .script("a second request for another host on one connection", "200, then 421", |house| {
            let mut raw = Raw::connect_tls(house.at("tls"), "a.test", &house.ca, &["http/1.1"]).map_err(|error| error.to_string())?;
            raw.send("GET /public/get HTTP/1.1\r\nHost: a.test\r\n\r\nGET /public/get HTTP/1.1\r\nHost: b.test\r\n\r\n");
            match (raw.try_answer_to("GET")?.status, raw.try_answer_to("GET")?.status) {
                (200, 421) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
}

fn secrets() -> Rows {
    Rows::of(55)
        .script(
            "an upstream's credential replaces what a caller sends",
            "the origin gets ours alone; the caller never sees it",
            |house| {
                let mut raw = house.raw();
                raw.send(
                    "GET /with-credential HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer forged\r\n\r\n",
                );
                let answer = raw.try_answer_to("GET")?;
                let received = one(house)?;
                nothing_forged(&received)?;
                if received.header("authorization") != Some(&format!("Bearer {UPSTREAM_SECRET}")) {
                    return Err("the origin got another credential".to_owned());
                }
                let told = format!("{answer:?}").contains(UPSTREAM_SECRET);
                if told { Err("the caller saw it".to_owned()) } else { Ok(()) }
            },
        )
        .script(
            "keys and credentials in logs and answers",
            "in none, also when they are wrong or stand in a URL",
            |house| {
                let key = house.key.clone();
                let mut wrong = key.clone();
                wrong.pop();
                wrong.push('0');
                let mut answers = String::new();
                for (path, fields) in [
                    ("/admin/get".to_owned(), format!("X-API-Key: {key}\r\n")),
                    ("/admin/get".to_owned(), format!("X-API-Key: {wrong}\r\n")),
                    (format!("/public/get?api_key={key}&token={key}"), String::new()),
                    (
                        "/public/get".to_owned(),
                        format!("Cookie: session={key}\r\nAuthorization: Bearer {key}\r\n"),
                    ),
                    ("/nothing".to_owned(), format!("X-API-Key: {key}\r\n")),
                ] {
                    let mut raw = house.raw();
                    raw.send(format!(
                        "GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}Connection: close\r\n\r\n"
                    ));
                    let answer = raw.try_answer_to("GET")?;
                    // The origin repeats its target: that is its own doing.
                    if answer.status != 200 {
                        answers.push_str(&format!("{answer:?}"));
                    }
                }
                house.origin.take();
                std::thread::sleep(Duration::from_millis(500));
                let mut written = house.gateway.stdout();
                written.extend(house.gateway.stderr());
                written.push(answers);
                for secret in [key.as_str(), wrong.as_str(), UPSTREAM_SECRET] {
                    if let Some(line) = written.iter().find(|line| line.contains(secret)) {
                        return Err(format!("it is in: {}", line.replace(secret, "(the secret)")));
                    }
                }
                Ok(())
            },
        )
}
