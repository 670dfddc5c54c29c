//! **identify**: which policy asks for which credential, and what becomes of a caller with and without one.
//!
//! Whether a key is valid only a gateway with its store can tell: `--as` says whose key it is taken to be.

use std::sync::Arc;

use bartizan_config::snapshot::{AuthenticationPlan, ConsumerPlan, RoutePlan};
use bartizan_identity::{KeyId, api_key};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Reason, Stage, document::Kind, problem::shown, read::nearest};
use http::{HeaderName, HeaderValue};

use super::{Bearing, Walk, Way};
use crate::command::explain::report::{Effect, Finding, Verdict};

/// What a policy says of the caller.
enum Judged {
    Known(Arc<ConsumerPlan>, String),
    Nobody(String),
    Refused(Denial),
    /// A key that only the store can tell about.
    Unknown(String),
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
                Judged::Known(_, says) | Judged::Nobody(says) | Judged::Unknown(says) => (says, None),
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

    /// The header in which the key of `--as` is taken to be, unless the request has one where it is looked for: the
    /// one that the policy that bites asks for.
    fn granted(&self, head: &RequestHead, plan: &RoutePlan) -> Option<HeaderName> {
        self.ask.consumer.as_ref()?;
        let policy = plan.authentication.enforced.as_ref().or(plan.authentication.shadow.first())?;
        let is_sent = policy.api_key_headers().any(|name| head.headers().contains_key(name));
        policy.api_key_headers().next().filter(|_| !is_sent).cloned()
    }

    /// In the order of `proxy/src/stage/identify.rs`: the first header that is there decides.
    fn judge(&self, policy: &AuthenticationPlan, head: &RequestHead, granted: Option<&HeaderName>) -> Judged {
        for name in policy.api_key_headers() {
            let mut values = head.headers().get_all(name).iter();
            match (values.next(), values.next()) {
                (None, _) if granted == Some(name) => return self.judge_key(name.as_str(), None),
                (None, _) => {}
                (Some(value), None) => return self.judge_key(name.as_str(), Some(value)),
                (Some(_), Some(_)) => {
                    let denial = Denial::new(Reason::CredentialInvalid);
                    return Judged::Refused(denial.because("more than one credential"));
                }
            }
        }
        if policy.anonymous {
            return Judged::Nobody("no credential; callers without one pass as nobody".to_owned());
        }
        let names: Vec<&str> = policy.api_key_headers().map(HeaderName::as_str).collect();
        let detail = format!("no API key in {}", names.join(" or "));
        Judged::Refused(Denial::new(Reason::CredentialMissing).because(detail))
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
        let consumers = &self.sound.snapshot.consumers;
        match consumers.get(name) {
            Some(consumer) => Judged::Known(
                consumer.clone(),
                format!("valid API key of {name} in {header} (taken for granted)"),
            ),
            None => invalid(match nearest(name, consumers.keys().map(|known| &**known)) {
                Some(near) => {
                    format!("the documents have no Consumer {}; did you mean `{near}`?", shown(name))
                }
                None => format!("the documents have no Consumer {}", shown(name)),
            }),
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
