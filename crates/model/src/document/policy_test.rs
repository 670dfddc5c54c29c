//! `PolicyTest`: requests with what the policies must make of them, as a document beside the policies.
//!
//! A test runs through the stages that live traffic runs through, on a clock and limits of its own. `run` does not look
//! at tests; `check` reads them, `test` runs them.

use std::collections::BTreeMap;

use crate::{
    read::{OneOrMany, Spanned},
    reason::{Reason, Stage},
    scalar::{Count, Moment, Name, Time},
};

crate::document! {
    /// Requests with what the policies must make of them. They are sent one after the other, on a clock and limits that
    /// belong to this test alone, so that a later step sees what an earlier one used up.
    pub struct PolicyTestSpec {
        /// What is promised, for people.
        pub description: Option<String>,
        /// What the clock shows at first.
        pub time: Moment = Moment(1_767_225_600_000),
        /// What all steps send unless they say otherwise.
        pub request: TestRequest = TestRequest::default(),
        /// Who all steps are unless they say otherwise.
        pub identity: Option<TestIdentity>,
        /// What is sent and expected, in order.
        pub steps: OneOrMany<Spanned<TestStep>>,
    }
}

crate::document! {
    /// One request, or several that are alike, and what is expected of each.
    pub struct TestStep {
        /// What it shows, for people.
        pub name: Option<String>,
        /// Time that passes before it.
        pub after: Time = Time::seconds(0),
        /// How often it is sent; each must meet the expectation.
        pub repeat: Count = Count::of(1),
        /// Whether the call is still running when the next steps are sent; what it holds of a concurrency stays held.
        pub keep_running: bool = false,
        /// What is sent; fields that are absent are as in the test's `request`.
        pub request: TestRequest = TestRequest::default(),
        /// Who sends it; as in the test's `identity` where absent.
        pub identity: Option<TestIdentity>,
        /// The caller's share (0–99), for policies with `enforcePercent`; else it follows from key or address, as always.
        pub share: Option<Spanned<u8>>,
        /// What must come of it.
        pub expect: Spanned<TestExpectation>,
    }
}

crate::document! {
    /// A request.
    pub struct TestRequest: Default {
        /// The listener it comes to; where absent, the one that fits the URL best.
        pub listener: Option<Spanned<Name>>,
        /// The method; `GET` where absent.
        pub method: Option<Spanned<String>>,
        /// A URL, or a path at the listener's own host; `/` where absent.
        pub url: Option<Spanned<String>>,
        /// Headers, each with one value or several; `null` takes one away that the test's `request` has.
        pub headers: BTreeMap<String, Option<OneOrMany<String>>> = BTreeMap::new(),
        /// The body.
        pub body: Option<String>,
        /// The address it comes from; `192.0.2.1` where absent.
        pub client: Option<Spanned<String>>,
        /// The name that a TLS client asks for; the URL's host where absent.
        pub server_name: Option<String>,
        /// Whether it is sent in HTTP/2.
        pub http2: Option<bool>,
    }
}

crate::choice! {
    /// What is the matter with a key.
    pub enum TestKeyState {
        /// Nothing.
        Valid = "valid",
        /// Its time is over.
        Expired = "expired",
        /// It was revoked.
        Revoked = "revoked",
        /// Its time has not begun.
        NotYetValid = "notYetValid",
        /// No key has this id.
        Unknown = "unknown",
        /// Its id exists and its secret is another.
        WrongSecret = "wrongSecret",
        /// It does not have the form of a key.
        Malformed = "malformed",
    }
}

crate::choice! {
    /// What is the matter with a token.
    pub enum TestTokenState {
        /// Nothing: its issuer made it. What it says is judged.
        Valid = "valid",
        /// Its time is over.
        Expired = "expired",
        /// Its time has not begun.
        NotYetValid = "notYetValid",
        /// Its issuer did not make it.
        Forged = "forged",
    }
}

crate::document! {
    /// A token, by what it says. `exp` is five minutes after the test's clock, `aud` is what the claims say.
    pub struct TestToken {
        /// Its issuer, as the AuthenticationPolicy names it.
        pub issuer: Spanned<String>,
        /// What it says: claims by name, or by JSON pointer where one stands in another (`/realm_access/roles`). A value is a
        /// text, or a list of two texts or more.
        pub claims: BTreeMap<String, OneOrMany<String>> = BTreeMap::new(),
        /// What it was signed with; any that its issuer may use where absent.
        pub algorithm: Option<String>,
        /// What is the matter with it.
        pub state: TestTokenState = TestTokenState::Valid,
    }
}

