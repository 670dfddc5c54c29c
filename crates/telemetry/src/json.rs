//! One JSON line per record.
//!
//! Written by hand into a reused buffer, on the writer's thread: no tree, no reflection, and the masking of the
//! record's plan happens at the only place where a value becomes text. Fields without a value are left out.
//! [`FIELDS`] is the list of them, from which `docs/access-log.md` is generated.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    escape,
    plan::{AddressPrivacy, QueryValues},
    record::{ModelRecord, PassedFault, RequestRecord, Would, WouldDeny},
    redact::{self, AddressKey, ShownAddress},
    rules::{LeakCount, RuleMatch},
    text::cut,
    time::Rfc3339,
};

/// Most bytes of a name (of a route, a policy, a consumer) in a line.
const NAME_BYTES_MAX: usize = 256;

/// Most bytes of a refusal's detail in a line: evidence may be a piece of the request.
const DETAIL_BYTES_MAX: usize = 1024;

/// Most bytes of a method in a line.
const METHOD_BYTES_MAX: usize = 32;

/// `,"key":` as one constant. Keys are ours and need no escaping.
macro_rules! key {
    ($key:literal) => {
        concat!(",\"", $key, "\":").as_bytes()
    };
}

/// Formats records.
#[derive(Debug)]
pub struct LineFormat {
    clock: Rfc3339,
    key: AddressKey,
    /// Reused for what is masked before it is escaped.
    scratch: Vec<u8>,
    /// The address written last, and its text: a client is nearly always the peer too, and often the next line's.
    address: Option<(IpAddr, AddressPrivacy)>,
    address_text: Vec<u8>,
}

impl LineFormat {
    /// A format that hashes addresses with `key`, where a plan asks for it.
    pub fn new(key: AddressKey) -> Self {
        let (clock, scratch, address_text) = Default::default();
        LineFormat { clock, key, scratch, address: None, address_text }
    }

    /// Appends the record as one line.
    pub fn record(&mut self, record: &RequestRecord, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        self.clock.write(record.time_unix_nanos, out);
        out.push(b'"');
        optional(key!("id"), record.id(), out);
        self.connection(record, out);
        self.request(record, out);
        name(key!("route"), record.route.as_deref(), out);
        name(key!("upstream"), record.upstream.as_deref(), out);
        name(key!("endpoint"), record.endpoint.as_deref(), out);
        if record.upstream_attempts > 0 {
            number(key!("upstream_attempts"), u64::from(record.upstream_attempts), out);
        }
        if let Some((_, result)) = record.cached {
            string(key!("cache"), result.as_str().as_bytes(), out);
        }
        if let Some(model) = &record.model {
            of_model(model, out);
        }
        outcome(record, out);
        verdict(record, out);
        headers(record, out);
        name(key!("revision"), record.revision.as_deref(), out);
        out.extend_from_slice(b"}\n");
    }

    /// Appends the line that says how many records are missing before it.
    pub fn lost(&mut self, unix_nanos: u64, lost: u64, lost_total: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        self.clock.write(unix_nanos, out);
        out.extend_from_slice(b"\",\"event\":\"access_log_lost\"");
        number(key!("lost"), lost, out);
        number(key!("lost_total"), lost_total, out);
        out.extend_from_slice(b"}\n");
    }

    fn connection(&mut self, record: &RequestRecord, out: &mut Vec<u8>) {
        name(key!("listener"), record.listener.as_deref(), out);
        self.address(key!("client"), record.client, record.plan.address_privacy, out);
        self.peer(record.peer, record.plan.address_privacy, out);
        word(key!("protocol"), record.protocol.as_str(), out);
        optional(key!("tls"), record.tls.map(str::as_bytes), out);
    }

    fn peer(&mut self, peer: SocketAddr, privacy: AddressPrivacy, out: &mut Vec<u8>) {
        self.address(key!("peer"), peer.ip(), privacy, out);
        // With time and port, an Internet provider could find the subscriber behind a shortened address.
        if privacy == AddressPrivacy::Full {
            number(key!("peer_port"), u64::from(peer.port()), out);
        }
    }

