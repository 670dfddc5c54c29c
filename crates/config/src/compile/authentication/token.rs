//! `Jwt` and `Introspection` methods → their plans.
//!
//! Methods that look at the same places become one plan with several issuers: whose a token is, the token says, and a
//! token of the second issuer is not an invalid one of the first.

use std::{sync::Arc, time::Duration};

use bartizan_identity::{
    Algorithm, MacAlgorithm, SignatureAlgorithm,
    jwk::{KeySet, Origin},
    jwt::{ClaimPath, ConsumerRule},
};
use bartizan_model::{
    document::{
        Document, Kind,
        authentication::{
            ClaimMapping, FetchSpec, IntrospectionMethod, JwtMethod, TokenAlgorithm, TokenChallenge,
            TokenKeys, TokenPlace, UnknownConsumer,
        },
    },
    problem::{Code, Problem, Problems, Span, shown},
    read::Spanned,
    scalar::{FetchUrl, Time},
};

use super::super::{
    index::Index,
    policy::{check_reserved, header_name},
};
use crate::snapshot::{
    ChallengePlan, FetchPlan, IntrospectionPlan, IssuerPlan, JwtPlan, KeySetPlan, KeysPlan, MappingPlan,
    TokenPlacePlan,
};

/// Five minutes: a longer leeway is a longer expiry in disguise.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

/// An hour: whoever withdraws a token wants it to end before the day does.
const CACHE_MAX: Duration = Duration::from_secs(3_600);

/// Ten seconds: a caller does not wait longer for a third party.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// As many secrets as are tried.
const SECRETS_MAX: usize = 4;

/// What compiling a method looks things up in and reports to.
pub(super) struct Compiling<'c, 'd> {
    pub(super) index: &'c Index<'d>,
    pub(super) document: &'d Document,
    pub(super) problems: &'c mut Problems,
}

impl Compiling<'_, '_> {
    pub(super) fn report(
        &mut self,
        code: Code,
        at: Span,
        path: &str,
        message: impl Into<String>,
        hint: &str,
    ) {
        let problem = Problem::new(code, at, format!("spec.methods.{path}"), message.into());
        self.problems.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }

    // === Jwt ===

    /// The plan of one method; its index is set by whoever puts plans together.
    pub(super) fn jwt(&mut self, method: &Spanned<JwtMethod>) -> Option<JwtPlan> {
        let places = self.places(&method.from, "jwt.from");
        let issuer = self.issuer(method)?;
        Some(JwtPlan {
            index: 0,
            places,
            issuers: vec![issuer],
            leaves_opaque: false,
            forward: method.forward,
            challenge: self.challenge(&method.challenge, "jwt.challenge"),
        })
    }

    fn issuer(&mut self, method: &Spanned<JwtMethod>) -> Option<IssuerPlan> {
        if method.issuer.is_empty() {
            self.report(Code::BadValue, method.issuer.at, "jwt.issuer", "the issuer is empty", "");
        }
        let audiences = self.audiences(&method.audiences, method.at, "jwt.audiences");
        if method.types.is_empty() && !method.allow_untyped {
            let message = "no `typ` is allowed, and leaving it out neither";
            self.report(Code::FieldsClash, method.at, "jwt.types", message, "");
        }
        let keys = self.keys(method);
        let required: Vec<_> = (method.required_claims.iter())
            .filter_map(|claim| self.claim(claim, "jwt.requiredClaims"))
            .collect();
        let age_max = method.max_age.as_ref().map(|age| self.positive(age, "jwt.maxAge"));
        let leeway = self.clock_skew(&method.clock_skew, "jwt.clockSkew");
        let mapping = self.mapping(&method.claims, "jwt.claims");
        Some(IssuerPlan {
            name: method.issuer.as_str().into(),
            audiences,
            keys: keys?,
            types: method.types.iter().map(|typ| typ.as_str().into()).collect(),
            allow_untyped: method.allow_untyped,
            require_kid: method.require_kid,
            leeway,
            age_max,
            required,
            mapping,
        })
    }

