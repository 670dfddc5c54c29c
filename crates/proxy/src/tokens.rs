//! Token methods, ready to judge: secrets and key files are read, issuers compiled, key sets named.
//!
//! What a reload did not change is taken over, so that tokens judged before stay remembered and answers about tokens
//! stay kept.

use std::{collections::HashMap, sync::Arc};

use bartizan_config::snapshot::{
    AuthenticationPlan, FetchPlan, IntrospectionPlan, IssuerPlan, JwtPlan, KeysPlan, MethodPlan,
    OpenIdConnectPlan, Snapshot,
};
use bartizan_identity::{
    introspection::TokenDigest,
    jwk::{KeySet, Origin},
    jwt::{Issuer, IssuerSpec, TokenJudge, Trust},
};
use bartizan_model::{Reference, SecretValue, scalar::FetchUrl};

use bartizan_fetch::{Access, Destination, KeySetSource, trusting};

use crate::{introspect::Introspector, sign_in::Provider};

type Secrets<'a> = &'a dyn Fn(&Reference) -> Result<SecretValue, String>;

/// The token methods of a snapshot.
#[derive(Default)]
pub(crate) struct TokenSet {
    judges: Vec<Option<Arc<PreparedJudge>>>,
    introspectors: Vec<Option<Arc<Introspector>>>,
    providers: Vec<Option<Arc<Provider>>>,
    /// The key sets that must be fetched.
    pub(crate) sources: HashMap<Arc<str>, KeySetSource>,
}

/// A judge, and what it was made of.
pub(crate) struct PreparedJudge {
    pub(crate) judge: TokenJudge,
    print: [u8; 32],
}

impl TokenSet {
    /// Prepares all methods that a route of the snapshot uses. Every problem is pushed, with its document.
    pub(crate) fn prepare(
        snapshot: &Snapshot,
        secrets: Secrets<'_>,
        session_keys: Option<&Reference>,
        previous: Option<&TokenSet>,
        problem: &mut dyn FnMut(&str, String),
    ) -> TokenSet {
        let mut set = TokenSet::default();
        for policy in policies(snapshot) {
            for method in &policy.methods {
                let result = match method {
                    MethodPlan::ApiKey(_) | MethodPlan::ClientCertificate(_) | MethodPlan::Basic(_) => Ok(()),
                    MethodPlan::Jwt(plan) => set.add_judge(plan, secrets, previous),
                    MethodPlan::Introspection(plan) => set.add_introspector(plan, secrets, previous),
                    MethodPlan::OpenIdConnect(plan) => {
                        set.add_provider(plan, secrets, session_keys, previous)
                    }
                };
                if let Err(message) = result {
                    problem(&policy.label, message);
                }
            }
        }
        set
    }

    /// The judges of all signed tokens, without a key: they can tell of a genuine token what it is worth, and of no other
    /// that it is genuine. For rehearsals.
    pub(crate) fn without_keys(snapshot: &Snapshot) -> TokenSet {
        let mut set = TokenSet::default();
        for method in policies(snapshot).flat_map(|policy| &policy.methods) {
            let MethodPlan::Jwt(plan) = method else { continue };
            let compiled = |issuer: &IssuerPlan| {
                let trust = Trust::Nobody { algorithms: issuer.keys.taken() };
                Issuer::compile(spec(issuer, trust)).ok()
            };
            // An issuer that does not compile makes no judge, and a method without one faults.
            let issuers: Option<Vec<Issuer>> = plan.issuers.iter().map(compiled).collect();
            if let Some(judge) = issuers.and_then(TokenJudge::new) {
                put(&mut set.judges, plan.index, Arc::new(PreparedJudge { judge, print: [0; 32] }));
            }
        }
        set
    }

    /// The judge of a plan; `None` if the plan is none of this set's.
    pub(crate) fn judge(&self, plan: &JwtPlan) -> Option<&Arc<PreparedJudge>> {
        self.judges.get(plan.index)?.as_ref()
    }

