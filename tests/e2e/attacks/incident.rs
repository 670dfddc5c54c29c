//! What happened to other gateways, as far as it can happen here today.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use bartizan_e2e::{House, Row, table::Rows};
use bartizan_testkit::{Client, Documents, Gateway, Origin, Raw};

pub(crate) fn rows() -> Vec<Row> {
    [
        half_a_set(),
        before_the_first(),
        administration(),
        together(),
        reasons(),
        large(),
        neighbours(),
        open_administration(),
    ]
    .into_iter()
    .flat_map(Rows::done)
    .collect()
}

const LISTENER: &str = "apiVersion: management.v1\nkind: Listener\nmetadata: { name: web }\nspec: { addresses: [\"127.0.0.1:0\"] }\n";

fn route(origin: &Origin, path: &str) -> String {
    format!(
        "---\napiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: one }}\nspec: {{ endpoints: [{{ url: \"{}\" }}] }}\n\
         ---\napiVersion: management.v1\nkind: Route\nmetadata: {{ name: one }}\n\
         spec: {{ rules: [{{ matches: [{{ path: {{ value: {path} }} }}], backendRefs: [{{ name: one }}] }}] }}\n",
        origin.url()
    )
}

fn starting(documents: &Documents) -> bartizan_testkit::gateway::Start {
    Gateway::starting("run")
        .arg("--config")
        .arg(documents.path())
        .arg("--admin")
        .arg("127.0.0.1:0")
        .arg("--drain")
        .arg("1")
}

/// A start that must not succeed.
fn refused(text: String) -> Result<(), String> {
    let (status, _, errors) = starting(&Documents::one(text)).finish();
    match status {
        Some(0) | None => Err(format!("it ended with {status:?}: {errors}")),
        Some(_) if errors.is_empty() => Err("it said nothing".to_owned()),
        Some(_) => Ok(()),
    }
}