    fn audiences(&mut self, audiences: &[Spanned<String>], at: Span, path: &str) -> Vec<Box<str>> {
        if audiences.is_empty() {
            let hint = "name what tokens for this gateway have in `aud`; otherwise one made for somebody else passes";
            self.report(Code::EmptyList, at, path, "no audience is named", hint);
        }
        for empty in audiences.iter().filter(|audience| audience.is_empty()) {
            self.report(Code::BadValue, empty.at, path, "an audience is empty", "");
        }
        audiences.iter().map(|audience| audience.as_str().into()).collect()
    }

    fn keys(&mut self, method: &Spanned<JwtMethod>) -> Option<KeysPlan> {
        let (signatures, macs) = self.algorithms(&method.algorithms, method.at, "jwt.algorithms")?;
        let discovery = TokenKeys::Discovery(Default::default());
        let (keys, at) = match &method.keys {
            Some(keys) => (&keys.value, keys.at),
            None => (&discovery, method.issuer.at),
        };
        let secret = match (keys, macs.as_slice()) {
            (TokenKeys::SecretRef(references), [algorithm]) => Some((references, *algorithm)),
            (TokenKeys::SecretRef(_), _) => {
                let message = "a shared secret needs exactly one of the algorithms HS256, HS384, HS512";
                self.report(Code::FieldsClash, at, "jwt.algorithms", message, "write `algorithms: [HS256]`");
                return None;
            }
            (_, []) => None,
            (_, _) => {
                let message =
                    "shared-secret algorithms need `keys.secretRef`: no published key may verify them";
                self.report(Code::FieldsClash, at, "jwt.keys", message, "");
                return None;
            }
        };
        if let Some((references, algorithm)) = secret {
            if references.len() > SECRETS_MAX {
                let message = format!("more than {SECRETS_MAX} secrets");
                self.report(Code::TooLarge, at, "jwt.keys.secretRef", message, "");
            }
            let located = references.iter().map(|one| self.index.locate(self.document, one)).collect();
            return Some(KeysPlan::Secrets(located, algorithm));
        }
        match keys {
            TokenKeys::Discovery(discovery) => {
                let url = match &discovery.url {
                    Some(url) => url.clone(),
                    None => Spanned::new(self.discovery_url(&method.issuer, "jwt.issuer")?, method.issuer.at),
                };
                let issuer = Some(Arc::from(method.issuer.as_str()));
                Some(KeysPlan::Fetched(self.key_set(&url, issuer, &method.fetch, "jwt.fetch")?, signatures))
            }
            TokenKeys::JwksUri(url) => {
                let url = Spanned::new(url.clone(), at);
                Some(KeysPlan::Fetched(self.key_set(&url, None, &method.fetch, "jwt.fetch")?, signatures))
            }
            TokenKeys::Jwks(text) => Some(KeysPlan::Given(self.inline(text, &signatures)?, signatures)),
            TokenKeys::JwksRef(reference) => {
                Some(KeysPlan::GivenRef(self.index.locate(self.document, reference), signatures))
            }
            TokenKeys::SecretRef(_) => None,
        }
    }

    /// Signature algorithms and shared-secret ones, of which only one kind may be there.
    pub(super) fn algorithms(
        &mut self,
        algorithms: &[Spanned<TokenAlgorithm>],
        at: Span,
        path: &str,
    ) -> Option<(Vec<SignatureAlgorithm>, Vec<MacAlgorithm>)> {
        let (mut signatures, mut macs) = (Vec::new(), Vec::new());
        for algorithm in algorithms {
            match algorithm_of(**algorithm) {
                Algorithm::Signature(algorithm) => signatures.push(algorithm),
                Algorithm::Mac(algorithm) => macs.push(algorithm),
            }
        }
        match (signatures.is_empty(), macs.is_empty()) {
            (true, true) => {
                let message = "no algorithm is allowed";
                self.report(Code::EmptyList, at, path, message, "");
                None
            }
            (false, false) => {
                let at = algorithms.first().map_or(at, |algorithm| algorithm.at);
                let message = "shared-secret algorithms (HS…) cannot stand beside those of key pairs";
                let hint =
                    "a public key would be taken for the secret: write two methods, each with its own keys";
                self.report(Code::FieldsClash, at, path, message, hint);
                None
            }
            _ => Some((signatures, macs)),
        }
    }

