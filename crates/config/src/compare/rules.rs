//! What a difference means: the table of the fields that decide about security.
//!
//! One row per field: how its values are compared, how much it matters, and the words for either way. A field without a
//! row is shown as changed and not judged. What a policy's coming, going and targets mean is not here: that is read off
//! the snapshots (`reach`).

use bartizan_model::document::Kind;
use serde_json::Value;

use super::{
    Direction, Finding, Weight,
    judge::{Judge, Unit},
};

/// What a difference of one field means.
struct Rule {
    /// The kind; `None`: every kind that has the field.
    kind: Option<Kind>,
    /// The path without indices.
    path: &'static str,
    judge: Judge,
    weight: Weight,
    code: &'static str,
    /// What it means when it is weaker; also the words when it is only different.
    weaker: &'static str,
    /// What it means when it is stronger.
    stronger: &'static str,
}

const fn rule(
    kind: Option<Kind>,
    path: &'static str,
    judge: Judge,
    weight: Weight,
    code: &'static str,
    weaker: &'static str,
    stronger: &'static str,
) -> Rule {
    Rule { kind, path, judge, weight, code, weaker, stronger }
}

use Judge::{
    Differs, Endpoints, Fewer, Guard, Less, Limits, More, MoreOrAll, Most, MostOrEndless, NetworksAllowed,
    NetworksDenied, NetworksTrusted, Order, Quotas, Rules, SwitchedOff, SwitchedOn, Ways,
};
use Unit::{Bytes, Number, Time};
use Weight::{Grave, Notable, Slight};

const ALERT: Option<Kind> = Some(Kind::AlertPolicy);
const AUTHENTICATION: Option<Kind> = Some(Kind::AuthenticationPolicy);
const AUTHORIZATION: Option<Kind> = Some(Kind::AuthorizationPolicy);
const CACHE: Option<Kind> = Some(Kind::CachePolicy);
const CONSUMER: Option<Kind> = Some(Kind::Consumer);
const CORS: Option<Kind> = Some(Kind::CorsPolicy);
const HEADERS: Option<Kind> = Some(Kind::HeaderPolicy);
const KEY_ROTATION: Option<Kind> = Some(Kind::KeyRotationPolicy);
const LISTENER: Option<Kind> = Some(Kind::Listener);
const LIMIT: Option<Kind> = Some(Kind::RateLimitPolicy);
const NOTICE: Option<Kind> = Some(Kind::NoticeChannel);
const QUOTA: Option<Kind> = Some(Kind::QuotaPolicy);
const RECORD: Option<Kind> = Some(Kind::RecordPolicy);
const INSPECTION: Option<Kind> = Some(Kind::InspectionPolicy);
const MODEL: Option<Kind> = Some(Kind::Model);
const POLICY_TEST: Option<Kind> = Some(Kind::PolicyTest);
const PROMPT: Option<Kind> = Some(Kind::PromptTemplate);
const ROLE: Option<Kind> = Some(Kind::Role);
const ROUTE: Option<Kind> = Some(Kind::Route);
const SCHEMA: Option<Kind> = Some(Kind::SchemaPolicy);
const SECRET: Option<Kind> = Some(Kind::Secret);
const TEAM: Option<Kind> = Some(Kind::Team);
const UPSTREAM: Option<Kind> = Some(Kind::Upstream);
const UPSTREAM_POLICY: Option<Kind> = Some(Kind::UpstreamPolicy);

/// All rows.
fn rules() -> impl Iterator<Item = &'static Rule> {
    [RULES, JWT, INTROSPECTION, OPEN_ID_CONNECT].into_iter().flatten()
}

/// The rows that every method of tokens has, below its own name.
macro_rules! token_rows {
    ($method:literal: $($more:expr),* $(,)?) => {
        &[
            rule(AUTHENTICATION, concat!("spec.methods.", $method, ".issuer"), Differs, Grave, "token-issuer", "tokens of another issuer are accepted", ""),
            rule(AUTHENTICATION, concat!("spec.methods.", $method, ".claims.unknownConsumer"), Order(&["Deny", "Allow"]), Grave, "token-consumers", "consumers that no document names are admitted", "only consumers that documents name are admitted"),
            rule(AUTHENTICATION, concat!("spec.methods.", $method, ".claims.consumer"), Differs, Grave, "token-claims", "another claim says who it is", ""),
            rule(AUTHENTICATION, concat!("spec.methods.", $method, ".claims.fixedConsumer"), Differs, Grave, "token-claims", "every token stands for another consumer, or for none of its own", ""),
            rule(AUTHENTICATION, concat!("spec.methods.", $method, ".claims.roles"), Differs, Grave, "token-claims", "another claim says which roles the caller has", ""),
            rule(AUTHENTICATION, concat!("spec.methods.", $method, ".clockSkew"), Most(Time), Slight, "token-time", "tokens are accepted longer after their end and earlier before their beginning", "tokens are accepted less long after their end"),
            rule(AUTHENTICATION, concat!("spec.methods.", $method, ".fetch.dangerAllowClearText"), SwitchedOn, Grave, "token-fetch", "what tokens are judged by is fetched in clear text", "what tokens are judged by is fetched over TLS"),
            rule(AUTHENTICATION, concat!("spec.methods.", $method, ".fetch.allowPrivateNetwork"), SwitchedOn, Notable, "token-fetch", "addresses of private networks may be asked about tokens", "addresses of private networks are no longer asked about tokens"),
            rule(AUTHENTICATION, concat!("spec.methods.", $method, ".fetch.authoritiesRef"), Differs, Notable, "token-fetch", "other authorities vouch for the server that is asked about tokens", ""),
            $($more,)*
        ]
    };
}

