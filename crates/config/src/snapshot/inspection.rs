//! A compiled `InspectionPolicy` as it applies to one route: rules that are shared, and the policy's changes to them.

use std::{fmt, sync::Arc};

use bartizan_inspect::{Overlay, RuleSet, leak::LeakScanner, schema::Schema};

use super::policy::Bite;

/// What attacks are recognised by on one route.
#[derive(Clone)]
pub struct InspectionPlan {
    /// `InspectionPolicy/name`.
    pub label: Arc<str>,
    /// How far it bites.
    pub bite: Bite,
    /// The rules; policies with the same text share them.
    pub rules: Arc<RuleSet>,
    /// The policy's changes where it bites.
    pub enforced: Arc<Overlay>,
    /// The same where it only watches: everything that matches is found, nothing ends the judging.
    pub watching: Arc<Overlay>,
    /// How request bodies are judged; `None` where requests are not.
    pub request: Option<BodyPlan>,
    /// How bodies of answers are judged; `None` where answers are not.
    pub response: Option<BodyPlan>,
    /// What becomes of secrets in answers.
    pub leaks: Option<LeakPlan>,
}

/// What becomes of secrets in answers.
#[derive(Clone, Debug)]
pub struct LeakPlan {
    /// Who finds them.
    pub scanner: Arc<LeakScanner>,
    /// Whether they are masked; else the answer is refused.
    pub masks: bool,
}

/// A compiled `SchemaPolicy`.
#[derive(Clone, Debug)]
pub struct SchemaPlan {
    /// `SchemaPolicy/name`.
    pub label: Arc<str>,
    /// How far it bites.
    pub bite: Bite,
    /// What bodies must look like.
    pub schema: Arc<Schema>,
    /// Most bytes of a body.
    pub bytes_max: usize,
    /// Whether there must be a body.
    pub required: bool,
    /// Whether a body that is not JSON passes.
    pub others_pass: bool,
}

/// How much of a body is judged, and what becomes of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPlan {
    /// Most bytes that are judged.
    pub bytes_max: usize,
    /// What happens to a larger body.
    pub oversize: Oversize,
    /// Whether a body in a content coding passes unjudged; else it is refused.
    pub encoded_passes: bool,
}

/// What happens to a body that is larger than what is judged of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// It is refused.
    Deny,
    /// Its start is judged, all of it passes.
    JudgeStart,
    /// It passes unjudged.
    Pass,
}

impl fmt::Debug for InspectionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InspectionPlan")
            .field("label", &self.label)
            .field("bite", &self.bite)
            .field("rules", &self.rules)
            .field("request", &self.request)
            .field("response", &self.response)
            .finish_non_exhaustive()
    }
}
