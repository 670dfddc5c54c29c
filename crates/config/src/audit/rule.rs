//! The rules: id, gravity, place in the OWASP API Security Top 10 of 2023, what is found, and why it matters.
//!
//! An id is never given away again. The page `docs/guides/audit-rules.md` is made from this table.

use std::fmt;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gravity {
    /// To be kept in order.
    Low,
    /// Weakens what the set promises.
    Medium,
    /// A door stands open.
    High,
}

impl Gravity {
    /// All, the least first.
    pub const ALL: [Gravity; 3] = [Gravity::Low, Gravity::Medium, Gravity::High];

    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Gravity::Low => "low",
            Gravity::Medium => "medium",
            Gravity::High => "high",
        }
    }
}

impl fmt::Display for Gravity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A place in the OWASP API Security Top 10 of 2023.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owasp {
    /// Broken Object Level Authorization
    Api1,
    /// Broken Authentication
    Api2,
    /// Broken Object Property Level Authorization
    Api3,
    /// Unrestricted Resource Consumption
    Api4,
    /// Broken Function Level Authorization
    Api5,
    /// Security Misconfiguration
    Api8,
    /// Improper Inventory Management
    Api9,
    /// Unsafe Consumption of APIs
    Api10,
}

impl Owasp {
    /// `API2:2023`.
    pub const fn id(self) -> &'static str {
        match self {
            Owasp::Api1 => "API1:2023",
            Owasp::Api2 => "API2:2023",
            Owasp::Api3 => "API3:2023",
            Owasp::Api4 => "API4:2023",
            Owasp::Api5 => "API5:2023",
            Owasp::Api8 => "API8:2023",
            Owasp::Api9 => "API9:2023",
            Owasp::Api10 => "API10:2023",
        }
    }

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Owasp::Api1 => "Broken Object Level Authorization",
            Owasp::Api2 => "Broken Authentication",
            Owasp::Api3 => "Broken Object Property Level Authorization",
            Owasp::Api4 => "Unrestricted Resource Consumption",
            Owasp::Api5 => "Broken Function Level Authorization",
            Owasp::Api8 => "Security Misconfiguration",
            Owasp::Api9 => "Improper Inventory Management",
            Owasp::Api10 => "Unsafe Consumption of APIs",
        }
    }
}

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its stable id.
    pub id: &'static str,
    /// Its name in words with dashes.
    pub name: &'static str,
    /// How grave a finding is, as a rule.
    pub gravity: Gravity,
    /// Its place in the OWASP list.
    pub owasp: Owasp,
    /// What is found.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
}

macro_rules! rules {
    ($($const:ident = $id:literal $name:literal, $gravity:ident, $owasp:ident, $what:literal, $why:literal;)+) => {
        $(pub(super) static $const: Rule = Rule {
            id: $id, name: $name, gravity: Gravity::$gravity, owasp: Owasp::$owasp, what: $what, why: $why,
        };)+

        /// All rules in the order of their ids.
        pub static RULES: &[&Rule] = &[$(&$const,)+];
    };
}