#[rustfmt::skip]
const JWT: &[Rule] = token_rows!("jwt":
    rule(AUTHENTICATION, "spec.methods.jwt.algorithms", More, Grave, "token-algorithms", "tokens signed by more algorithms are accepted, or by others", "tokens signed by fewer algorithms are accepted"),
    rule(AUTHENTICATION, "spec.methods.jwt.audiences", More, Grave, "token-audiences", "tokens made for more audiences are accepted, or for others", "tokens made for fewer audiences are accepted"),
    rule(AUTHENTICATION, "spec.methods.jwt.keys", Differs, Grave, "token-keys", "other keys vouch for tokens", ""),
    rule(AUTHENTICATION, "spec.methods.jwt.types", More, Notable, "token-types", "tokens of more types are accepted, or of others", "tokens of fewer types are accepted"),
    rule(AUTHENTICATION, "spec.methods.jwt.allowUntyped", SwitchedOn, Notable, "token-types", "tokens that do not say their type are accepted", "tokens must say their type"),
    rule(AUTHENTICATION, "spec.methods.jwt.maxAge", Guard, Notable, "token-time", "tokens may be as old as their issuer lets them", "tokens end at an age"),
    rule(AUTHENTICATION, "spec.methods.jwt.maxAge", MostOrEndless(Time), Notable, "token-time", "tokens may be older", "tokens end at a younger age"),
    rule(AUTHENTICATION, "spec.methods.jwt.requireKid", SwitchedOff, Slight, "token-keys", "tokens need not name their key", "tokens must name their key"),
    rule(AUTHENTICATION, "spec.methods.jwt.requiredClaims", Fewer, Notable, "token-claims", "tokens need fewer claims, or others", "tokens need more claims"),
    rule(AUTHENTICATION, "spec.methods.jwt.forward", SwitchedOn, Notable, "token-forward", "upstreams are given the callers' tokens", "upstreams are no longer given the callers' tokens"),
);

#[rustfmt::skip]
const INTROSPECTION: &[Rule] = token_rows!("introspection":
    rule(AUTHENTICATION, "spec.methods.introspection.audiences", MoreOrAll, Grave, "token-audiences", "tokens made for more audiences are accepted, or for others", "tokens made for fewer audiences are accepted"),
    rule(AUTHENTICATION, "spec.methods.introspection.dangerAllowAnyAudience", SwitchedOn, Grave, "token-audiences", "tokens made for anybody are accepted", "tokens must be made for one of the audiences"),
    rule(AUTHENTICATION, "spec.methods.introspection.url", Differs, Grave, "token-keys", "another server says whether tokens hold", ""),
    rule(AUTHENTICATION, "spec.methods.introspection.cacheFor", Most(Time), Notable, "token-time", "withdrawn tokens are accepted longer", "withdrawn tokens are refused earlier"),
    rule(AUTHENTICATION, "spec.methods.introspection.forward", SwitchedOn, Notable, "token-forward", "upstreams are given the callers' tokens", "upstreams are no longer given the callers' tokens"),
);

#[rustfmt::skip]
const OPEN_ID_CONNECT: &[Rule] = token_rows!("openIdConnect":
    rule(AUTHENTICATION, "spec.methods.openIdConnect.algorithms", More, Grave, "token-algorithms", "tokens signed by more algorithms are accepted, or by others", "tokens signed by fewer algorithms are accepted"),
    rule(AUTHENTICATION, "spec.methods.openIdConnect.clientId", Differs, Grave, "token-audiences", "tokens made for another client are accepted", ""),
    rule(AUTHENTICATION, "spec.methods.openIdConnect.discovery", Differs, Grave, "token-keys", "other keys vouch for tokens", ""),
    rule(AUTHENTICATION, "spec.methods.openIdConnect.trustedOrigins", More, Grave, "session-origins", "pages of more origins may use sessions", "pages of fewer origins may use sessions"),
    rule(AUTHENTICATION, "spec.methods.openIdConnect.session.lifetime", Most(Time), Notable, "session-time", "sessions last longer", "sessions end earlier"),
    rule(AUTHENTICATION, "spec.methods.openIdConnect.session.idle", Most(Time), Notable, "session-time", "sessions that nobody uses last longer", "sessions that nobody uses end earlier"),
);

