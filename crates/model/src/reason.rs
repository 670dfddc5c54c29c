//! The ten stages and every reason for which a request can be refused.
//!
//! One word per stage and one per reason, used unchanged in files, documents, metrics, logs and the `code` of an
//! answer. The mapping of a reason to an HTTP status and a sentence lives in exactly one other place:
//! `proxy/src/answer.rs`.

use std::fmt;

/// A stage of the pipeline, in the order in which a request meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Strict parse, canonical path, forged headers stripped, limits by client address.
    Admit,
    /// Which route, and with it which policies.
    Route,
    /// Who is it.
    Identify,
    /// May they.
    Authorize,
    /// How much.
    Limit,
    /// Is it an attack.
    Inspect,
    /// Is the answer known.
    Cache,
    /// To which endpoint.
    Forward,
    /// Is the answer fit to leave.
    Screen,
    /// What was done.
    Record,
}

impl Stage {
    /// All stages in pipeline order.
    pub const ALL: [Stage; 10] = [
        Stage::Admit,
        Stage::Route,
        Stage::Identify,
        Stage::Authorize,
        Stage::Limit,
        Stage::Inspect,
        Stage::Cache,
        Stage::Forward,
        Stage::Screen,
        Stage::Record,
    ];

    /// The stage's word, as in metric labels and the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Admit => "admit",
            Stage::Route => "route",
            Stage::Identify => "identify",
            Stage::Authorize => "authorize",
            Stage::Limit => "limit",
            Stage::Inspect => "inspect",
            Stage::Cache => "cache",
            Stage::Forward => "forward",
            Stage::Screen => "screen",
            Stage::Record => "record",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $stage:ident,)+) => {
        /// Why a request was refused. The variant's name is the stable `code` that callers see.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All reasons, alphabetical within their stage.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The stable code, equal to the variant's name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)+ }
            }

            /// The stage that refuses for this reason. `JudgeUnavailable` and `InternalError` can arise in any
            /// stage; they are listed under `record`, and the record names the stage it happened in.
            pub const fn stage(self) -> Stage {
                match self { $(Reason::$name => Stage::$stage,)+ }
            }

            /// What the reason means, one sentence for the operator.
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

reasons! {
    /// The client's address is not allowed on this listener.
    AddressDenied => Admit,
    /// The client's address sent more requests than the listener admits.
    AddressLimited => Admit,
    /// The request carries an `Expect` that is not `100-continue`.
    ExpectationUnknown => Admit,
    /// The head has too many header fields or too many bytes.
    HeaderTooLarge => Admit,
    /// The head cannot be read in exactly one way.
    MalformedRequest => Admit,
    /// The method is none that the gateway knows.
    MethodUnknown => Admit,
    /// The head or body did not arrive in time.
    RequestTimeout => Admit,
    /// The request target is longer than the listener admits.
    UriTooLong => Admit,
    /// A header breaks a HeaderPolicy of the route.
    HeaderRefused => Route,
    /// The path is published, but not for this method.
    MethodNotAllowed => Route,
    /// No route publishes this host and path.
    NoRoute => Route,
    /// The host does not belong to the listener or the TLS name the connection was opened for.
    WrongHost => Route,
    /// The credential was valid once and is not any more.
    CredentialExpired => Identify,
    /// A credential was sent and is not valid.
    CredentialInvalid => Identify,
    /// The route asks for a credential and none was sent.
    CredentialMissing => Identify,
    /// A page of another site sent a request that could change something with the caller's session.
    CrossSite => Identify,
    /// Too many failed attempts to identify.
    TooManyFailures => Identify,
    /// The caller is known and may not do this.
    NotAllowed => Authorize,
    /// The call does not bound its output, and a budget applies that must know it.
    OutputUnbounded => Limit,
    /// The model has no price, and a budget in money applies.
    PriceUnknown => Limit,
    /// A quota is used up.
    QuotaExceeded => Limit,
    /// A rate or concurrency limit is reached.
    RateExceeded => Limit,
    /// What the call would use cannot be told before, and a budget applies that must know it.
    UseUnknown => Limit,
    /// The request matches a rule against attacks.
    AttackDetected => Inspect,
    /// The body is larger than the route admits.
    BodyTooLarge => Inspect,
    /// The request could not be inspected completely.
    InspectionIncomplete => Inspect,
    /// The body asks for a model that is not published.
    ModelUnknown => Inspect,
    /// The operation inside the body is not allowed.
    OperationNotAllowed => Inspect,
    /// The body asks a model for something that cannot be read, or that no target of the model can be asked.
    OperationUnsupported => Inspect,
    /// A guardrail refuses the prompt.
    PromptRefused => Inspect,
    /// The body does not fit its schema.
    SchemaViolation => Inspect,
    /// No connection to an endpoint could be made.
    ConnectFailed => Forward,
    /// No target of the model served the call.
    ModelFailed => Forward,
    /// No endpoint is available.
    NoEndpoint => Forward,
    /// The gateway or the upstream is over its capacity.
    Overloaded => Forward,
    /// The upstream answered with something that is not valid HTTP.
    UpstreamMisbehaved => Forward,
    /// The upstream did not answer in time.
    UpstreamTimeout => Forward,
    /// The response matches a rule and may not leave.
    ResponseRefused => Screen,
    /// The gateway made an error of its own.
    InternalError => Record,
    /// A judge could not decide, and what cannot be decided is refused.
    JudgeUnavailable => Record,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
