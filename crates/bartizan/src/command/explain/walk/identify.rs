//! **identify**: which policy asks for which credential, and what becomes of a caller with and without one.
//!
//! Whether a key or a token is valid only a gateway can tell, with its store and its issuers' keys: `--as` says whose it
//! is taken to be. A token may bring roles and a subject of its own, which nobody knows here.

use std::sync::Arc;

use bartizan_config::snapshot::{AuthenticationPlan, ConsumerPlan, MethodPlan, RoutePlan, TokenPlacePlan};
use bartizan_identity::{KeyId, api_key};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Reason, Stage, document::Kind, problem::shown, read::nearest};
use http::{HeaderName, HeaderValue, header};

use super::{Bearing, Walk, Way};
use crate::command::explain::report::{Effect, Finding, Verdict};

/// What a policy says of the caller.
enum Judged {
    Known(Arc<ConsumerPlan>, String),
    /// The same, by a token.
    ByToken(Arc<ConsumerPlan>, String),
    Nobody(String),
    Refused(Denial),
    /// A key that only the store can tell about, a token that only its issuer can.
    Unknown(String),
}

/// The credential that `--as` takes for granted.
#[derive(Clone, PartialEq, Eq)]
enum Granted {
    Key(HeaderName),
    Certificate,
    Password,
    Token(Vec<TokenPlacePlan>),
    Session,
}

impl Granted {
    fn of(method: &MethodPlan) -> Self {
        match method {
            MethodPlan::ApiKey(plan) => Granted::Key(plan.header.clone()),
            MethodPlan::ClientCertificate(_) => Granted::Certificate,
            MethodPlan::Basic(_) => Granted::Password,
            MethodPlan::OpenIdConnect(_) => Granted::Session,
            MethodPlan::Jwt(_) | MethodPlan::Introspection(_) => Granted::Token(method.places().to_vec()),
        }
    }
}

/// What is said where a credential may bring roles that are not known here.
fn but_roles(method: &MethodPlan) -> &'static str {
    if method.maps_roles() { ", without the roles that it may bring" } else { "" }
}

