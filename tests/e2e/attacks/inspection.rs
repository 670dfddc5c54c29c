//! Bodies that hide something, and bodies that cost: before the gateway's own rules.

use std::time::{Duration, Instant};

use bartizan_e2e::{Row, table::Rows};
use bartizan_testkit::{Client, Documents, Gateway, Origin};

pub(crate) fn rows() -> Vec<Row> {
    [bombs(), deep(), entities(), many(), expressions(), opaque(), parts(), padded(), types(), places()]
        .into_iter()
        .flat_map(Rows::done)
        .collect()
}

/// A gateway that judges, and the origin behind it.
struct Judged {
    gateway: Gateway,
    origin: Origin,
    _documents: Documents,
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const INJECTION: &str = "1' OR '1'='1";

impl Judged {
    fn start() -> Judged {
        let origin = Origin::answering("ok");
        let documents = Documents::one(format!(
            "apiVersion: management.v1\nkind: Listener\nmetadata: {{ name: web }}\n\
             spec: {{ addresses: [\"127.0.0.1:0\"], admission: {{ bodyBytes: 16MiB }} }}\n\
             ---\napiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: one }}\nspec: {{ endpoints: [{{ url: \"{}\" }}] }}\n\
             ---\napiVersion: management.v1\nkind: Route\nmetadata: {{ name: one }}\n\
             spec: {{ rules: [{{ matches: [{{ path: {{ value: / }} }}], backendRefs: [{{ name: one }}] }}] }}\n\
             ---\napiVersion: management.v1\nkind: InspectionPolicy\nmetadata: {{ name: attacks }}\nspec: {{ ruleSets: [baseline] }}\n",
            origin.url()
        ));
        let start =
            Gateway::starting("run").arg("--config").arg(documents.path()).arg("--admin").arg("127.0.0.1:0");
        let gateway = start.arg("--drain").arg("1").start();
        Judged { gateway, origin, _documents: documents }
    }

    fn post(&self, headers: &[(&str, &str)], body: impl Into<String>) -> u16 {
        let client = Client::http1(self.gateway.address("web")).with_authority("api.test");
        client.call("POST", "/", headers, body.into()).status.as_u16()
    }

    /// Refused with one of these codes, and the origin saw nothing.
    fn refuses(
        &self,
        codes: &[u16],
        headers: &[(&str, &str)],
        body: impl Into<String>,
    ) -> Result<(), String> {
        let status = self.post(headers, body);
        if !codes.contains(&status) {
            return Err(format!("answered {status}"));
        }
        match self.origin.take().len() {
            0 => Ok(()),
            asked => Err(format!("the origin was asked {asked} times")),
        }
    }
}

fn each(cases: &[(&[(&str, &str)], String)], codes: &[u16]) -> Result<(), String> {
    let judged = Judged::start();
    for (headers, body) in cases {
        let start: String = body.chars().take(60).collect();
        judged.refuses(codes, headers, body.clone()).map_err(|why| format!("{headers:?} {start}: {why}"))?;
    }
    Ok(())
}

fn bombs() -> Rows {
    Rows::of(29).script("bodies in gzip, br and zstd, alone and stacked", "403, never unpacked", |_| {
        let codings = ["gzip", "br", "zstd", "deflate", "gzip, gzip", "x-gzip"];
        let headers: Vec<[(&str, &str); 2]> =
            codings.iter().map(|coding| [("content-type", JSON), ("content-encoding", *coding)]).collect();
        let cases: Vec<(&[(&str, &str)], String)> =
            headers.iter().map(|headers| (&headers[..], "\u{1f}\u{8b}".to_owned())).collect();
        each(&cases, &[403])
    })
}

fn deep() -> Rows {
    Rows::of(30)
        .script("JSON 100,000 levels deep", "403, no recursion, the process stays", |_| {
            let json: &[(&str, &str)] = &[("content-type", JSON)];
            let begun = Instant::now();
            each(&[(json, "[".repeat(100_000)), (json, "{\"a\":".repeat(100_000))], &[403])?;
            if begun.elapsed() > Duration::from_secs(20) { Err("it took long".to_owned()) } else { Ok(()) }
        })
        .not_yet(
            "nested GraphQL",
            "refused by depth",
            "queries in GraphQL are judged as text; their depth is not counted yet",
        )
}

fn entities() -> Rows {
    Rows::of(31).script("entity bombs, external entities, deep elements", "403", |_| {
        let xml: &[(&str, &str)] = &[("content-type", "text/xml")];
        let bomb =
            "<!DOCTYPE a [<!ENTITY b \"bbbbbbbbbb\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]><a>&c;</a>";
        let external = "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>";
        let deep = format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000));
        each(&[(xml, bomb.to_owned()), (xml, external.to_owned()), (xml, deep)], &[403])
    })
}