    fn address(&mut self, key: &[u8], address: IpAddr, privacy: AddressPrivacy, out: &mut Vec<u8>) {
        out.extend_from_slice(key);
        if self.address != Some((address, privacy)) {
            self.address_text.clear();
            // Neither colons, points nor hex need escaping, and writing to a Vec cannot fail.
            drop(write!(self.address_text, "\"{}\"", ShownAddress::of(address, privacy, &self.key)));
            self.address = Some((address, privacy));
        }
        out.extend_from_slice(&self.address_text);
    }

    fn request(&mut self, record: &RequestRecord, out: &mut Vec<u8>) {
        name(key!("consumer"), record.consumer.as_deref(), out);
        if let Some(method) = record.identified_by {
            word(key!("identified_by"), method, out);
        }
        optional(key!("credential"), record.credential_id(), out);
        if let Some(state) = record.key_state {
            word(key!("key_state"), state, out);
        }
        name(key!("issuer"), record.issuer.as_deref(), out);
        optional(key!("subject"), record.subject(), out);
        string(key!("method"), cut(record.method.as_str().as_bytes(), METHOD_BYTES_MAX), out);
        optional(key!("host"), record.host(), out);
        optional(key!("path"), record.path(), out);
        if let Some(query) = record.query() {
            match record.plan.query_values {
                QueryValues::Full => string(key!("query"), query, out),
                QueryValues::Masked => {
                    self.scratch.clear();
                    redact::mask_query(query, &mut self.scratch);
                    string(key!("query"), &self.scratch, out);
                }
            }
        }
        optional(key!("user_agent"), record.user_agent(), out);
    }
}

/// What a model was asked for: one object, so that its names need no prefix.
fn of_model(model: &ModelRecord, out: &mut Vec<u8>) {
    out.extend_from_slice(key!("model"));
    out.extend_from_slice(b"{\"operation\":\"");
    out.extend_from_slice(model.operation.as_bytes());
    out.push(b'"');
    name(key!("name"), model.model.as_deref(), out);
    name(key!("team"), model.team.as_deref(), out);
    if !model.provider.is_empty() {
        string(key!("provider"), model.provider.as_bytes(), out);
    }
    name(key!("target"), model.target.as_deref(), out);
    for (key, count) in [
        (key!("input_tokens"), model.input_tokens),
        (key!("cached_tokens"), model.cached_tokens),
        (key!("output_tokens"), model.output_tokens),
        (key!("reasoning_tokens"), model.reasoning_tokens),
        (key!("cost_pico"), model.cost_pico),
        (
            key!("first_token_us"),
            model.first_token.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        ),
    ] {
        if let Some(count) = count {
            number(key, count, out);
        }
    }
    if !model.usage_source.is_empty() {
        string(key!("usage"), model.usage_source.as_bytes(), out);
    }
    if model.stream {
        out.extend_from_slice(b",\"stream\":true");
    }
    if !model.failures.is_empty() {
        out.extend_from_slice(b",\"failures\":[");
        for (place, (upstream, why)) in model.failures.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"why\":\"");
            out.extend_from_slice(why.as_bytes());
            out.push(b'"');
            name(key!("upstream"), Some(upstream), out);
            out.push(b'}');
        }
        out.push(b']');
    }
    if !model.lost.is_empty() {
        string(key!("lost"), model.lost.join(",").as_bytes(), out);
    }
    out.push(b'}');
    by_convention(model, out);
}

/// The same under the names of OpenTelemetry's semantic conventions for generative AI, so that their tools read it as
/// it is.
fn by_convention(model: &ModelRecord, out: &mut Vec<u8>) {
    if !model.operation.is_empty() {
        let operation =
            if matches!(model.operation, "embeddings" | "models") { model.operation } else { "chat" };
        string(key!("gen_ai.operation.name"), operation.as_bytes(), out);
    }
    if !model.provider.is_empty() {
        let provider = match model.provider {
            "OpenAi" => "openai",
            "Anthropic" => "anthropic",
            "Gemini" => "gcp.gemini",
            "Mistral" => "mistral_ai",
            "DeepSeek" => "deepseek",
            "Groq" => "groq",
            // Not in the list of known values: the word in lower case, as it asks for.
            "DashScope" => "dashscope",
            "OpenRouter" => "openrouter",
            "Ollama" => "ollama",
            _ => "compatible",
        };
        string(key!("gen_ai.provider.name"), provider.as_bytes(), out);
    }
    name(key!("gen_ai.request.model"), model.model.as_deref(), out);
    name(key!("gen_ai.response.model"), model.target.as_deref(), out);
    for (key, count) in [
        (key!("gen_ai.usage.input_tokens"), model.input_tokens),
        (key!("gen_ai.usage.output_tokens"), model.output_tokens),
    ] {
        if let Some(count) = count {
            number(key, count, out);
        }
    }
}

