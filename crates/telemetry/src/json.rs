//! One JSON line per record.
//!
//! Written by hand into a reused buffer, on the writer's thread: no tree, no reflection, and the masking of the
//! record's plan happens at the only place where a value becomes text. Fields without a value are left out.
//! [`FIELDS`] is the list of them.

mod page;

pub use page::{FIELDS, Field, access_log_page};

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

#[cfg(test)]
pub(crate) mod tests;