    /// OpenID Connect Discovery 1.0 §4.1: behind the issuer, whose last slash is left out.
    pub(super) fn discovery_url(&mut self, issuer: &Spanned<String>, path: &str) -> Option<FetchUrl> {
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let url = format!("{base}/.well-known/openid-configuration").parse();
        if url.is_err() || issuer.contains(['?', '#']) {
            let message =
                format!("{} is not the URL of an issuer, so its keys cannot be discovered", shown(issuer));
            let hint = "write `keys: { jwksUri: https://… }`, or another source of keys";
            self.report(Code::BadUrl, issuer.at, path, message, hint);
            return None;
        }
        url.ok()
    }

    pub(super) fn key_set(
        &mut self,
        url: &Spanned<FetchUrl>,
        discovered_for: Option<Arc<str>>,
        fetch: &FetchSpec,
        path: &str,
    ) -> Option<KeySetPlan> {
        let fetch = self.fetch(url, fetch, path)?;
        let mut name = format!("{}{}", if discovered_for.is_some() { "discovery " } else { "" }, **url);
        if let Some(issuer) = &discovered_for {
            name = format!("{name} for {issuer}");
        }
        // Two sets that are fetched under other rules are two sets.
        for (is, word) in [(fetch.private_network, " private"), (fetch.clear_text, " clear")] {
            name.push_str(if is { word } else { "" });
        }
        if let Some(authorities) = &fetch.authorities {
            name = format!("{name} by {authorities}");
        }
        Some(KeySetPlan { name: name.into(), url: url.value.clone(), discovered_for, fetch })
    }

    fn fetch(&mut self, url: &Spanned<FetchUrl>, spec: &FetchSpec, path: &str) -> Option<FetchPlan> {
        let clear_text = spec.danger_allow_clear_text && spec.allow_private_network;
        if !url.is_https() && !clear_text {
            let message = format!("{} is not https: whoever stands between could replace keys", **url);
            let hint = "write `https://`; for a server on this machine, `fetch: { allowPrivateNetwork: true, \
                        dangerAllowClearText: true }` permits it";
            self.report(Code::BadUrl, url.at, path, message, hint);
            return None;
        }
        let authorities = spec.authorities_ref.as_ref().map(|one| self.index.locate(self.document, one));
        Some(FetchPlan {
            private_network: spec.allow_private_network,
            clear_text: spec.danger_allow_clear_text,
            authorities,
        })
    }

    /// A key set in the document: public keys, at least one of them usable with these algorithms.
    fn inline(&mut self, text: &Spanned<String>, algorithms: &[SignatureAlgorithm]) -> Option<Arc<KeySet>> {
        let path = "jwt.keys.jwks";
        let set = match KeySet::parse(text.as_bytes(), Origin::Given) {
            Ok(set) => set,
            Err(flaw) => {
                let message = format!("the text is no key set that is taken here: {flaw}");
                self.report(Code::BadValue, text.at, path, message, "write JSON: `{\"keys\":[…]}`");
                return None;
            }
        };
        if set.is_secret() {
            let message = "the key set holds a secret, and a secret's value does not belong in a document";
            self.report(
                Code::SecretInDocument,
                text.at,
                path,
                message,
                "refer to it: `keys: { secretRef: … }`",
            );
            return None;
        }
        let is_used = |one| algorithms.iter().any(|known| Algorithm::Signature(*known) == one);
        if !set.keys().iter().any(|key| key.algorithms().any(is_used)) {
            let message = "no key in it is usable with the method's algorithms";
            self.report(Code::BadValue, text.at, path, message, "");
            return None;
        }
        Some(Arc::new(set))
    }

    // === Introspection ===