fn outcome(record: &RequestRecord, out: &mut Vec<u8>) {
    if record.status != 0 {
        number(key!("status"), u64::from(record.status), out);
    }
    word(key!("exit"), record.exit.as_str(), out);
    number(key!("request_bytes"), record.request_bytes, out);
    number(key!("response_bytes"), record.response_bytes, out);
    number(key!("duration_us"), micros(record.total), out);
    number(key!("gateway_us"), micros(record.gateway_time()), out);
    if let Some(time) = record.upstream_time {
        number(key!("upstream_us"), micros(time), out);
    }
    if !record.waited.is_zero() {
        number(key!("waited_us"), micros(record.waited), out);
    }
}

fn verdict(record: &RequestRecord, out: &mut Vec<u8>) {
    if let Some(refusal) = &record.refusal {
        word(key!("stage"), refusal.stage.as_str(), out);
        word(key!("reason"), refusal.reason().as_str(), out);
        name(key!("policy"), refusal.policy().map(|policy| &**policy), out);
        detail(refusal.detail(), out);
    }
    list(key!("would_deny"), &record.would_deny, would_deny, out);
    list(key!("faults"), &record.faults, passed_fault, out);
    list(key!("leaks"), &record.leaks, leak, out);
    list(key!("rules"), record.rules.as_slice(), rule, out);
    if record.rules.lost() > 0 {
        number(key!("rules_lost"), record.rules.lost(), out);
    }
}

fn would_deny(entry: &WouldDeny, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"mode\":");
    escape::string(entry.outcome.as_str().as_bytes(), out);
    word(key!("stage"), entry.stage.as_str(), out);
    name(key!("policy"), Some(&entry.policy), out);
    word(key!("reason"), entry.reason.as_str(), out);
    if let Would::Throttle(wait) = entry.outcome {
        number(key!("wait_ms"), u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), out);
    }
    detail(entry.detail.as_deref(), out);
}

fn passed_fault(entry: &PassedFault, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"stage\":");
    escape::string(entry.fault.stage.as_str().as_bytes(), out);
    name(key!("policy"), entry.policy.as_deref(), out);
    detail(Some(&entry.fault.what), out);
}

fn leak(entry: &LeakCount, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"class\":");
    escape::string(entry.class.as_bytes(), out);
    number(key!("count"), entry.count, out);
    string(key!("action"), entry.action.as_bytes(), out);
    name(key!("policy"), Some(&entry.policy), out);
}

fn rule(entry: &RuleMatch, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"rule\":");
    escape::number(u64::from(entry.rule), out);
    word(key!("role"), entry.role.as_str(), out);
    name(key!("policy"), Some(&entry.policy), out);
    string(key!("half"), entry.half.as_bytes(), out);
    name(key!("at"), Some(&entry.at), out);
    name(key!("message"), Some(&entry.message), out);
    name(key!("variable"), Some(&entry.variable), out);
    name(key!("transforms"), Some(&entry.transforms), out);
    name(key!("excerpt"), Some(&entry.excerpt), out);
    name(key!("exclusion"), entry.exclusion.as_deref(), out);
}

