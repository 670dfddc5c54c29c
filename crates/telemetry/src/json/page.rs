//! The fields of a line as a page for people: `docs/access-log.md`.

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

<!-- Generated from crates/telemetry/src/json/page.rs; a test keeps it fresh. -->

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