    pub(super) fn introspection(
        &mut self,
        method: &Spanned<IntrospectionMethod>,
    ) -> Option<IntrospectionPlan> {
        let places = self.places(&method.from, "introspection.from");
        let path = "introspection.audiences";
        let audiences = match (*method.danger_allow_any_audience, method.audiences.first()) {
            (true, None) => Vec::new(),
            (true, Some(first)) => {
                let message = "`dangerAllowAnyAudience` has no meaning beside `audiences`";
                self.report(Code::FieldsClash, first.at, path, message, "");
                Vec::new()
            }
            (false, _) => self.audiences(&method.audiences, method.at, path),
        };
        let fetch = self.fetch(&method.url, &method.fetch, "introspection.fetch");
        self.client_id(&method.client_id, "introspection.clientId");
        let timeout = self.at_most(&method.timeout, TIMEOUT_MAX, "introspection.timeout");
        if timeout.is_zero() {
            self.positive(&method.timeout, "introspection.timeout");
        }
        Some(IntrospectionPlan {
            index: 0,
            url: method.url.value.clone(),
            client_id: method.client_id.as_str().into(),
            client_secret: self.index.locate(self.document, &method.client_secret_ref),
            issuer: method.issuer.as_ref().map(|issuer| issuer.as_str().into()),
            audiences,
            places,
            cache_for: self.at_most(&method.cache_for, CACHE_MAX, "introspection.cacheFor"),
            cache_inactive_for: self.at_most(
                &method.cache_inactive_for,
                CACHE_MAX,
                "introspection.cacheInactiveFor",
            ),
            timeout,
            leeway: self.clock_skew(&method.clock_skew, "introspection.clockSkew"),
            mapping: self.mapping(&method.claims, "introspection.claims"),
            forward: method.forward,
            challenge: self.challenge(&method.challenge, "introspection.challenge"),
            fetch: fetch?,
        })
    }

    // === What both have ===

    fn places(&mut self, from: &[Spanned<TokenPlace>], path: &str) -> Vec<TokenPlacePlan> {
        let mut places = Vec::new();
        for place in from {
            let plan = match &place.value {
                TokenPlace::Header(name) if name.as_str() == "authorization" => TokenPlacePlan::Bearer,
                TokenPlace::Header(name) => {
                    check_reserved(
                        name,
                        &format!("spec.methods.{path}"),
                        "cannot carry a token",
                        self.problems,
                    );
                    if name.as_str() == "cookie" {
                        let hint = "write `{ cookie: NAME }`";
                        self.report(
                            Code::BadValue,
                            name.at,
                            path,
                            "a token is in a cookie by its name",
                            hint,
                        );
                    }
                    TokenPlacePlan::Header(header_name(name))
                }
                TokenPlace::Cookie(name) => {
                    // RFC 6265 §4.1.1: a token of RFC 9110.
                    let is_token =
                        |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
                    if name.is_empty() || !name.bytes().all(is_token) {
                        self.report(Code::BadText, name.at, path, "the text is no name of a cookie", "");
                    }
                    TokenPlacePlan::Cookie(name.as_str().into())
                }
            };
            if places.contains(&plan) {
                self.report(Code::FieldsClash, place.at, path, "the same place is named twice", "");
            }
            places.push(plan);
        }
        if places.is_empty() {
            places.push(TokenPlacePlan::Bearer);
        }
        places
    }

    fn claim(&mut self, claim: &Spanned<String>, path: &str) -> Option<ClaimPath> {
        let parsed = ClaimPath::parse(claim);
        if parsed.is_none() {
            let message = format!("{} is neither a claim's name nor a JSON pointer", shown(claim));
            self.report(
                Code::BadText,
                claim.at,
                path,
                message,
                "write for example `sub` or `/realm_access/roles`",
            );
        }
        parsed
    }