fn half_a_set() -> Rows {
    Rows::incident(1)
        .script("a set without a route (Kong #12861)", "does not start, and says why", |_| refused(LISTENER.to_owned()))
        .script("an empty set", "does not start, and says why", |_| refused(String::new()))
        .script("a policy for a route that is not there", "does not start, and says why", |_| {
            let origin = Origin::answering("");
            refused(format!(
                "{LISTENER}{}---\napiVersion: management.v1\nkind: AuthenticationPolicy\nmetadata: {{ name: keyed }}\n\
                 spec: {{ targetRefs: [{{ kind: Route, name: two }}], methods: [{{ type: ApiKey }}] }}\n",
                route(&origin, "/")
            ))
        })
        .script("a policy with a field that is not known", "does not start, and says why", |_| {
            let origin = Origin::answering("");
            refused(format!(
                "{LISTENER}{}---\napiVersion: management.v1\nkind: AuthenticationPolicy\nmetadata: {{ name: keyed }}\n\
                 spec: {{ methods: [{{ type: ApiKey }}], enforced: true }}\n",
                route(&origin, "/")
            ))
        })
        .beside("a broken, an empty and a half set while running", "the last good set serves on", |_| {
            let origin = Origin::answering("good");
            let documents = Documents::new([("a.yaml", LISTENER.to_owned()), ("b.yaml", route(&origin, "/"))]);
            let gateway = starting(&documents).start();
            let address = gateway.address("web");
            let serves = || {
                let mut raw = Raw::connect(address);
                let answer = raw.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n").try_answer_to("GET");
                answer.is_ok_and(|answer| answer.status == 200)
            };
            for text in ["not: [a document", "", "apiVersion: management.v1\nkind: Route\nmetadata: { name: one }\nspec: {}\n"] {
                documents.write("b.yaml", text);
                gateway.signal("HUP");
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(1_200) {
                    if !serves() {
                        return Err(format!("with {text:?} it does not serve any more"));
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            documents.write("b.yaml", route(&origin, "/new"));
            gateway.signal("HUP");
            let start = Instant::now();
            while serves() {
                if start.elapsed() > Duration::from_secs(8) {
                    return Err("a good set did not go live behind the broken ones".to_owned());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        })
        .beside("100 reloads under load (Tyk #1402)", "no request fails", |_| {
            let origin = Origin::answering("good");
            let documents = Documents::new([("a.yaml", LISTENER.to_owned()), ("b.yaml", route(&origin, "/"))]);
            let gateway = starting(&documents).start();
            let client = Client::http1(gateway.address("web")).with_authority("a.test");
            let mut count = 0;
            for number in 0..100 {
                documents.write("b.yaml", format!("# {number}\n{}", route(&origin, "/")));
                gateway.signal("HUP");
                for _ in 0..5 {
                    let answer = client.get("/x", &[]);
                    if answer.status != 200 {
                        return Err(format!("request {count} got {}", answer.status));
                    }
                    count += 1;
                }
            }
            Ok(())
        })
}

fn before_the_first() -> Rows {
    Rows::incident(2).script("a start with documents that have a problem (Traefik)", "no socket is bound before the set is good", |_| {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let address = taken.local_addr().map_err(|error| error.to_string())?;
        drop(taken);
        let documents = Documents::one(format!(
            "{}---\napiVersion: management.v1\nkind: Route\nmetadata: {{ name: one }}\nspec: {{ rules: [] }}\n",
            LISTENER.replace("127.0.0.1:0", &address.to_string())
        ));
        let (status, ..) = starting(&documents).finish();
        let bound = std::net::TcpStream::connect(address).is_ok();
        if status != Some(0) && !bound { Ok(()) } else { Err(format!("{status:?}, bound: {bound}")) }
    })
}

fn administration() -> Rows {
    Rows::incident(3)
        .script(
            "the management listener's name as host on the data plane (LiteLLM CVE-2026-35030)",
            "404: what no route names is not there",
            |house| {
                let admin = house.gateway.address("admin");
                for target in [
                    "/metrics".to_owned(),
                    format!("http://{admin}/metrics"),
                    "/public/..;/metrics".to_owned(),
                ] {
                    let host =
                        if target.starts_with("http") { admin.to_string() } else { "localhost".to_owned() };
                    let mut raw = house.raw();
                    raw.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                    let answer = raw.try_answer_to("GET")?;
                    if !matches!(answer.status, 400 | 404) {
                        return Err(format!("{target} got {}", answer.status));
                    }
                }
                Ok(())
            },
        )
        .script(
            "a foreign name on the management listener (DNS rebinding)",
            "421 or 403, and no metrics",
            |house| {
                let mut raw = Raw::connect(house.gateway.address("admin"));
                raw.send("GET /metrics HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n");
                let answer = raw.try_answer_to("GET")?;
                let tells = answer.text().contains("bartizan_");
                if matches!(answer.status, 400 | 403 | 421) && !tells {
                    Ok(())
                } else {
                    Err(format!("it got {}", answer.status))
                }
            },
        )
        .script(
            "an `Authorization` that is a query, a path, a megabyte",
            "never more than without one",
            |house| {
                for value in ["Bearer ' OR 1=1 --", "Bearer ../../admin", "Basic %00", "Bearer \u{e9}"] {
                    let mut raw = house.raw();
                    raw.send(format!(
                        "GET /admin/get HTTP/1.1\r\nHost: a.test\r\nAuthorization: {value}\r\n\r\n"
                    ));
                    let answer = raw.try_answer_to("GET")?;
                    if answer.status != 401 {
                        return Err(format!("{value:?} got {}", answer.status));
                    }
                }
                bartizan_e2e::run::nothing_reached(house)
            },
        )
        .script("keys that are none", "401; the origin sees nothing", |house| {
            let (half, _) = house.key.split_at(house.key.len() / 2);
            let upper = house.key.to_ascii_uppercase();
            for value in [
                "",
                " ",
                "x",
                "null",
                "undefined",
                "bz_",
                half,
                &upper,
                &format!("{}x", house.key),
                "' OR 1=1 --",
                "\u{e9}",
            ] {
                let mut raw = house.raw();
                raw.send(format!("GET /admin/get HTTP/1.1\r\nHost: a.test\r\nX-API-Key: {value}\r\n\r\n"));
                let answer = raw.try_answer_to("GET")?;
                if answer.status != 401 {
                    return Err(format!("{value:?} got {}", answer.status));
                }
            }
            bartizan_e2e::run::nothing_reached(house)
        })
}

fn together() -> Rows {
    Rows::incident(4).script(
        "200 calls at once against 50 an hour (Kong #11846)",
        "exactly 50 are served, whichever core they meet",
        |house| {
            let counts: Vec<(usize, usize)> = std::thread::scope(|scope| {
                let callers: Vec<_> = (0..20).map(|_| scope.spawn(|| calls(house))).collect();
                callers.into_iter().map(|caller| caller.join().unwrap_or_default()).collect()
            });
            let served: usize = counts.iter().map(|(served, _)| served).sum();
            let limited: usize = counts.iter().map(|(_, limited)| limited).sum();
            house.quiet.take();
            if (served, limited) == (50, 150) {
                Ok(())
            } else {
                Err(format!("{served} served and {limited} limited"))
            }
        },
    )
}

fn calls(house: &House) -> (usize, usize) {
    let client = house.caller();
    let statuses: Vec<u16> = (0..10).map(|_| client.get("/limited/x", &[]).status.as_u16()).collect();
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    (count(200), count(429))
}

fn reasons() -> Rows {
    Rows::incident(5).script(
        "every refusal of the pipeline (APIPark #186)",
        "a problem document with a code, and the request id in body and header",
        |house| {
            let long = format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "x".repeat(9_000));
            let cases: [(&str, u16); 9] = [
                ("GET /nothing HTTP/1.1\r\nHost: a.test\r\n\r\n", 404),
                ("GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n", 401),
                ("POST /only-get HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", 405),
                ("GET /public//x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
                ("FOO /public HTTP/1.1\r\nHost: a.test\r\n\r\n", 501),
                ("POST /public HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2000000\r\n\r\n", 413),
                ("POST /public HTTP/1.1\r\nHost: a.test\r\nExpect: x\r\nContent-Length: 0\r\n\r\n", 417),
                ("GET /bad/garbage HTTP/1.1\r\nHost: a.test\r\n\r\n", 502),
                (&long, 414),
            ];
            for (request, status) in cases {
                let line = request.lines().next().unwrap_or_default();
                let answer = house
                    .raw()
                    .send(request.replace("Host: a.test", "Host: a.test\r\nX-Request-ID: id-7"))
                    .try_answer_to("GET")?;
                let told = answer.header("content-type") == Some("application/problem+json")
                    && answer.header("x-request-id") == Some("id-7")
                    && answer.text().contains("\"requestId\":\"id-7\"")
                    && answer.text().contains("\"code\":\"");
                if answer.status != status || !told {
                    return Err(format!("{line:.60} got {answer:?}"));
                }
            }
            Ok(())
        },
    )
}

fn large() -> Rows {
    Rows::incident(6)
        .script(
            "a body of 10 MB where 8 MB are allowed (Envoy AI #828)",
            "413, a problem document",
            |house| {
                let mut raw = house.raw();
                raw.send("POST /quiet/post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10000000\r\n\r\n");
                let answer = raw.try_answer_to("POST")?;
                let told = answer.text().contains("BodyTooLarge");
                if answer.status == 413 && told { Ok(()) } else { Err(format!("it got {answer:?}")) }
            },
        )
        .script("a body of 8 MB where 8 MB are allowed", "served whole, memory stays", |house| {
            let before = bartizan_testkit::process::resident(house.gateway.pid());
            let answer = house.caller().call("POST", "/quiet/post", &[], vec![b'x'; 8_000_000]);
            let grown = bartizan_testkit::process::resident(house.gateway.pid()).saturating_sub(before);
            let length = house.quiet.take().first().map(|received| received.body.len());
            if answer.status == 200 && length == Some(8_000_000) && grown < 8 * 1024 * 1024 {
                Ok(())
            } else {
                Err(format!("{} with {length:?} bytes, {grown} bytes more memory", answer.status))
            }
        })
}

fn neighbours() -> Rows {
    Rows::incident(7).script(
        "four callers take large answers without end (APISIX #13256)",
        "most of another's calls stay below half a second",
        |house| {
            let ended = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let client = house.caller();
                        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                            client.get("/quiet/large", &[]);
                        }
                    });
                }
                let mut took = Vec::new();
                let mut outcome = Ok(());
                for _ in 0..40 {
                    let start = Instant::now();
                    outcome = house.serves_others();
                    took.push(start.elapsed());
                    if outcome.is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                ended.store(true, std::sync::atomic::Ordering::Relaxed);
                outcome?;
                // The median: a busy machine may hold up one call, a starved gateway holds up them all.
                took.sort();
                let median = took.get(took.len() / 2).copied().unwrap_or_default();
                if median < Duration::from_millis(500) {
                    Ok(())
                } else {
                    Err(format!("the median is {median:?}"))
                }
            })
        },
    )
}

fn open_administration() -> Rows {
    Rows::incident(8).script(
        "a management listener on every address (APISIX #5070)",
        "does not start, and says why",
        |_| {
            let origin = Origin::answering("");
            let documents = Documents::one(format!("{LISTENER}{}", route(&origin, "/")));
            let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).to_string();
            let start =
                Gateway::starting("run").arg("--config").arg(documents.path()).arg("--admin").arg(everywhere);
            let (status, _, errors) = start.finish();
            if status == Some(0) || status.is_none() || errors.is_empty() {
                return Err(format!("it ended with {status:?}: {errors}"));
            }
            Ok(())
        },
    )
}