    /// Who asks for a plan; `None` if the plan is none of this set's.
    pub(crate) fn introspector(&self, plan: &IntrospectionPlan) -> Option<&Arc<Introspector>> {
        self.introspectors.get(plan.index)?.as_ref()
    }

    /// The provider of a plan; `None` if the plan is none of this set's.
    pub(crate) fn provider(&self, plan: &OpenIdConnectPlan) -> Option<&Arc<Provider>> {
        self.providers.get(plan.index)?.as_ref()
    }

    fn add_judge(
        &mut self,
        plan: &JwtPlan,
        secrets: Secrets<'_>,
        previous: Option<&TokenSet>,
    ) -> Result<(), String> {
        if self.judge(plan).is_some() {
            return Ok(());
        }
        let mut print = Print::of(&format!("{:?}", JwtPlan { index: 0, ..plan.clone() }));
        let mut issuers = Vec::new();
        for issuer in &plan.issuers {
            let trust = self.trust(issuer, secrets, &mut print)?;
            let compiled = Issuer::compile(spec(issuer, trust));
            issuers.push(compiled.map_err(|flaw| format!("issuer {}: {flaw}", issuer.name))?);
        }
        let print = print.finish();
        let known = previous.and_then(|previous| {
            previous.judges.iter().flatten().find(|known| known.print == print).cloned()
        });
        let judge = match known {
            Some(known) => known,
            None => {
                let judge = TokenJudge::new(issuers).ok_or("two issuers have one name")?;
                Arc::new(PreparedJudge { judge, print })
            }
        };
        put(&mut self.judges, plan.index, judge);
        Ok(())
    }

    fn trust(
        &mut self,
        issuer: &IssuerPlan,
        secrets: Secrets<'_>,
        print: &mut Print,
    ) -> Result<Trust, String> {
        Ok(match &issuer.keys {
            KeysPlan::Fetched(plan, algorithms) => {
                let at = destination(&plan.url, &plan.fetch, secrets)?;
                let source = KeySetSource { at, discovered_for: plan.discovered_for.clone() };
                self.sources.insert(plan.name.clone(), source);
                Trust::Fetched { key_set: plan.name.clone(), algorithms: algorithms.clone() }
            }
            KeysPlan::Given(keys, algorithms) => {
                Trust::Given { keys: keys.clone(), algorithms: algorithms.clone() }
            }
            KeysPlan::GivenRef(reference, algorithms) => {
                let text = secrets(reference)?;
                print.add(text.expose());
                let keys = KeySet::parse(text.expose(), Origin::Given)
                    .map_err(|flaw| format!("{reference} is no key set that is taken here: {flaw}"))?;
                Trust::Given { keys: Arc::new(keys), algorithms: algorithms.clone() }
            }
            KeysPlan::Secrets(references, algorithm) => {
                let read: Result<Vec<_>, _> = references.iter().map(secrets).collect();
                let read = read?;
                for secret in &read {
                    print.add(secret.expose());
                }
                Trust::Shared { secrets: read, algorithm: *algorithm }
            }
        })
    }

    fn add_introspector(
        &mut self,
        plan: &IntrospectionPlan,
        secrets: Secrets<'_>,
        previous: Option<&TokenSet>,
    ) -> Result<(), String> {
        if self.introspector(plan).is_some() {
            return Ok(());
        }
        let secret = secrets(&plan.client_secret)?;
        let mut print = Print::of(&format!("{:?}", IntrospectionPlan { index: 0, ..plan.clone() }));
        print.add(secret.expose());
        if let Some(authorities) = &plan.fetch.authorities {
            print.add(secrets(authorities)?.expose());
        }
        let print = print.finish();
        let known = previous.and_then(|previous| {
            previous.introspectors.iter().flatten().find(|known| known.print == print).cloned()
        });
        let introspector = match known {
            Some(known) => known,
            None => {
                let at = destination(&plan.url, &plan.fetch, secrets)?;
                let made = Introspector::new(plan, at, &secret, print);
                Arc::new(made.map_err(|message| format!("{}: {message}", plan.client_secret))?)
            }
        };
        put(&mut self.introspectors, plan.index, introspector);
        Ok(())
    }
}