/// The table. Several rows may have the same field.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule(None, "spec.mode", Order(&["enforce", "shadow", "off"]), Grave, "mode", "it bites less", "it bites more"),
    rule(None, "spec.enforcePercent", Less(Number), Grave, "enforce-percent", "it is enforced for fewer callers", "it is enforced for more callers"),
    rule(None, "spec.onFault", Order(&["deny", "allow"]), Grave, "on-fault", "requests pass when it cannot decide", "requests are refused when it cannot decide"),
    rule(None, "spec.allowOverride", SwitchedOn, Notable, "override", "narrower policies may replace it", "narrower policies can no longer replace it"),

    rule(AUTHENTICATION, "spec.methods", Ways, Grave, "authentication-methods", "callers are admitted in another way", "callers are admitted in fewer ways"),
    rule(AUTHENTICATION, "spec.methods.apiKey.header", Differs, Notable, "key-header", "keys are read from another header", ""),
    rule(AUTHENTICATION, "spec.methods.basic.usersRef", Differs, Grave, "basic-users", "other users and passwords are accepted", ""),
    rule(AUTHENTICATION, "spec.methods.basic.secretName", Differs, Grave, "basic-users", "other users and passwords are accepted", ""),
    rule(AUTHENTICATION, "spec.methods.clientCertificate.from", Differs, Grave, "certificate-names", "another name of the certificate says who it is", ""),
    rule(AUTHENTICATION, "spec.methods.clientCertificate.template", Differs, Grave, "certificate-names", "who it is is read from the certificate's name in another way", ""),
    rule(AUTHENTICATION, "spec.methods.clientCertificate.roles", More, Grave, "certificate-roles", "callers with a certificate have more roles", "callers with a certificate have fewer roles"),
    rule(AUTHENTICATION, "spec.methods.clientCertificate.passOn", SwitchedOn, Slight, "certificate-forward", "upstreams are given the callers' certificates", "upstreams are no longer given the callers' certificates"),
    rule(AUTHENTICATION, "spec.failures.enabled", SwitchedOff, Grave, "guessing", "credentials may be guessed without limit", "guessing is limited"),

    rule(AUTHORIZATION, "spec.rules", Rules, Grave, "authorization-rules", "its rules let more pass, or others", "its rules let less pass"),
    rule(AUTHORIZATION, "spec.roles", MoreOrAll, Grave, "authorization-roles", "callers with other roles pass", "fewer roles pass"),
    rule(AUTHORIZATION, "spec.allRoles", Fewer, Grave, "authorization-roles", "callers need fewer roles", "callers need more roles"),

    rule(CONSUMER, "spec.enabled", SwitchedOn, Grave, "consumer-enabled", "the consumer may call again", "the consumer may no longer call"),
    rule(CONSUMER, "spec.roles", More, Grave, "consumer-roles", "the consumer has more roles", "the consumer has fewer roles"),
    rule(CONSUMER, "spec.allowedAddresses", NetworksAllowed, Grave, "consumer-addresses", "the consumer may call from more addresses", "the consumer may call from fewer addresses"),

    rule(CACHE, "spec.identityClass", Order(&["perConsumer", "shared"]), Grave, "cache-identity", "callers are given answers to others", "callers are no longer given answers to others"),
    rule(CACHE, "spec.authorized", Order(&["marked", "own"]), Notable, "cache-authorized", "answers to callers with credentials are kept though they do not say so", "answers to callers with credentials are kept only if they say so"),
    rule(CACHE, "spec.dropSetCookie", SwitchedOn, Notable, "cache-cookies", "answers that set cookies are kept", "answers that set cookies are no longer kept"),
    rule(CACHE, "spec.staleIfError", Most(Time), Slight, "cache-stale", "stale answers are given for longer when the upstream fails", "stale answers are given for less long when the upstream fails"),
    rule(CACHE, "spec.staleWhileRevalidate", Most(Time), Slight, "cache-stale", "stale answers are given for longer while newer ones are fetched", "stale answers are given for less long while newer ones are fetched"),

    rule(CORS, "spec.allowOrigins", More, Grave, "cors-origins", "pages of more origins may call", "pages of fewer origins may call"),
    rule(CORS, "spec.allowCredentials", SwitchedOn, Grave, "cors-credentials", "pages may send cookies and credentials", "pages may no longer send cookies and credentials"),
    rule(CORS, "spec.allowMethods", More, Slight, "cors-methods", "pages may use more methods", "pages may use fewer methods"),
    rule(CORS, "spec.allowHeaders", More, Slight, "cors-headers", "pages may set more headers", "pages may set fewer headers"),
    rule(CORS, "spec.exposeHeaders", More, Slight, "cors-exposed", "pages may read more headers", "pages may read fewer headers"),

    rule(HEADERS, "spec.request.check", Fewer, Notable, "header-checks", "headers are checked by fewer or other rules", "headers are checked by more rules"),
    rule(HEADERS, "spec.request.forbid", Fewer, Notable, "headers-forbidden", "headers are no longer forbidden", "more headers are forbidden"),
    rule(HEADERS, "spec.response.set", Fewer, Slight, "answer-headers", "headers are no longer set on answers, or otherwise", "more headers are set on answers"),

    rule(INSPECTION, "spec.paranoia", Less(Number), Notable, "inspection-rules", "fewer rules look for attacks", "more rules look for attacks"),
    rule(INSPECTION, "spec.phases", Fewer, Grave, "inspection-phases", "requests or answers are no longer inspected", "more is inspected"),
    rule(INSPECTION, "spec.ruleSets", Differs, Grave, "inspection-rules", "other rules look for attacks", ""),
    rule(INSPECTION, "spec.ruleModes", More, Grave, "inspection-rules", "more rules only watch or are off, or others", "fewer rules only watch or are off"),
    rule(INSPECTION, "spec.exclusions", More, Grave, "inspection-exclusions", "more is not inspected, or other parts", "less is left out of the inspection"),
    rule(INSPECTION, "spec.thresholds.inbound", Most(Number), Grave, "inspection-threshold", "requests must look worse before they are refused", "requests are refused earlier"),
    rule(INSPECTION, "spec.thresholds.outbound", Most(Number), Notable, "inspection-threshold", "answers must look worse before they are refused", "answers are refused earlier"),
    rule(INSPECTION, "spec.request.onOversize", Order(&["deny", "judgeStart", "allow"]), Grave, "inspection-size", "what is too large to be inspected passes, or a part of it does", "what is too large to be inspected is refused"),
    rule(INSPECTION, "spec.request.onEncoded", Order(&["deny", "allow"]), Grave, "inspection-encoding", "encoded bodies pass without being inspected", "encoded bodies are refused"),
    rule(INSPECTION, "spec.request.bodyBytes", Less(Bytes), Slight, "inspection-size", "less of a body is inspected", "more of a body is inspected"),
    rule(INSPECTION, "spec.response.leaks", Order(&["block", "mask", "off"]), Notable, "inspection-leaks", "secrets in answers are hidden less", "secrets in answers are hidden more"),
    rule(INSPECTION, "spec.response.onOversize", Order(&["deny", "judgeStart", "allow"]), Notable, "inspection-size", "answers that are too large to be inspected pass, or a part does", "answers that are too large to be inspected are refused"),
    rule(INSPECTION, "spec.response.onEncoded", Order(&["deny", "allow"]), Notable, "inspection-encoding", "encoded answers pass without being inspected", "encoded answers are refused"),

    rule(KEY_ROTATION, "spec.maximumAge", Guard, Notable, "key-age", "keys may become as old as they like", "keys must be replaced at an age"),
    rule(KEY_ROTATION, "spec.maximumAge", MostOrEndless(Time), Notable, "key-age", "keys may become older", "keys must be replaced earlier"),
    rule(KEY_ROTATION, "spec.hardLimit", Most(Time), Notable, "key-age", "keys that are too old or were replaced work longer", "keys that are too old or were replaced end earlier"),
    rule(KEY_ROTATION, "spec.overlap", Most(Time), Slight, "key-overlap", "replaced keys work longer", "replaced keys end earlier"),
    rule(KEY_ROTATION, "spec.retire", Order(&["AtOnce", "WhenUnused"]), Slight, "key-overlap", "replaced keys work on while they are used", "replaced keys end with their overlap"),

    rule(KEY_ROTATION, "spec.notify", Fewer, Notable, "key-notices", "fewer channels tell owners of keys, or others", "more channels tell owners of keys"),
    rule(KEY_ROTATION, "spec.claimUrl", Differs, Notable, "key-claims", "successors of keys are offered at another address, or no more", ""),
    rule(KEY_ROTATION, "spec.deliverTo", Differs, Notable, "key-delivery", "successors of keys are left at another place, or at none", ""),

    rule(NOTICE, "spec.email", Differs, Notable, "channel", "mail goes another way, or to others", ""),
    rule(NOTICE, "spec.email.tls", Order(&["Implicit", "StartTls", "None"]), Grave, "channel-clear-text", "mail may leave in clear text", "mail leaves over TLS"),
    rule(NOTICE, "spec.email.host", Differs, Notable, "channel", "mail goes by another server", ""),
    rule(NOTICE, "spec.email.to", Differs, Notable, "channel", "others are told", ""),
    rule(NOTICE, "spec.email.dangerAllowClearText", SwitchedOn, Grave, "channel-clear-text", "notices may leave in clear text", "notices leave over TLS"),
    rule(NOTICE, "spec.email.allowPrivateNetwork", SwitchedOn, Notable, "channel-private", "its server may be in a private network", "its server must be on the internet"),
    rule(NOTICE, "spec.webhook", Differs, Notable, "channel", "notices go elsewhere", ""),
    rule(NOTICE, "spec.webhook.url", Differs, Notable, "channel", "notices go elsewhere", ""),
    rule(NOTICE, "spec.webhook.dangerAllowClearText", SwitchedOn, Grave, "channel-clear-text", "notices may leave in clear text", "notices leave over TLS"),
    rule(NOTICE, "spec.webhook.allowPrivateNetwork", SwitchedOn, Notable, "channel-private", "notices may go to private networks", "notices go to the internet only"),
    rule(NOTICE, "spec.slack", Differs, Notable, "channel", "notices go elsewhere", ""),
    rule(NOTICE, "spec.slack.dangerAllowClearText", SwitchedOn, Grave, "channel-clear-text", "notices may leave in clear text", "notices leave over TLS"),
    rule(NOTICE, "spec.alertmanager", Differs, Notable, "channel", "notices go elsewhere", ""),
    rule(NOTICE, "spec.alertmanager.url", Differs, Notable, "channel", "notices go elsewhere", ""),
    rule(NOTICE, "spec.alertmanager.dangerAllowClearText", SwitchedOn, Grave, "channel-clear-text", "notices may leave in clear text", "notices leave over TLS"),

    rule(ALERT, "spec.signals", Differs, Notable, "alerts", "other things are watched, or otherwise", ""),
    rule(ALERT, "spec.channels", Fewer, Notable, "alerts", "fewer channels tell alerts, or others", "more channels tell alerts"),
    rule(ALERT, "spec.repeatAfter", Most(Time), Slight, "alerts", "alerts are repeated later", "alerts are repeated earlier"),

    rule(LISTENER, "spec.keyEndpoints", Differs, Notable, "key-endpoints", "whether and where owners of keys replace them by themselves changes", ""),
    rule(LISTENER, "spec.keyEndpoints.requestsPerMinute", Most(Number), Slight, "key-endpoints", "an address may ask more often at the key endpoints", "an address may ask less often at the key endpoints"),
    rule(LISTENER, "spec.protocol", Order(&["HTTPS", "HTTP"]), Grave, "listener-tls", "clear text is spoken instead of TLS", "TLS is spoken instead of clear text"),
    rule(LISTENER, "spec.tls.minimumVersion", Order(&["1.3", "1.2"]), Grave, "tls-minimum", "older TLS is accepted", "older TLS is no longer accepted"),
    rule(LISTENER, "spec.tls.certificates", Differs, Slight, "listener-certificates", "other certificates are shown", ""),
    rule(LISTENER, "spec.tls.clientAuthentication", Guard, Grave, "client-certificates", "clients are no longer asked for certificates", "clients are asked for certificates"),
    rule(LISTENER, "spec.tls.clientAuthentication.mode", Order(&["required", "optional"]), Grave, "client-certificates", "clients may connect without a certificate", "clients need a certificate"),
    rule(LISTENER, "spec.tls.clientAuthentication.caCertificates", Differs, Grave, "client-authorities", "certificates of other authorities are accepted", ""),
    rule(LISTENER, "spec.tls.clientAuthentication.intermediates", Most(Number), Slight, "client-certificates", "longer chains are accepted", "only shorter chains are accepted"),
    rule(LISTENER, "spec.tls.clientAuthentication.crls", Fewer, Notable, "client-revocation", "fewer or other revocation lists are asked", "more revocation lists are asked"),
    rule(LISTENER, "spec.tls.clientAuthentication.revocationOf", Order(&["chain", "certificate"]), Notable, "client-revocation", "revoked intermediates are accepted", "revoked intermediates are refused"),
    rule(LISTENER, "spec.tls.clientAuthentication.unknownRevocation", Order(&["deny", "allow"]), Grave, "client-revocation", "certificates that no list speaks for are accepted", "certificates that no list speaks for are refused"),
    rule(LISTENER, "spec.tls.clientAuthentication.expiredCrl", Order(&["deny", "allow"]), Grave, "client-revocation", "revocation lists that are too old are believed", "revocation lists that are too old are not believed"),
    rule(LISTENER, "spec.hsts", Guard, Notable, "hsts", "browsers are no longer told to insist on https", "browsers are told to insist on https"),
    rule(LISTENER, "spec.redirectHttps", Guard, Notable, "redirect-https", "clear text is served instead of redirected", "clear text is redirected"),
    rule(LISTENER, "spec.addresses", More, Notable, "listener-addresses", "it listens on other addresses", "it listens on fewer addresses"),
    rule(LISTENER, "spec.hostnames", MoreOrAll, Notable, "listener-hosts", "it serves more hosts", "it serves fewer hosts"),
    rule(LISTENER, "spec.trustedProxies", NetworksTrusted, Grave, "trusted-proxies", "more peers are believed about the client's address", "fewer peers are believed about the client's address"),
    rule(LISTENER, "spec.proxyProtocol.from", NetworksTrusted, Grave, "proxy-protocol", "more peers are believed about the client's address", "fewer peers are believed about the client's address"),
    rule(LISTENER, "spec.proxyProtocol", Differs, Notable, "proxy-protocol", "whose PROXY protocol is read changes", ""),
    rule(LISTENER, "spec.admission.allow", NetworksAllowed, Grave, "addresses-allowed", "more addresses are admitted", "fewer addresses are admitted"),
    rule(LISTENER, "spec.admission.deny", NetworksDenied, Grave, "addresses-denied", "fewer addresses are refused", "more addresses are refused"),
    rule(LISTENER, "spec.admission.ratePerAddress", Guard, Notable, "address-rate", "addresses are no longer limited", "each address is limited"),
    rule(LISTENER, "spec.admission.ratePerAddress", Limits, Notable, "address-rate", "each address may call more often", "each address may call less often"),
    rule(LISTENER, "spec.admission.connections", Most(Number), Slight, "connections", "more connections are held", "fewer connections are held"),
    rule(LISTENER, "spec.admission.connectionsPerAddress", Most(Number), Slight, "connections", "one address may hold more connections", "one address may hold fewer connections"),
    rule(LISTENER, "spec.admission.connectionsPerPrefix", Most(Number), Slight, "connections", "one network may hold more connections", "one network may hold fewer connections"),
    rule(LISTENER, "spec.admission.handshakeTimeout", Most(Time), Slight, "admission-time", "slow handshakes are waited for longer", "slow handshakes are waited for less"),
    rule(LISTENER, "spec.admission.headerTimeout", Most(Time), Slight, "admission-time", "slow heads are waited for longer", "slow heads are waited for less"),
    rule(LISTENER, "spec.admission.idleTimeout", Most(Time), Slight, "admission-time", "silent connections are kept longer", "silent connections are kept less"),
    rule(LISTENER, "spec.admission.headerBytes", Most(Bytes), Slight, "admission-size", "larger heads are admitted", "only smaller heads are admitted"),
    rule(LISTENER, "spec.admission.headerCount", Most(Number), Slight, "admission-size", "more headers are admitted", "fewer headers are admitted"),
    rule(LISTENER, "spec.admission.uriBytes", Most(Bytes), Slight, "admission-size", "longer targets are admitted", "only shorter targets are admitted"),
    rule(LISTENER, "spec.admission.bodyRate", Less(Bytes), Slight, "admission-time", "slower bodies are waited for", "slow bodies are waited for less"),
    rule(LISTENER, "spec.admission.streams", Most(Number), Slight, "admission-size", "more streams are open at once", "fewer streams are open at once"),
    rule(LISTENER, "spec.admission.resets", Most(Number), Slight, "admission-size", "more resets are suffered", "fewer resets are suffered"),

    rule(LIMIT, "spec.limits", Limits, Notable, "limit", "callers may do more", "callers may do less"),
    rule(LIMIT, "spec.key", Differs, Notable, "limit-key", "calls are counted together in another way", ""),
    rule(LIMIT, "spec.onAbsent", Order(&["deny", "clientAddress", "skip"]), Notable, "limit-absent", "callers without the key are limited less", "callers without the key are limited more"),
    rule(LIMIT, "spec.action.type", Differs, Slight, "limit-action", "what happens over the limit changes", ""),
    rule(LIMIT, "spec.action.maxRetry", Most(Number), Slight, "limit-action", "more calls may wait for a slot", "fewer calls may wait for a slot"),

    rule(MODEL, "spec.roles", MoreOrAll, Grave, "model-roles", "callers with more roles may use the model", "callers with fewer roles may use the model"),
    rule(MODEL, "spec.targets", Differs, Notable, "model-targets", "what callers send goes to other providers or models", ""),
    rule(MODEL, "spec.aliases", More, Slight, "model-names", "the model answers to more names", "the model answers to fewer names"),
    rule(MODEL, "spec.maxOutputTokens", Guard, Notable, "model-cost", "answers may be as long as the provider lets them", "answers end at a length"),
    rule(MODEL, "spec.maxOutputTokens", Most(Number), Notable, "model-cost", "answers may be longer and cost more", "answers end earlier and cost less"),
    rule(MODEL, "spec.price", Differs, Notable, "model-cost", "what is used is charged at another price", ""),

    rule(PROMPT, "spec.messages", Differs, Notable, "prompt", "callers ask for something else", ""),
    rule(PROMPT, "spec.model", Differs, Notable, "prompt-model", "what callers send goes to another model", ""),
    rule(PROMPT, "spec.variables", Differs, Notable, "prompt-variables", "callers may fill in something else", ""),

    rule(POLICY_TEST, "spec.steps", Differs, Notable, "policy-test", "other things are promised", ""),
    rule(POLICY_TEST, "spec.request", Differs, Notable, "policy-test", "what is promised is shown by another request", ""),
    rule(POLICY_TEST, "spec.identity", Differs, Notable, "policy-test", "what is promised is shown for another caller", ""),
    rule(QUOTA, "spec.limits", Quotas, Notable, "quota", "callers may use more", "callers may use less"),
    rule(QUOTA, "spec.key", Differs, Notable, "quota-key", "use is counted together in another way", ""),
    rule(QUOTA, "spec.onAbsent", Order(&["deny", "skip"]), Notable, "quota-absent", "callers without the key are not counted", "callers without the key are refused"),

    rule(RECORD, "spec.accessLog", SwitchedOff, Notable, "record", "requests are no longer written down", "requests are written down"),
    rule(RECORD, "spec.addressPrivacy", Order(&["hashed", "truncated", "full"]), Notable, "record-privacy", "more of callers' addresses is written down", "less of callers' addresses is written down"),
    rule(RECORD, "spec.queryValues", Order(&["masked", "full"]), Notable, "record-privacy", "values of queries are written down", "values of queries are no longer written down"),
    rule(RECORD, "spec.headers", More, Slight, "record-privacy", "more headers are written down", "fewer headers are written down"),

    rule(ROLE, "spec.grants", More, Grave, "role-grants", "it permits more, or something else", "it permits less"),

    rule(ROUTE, "spec.rules.backendRefs", Differs, Notable, "route-upstreams", "requests go to other upstreams, or in other shares", ""),
    rule(ROUTE, "spec.rules.filters", Differs, Slight, "route-filters", "requests or answers are changed in another way", ""),
    rule(ROUTE, "spec.rules.timeouts.request", MostOrEndless(Time), Slight, "route-time", "requests may take longer", "requests may take less time"),
    rule(ROUTE, "spec.rules.timeouts.backendRequest", Most(Time), Slight, "route-time", "upstreams may take longer", "upstreams may take less time"),
    rule(ROUTE, "spec.rules.timeouts.idle", Most(Time), Slight, "route-time", "upstreams may be silent longer", "upstreams may be silent less"),

    rule(SCHEMA, "spec.schema", Differs, Grave, "schema", "bodies are judged by another schema", ""),
    rule(SCHEMA, "spec.required", SwitchedOff, Notable, "schema-body", "calls without a body pass", "calls need a body"),
    rule(SCHEMA, "spec.onOtherType", Order(&["deny", "allow"]), Grave, "schema-body", "bodies of other types pass without being judged", "bodies of other types are refused"),
    rule(SCHEMA, "spec.bodyBytes", Most(Bytes), Slight, "schema-body", "larger bodies are judged and pass", "larger bodies are refused"),

    rule(SECRET, "spec.valueRef", Differs, Notable, "secret", "the secret is read from another place", ""),

    rule(TEAM, "spec.members", Differs, Notable, "team-members", "others share its models and budget", ""),
    rule(TEAM, "spec.models", MoreOrAll, Grave, "team-models", "its members may use more models", "its members may use fewer models"),
    rule(TEAM, "spec.budget", Guard, Notable, "team-budget", "its members are no longer held to a budget", "its members are held to a budget"),
    rule(TEAM, "spec.budget", Quotas, Notable, "team-budget", "its members may use more", "its members may use less"),

    rule(UPSTREAM, "spec.endpoints", Endpoints, Notable, "upstream-endpoints", "requests go to other endpoints, or in clear text", "requests go over TLS"),
    rule(UPSTREAM, "spec.tls.dangerAcceptAnyCertificate", SwitchedOn, Grave, "upstream-verification", "any certificate is accepted", "certificates are verified"),
    rule(UPSTREAM, "spec.tls.authoritiesRef", Differs, Notable, "upstream-authorities", "other authorities are trusted", ""),
    rule(UPSTREAM, "spec.tls.serverName", Differs, Notable, "upstream-name", "another name is expected in its certificate", ""),
    rule(UPSTREAM, "spec.tls", Differs, Notable, "upstream-tls", "how its certificate is verified changes", ""),
    rule(UPSTREAM, "spec.credential", Differs, Notable, "upstream-credential", "the credential that it is shown changes", ""),

    rule(UPSTREAM_POLICY, "spec.mirror", Differs, Notable, "upstream-mirror", "who gets copies of requests changes", ""),
    rule(UPSTREAM_POLICY, "spec.mirror.upstream", Differs, Notable, "upstream-mirror", "copies of requests go to another upstream", ""),
    rule(UPSTREAM_POLICY, "spec.mirror.percent", Most(Number), Notable, "upstream-mirror", "more requests are copied", "fewer requests are copied"),
    rule(UPSTREAM_POLICY, "spec.concurrency", Guard, Slight, "upstream-concurrency", "any number of requests may be with the upstreams", "requests that are with the upstreams are bounded"),
    rule(UPSTREAM_POLICY, "spec.concurrency.requests", Most(Number), Slight, "upstream-concurrency", "more requests may be with the upstreams", "fewer requests may be with the upstreams"),
    rule(UPSTREAM_POLICY, "spec.retries.attempts", Most(Number), Slight, "upstream-retries", "requests are sent again more often", "requests are sent again less often"),
    rule(UPSTREAM_POLICY, "spec.firstByteTimeout", MostOrEndless(Time), Slight, "upstream-time", "answers may begin later", "answers must begin earlier"),
];