rules! {
    ROUTE_OPEN = "BA-101" "route-open", High, Api2,
        "A route has no AuthenticationPolicy that bites.",
        "Anyone who reaches the listener may call it.";
    ROUTE_ANONYMOUS = "BA-102" "route-anonymous", Medium, Api2,
        "A route admits callers without a credential.",
        "Nobody can be told apart, limited by name or cut off.";
    ROUTE_UNAUTHORIZED = "BA-103" "route-without-authorization", Medium, Api5,
        "A route that knows its callers has no AuthorizationPolicy that bites.",
        "Every caller with any key may do everything on it.";
    RULE_OPEN = "BA-104" "rule-open", High, Api5,
        "A rule of an AuthorizationPolicy allows every caller.",
        "The policy looks like a fence and is none.";
    ROLE_WILDCARD = "BA-105" "role-wildcard", Medium, Api5,
        "A role permits something on every route, without a condition.",
        "It also permits it on routes that come later.";
    ROLE_UNUSED = "BA-106" "role-unused", Low, Api9,
        "A role is had by nobody and asked for by nothing.",
        "What nobody needs is given away by mistake one day.";
    CONSUMER_POWERFUL = "BA-107" "consumer-powerful-from-anywhere", Medium, Api5,
        "A consumer whose role permits every route may call from any address.",
        "Its key alone opens everything; an address would be a second lock.";
    CONSUMER_DISABLED = "BA-108" "consumer-disabled", Low, Api9,
        "A consumer is disabled.",
        "What is gone for good should be deleted, with its keys.";
    OBJECT_BY_ID = "BA-109" "object-without-ownership", Low, Api1,
        "A template names an object, and no condition of its policies looks at the path.",
        "Who may call it may ask for everybody's objects, unless the service checks.";
    ROUTE_UNLIMITED = "BA-201" "route-unlimited", High, Api4,
        "A route has no RateLimitPolicy that bites.",
        "One caller can use up the upstream for all.";
    ADDRESS_UNLIMITED = "BA-202" "address-unlimited", Medium, Api2,
        "A listener beyond this machine has no rate per client address.",
        "Guessing keys costs a caller nothing.";
    BODY_LARGE = "BA-203" "body-large", Medium, Api4,
        "Bodies of more than 32 MiB are admitted.",
        "Memory and bandwidth are the caller's to spend.";
    LIMIT_SHARED = "BA-204" "limit-shared", Medium, Api4,
        "A route is only limited for all callers together.",
        "One caller can use up the share of everybody else.";
    LIMIT_BY_CHOICE = "BA-205" "limit-by-callers-choice", High, Api4,
        "A limit is counted by nothing but headers that callers choose.",
        "A caller that changes the header has a new limit.";
    LIMIT_AVOIDABLE = "BA-206" "limit-avoidable", Medium, Api4,
        "A limit does not apply to callers that leave a part of its key out.",
        "Leaving it out is the caller's choice.";
    LIMIT_HUGE = "BA-207" "limit-huge", Low, Api4,
        "A limit admits more than a thousand calls a second to one caller.",
        "It will not be met before the upstream is.";
    TIME_UNLIMITED = "BA-208" "time-unlimited", Low, Api4,
        "A rule of a route has no time limit for the whole request.",
        "Slow answers hold connections for as long as they like.";
    CLEAR_TEXT = "BA-301" "clear-text", High, Api8,
        "A listener serves clear text beyond this machine.",
        "Keys can be read and answers changed on the way.";
    TLS_OLD = "BA-302" "tls-1-2", Low, Api8,
        "A listener still speaks TLS 1.2.",
        "TLS 1.3 has fewer ways to go wrong, and every client of the last years speaks it.";
    NO_HSTS = "BA-303" "no-hsts", Low, Api8,
        "A listener with TLS beyond this machine sends no Strict-Transport-Security.",
        "A browser that is led to `http://` goes there.";
    TRUSTS_EVERYONE = "BA-304" "trusts-everyone", High, Api8,
        "A listener believes forwarding headers or the PROXY protocol of everyone.",
        "Every caller chooses its own address.";
    UPSTREAM_UNVERIFIED = "BA-305" "upstream-unverified", High, Api10,
        "An upstream's certificate is not verified.",
        "Whoever stands between answers in its name.";
    UPSTREAM_CLEAR_TEXT = "BA-306" "upstream-clear-text", Medium, Api8,
        "Requests leave this machine for an upstream in clear text.",
        "What callers send under TLS can be read behind the gateway.";
    CREDENTIAL_CLEAR_TEXT = "BA-307" "credential-clear-text", High, Api10,
        "An upstream's credential leaves this machine in clear text.",
        "Whoever reads it once can use it for ever.";
    ANY_HOST = "BA-308" "any-host", Low, Api8,
        "A listener with TLS beyond this machine serves every host name.",
        "Requests for names that are not yours reach your routes.";
    FAILS_OPEN = "BA-401" "fails-open", High, Api8,
        "A policy lets requests pass when it cannot decide.",
        "Who can make it fail gets through.";
    SHADOW_LONG = "BA-402" "shadow-long", Medium, Api8,
        "A policy has only watched for more than 14 days.",
        "A trial that nobody ends protects nobody.";
    SWITCHED_OFF = "BA-403" "switched-off", Low, Api8,
        "A policy is off.",
        "It reads like protection and is none.";
    ENFORCED_PARTLY = "BA-404" "enforced-partly", Low, Api8,
        "A policy is enforced for some callers only.",
        "The others pass.";
    CORS_ANY = "BA-405" "cors-any-origin", Medium, Api8,
        "A CorsPolicy lets pages of every origin call.",
        "Every page that a user opens can read the answers.";
    CORS_WIDE = "BA-406" "cors-wildcard-with-credentials", Medium, Api8,
        "A CorsPolicy lets pages of all subdomains call with the user's credentials.",
        "One subdomain that is taken over is enough.";
    QUERY_RECORDED = "BA-407" "query-values-recorded", Medium, Api3,
        "Values of query parameters are written to the access log.",
        "They often hold tokens and personal data.";
    NOT_RECORDED = "BA-408" "not-recorded", Medium, Api8,
        "Requests of a route are not written to the access log.",
        "An attack on it leaves no trace, and `why` has no answer.";
    NO_OWNER = "BA-501" "no-owner", Low, Api9,
        "A route says nowhere who is responsible for it (a label `team` or `owner`).",
        "Nobody is asked before it is changed, and nobody removes it.";
    UNREACHABLE = "BA-502" "unreachable", Low, Api9,
        "A route can be reached through no listener.",
        "It looks published and is not, or was forgotten.";
    ANY_METHOD = "BA-503" "any-method", Medium, Api5,
        "A rule of a route publishes every method.",
        "DELETE and PUT are published, whether or not somebody meant them to be.";
    CATCH_ALL = "BA-504" "catch-all", Medium, Api9,
        "A rule of a route publishes every path.",
        "What the service has beside its API is published too: metrics, debug and admin pages.";
    UNTESTED = "BA-505" "untested", Low, Api9,
        "No PolicyTest of the set expects a route.",
        "A change that opens or breaks it is noticed by callers first.";
    NO_CONTACT = "BA-506" "no-contact", Low, Api9,
        "A consumer has no contact.",
        "Nobody can be told that its key leaked or ends.";
    CERTIFICATE_EXPIRING = "BA-601" "certificate-expiring", Medium, Api8,
        "A certificate ends within 30 days, or has ended.",
        "Callers are turned away by their own clients, or learn to ignore warnings.";
    KEY_OLD = "BA-602" "key-old", Medium, Api2,
        "An API key is older than a year.",
        "It has passed through a year of machines, logs and hands.";
    KEY_ENDLESS = "BA-603" "key-without-end", Low, Api2,
        "An API key never expires.",
        "One that leaks unnoticed works for ever.";
    KEY_UNUSED = "BA-604" "key-unused", Medium, Api2,
        "An API key was not used for 90 days.",
        "Nobody would miss it, except who finds it.";
    KEY_ORPHANED = "BA-605" "key-orphaned", Low, Api9,
        "An API key belongs to a consumer that is not in the documents.",
        "It opens nothing today, and everything that a consumer of this name may do tomorrow.";
}

/// The page of the rules.
pub fn page() -> String {
    let mut page = String::from(
        "# Audit rules\n\n<!-- Generated from crates/config/src/audit/rule.rs; a test keeps it fresh. -->\n\n\
         What `bartizan audit` looks for; [audit.md](audit.md) says how to use it. OWASP names the place in the\n\
         [API Security Top 10 of 2023](https://owasp.org/API-Security/editions/2023/en/0x11-t10/).\n\n\
         | id | gravity | OWASP | what is found | why it matters |\n|---|---|---|---|---|\n",
    );
    for Rule { id, name, gravity, owasp, what, why } in RULES {
        page.push_str(&format!("| {id} `{name}` | {gravity} | {} | {what} | {why} |\n", owasp.id()));
    }
    page
}