impl TokenSet {
    fn add_provider(
        &mut self,
        plan: &OpenIdConnectPlan,
        secrets: Secrets<'_>,
        own_keys: Option<&Reference>,
        previous: Option<&TokenSet>,
    ) -> Result<(), String> {
        if self.provider(plan).is_some() {
            return Ok(());
        }
        let reference = plan.keys.as_ref().or(own_keys);
        let keys =
            secrets(reference.ok_or("there is no data directory for a key: write `session.keysRef`")?)?;
        let secret = plan.client_secret.as_ref().map(secrets).transpose()?;
        let mut print = Print::of(&format!("{:?}", OpenIdConnectPlan { index: 0, ..plan.clone() }));
        print.add(keys.expose());
        if let Some(secret) = &secret {
            print.add(secret.expose());
        }
        if let Some(authorities) = &plan.fetch.authorities {
            print.add(secrets(authorities)?.expose());
        }
        let print = print.finish();
        let before = || previous.iter().flat_map(|previous| previous.providers.iter().flatten());
        let key_set = &plan.key_set;
        let at = destination(&key_set.url, &key_set.fetch, secrets)?;
        let source = KeySetSource { at: at.clone(), discovered_for: key_set.discovered_for.clone() };
        self.sources.insert(key_set.name.clone(), source);
        let provider = match before().find(|known| known.print == print) {
            Some(known) => known.clone(),
            None => {
                let sessions_of = before().find(|known| known.is_for(plan)).map(|known| &**known);
                Arc::new(Provider::new(plan, at, secret.as_ref(), &keys, sessions_of, print)?)
            }
        };
        put(&mut self.providers, plan.index, provider);
        Ok(())
    }
}

/// What something was made of, secrets only as digests.
struct Print(Vec<u8>);

impl Print {
    fn of(text: &str) -> Self {
        let mut print = Print(Vec::new());
        print.add(text.as_bytes());
        print
    }

    fn add(&mut self, part: &[u8]) {
        self.0.extend_from_slice(TokenDigest::of(part).bytes());
    }

    fn finish(self) -> [u8; 32] {
        *TokenDigest::of(&self.0).bytes()
    }
}

/// Every policy that a route uses, also in shadow. A policy of many routes comes as often.
fn policies(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<AuthenticationPlan>> {
    let settled = snapshot.routes.iter().map(|route| &route.authentication);
    settled.flat_map(|settled| settled.enforced.iter().chain(&settled.shadow))
}

fn put<T>(list: &mut Vec<Option<T>>, at: usize, value: T) {
    if list.len() <= at {
        list.resize_with(at + 1, || None);
    }
    if let Some(place) = list.get_mut(at) {
        *place = Some(value);
    }
}

fn spec(plan: &IssuerPlan, trust: Trust) -> IssuerSpec {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    IssuerSpec {
        leeway_ms: ms(plan.leeway),
        required: plan.required.clone(),
        age_max_ms: plan.age_max.map(ms),
        types: plan.types.clone(),
        allow_untyped: plan.allow_untyped,
        require_kid: plan.require_kid,
        consumer: plan.mapping.consumer.clone(),
        roles: plan.mapping.roles.clone(),
        tags: plan.mapping.tags.clone(),
        ..IssuerSpec::new(plan.name.clone(), trust, plan.audiences.clone())
    }
}

/// Where a plan's URL leads, with the authorities it trusts.
fn destination(url: &FetchUrl, plan: &FetchPlan, secrets: Secrets<'_>) -> Result<Destination, String> {
    let tls = match &plan.authorities {
        None => None,
        Some(reference) => {
            let pem = secrets(reference)?;
            Some(trusting(pem.expose()).map_err(|error| format!("{reference}: {error}"))?)
        }
    };
    let access = Access { private_network: plan.private_network, clear_text: plan.clear_text };
    Ok(Destination { url: url.clone(), access, tls })
}
