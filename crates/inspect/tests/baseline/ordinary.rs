//! What honest clients of APIs send. None of it is refused: not one.

use std::sync::Arc;

use crate::{
    ftw::{self, Request},
    place,
};

/// Values as people and programs write them; each stands in a query, a form, a JSON and a multipart body.
const VALUES: &[&str] = &[
    // Names, addresses, numbers, times.
    "O'Brien",
    "D'Arcy & Söhne GmbH",
    "Jean-Luc d'Ormesson",
    "Conan O'Brien and Sinéad O'Connor",
    "Müller-Lüdenscheidt",
    "12 Main St., Apt #5",
    "c/o Smith; 3rd floor",
    "AT&T",
    "R&D",
    "Q&A",
    "rock & roll",
    "C++ or C#",
    "50% off!",
    "$19.99",
    "1,299.00 €",
    "+1 (555) 010-9999",
    "jane.miller+test@example.com",
    "john+or@example.com",
    "#hashtag @mention",
    "2026-11-22T17:00:00+01:00",
    "10:30-11:45",
    "-122.42,37.77",
    "1/2",
    "3:1",
    "1 - 2 = -1",
    "a=b",
    "x < y and y > z",
    "5 > 3",
    "h2<h1",
    "1) a-b=c",
    "7f9c24e5-2f6b-4c1a-9b7e-0d3c5a1e8f42",
    "01J9ZQ4Y0Q6Y4J8R1V5K2N3M7P",
    "*/5 0 * * 1-5",
    "0 0 1 1 *",
    "@daily",
    "192.0.2.1",
    "2001:db8::1",
    "10.0.0.0/8",
    "v1.2.3-rc.1+build.5",
    "sha256:9f86d081884c7d659a2feaa0c55ad015",
    // Words of attack languages in prose.
    "We sell tables, chairs and the best select coffee; order by Friday.",
    "Please select a date from the list.",
    "Drop the table off at the union hall; insert coin into slot.",
    "the trade union selected a committee",
    "update your settings where possible",
    "delete from cart",
    "Order by phone or by mail",
    "having fun and 5 beers",
    "I like 'this' and 'that'.",
    "She said 'or else' and left -- nobody knows why.",
    "It's Jane's and Tom's order; don't ring the bell.",
    "where is the exit?",
    "case when you need it",
    "cast the first stone",
    "group by age or income",
    "Create a table for two; the waiter executes the order",
    "union jack, select few",
    "exec summary attached",
    "bash away in the gym",
    "curl and divergence",
    "echo in the mirror",
    "cat and dog; mouse",
    "ls 300 lexus",
    "nc 8000 controller",
    "ping me later; thanks",
    "more | less the same",
    "cut & paste",
    "find my phone; sort of",
    "java lang courses",
    "JavaScript: Basics of the language",
    "TypeScript: a superset",
    "An alert (red) was sent",
    "confirm (see below) the prompt reply",
    "on load, the cart = empty",
    "script for the play",
    "<3 you",
    "a <b> c",
    "if a < b then c",
    "I love <3 this product",
    "Use the <strong>bold</strong> option",
    "See https://example.com/docs?a=1&b=2#top for more.",
    "ftp and http",
    "The file: see below",
    "profile: public",
    "data: 5 rows",
    "my router is at http://192.168.1.1/ help",
    "Price: ${price} per unit",
    "Dear {{ customer.first_name }}, your order {{ order.id }} shipped.",
    "Hello %s, you have %d messages",
    "{name}",
    "#{id}",
    "%(name)s",
    "[[link]]",
    "{% if user %}Hi{% endif %}",
    "time.sleep(5)",
    "constructor",
    "prototype",
    "the __init__ method",
    "eval board rev 2",
    "system (main) exec",
    "etc. and so on",
    "and/or",
    "../images/logo.png",
    "./src/main.rs",
    "a..b",
    "...",
    "C:\\Users\\jane\\Documents\\report.docx",
    "\\\\share\\folder",
    "node_modules/.bin",
    "/api/v1/users/42",
    "/home",
    "/usr",
    "null",
    "undefined",
    "true",
    "NaN",
    "None",
    "-1",
    "0x1F",
    "1e10",
    "--",
    "-- ",
    "#",
    "'",
    "\"",
    "''",
    "`",
    ";",
    "|",
    "&",
    "*",
    "()",
    "{}",
    "[]",
    "?",
    "\\",
    // Code, as comments and issue trackers hold it.
    "`let x = foo(a, b);` does not compile",
    "fn main() { println!(\"hello {}\", name); }",
    "if (a && b || c) { return d; }",
    "for i in range(10): print(i)",
    "SELECT is a keyword of SQL",
    "const x = arr.map(v => v * 2).filter(Boolean);",
    "# Heading\n\n- one\n- two\n\n> quote\n\n```rust\nlet a = 1;\n```\n",
    "| id | name | type |\n|----|------|------|\n| 1 | more | sort |\n",
    "**bold** _it_ ~~gone~~ [link](https://example.com) ![img](https://example.com/a.png)",
    "/* comment */ a /* b */",
    "// TODO: fix",
    "a ? b : c",
    "x = y == z",
    "git commit -m 'fix'",
    "npm install && npm test",
    "class MyError(Exception):\n    def __init__(self):\n        super().__init__(\"x\")",
    "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\nValueError: no",
    "def f(x):\n    return x['a'] and x[\"b\"] or None",
    "function add(a, b) { return a + b; }",
    "body { color: red; margin: 0 auto }",
    "key: value\nlist:\n  - a\n  - b",
    "name,age\nJane,30\nTom,40",
    "int main(void) { return 0; }",
    "import os, sys",
    // Regular expressions and queries.
    "^[a-z0-9._%+-]+@[a-z0-9.-]+\\.[a-z]{2,}$",
    "\\d{3}-\\d{4}",
    "(?i)foo|bar",
    "status:open AND priority>3",
    "price:[10 TO 20]",
    "title:\"blue shoes\" OR tag:sale",
    "created_at >= '2026-01-01'",
    "name eq 'Milk' and price lt 2.55",
    "$.store.book[0].title",
    "name~\"Jo*\"",
    "(a OR b) AND NOT c",
    // Other scripts.
    "中文标题：这是一个普通的句子（真的），对吗？",
    "「引用」；《书名》！",
    "مرحبا بالعالم، هذا نص عادي؛ هل هو كذلك؟",
    "Schöne Grüße aus Köln, bis nächste Woche!",
    "Ça va ? L'été à l'Île-d'Yeu",
    "Привет, как дела?",
    "こんにちは。元気ですか",
    "안녕하세요",
    "שלום עולם",
    "Trevi\u{f1}o",
    "Great work 🎉🚀 see you at 5 😀👩‍💻",
    "¡Hola! ¿Qué tal?",
    "naïve café – “quoted” ‘text’…",
    // Encoded and opaque values.
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    "YXJyYXljb25uZWN0aW9uOjEw",
    "Y3Vyc29yOnYyOpK5MjAyNi0xMS0yMlQxNzowMDowMCswMTowMM4AAfc=",
    "SGVsbG8sIHdvcmxkISBIb3cgYXJlIHlvdT8=",
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    "https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc",
    "a%20b",
    "100%25",
    "&amp;",
    "Fish &amp; Chips",
    "{\"a\":{\"b\":[1,2,{\"c\":\"d\"}]}}",
    "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUe\n-----END CERTIFICATE-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx jane@laptop",
    "AKIA and friends",
    "W/\"33a64df5\"",
    "urn:isbn:0451450523",
    "mailto:jane@example.com",
    "tel:+15550109999",
];