fn many() -> Rows {
    Rows::of(32).script("10,000 arguments, members and parts", "403", |_| {
        let form: &[(&str, &str)] = &[("content-type", FORM)];
        let json: &[(&str, &str)] = &[("content-type", JSON)];
        let multipart: &[(&str, &str)] = &[("content-type", "multipart/form-data; boundary=b")];
        let members: Vec<String> = (0..10_000).map(|number| format!("\"a{number}\":1")).collect();
        let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n";
        each(
            &[
                (form, "a=1&".repeat(10_000)),
                (json, format!("{{{}}}", members.join(","))),
                (multipart, format!("{}--b--\r\n", part.repeat(10_000))),
            ],
            &[403],
        )
    })
}

fn expressions() -> Rows {
    Rows::of(33).script("1 MB that is bad for expressions", "answered, others meanwhile too", |_| {
        let judged = Judged::start();
        for piece in ["'", "(", "/*", "%25", "a=a ", "\\u0027"] {
            let body = format!("[\"{}\"]", piece.repeat(900_000 / piece.len()));
            let begun = Instant::now();
            let status = judged.post(&[("content-type", JSON)], body);
            if ![200, 403].contains(&status) || begun.elapsed() > Duration::from_secs(25) {
                return Err(format!("{piece}: {status} after {:?}", begun.elapsed()));
            }
        }
        Ok(())
    })
}

fn opaque() -> Rows {
    Rows::of(36).script("twelve opaque bodies of 12 MB at once", "passed on, not held", |_| {
        let judged = Judged::start();
        let body = "\u{1}".repeat(12 << 20);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..12)
                .map(|_| {
                    scope.spawn(|| judged.post(&[("content-type", "application/octet-stream")], body.clone()))
                })
                .collect();
            calls.into_iter().filter_map(|call| call.join().ok()).collect()
        });
        let path = format!("/proc/{}/status", judged.gateway.pid());
        let status = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        if statuses != [200; 12] {
            return Err(format!("{statuses:?}"));
        }
        match peak {
            Some(kib) if kib < 160 << 10 => Ok(()),
            other => Err(format!("the gateway took {other:?} KiB")),
        }
    })
}

fn parts() -> Rows {
    Rows::of(62).script("two file names, two dispositions, odd boundaries", "403", |_| {
        let named = |head: &str| format!("--b\r\n{head}\r\n\r\n{INJECTION}\r\n--b--\r\n");
        let multipart: &[(&str, &str)] = &[("content-type", "multipart/form-data; boundary=b")];
        let twice: &[(&str, &str)] = &[("content-type", "multipart/form-data; boundary=b; boundary=c")];
        each(
            &[
                (multipart, named("Content-Disposition: form-data; name=\"a\"; name=\"b\"")),
                (multipart, named("Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"")),
                (multipart, named("Content-Disposition: form-data; name=\"a\"; filename=\"x\"; filename*=UTF-8''y")),
                (twice, named("Content-Disposition: form-data; name=\"a\"")),
                (multipart, format!("--b\nContent-Disposition: form-data; name=\"a\"\n\n{INJECTION}\n--b--\n")),
            ],
            &[403],
        )
    })
}

fn padded() -> Rows {
    Rows::of(63).script("a payload behind the limit of inspection", "413", |_| {
        let body = format!("a={}&q={INJECTION}", "x".repeat(1 << 20));
        each(&[(&[("content-type", FORM)], body)], &[413])
    })
}

fn types() -> Rows {
    Rows::of(64).script("JSON under other types, escapes in names and values", "403", |_| {
        let body = format!("{{\"q\":\"{INJECTION}\"}}");
        let kinds =
            ["application/json", "Application/JSON ; charset=utf-8", "application/vnd.x+json", "text/plain"];
        let headers: Vec<[(&str, &str); 1]> = kinds.iter().map(|kind| [("content-type", *kind)]).collect();
        let mut cases: Vec<(&[(&str, &str)], String)> =
            headers.iter().map(|headers| (&headers[..], body.clone())).collect();
        let json: &[(&str, &str)] = &[("content-type", "application/json")];
        cases.push((json, "{\"q\":\"1\\u0027 OR \\u00271\\u0027=\\u00271\"}".to_owned()));
        cases.push((json, format!("{{\"q\":1,\"\\u0071\":\"{INJECTION}\"}}")));
        each(&cases, &[403])
    })
}

fn places() -> Rows {
    Rows::of(65).script("a payload in a query, a cookie, a nested value, a part", "403", |_| {
        let judged = Judged::start();
        let client = Client::http1(judged.gateway.address("web")).with_authority("api.test");
        let query = client.get("/?a=1&b=1%27%20OR%20%271%27%3D%271", &[]).status.as_u16();
        let cookie = client.get("/", &[("cookie", "a=1' OR '1'='1")]).status.as_u16();
        if (query, cookie) != (403, 403) {
            return Err(format!("query {query}, cookie {cookie}"));
        }
        judged.refuses(
            &[403],
            &[("content-type", JSON)],
            format!("{{\"a\":[{{\"b\":[\"{INJECTION}\"]}}]}}"),
        )?;
        let part =
            format!("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{INJECTION}\r\n--b--\r\n");
        judged.refuses(&[403], &[("content-type", "multipart/form-data; boundary=b")], part)
    })
}