    pub(super) fn mapping(&mut self, mapping: &ClaimMapping, path: &str) -> MappingPlan {
        let consumer = match (&mapping.consumer, &mapping.fixed_consumer) {
            (Some(claim), fixed) => {
                if let Some(fixed) = fixed {
                    let message = "`consumer` and `fixedConsumer` contradict each other";
                    self.report(Code::FieldsClash, fixed.at, path, message, "");
                }
                self.claim(claim, &format!("{path}.consumer")).map(ConsumerRule::Claim)
            }
            (None, Some(name)) => {
                let path = format!("spec.methods.{path}.fixedConsumer");
                self.index.find(Kind::Consumer, name, &path, self.problems);
                Some(ConsumerRule::Fixed(name.as_str().into()))
            }
            (None, None) => None,
        };
        let allows_unknown = *mapping.unknown_consumer == UnknownConsumer::Allow;
        if allows_unknown && mapping.consumer.is_none() {
            let message = "`unknownConsumer` has no meaning without `consumer`";
            self.report(Code::FieldsClash, mapping.unknown_consumer.at, path, message, "");
        }
        let tags: Vec<_> = (mapping.tags.iter())
            .filter_map(|tag| {
                let claim = self.claim(&tag.claim, &format!("{path}.tags.claim"))?;
                Some((Arc::from(tag.name.as_str()), claim))
            })
            .collect();
        MappingPlan {
            consumer,
            allows_unknown,
            roles: mapping.roles.as_ref().and_then(|claim| self.claim(claim, &format!("{path}.roles"))),
            tags,
        }
    }

    fn challenge(&mut self, challenge: &TokenChallenge, path: &str) -> ChallengePlan {
        // RFC 9110 §5.6.4: what needs no escape in a quoted string. RFC 6749 §3.3 allows scopes no more than that.
        let is_plain =
            |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && !b"\"\\".contains(&byte));
        for text in [&challenge.realm, &challenge.scope].into_iter().flatten() {
            if text.is_empty() || !is_plain(text) {
                let message = format!("{} cannot stand in a challenge", shown(text));
                self.report(
                    Code::BadText,
                    text.at,
                    path,
                    message,
                    "write visible ASCII without quotes and backslashes",
                );
            }
        }
        let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| Arc::from(text.as_str()));
        ChallengePlan {
            realm: text(&challenge.realm),
            scope: text(&challenge.scope),
            metadata: challenge.resource_metadata,
        }
    }

    /// RFC 6749 appendix A.1: visible characters.
    pub(super) fn client_id(&mut self, id: &Spanned<String>, path: &str) {
        if id.is_empty() || !id.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            self.report(Code::BadText, id.at, path, "the text is no client id", "");
        }
    }

    pub(super) fn clock_skew(&mut self, time: &Spanned<Time>, path: &str) -> Duration {
        self.at_most(time, CLOCK_SKEW_MAX, path)
    }

    pub(super) fn positive(&mut self, time: &Spanned<Time>, path: &str) -> Duration {
        super::super::positive(time, &format!("spec.methods.{path}"), self.problems)
    }

    pub(super) fn at_most(&mut self, time: &Spanned<Time>, most: Duration, path: &str) -> Duration {
        if time.get() > most {
            let message = format!("the time is longer than {} seconds", most.as_secs());
            self.report(Code::BadValue, time.at, path, message, "");
        }
        time.get()
    }
}

const fn algorithm_of(algorithm: TokenAlgorithm) -> Algorithm {
    use SignatureAlgorithm::{Ed25519, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    match algorithm {
        TokenAlgorithm::Rs256 => Algorithm::Signature(Rs256),
        TokenAlgorithm::Rs384 => Algorithm::Signature(Rs384),
        TokenAlgorithm::Rs512 => Algorithm::Signature(Rs512),
        TokenAlgorithm::Ps256 => Algorithm::Signature(Ps256),
        TokenAlgorithm::Ps384 => Algorithm::Signature(Ps384),
        TokenAlgorithm::Ps512 => Algorithm::Signature(Ps512),
        TokenAlgorithm::Es256 => Algorithm::Signature(Es256),
        TokenAlgorithm::Es384 => Algorithm::Signature(Es384),
        TokenAlgorithm::Es512 => Algorithm::Signature(Es512),
        TokenAlgorithm::EdDsa => Algorithm::Signature(Ed25519),
        TokenAlgorithm::Hs256 => Algorithm::Mac(MacAlgorithm::Hs256),
        TokenAlgorithm::Hs384 => Algorithm::Mac(MacAlgorithm::Hs384),
        TokenAlgorithm::Hs512 => Algorithm::Mac(MacAlgorithm::Hs512),
    }
}