fn requests() -> Vec<Request> {
    let get = |target: &str| place::request("GET", target, "", b"");
    let json = |body: &str| place::request("POST", "/api/v1/items", "application/json", body.as_bytes());
    let graphql = |query: &str| {
        let body = serde_json::json!({ "operationName": "Q", "query": query, "variables": { "id": "42", "first": 10 } });
        place::request("POST", "/graphql", "application/json", body.to_string().as_bytes())
    };
    let form =
        |body: &str| place::request("POST", "/login", "application/x-www-form-urlencoded", body.as_bytes());
    let file = |name: &str, content: &str| {
        let body = format!(
            "--b7Q\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nHoliday pictures, part 2\r\n--b7Q\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: image/png\r\n\r\n{content}\r\n--b7Q--\r\n"
        );
        place::request("POST", "/upload", "multipart/form-data; boundary=\"b7Q\"", body.as_bytes())
    };
    vec![
        get("/"),
        get("/api/v1/orders?customer=12345&status=open&sort=-created_at&page=2&per_page=50"),
        get("/search?q=%E4%B8%AD%E6%96%87&hl=zh-CN"),
        get("/callback?code=4%2F0AY0e-g7&state=af0ifjsldkj&scope=openid%20email"),
        get(
            "/authorize?client_id=a&redirect_uri=http%3A%2F%2F127.0.0.1%3A49152%2Fcallback&response_type=code&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
        get("/login?returnTo=%2Fdashboard%3Ftab%3Dorders&next=https%3A%2F%2Fapp.example.com%2F"),
        get("/assets/app.3f2a1b.min.js?v=1.2.3"),
        get("/users/jane.miller%40example.com/profile"),
        get("/files/Annual%20Report%20(final)%20-%20v2.pdf"),
        get("/events?from=2026-01-01T00:00:00Z&to=2026-12-31T23:59:59%2B02:00"),
        get(
            "/items?filter%5Bprice%5D%5B%24gte%5D=10&filter%5Bname%5D%5B%24in%5D%5B0%5D=a&sort%5B0%5D=name%3Aasc",
        ),
        get("/items?filter[price][gte]=10&fields[articles]=title,body&include=author,comments.author"),
        get(
            "/odata/Products?$filter=Price%20gt%205%20and%20startswith(Name,'Mi')&$orderby=Name%20desc&$top=10",
        ),
        get("/map?bbox=-122.42,37.77,-122.40,37.80&zoom=12.5"),
        get("/?utm_source=newsletter&utm_medium=email&utm_campaign=fall_2026&gclid=EAIaIQobChMI-7_0"),
        get("/.well-known/openid-configuration"),
        get("/proxy?url=https%3A%2F%2Fcdn.example.com%2Fimg.png%3Fw%3D200"),
        get("/socket.io/?EIO=4&transport=polling&t=OeXyz12"),
        get("/sse?lastEventId=00000000-0000-0000-0000-000000000000"),
        form("user=jane&password=Tr0ub4dor%263%27%3B--x&remember=on"),
        form("message=Dear+team%2C%0D%0A%0D%0Aplease+select+a+date+from+the+list.%0D%0AThanks%21"),
        json("[]"),
        json(r#"{"empty":"","none":null,"list":[],"object":{},"deep":[[[["x"]]]]}"#),
        json(
            r#"{"customer":{"id":12345,"name":"Jane O'Hara","email":"jane@example.com"},"total":19.99,"paid":true}"#,
        ),
        json(
            r#"{"@context":"https://schema.org","@type":"Person","@id":"https://example.com/jane","name":"Jane"}"#,
        ),
        json(
            r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","$ref":"#/$defs/a","$defs":{"a":{"type":"string","pattern":"^[a-z]+$"}}}"##,
        ),
        json(r#"{"op":"replace","path":"/a/b/c","value":"x"}"#),
        json(
            r#"{"jsonrpc":"2.0","method":"eth_call","params":[{"to":"0x0000000000000000000000000000000000000000"},"latest"],"id":1}"#,
        ),
        json(
            r#"{"query":{"bool":{"must":[{"match":{"title":"shoes"}}],"filter":[{"range":{"price":{"gte":10,"lte":20}}}]}},"size":10}"#,
        ),
        json(r#"{"filter":{"price":{"$gte":10},"tags":{"$in":["a","b"]}},"sort":{"name":1}}"#),
        json(r#"{"events":[{"type":"click","selector":"div.cart > a:nth-child(2)","at":1763830800}]}"#),
        json(
            r#"{"webhook":{"url":"https://hooks.example.com/t/1","secret":"whsec_x","events":["order.created"]}}"#,
        ),
        json(
            r#"{"model":"m","messages":[{"role":"user","content":"Write a haiku about the sea; keep it simple."}],"temperature":0.7}"#,
        ),
        json(
            r#"{"html":"<p>Hello <em>world</em>, see <a href=\"https://example.com\">this</a>.</p><ul><li>one</li></ul>"}"#,
        ),
        json(r#"{"cron":"*/15 * * * *","tz":"Europe/Berlin","command":"report"}"#),
        json(r#"{"image":"registry.example.com/app:1.2.3","env":{"LOG_LEVEL":"info","PATH_PREFIX":"/api"}}"#),
        json(r#"{"user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}"#),
        graphql(
            "query Orders($id: ID!, $first: Int = 10) { orders(customer: $id, first: $first) { edges { node { id total items { sku quantity } } } pageInfo { hasNextPage endCursor } } }",
        ),
        graphql(
            "mutation { addNote(input: {text: \"It's Jane's order\", tags: [\"a\", \"b\"]}) { note { id } } }",
        ),
        graphql(
            "query IntrospectionQuery { __schema { queryType { name } types { ...FullType } directives { name locations args { ...InputValue } } } } fragment FullType on __Type { kind name fields(includeDeprecated: true) { name args { ...InputValue } type { ...TypeRef } } } fragment InputValue on __InputValue { name type { ...TypeRef } defaultValue } fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }",
        ),
        graphql(
            "{ a: user(id: 1) { name } b: user(id: 2) { name } me @include(if: $x) { ...F @skip(if: $y) } }\n# comment\n",
        ),
        get("/graphql?query=%7B%20user(id%3A%20%221%22)%20%7B%20name%20%7D%20%7D"),
        place::request("PATCH", "/api/v1/items/5", "application/merge-patch+json", br#"{"name":null}"#),
        place::request("PUT", "/files/a", "application/octet-stream", b"\x00\x01\xff<script>binary"),
        place::request(
            "POST",
            "/logs",
            "text/plain",
            b"2026-11-22 17:00:00 INFO started in 5 ms; 3 workers\n",
        ),
        place::request("POST", "/bulk", "application/x-ndjson", b"{\"index\":{}}\n{\"title\":\"a\"}\n"),
        place::request("DELETE", "/api/v1/items/5", "", b""),
        place::request("OPTIONS", "/api/v1/items", "", b""),
        place::xml("<order><id>5</id><name>Jane &amp; Tom</name><note>O'Brien</note></order>"),
        place::xml(
            "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><Get><Id>5</Id></Get></soap:Body></soap:Envelope>",
        ),
        file("holiday-2026.png", "\u{89}PNG data <script> in bytes"),
        file("Résumé (final) v2.pdf", "content"),
        file("notes.md", "# Select one\n"),
        place::header(
            "Authorization",
            "Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
        ),
        place::header("Authorization", "Basic amFuZTpwYXNzd29yZA=="),
        place::header("Referer", "https://www.example.com/search?q=blue+shoes&page=2#results"),
        place::header("If-None-Match", "W/\"33a64df551425fcc55e4d42a148795d9f25f89d4\", \"x\""),
        place::header(
            "Cookie",
            "session=4f6a1c0b; theme=dark; _ga=GA1.2.123.456; prefs={\"a\":1}; consent=CPzHq4APzHq4A.YAAAAAAAA",
        ),
        place::header(
            "Accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        ),
        place::header(
            "User-Agent",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        ),
        place::header("User-Agent", "python-requests/2.32.3"),
        place::header("User-Agent", "kube-probe/1.30"),
        place::header("X-Forwarded-For", "203.0.113.7, 10.0.0.1"),
        place::header("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        place::header("Range", "bytes=0-1023"),
        place::header("Sec-Ch-Ua", "\"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\""),
        place::header(
            "Content-Security-Policy-Report-Only",
            "default-src 'self'; script-src 'unsafe-inline'",
        ),
        place::header("X-Amz-Date", "20261122T170000Z"),
        place::header(
            "Signature-Input",
            "sig1=(\"@method\" \"@target-uri\" \"content-digest\");created=1763830800;keyid=\"k\"",
        ),
        place::header("Origin", "http://localhost:3000"),
    ]
}

#[test]
fn ordinary_requests_are_not_refused() {
    let set = Arc::new(bartizan_inspect::baseline().unwrap());
    let mut all = requests();
    for value in VALUES {
        all.extend([place::query(value), place::form(value), place::json(value), place::multipart(value)]);
    }
    let wronged: Vec<String> = all
        .iter()
        .filter_map(|request| {
            let verdict = ftw::run(&set, None, request);
            let rules: Vec<String> =
                verdict.matches.iter().map(|found| format!("{} {}", found.rule, found.variable)).collect();
            let text =
                String::from_utf8_lossy(&[&request.target[..], b" ", &request.body].concat()).into_owned();
            (verdict.refusal.is_some() || !verdict.incomplete.is_empty())
                .then(|| format!("{text}: {rules:?} {:?}", verdict.incomplete))
        })
        .collect();
    assert!(wronged.is_empty(), "{} of {}: {wronged:#?}", wronged.len(), all.len());
    assert!(all.len() > 850, "{}", all.len());
}