impl Walk<'_> {
    /// The consumer; `None` for a caller who passes as nobody.
    pub(super) fn identify(
        &mut self,
        head: &RequestHead,
        plan: &RoutePlan,
    ) -> Way<Option<Arc<ConsumerPlan>>> {
        let mut findings = self.switched_off(Kind::AuthenticationPolicy, plan, None);
        let granted = self.granted(head, plan);
        let granted = granted.as_ref();
        for policy in &plan.authentication.shadow {
            let finding = self.policy(&policy.label, policy.bite);
            let (says, denial) = match self.judge(policy, head, granted) {
                Judged::Known(_, says)
                | Judged::ByToken(_, says)
                | Judged::Nobody(says)
                | Judged::Unknown(says) => (says, None),
                Judged::Refused(denial) => (String::new(), Some(denial)),
            };
            let finding = Finding { says, ..finding };
            self.weigh(Stage::Identify, &mut findings, finding, Bearing::Watches, denial)?;
        }
        let Some(policy) = plan.authentication.enforced.clone() else {
            findings.insert(0, Finding::of_stage("no such policy: anyone passes as nobody"));
            self.step(Stage::Identify, findings);
            return Ok(None);
        };
        let finding = self.policy(&policy.label, policy.bite);
        let consumer = match self.judge(&policy, head, granted) {
            Judged::Known(consumer, says) => {
                findings.insert(0, Finding { says, ..finding });
                Some(consumer)
            }
            Judged::ByToken(consumer, says) => {
                self.has_token = true;
                findings.insert(0, Finding { says, ..finding });
                Some(consumer)
            }
            Judged::Nobody(says) => {
                findings.insert(0, Finding { says, ..finding });
                None
            }
            Judged::Refused(denial) => {
                let bearing = self.bearing(policy.bite, head);
                self.weigh(Stage::Identify, &mut findings, finding, bearing, Some(denial))?;
                None
            }
            Judged::Unknown(says) => {
                let by = finding.by.clone();
                findings.push(Finding { says: says.clone(), effect: Effect::Depends, ..finding });
                let verdict = Verdict::Undecided { stage: Stage::Identify.as_str(), by, why: says };
                return self.end(Stage::Identify, findings, verdict);
            }
        };
        self.step(Stage::Identify, findings);
        Ok(consumer)
    }

    /// The credential of `--as`, unless the request has one: the first that the policy that bites asks for and that
    /// such a consumer can have.
    fn granted(&self, head: &RequestHead, plan: &RoutePlan) -> Option<Granted> {
        let name = self.ask.consumer.as_deref()?;
        let policy = plan.authentication.enforced.as_ref().or(plan.authentication.shadow.first())?;
        if policy.methods.iter().any(|method| sent(method, head).is_some()) {
            return None;
        }
        policy.methods.iter().find(|method| method.may_know(name)).map(Granted::of)
    }

    /// In the order of `proxy/src/stage/identify.rs`: the first credential that is there decides.
    fn judge(&self, policy: &AuthenticationPlan, head: &RequestHead, granted: Option<&Granted>) -> Judged {
        if let Some(plan) = policy.sign_in()
            && [&*plan.redirect_path, &*plan.logout_path].contains(&head.path().as_str())
        {
            let what = "signing in or out: answered by the gateway itself, as the provider says";
            return Judged::Unknown(what.to_owned());
        }
        for method in &policy.methods {
            let is_granted = granted.is_some_and(|granted| *granted == Granted::of(method));
            let sent = sent(method, head);
            if sent.is_none() && !is_granted {
                continue;
            }
            match (method, sent) {
                (_, Some(Sent::Twice)) => {
                    let denial = Denial::new(Reason::CredentialInvalid);
                    return Judged::Refused(denial.because("more than one credential"));
                }
                (MethodPlan::ApiKey(plan), Some(Sent::Once(value))) => {
                    return self.judge_key(plan.header.as_str(), Some(value));
                }
                (MethodPlan::ApiKey(plan), None) => return self.judge_key(plan.header.as_str(), None),
                (MethodPlan::ClientCertificate(_), _) => {
                    return self.known("client certificate", but_roles(method));
                }
                (MethodPlan::Basic(_), _) => return self.known("name and password", ""),
                (MethodPlan::OpenIdConnect(_) | MethodPlan::Jwt(_) | MethodPlan::Introspection(_), _) => {
                    return self.judge_token(method, policy);
                }
            }
        }
        if policy.anonymous {
            return Judged::Nobody("no credential; callers without one pass as nobody".to_owned());
        }
        let ways: Vec<String> = policy.methods.iter().map(MethodPlan::describe).collect();
        let sent = if policy.sign_in().is_some() { "; a browser is sent to sign in" } else { "" };
        let detail = format!("no {}{sent}", ways.join(" and no "));
        Judged::Refused(Denial::new(Reason::CredentialMissing).because(detail))
    }

    fn judge_token(&self, method: &MethodPlan, policy: &AuthenticationPlan) -> Judged {
        let Some(name) = self.ask.consumer.as_deref() else {
            return Judged::Unknown(
                "its issuer alone can tell whether the token is valid; say whose it is with --as".to_owned(),
            );
        };
        if !method.may_know(name) {
            let detail = format!("{}: no token of it belongs to Consumer {}", policy.label, shown(name));
            return Judged::Refused(Denial::new(Reason::CredentialInvalid).because(detail));
        }
        let what = if matches!(method, MethodPlan::OpenIdConnect(_)) { "session" } else { "token" };
        match self.known(what, but_roles(method)) {
            Judged::Known(consumer, says) => Judged::ByToken(consumer, says),
            other => other,
        }
    }

    /// The consumer of `--as`, known by this.
    fn known(&self, what: &str, but: &str) -> Judged {
        let Some(name) = self.ask.consumer.as_deref() else {
            return Judged::Unknown(format!("whose {what} it is can only be told by --as"));
        };
        match self.sound.snapshot.consumers.get(name) {
            Some(consumer) => {
                Judged::Known(consumer.clone(), format!("valid {what} of {name} (taken for granted){but}"))
            }
            None => self.unknown_consumer(name),
        }
    }

    fn unknown_consumer(&self, name: &str) -> Judged {
        let consumers = &self.sound.snapshot.consumers;
        let detail = match nearest(name, consumers.keys().map(|known| &**known)) {
            Some(near) => format!("the documents have no Consumer {}; did you mean `{near}`?", shown(name)),
            None => format!("the documents have no Consumer {}", shown(name)),
        };
        Judged::Refused(Denial::new(Reason::CredentialInvalid).because(detail))
    }

    /// A key in the request, or the one that `--as` takes for granted.
    fn judge_key(&self, header: &str, value: Option<&HeaderValue>) -> Judged {
        let invalid =
            |detail: String| Judged::Refused(Denial::new(Reason::CredentialInvalid).because(detail));
        if value.is_some_and(|value| !has_form_of_a_key(value)) {
            return invalid(format!("the value of {header} has not the form of a key"));
        }
        let Some(name) = self.ask.consumer.as_deref() else {
            return Judged::Unknown(format!(
                "the store alone knows whether the key in {header} is valid; say whose it is with --as"
            ));
        };
        match self.sound.snapshot.consumers.get(name) {
            Some(consumer) => Judged::Known(
                consumer.clone(),
                format!("valid API key of {name} in {header} (taken for granted)"),
            ),
            None => self.unknown_consumer(name),
        }
    }
}

/// What a request has for a method.
#[derive(Clone, Copy)]
enum Sent<'h> {
    Once(&'h HeaderValue),
    Twice,
}

/// The credential that stands in the head; certificates do not.
fn sent<'h>(method: &MethodPlan, head: &'h RequestHead) -> Option<Sent<'h>> {
    let once = |name: &HeaderName| {
        let mut values = head.headers().get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(Sent::Once(value)),
            (Some(_), Some(_)) => Some(Sent::Twice),
        }
    };
    let scheme = |name: &[u8]| {
        once(&header::AUTHORIZATION).filter(|sent| match sent {
            Sent::Once(value) => {
                value.as_bytes().get(..name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name))
            }
            Sent::Twice => true,
        })
    };
    let cookie = |name: &str| {
        once(&header::COOKIE).filter(|sent| match sent {
            Sent::Once(value) => value.to_str().is_ok_and(|cookies| {
                let mut cookies = cookies.split(';').filter_map(|one| one.trim().split_once('='));
                cookies.any(|(known, _)| known == name)
            }),
            Sent::Twice => true,
        })
    };
    match method {
        MethodPlan::OpenIdConnect(plan) => cookie(&plan.cookie),
        MethodPlan::ApiKey(plan) => once(&plan.header),
        MethodPlan::ClientCertificate(_) => None,
        MethodPlan::Basic(_) => scheme(b"basic"),
        MethodPlan::Jwt(_) | MethodPlan::Introspection(_) => {
            method.places().iter().find_map(|place| match place {
                TokenPlacePlan::Bearer => scheme(b"bearer"),
                TokenPlacePlan::Header(name) => once(name),
                TokenPlacePlan::Cookie(name) => cookie(name),
            })
        }
    }
}

/// Prefix, length and checksum; anything else is refused without a look-up.
fn has_form_of_a_key(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| {
        text.len() == api_key::KEY_CHARS
            && text.starts_with(api_key::PREFIX)
            && KeyId::recognise(text).is_some()
    })
}