crate::document! {
    /// A client's certificate that the handshake verified, by the names that it states.
    pub struct TestCertificate {
        /// DNS names among the subject alternative names.
        pub dns: Vec<String> = Vec::new(),
        /// URIs among them.
        pub uri: Vec<String> = Vec::new(),
        /// E-mail addresses among them.
        pub email: Vec<String> = Vec::new(),
        /// The subject's common name.
        pub common_name: Option<String>,
        /// The SHA-256 of the certificate, in hexadecimal.
        pub fingerprint: Option<String>,
    }
}

crate::document! {
    /// Who sends the request: instead of a secret in a document, what the credential would prove. `{}` is nobody. At most
    /// one of `consumer`, `user` and `token`; a certificate may stand beside them.
    pub struct TestIdentity {
        /// The consumer whose API key is sent.
        pub consumer: Option<Spanned<Name>>,
        /// What is the matter with that key.
        pub api_key: TestKeyState = TestKeyState::Valid,
        /// The consumer whose name and password are sent.
        pub user: Option<Spanned<Name>>,
        /// The token that is sent.
        pub token: Option<TestToken>,
        /// The certificate that the client shows.
        pub certificate: Option<TestCertificate>,
    }
}

crate::choice! {
    /// What comes of a request.
    pub enum TestDecision {
        /// It is sent to the upstream.
        Forward = "forward",
        /// It is refused.
        Refuse = "refuse",
        /// The gateway answers it by itself: a redirect, a preflight.
        Answer = "answer",
    }
}

crate::document! {
    /// What must come of a request. At least one field; what is not named may be anything.
    pub struct TestExpectation {
        /// What comes of it.
        pub decision: Option<TestDecision>,
        /// The status that the gateway answers with; none when it is forwarded.
        pub status: Option<u16>,
        /// The reason of the refusal.
        pub reason: Option<Reason>,
        /// The stage that ends it.
        pub stage: Option<Stage>,
        /// The policy that refuses, as `Kind/name`.
        pub policy: Option<Spanned<String>>,
        /// A part of the evidence of the refusal, as the access log has it.
        pub detail: Option<String>,
        /// The route that it takes.
        pub route: Option<Spanned<Name>>,
        /// The consumer that it is taken for.
        pub consumer: Option<Spanned<Name>>,
        /// The upstream that it is sent to.
        pub upstream: Option<Spanned<Name>>,
        /// The path, with the query, that the upstream is sent.
        pub path: Option<String>,
        /// Headers that the upstream is sent; `null` for one that it must not be sent.
        pub upstream_headers: BTreeMap<String, Option<String>> = BTreeMap::new(),
        /// Headers that the gateway sets in the answer; `null` for one that it must not set.
        pub headers: BTreeMap<String, Option<String>> = BTreeMap::new(),
        /// How long the call waits for its slot in a limit.
        pub wait: Option<Time>,
        /// Where limits stand after it.
        pub limits: Vec<Spanned<ExpectedLimit>> = Vec::new(),
        /// What policies in shadow would have done, all of it; `[]` says nothing.
        pub would_deny: Option<Vec<Spanned<ExpectedWould>>>,
    }
}

crate::document! {
    /// Where a limit stands after a request.
    pub struct ExpectedLimit {
        /// The name of the RateLimitPolicy, the QuotaPolicy or the Team.
        pub policy: Spanned<Name>,
        /// Which of the policy's limits, from 0.
        pub limit: u16 = 0,
        /// Calls left at once; of a quota, what is left of it: calls, tokens or picodollars.
        pub remaining: Option<u64>,
        /// Whose bucket it is, as `explain` tells: `consumer anna`.
        pub bucket: Option<String>,
    }
}

crate::document! {
    /// What a policy in shadow would have done.
    pub struct ExpectedWould {
        /// The policy, as `Kind/name`.
        pub policy: Spanned<String>,
        /// The reason it would have refused for.
        pub reason: Option<Reason>,
    }
}