fn headers(record: &RequestRecord, out: &mut Vec<u8>) {
    let mut taken = record.headers().peekable();
    if taken.peek().is_none() {
        return;
    }
    out.extend_from_slice(key!("headers"));
    let mut separator = b'{';
    for (index, value) in taken {
        // A value whose header the plan does not name was taken under another plan: it is not shown.
        let Some(planned) = record.plan.headers().get(usize::from(index)) else { continue };
        out.push(separator);
        separator = b',';
        escape::string(planned.name.as_str().as_bytes(), out);
        out.push(b':');
        // The plan may have become stricter since the value was taken; what is written follows the last one.
        let shown = if record.plan.is_masked(planned) { redact::MASK.as_bytes() } else { value };
        escape::string(shown, out);
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

fn list<T>(key: &[u8], entries: &[T], each: fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    if entries.is_empty() {
        return;
    }
    out.extend_from_slice(key);
    let mut separator = b'[';
    for entry in entries {
        out.extend_from_slice(&[separator, b'{']);
        each(entry, out);
        out.push(b'}');
        separator = b',';
    }
    out.push(b']');
}

fn string(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    escape::string(value, out);
}

/// A word of ours, such as a stage or a reason: nothing in it ever needs an escape.
fn word(key: &[u8], value: &'static str, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn optional(key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        string(key, value, out);
    }
}

fn name(key: &[u8], value: Option<&str>, out: &mut Vec<u8>) {
    optional(key, value.map(|value| cut(value.as_bytes(), NAME_BYTES_MAX)), out);
}

fn detail(value: Option<&str>, out: &mut Vec<u8>) {
    optional(key!("detail"), value.map(|value| cut(value.as_bytes(), DETAIL_BYTES_MAX)), out);
}

fn number(key: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    escape::number(value, out);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// One field of a line, for the documentation.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it tells.
    pub meaning: &'static str,
    /// A value as it appears.
    pub example: &'static str,
}

macro_rules! fields {
    ($($name:literal $meaning:literal $example:literal;)+) => {
        /// All fields of a line, in their order.
        pub const FIELDS: &[Field] =
            &[$(Field { name: $name, meaning: $meaning, example: $example },)+];
    };
}

fields! {
    "time" "When the head was complete; RFC 3339, UTC, microseconds." "\"2026-01-01T00:00:00.123456Z\"";
    "id" "The request id, as in `X-Request-ID`." "\"0198f1c2-…\"";
    "listener" "The listener's name." "\"public\"";
    "client" "The client's address: the peer's, or what a trusted proxy said. Whole, shortened or hashed by `addressPrivacy`." "\"192.0.2.7\"";
    "peer" "The other end of the connection, shown like `client`." "\"192.0.2.7\"";
    "peer_port" "Its port; only with `addressPrivacy: full`." "4711";
    "protocol" "`HTTP/1.0`, `HTTP/1.1` or `HTTP/2`." "\"HTTP/2\"";
    "tls" "The TLS version; absent in clear text." "\"TLSv1.3\"";
    "consumer" "The verified consumer." "\"shop\"";
    "identified_by" "How the caller was identified: `api_key`, `client_certificate`, `jwt`, `introspection`; absent for callers who are nobody." "\"jwt\"";
    "credential" "The public id of the credential, never the credential: of a token the beginning of its digest." "\"k_7f3a\"";
    "key_state" "Where the API key is in its life, if that is past `active`: `ageing`, `overlapping`." "\"ageing\"";
    "issuer" "The issuer of a verified token." "\"https://id.example.com\"";
    "subject" "The subject (`sub`) of a verified token (up to 256 bytes)." "\"ada\"";
    "method" "The method." "\"GET\"";
    "host" "The host that was asked for." "\"api.example.com\"";
    "path" "The canonical path, which all judges saw and the upstream was sent (up to 2,048 bytes)." "\"/orders/7\"";
    "query" "The query; its values are `***` unless the policy says `queryValues: full` (up to 2,048 bytes)." "\"page=***\"";
    "user_agent" "The `User-Agent` header (up to 256 bytes)." "\"curl/8.5.0\"";
    "route" "The route's name; absent when none matched." "\"orders\"";
    "upstream" "The upstream's name." "\"orders-api\"";
    "endpoint" "The endpoint that was asked last." "\"10.0.0.5:8080\"";
    "upstream_attempts" "How many endpoints were asked; absent when none was." "1";
    "cache" "What the cache did under a `CachePolicy`: `hit`, `stale`, `stale_on_error`, `validated`, `collapsed`, `miss`, `bypass`; absent without one." "\"hit\"";
    "model" "What a model was asked for: an object with `operation`, `name`, `team`, `provider`, `target`, `input_tokens`, `cached_tokens`, `output_tokens`, `reasoning_tokens`, `cost_pico` (picodollars), `first_token_us`, `usage` (`provider`, `estimated`, `partial`), `stream`, `failures` (targets that did not serve, and why), `lost`. No word of prompts or answers." "{\"operation\":\"chat\",…}";
    "gen_ai.operation.name" "What was asked of a model, by OpenTelemetry's conventions: `chat` or `embeddings`." "\"chat\"";
    "gen_ai.provider.name" "The provider, by OpenTelemetry's conventions." "\"openai\"";
    "gen_ai.request.model" "The model as the caller asked for it." "\"fast\"";
    "gen_ai.response.model" "The provider's name of the model that served." "\"gpt-4o-mini\"";
    "gen_ai.usage.input_tokens" "Input tokens, as in `model`." "11";
    "gen_ai.usage.output_tokens" "Output tokens, as in `model`." "7";
    "status" "The status that was sent; absent when none was." "200";
    "exit" "How it ended: `complete`, `refused`, `client_gone`, `upstream_reset`, `timeout`, `shutdown`, `error`, `abandoned`." "\"complete\"";
    "request_bytes" "Bytes of the request's body." "0";
    "response_bytes" "Bytes of the response's body." "1024";
    "duration_us" "Microseconds from the complete head to the end of the response." "2310";
    "gateway_us" "The part of it that was the gateway's own." "110";
    "upstream_us" "The part of it in which an upstream was waited for; absent when none was asked." "2200";
    "waited_us" "The part of it in which the call waited for its slot in a rate limit or for the answer to an equal request; absent when it did not." "500000";
    "stage" "The stage that refused." "\"limit\"";
    "reason" "Why it refused: the `code` that the caller saw." "\"RateExceeded\"";
    "policy" "The policy that refused." "\"RateLimitPolicy/per-minute\"";
    "detail" "The evidence, which the caller did not see (up to 1,024 bytes)." "\"bucket consumer=shop\"";
    "would_deny" "What policies in shadow would have done: objects with `mode` (`would_deny`, `would_throttle`, `shadow_incomplete`), `stage`, `policy`, `reason`, `wait_ms`, `detail`." "[{\"mode\":\"would_deny\",…}]";
    "faults" "Judges that could not decide while their policy says `onFault: allow`: objects with `stage`, `policy`, `detail`." "[{\"stage\":\"limit\",…}]";
    "leaks" "Secrets in the answer: objects with `class`, `count`, `action` (`masked`, `blocked`, `shadow`) and `policy`; never a value." "[{\"class\":\"private-key\",\"count\":1,…}]";
    "rules" "Rules of inspections that matched (up to 64): objects with `rule`, `role` (`decided`, `matched`, `shadow`), `policy`, `half` (`request`, `response`), `at` (file and line), `message`, `variable`, `transforms`, `excerpt` (its shape: letters as `a`, digits as `9`) and `exclusion`, which would let it pass." "[{\"rule\":942100,…}]";
    "rules_lost" "How many more matched; absent when none did." "3";
    "headers" "Request headers that the `RecordPolicy` asks for (up to 256 bytes each, 16 in all); credentials show as `***`." "{\"accept\":\"*/*\"}";
    "revision" "The revision of the documents that served it." "\"r12\"";
}

/// The page `docs/access-log.md`.
pub fn access_log_page() -> String {
    let mut page = String::from(PAGE_HEAD);
    for field in FIELDS {
        page.push_str(&format!("| `{}` | {} | `{}` |\n", field.name, field.meaning, field.example));
    }
    page.push_str(PAGE_TAIL);
    page
}

const PAGE_HEAD: &str = "\
# The access log

<!-- Generated from crates/telemetry/src/json.rs; a test keeps it fresh. -->

One JSON object per line and request, refused ones included, written when the response has ended. Fields without a value
are left out. Control and invisible characters are escaped, bytes that are not UTF-8 show as U+FFFD, and a text that was
cut at its limit ends with `…`.

| field | meaning | example |
|---|---|---|
";

const PAGE_TAIL: &str = "
## Privacy

Header values that carry credentials (`authorization`, `cookie`, API keys and everything named like a token, session,
signature or secret) are never written, whatever a policy asks for; `***` tells that the header was there. Where
addresses are shortened or hashed, headers that tell a client's address are hidden too. `truncated` keeps the first
three octets of IPv4 and the first 48 bits of IPv6; `hashed` shows the first 64 bits of an HMAC-SHA-256 whose key is
made anew at each start unless one is given.

## When lines are missing

Requests never wait for the log. Each core hands its records over a bounded ring; when the writer cannot keep up, the
newest are dropped and counted (`bartizan_access_log_lost_total`), and as soon as there is room a line says how many:

```json
{\"time\":\"2026-01-01T00:00:00.123456Z\",\"event\":\"access_log_lost\",\"lost\":120,\"lost_total\":120}
```

A write that fails (a full disk, a closed pipe) is counted in the same metric with `why=\"write_error\"` and announced by
the same line; the gateway goes on serving.

## Files

A file is made with mode 0640, is renamed to `.1`, `.2` … when the next batch would exceed its size, and only as many as asked for are
kept, so the log takes a bounded share of the disk. SIGHUP opens the path anew, for those who rotate by other means.
";

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use bartizan_model::{Denial, Fault, Reason, Stage};
    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::{
        metrics::RuleGroupId,
        plan::RecordPlan,
        record::{ModelRecord, tests::record_for_test},
        rules::{LeakCount, RULES_MAX, RuleMatch, RuleRole},
    };

    /// Compares a generated page with the one in `docs`; with `BARTIZAN_REGENERATE` set, writes it.
    pub(crate) fn check_page(name: &str, page: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        if std::env::var_os("BARTIZAN_REGENERATE").is_some() {
            std::fs::write(&path, page).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap();
        assert!(there == page, "docs/{name} is stale: run the tests with BARTIZAN_REGENERATE=1");
    }

    fn line(record: &RequestRecord) -> String {
        let mut out = Vec::new();
        LineFormat::new(AddressKey::from_secret(b"k")).record(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn parsed(record: &RequestRecord) -> Value {
        let line = line(record);
        assert_eq!(line.matches('\n').count(), 1, "one record is one line");
        serde_json::from_str(&line).unwrap()
    }

    /// A record with every field filled.
    pub(crate) fn full_record() -> Box<RequestRecord> {
        let mut record = record_for_test();
        let plan = RecordPlan::new("RecordPolicy/p")
            .with_headers(["accept", "authorization"].map(HeaderName::from_static), &[]);
        record.plan = Arc::new(plan);
        record.set_id("id-1");
        record.set_host(b"api.example.com");
        record.set_user_agent(b"curl/8.5.0");
        record.set_path(b"/orders/7");
        record.set_query(b"page=2&token=hunter2");
        record.set_credential_id("k_7f3a");
        record.set_subject("ada");
        record.identified_by = Some("jwt");
        record.key_state = Some("ageing");
        record.tls = Some("TLSv1.3");
        for (place, name) in [
            (&mut record.listener, "public"),
            (&mut record.route, "orders"),
            (&mut record.upstream, "orders-api"),
            (&mut record.endpoint, "10.0.0.5:8080"),
            (&mut record.consumer, "shop"),
            (&mut record.issuer, "https://id.example.com"),
            (&mut record.revision, "r12"),
        ] {
            *place = Some(name.into());
        }
        record.status = 429;
        record.request_bytes = 5;
        record.response_bytes = 1024;
        record.total = Duration::from_micros(2310);
        record.upstream_time = Some(Duration::from_micros(2200));
        record.waited = Duration::from_micros(100);
        record.upstream_attempts = 2;
        record.cached = Some((crate::metrics::PolicyId::NONE, crate::metrics::Cached::Validated));
        let denial =
            Denial::new(Reason::RateExceeded).by("RateLimitPolicy/p".into()).because("bucket gateway");
        record.refuse(Stage::Limit, denial);
        record.would_deny(WouldDeny {
            stage: Stage::Limit,
            policy: "RateLimitPolicy/s".into(),
            outcome: Would::Throttle(Duration::from_millis(600)),
            reason: Reason::RateExceeded,
            detail: Some("slot 2".into()),
        });
        record.passed_fault(Some("HeaderPolicy/h".into()), Fault::new(Stage::Route, "no data"));
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("*/*"));
        headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
        record.take_headers(&headers);
        record
    }

    #[test]
    fn a_full_record_is_written_field_by_field() {
        let expected = concat!(
            r#"{"time":"2026-01-01T00:00:00.123456Z","id":"id-1","listener":"public","client":"192.0.2.7","#,
            r#""peer":"192.0.2.7","peer_port":4711,"protocol":"HTTP/1.1","tls":"TLSv1.3","consumer":"shop","identified_by":"jwt","#,
            r#""credential":"k_7f3a","key_state":"ageing","issuer":"https://id.example.com","subject":"ada","method":"GET","host":"api.example.com","path":"/orders/7","#,
            r#""query":"page=***&token=***","user_agent":"curl/8.5.0","route":"orders","upstream":"orders-api","#,
            r#""endpoint":"10.0.0.5:8080","upstream_attempts":2,"cache":"validated","status":429,"exit":"refused","request_bytes":5,"#,
            r#""response_bytes":1024,"duration_us":2310,"gateway_us":10,"upstream_us":2200,"waited_us":100,"#,
            r#""stage":"limit","reason":"RateExceeded","policy":"RateLimitPolicy/p","detail":"bucket gateway","#,
            r#""would_deny":[{"mode":"would_throttle","stage":"limit","policy":"RateLimitPolicy/s","#,
            r#""reason":"RateExceeded","wait_ms":600,"detail":"slot 2"}],"#,
            r#""faults":[{"stage":"route","policy":"HeaderPolicy/h","detail":"no data"}],"#,
            r#""headers":{"accept":"*/*","authorization":"***"},"revision":"r12"}"#,
            "\n"
        );
        assert_eq!(line(&full_record()), expected);
    }

    /// A record in which every field is there.
    fn complete_record() -> Box<RequestRecord> {
        let mut record = full_record();
        record.model = Some(Box::new(ModelRecord {
            operation: "chat",
            model: Some("fast".into()),
            provider: "OpenAi",
            target: Some("gpt-4o-mini".into()),
            input_tokens: Some(11),
            output_tokens: Some(7),
            ..ModelRecord::default()
        }));
        record.leaks.push(LeakCount {
            policy: "InspectionPolicy/i".into(),
            class: "private-key",
            count: 1,
            action: "masked",
        });
        // One more than is kept.
        for _ in 0..=RULES_MAX {
            record.rules.push(rule_match());
        }
        record
    }

    fn rule_match() -> RuleMatch {
        RuleMatch {
            policy: "InspectionPolicy/i".into(),
            rule: 8_110_010,
            group: RuleGroupId::default(),
            role: RuleRole::Matched,
            half: "request",
            at: "sql.conf:7".into(),
            message: "SQL".into(),
            variable: "ARGS:q".into(),
            transforms: "none".into(),
            excerpt: "***".into(),
            exclusion: None,
        }
    }

    #[test]
    fn every_field_is_documented_in_its_order() {
        let line = line(&complete_record());
        let mut at = 0;
        for field in FIELDS {
            let place =
                line.find(&format!("\"{}\":", field.name)).unwrap_or_else(|| panic!("{}", field.name));
            assert!(place > at || at == 0, "{} is out of order", field.name);
            at = place;
        }
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value.as_object().unwrap().len(), FIELDS.len(), "a field is not documented");
    }

    #[test]
    fn an_empty_record_is_a_valid_line_without_empty_fields() {
        let value = parsed(&record_for_test());
        let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        let mut expected = [
            "client",
            "duration_us",
            "exit",
            "gateway_us",
            "method",
            "peer",
            "peer_port",
            "protocol",
            "request_bytes",
            "response_bytes",
            "time",
        ];
        expected.sort_unstable();
        assert_eq!(
            keys.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
            expected.into()
        );
        assert_eq!(value["exit"], "abandoned");
    }

    #[test]
    fn addresses_follow_the_plan() {
        let mut record = record_for_test();
        record.client = "2001:db8:1:2::3".parse().unwrap();
        let mut shown = |address_privacy| {
            Arc::make_mut(&mut record.plan).address_privacy = address_privacy;
            let value = parsed(&record);
            (value["client"].clone(), value["peer"].clone(), value.get("peer_port").is_some())
        };
        assert_eq!(shown(AddressPrivacy::Full), ("2001:db8:1:2::3".into(), "192.0.2.7".into(), true));
        assert_eq!(shown(AddressPrivacy::Truncated), ("2001:db8:1::".into(), "192.0.2.0".into(), false));
        let (client, peer, port) = shown(AddressPrivacy::Hashed);
        for hash in [client, peer] {
            assert!(hash.as_str().unwrap().len() == 16 && !hash.as_str().unwrap().contains([':', '.']));
        }
        assert!(!port);
    }

    #[test]
    fn query_values_are_shown_only_where_the_plan_says_so() {
        let mut record = full_record();
        assert!(!line(&record).contains("hunter2"));
        Arc::make_mut(&mut record.plan).query_values = QueryValues::Full;
        assert_eq!(parsed(&record)["query"], "page=2&token=hunter2");
    }

    #[test]
    fn headers_taken_under_a_laxer_plan_are_masked_by_the_stricter_one() {
        let mut record = record_for_test();
        let plan = RecordPlan::new("p").with_headers([HeaderName::from_static("x-forwarded-for")], &[]);
        record.plan = Arc::new(plan);
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("198.51.100.1"));
        record.take_headers(&headers);
        assert_eq!(parsed(&record)["headers"]["x-forwarded-for"], "198.51.100.1");
        Arc::make_mut(&mut record.plan).address_privacy = AddressPrivacy::Hashed;
        assert_eq!(parsed(&record)["headers"]["x-forwarded-for"], "***");
        record.plan = Arc::default();
        assert_eq!(parsed(&record)["headers"], serde_json::json!({}), "another plan shows nothing of them");
    }

    #[test]
    fn the_largest_line_is_bounded() {
        // security.md case 37: whatever is sent, a line stays small.
        let mut record = full_record();
        let huge = vec![0_u8; 100_000];
        let names: Vec<_> = (0..100).map(|n| HeaderName::try_from(format!("h{n}")).unwrap()).collect();
        record.plan = Arc::new(RecordPlan::new("p").with_headers(names.clone(), &[]));
        record.set_host(&huge);
        record.set_user_agent(&huge);
        record.set_path(&huge);
        record.set_query(&huge);
        let headers: HeaderMap =
            names.into_iter().map(|name| (name, HeaderValue::from_bytes(&[b'"'; 9000]).unwrap())).collect();
        record.take_headers(&headers);
        let text = "\u{1}".repeat(100_000);
        record.method = Method::from_bytes(&[b'M'; 100_000]).unwrap();
        record.consumer = Some(text.as_str().into());
        for _ in 0..100 {
            record.would_deny(WouldDeny {
                stage: Stage::Limit,
                policy: text.as_str().into(),
                outcome: Would::Deny,
                reason: Reason::RateExceeded,
                detail: Some(text.as_str().into()),
            });
            record.passed_fault(None, Fault::new(Stage::Limit, text.as_str()));
        }
        let length = line(&record).len();
        assert!(length < 300_000, "{length}");
        parsed(&record);
    }

    #[test]
    fn the_line_about_lost_records_says_how_many() {
        let mut out = Vec::new();
        LineFormat::new(AddressKey::from_secret(b"k")).lost(0, 3, 9, &mut out);
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["event"], "access_log_lost");
        assert_eq!((value["lost"].as_u64(), value["lost_total"].as_u64()), (Some(3), Some(9)));
    }

    #[test]
    fn the_page_in_docs_is_fresh() {
        check_page("access-log.md", &access_log_page());
    }

    proptest! {
        #[test]
        fn hostile_values_stay_within_their_field(
            host in proptest::collection::vec(any::<u8>(), 0..400),
            agent in proptest::collection::vec(any::<u8>(), 0..400),
            path in proptest::collection::vec(any::<u8>(), 0..3000),
            consumer in ".{0,50}",
            why in ".{0,50}",
        ) {
            let mut record = record_for_test();
            record.set_host(&host);
            record.set_user_agent(&agent);
            record.set_path(&path);
            record.consumer = Some(consumer.as_str().into());
            record.refuse(Stage::Admit, Denial::new(Reason::MalformedRequest).because(why.as_str()));
            let value = parsed(&record);
            let of = |name: &str| value[name].as_str().unwrap().to_owned();
            prop_assert_eq!(of("consumer"), consumer);
            prop_assert_eq!(of("detail"), why);
            prop_assert_eq!(value.as_object().unwrap().len(), 18);
            if path.len() <= 2048 {
                prop_assert_eq!(of("path"), String::from_utf8_lossy(&path));
            }
            prop_assert!(of("user_agent").len() <= 3 * 260);
            let shows_separator = line(&record).contains('\u{2028}');
            prop_assert!(!shows_separator);
        }
    }
}