/// Pushes what the difference of one field means; nothing for a field without a row.
pub(super) fn judge(
    kind: Kind,
    document: &str,
    plain: &str,
    path: &str,
    before: &Value,
    after: &Value,
    findings: &mut Vec<Finding>,
) {
    for rule in rules().filter(|rule| rule.path == plain && rule.kind.is_none_or(|one| one == kind)) {
        let stands = rule.judge.compare(before, after);
        let direction = match (stands.weaker, stands.stronger) {
            // Weaker in one part is what must be seen.
            (true, _) => Direction::Weaker,
            (false, true) => Direction::Stronger,
            (false, false) if stands.different => Direction::Different,
            (false, false) => continue,
        };
        let words = if direction == Direction::Stronger { rule.stronger } else { rule.weaker };
        let values = values(before, after);
        findings.push(Finding {
            direction,
            weight: rule.weight,
            code: rule.code,
            document: document.to_owned(),
            path: Some(path.to_owned()),
            message: format!("{document}: {words}{values}"),
            routes: Vec::new(),
            place: None,
        });
    }
}

/// The values, where they are short enough to be read in a sentence.
fn values(before: &Value, after: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Null => Some("none".to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if text.len() <= 60 => Some(text.clone()),
        _ => None,
    };
    match (plain(before), plain(after)) {
        (Some(before), Some(after)) => format!(" ({before} → {after})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_model::shape::Shape;

    use super::*;

    /// Whether a kind has a field at this path.
    fn has(shape: &Shape, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else { return true };
        match shape {
            Shape::Object(object) | Shape::Union(object) => {
                object.fields.iter().any(|field| field.name == *first && has(&field.shape, rest))
            }
            Shape::List { item, .. } => has(item, path),
            Shape::OneOf(shapes) => shapes.iter().any(|shape| has(shape, path)),
            _ => false,
        }
    }

    #[test]
    fn every_row_is_about_a_field_that_exists() {
        for rule in rules() {
            let path: Vec<&str> = rule.path.split('.').skip(1).collect();
            let mut kinds = Kind::ALL.iter().filter(|kind| rule.kind.is_none_or(|one| one == **kind));
            assert!(kinds.any(|kind| has(&kind.spec_shape(), &path)), "{:?} {}", rule.kind, rule.path);
        }
    }

    #[test]
    fn every_kind_has_rows_and_every_method_too() {
        for kind in Kind::ALL {
            let of_kind = rules().filter(|rule| rule.kind == Some(*kind)).count();
            assert!(of_kind > 0, "{} has no row: what its fields weaken would not be said", kind.as_str());
        }
        let Shape::Object(spec) = Kind::AuthenticationPolicy.spec_shape() else { panic!() };
        let methods = spec.fields.iter().find(|field| field.name == "methods").unwrap();
        let Shape::List { item, .. } = &methods.shape else { panic!() };
        let Shape::Object(method) = &**item else { panic!() };
        for field in method.fields.iter().filter(|field| field.name != "type") {
            let path = format!("spec.methods.{}.", field.name);
            assert!(rules().any(|rule| rule.path.starts_with(&path)), "{path} has no row");
        }
    }

    #[test]
    fn every_way_of_every_row_has_words() {
        for rule in rules() {
            assert!(!rule.weaker.is_empty(), "{}", rule.path);
            assert!(matches!(rule.judge, Differs) || !rule.stronger.is_empty(), "{}", rule.path);
        }
    }
}
