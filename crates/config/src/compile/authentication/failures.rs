//! `failures`: how often callers may fail to identify.

use std::sync::Arc;

use bartizan_limit::{FailurePolicy, FailureRate, FailureTerms};
use bartizan_model::{
    document::authentication::{FailureRateSpec, Failures},
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
};

use super::super::positive;

/// The counters of one policy; nothing where nobody counts.
pub(super) fn compile(
    label: &Arc<str>,
    at: Span,
    spec: &Failures,
    problems: &mut Problems,
) -> Option<Arc<FailurePolicy>> {
    let mut one = |rate: &Spanned<FailureRateSpec>, field: &str| FailureRate {
        failures: rate.failures.get(),
        window: positive(&rate.time_window, &format!("spec.failures.{field}.timeWindow"), problems),
    };
    let mut all = |rates: &[Spanned<FailureRateSpec>], field: &str| {
        rates.iter().map(|rate| one(rate, field)).collect::<Vec<_>>()
    };
    let per_address = all(&spec.per_address, "perAddress");
    let per_prefix = all(&spec.per_prefix, "perPrefix");
    let per_account = all(&spec.per_account, "perAccount");
    let (account, route) = (one(&spec.account, "account"), one(&spec.route, "route"));
    for (rates, field) in [(&per_address, "perAddress"), (&per_account, "perAccount")] {
        if rates.is_empty() {
            // The counters of a whole account or route hold by these; without them they would hold nobody.
            let message = format!("`{field}` needs a rate; that nobody counts is written `enabled: false`");
            problems.push(Problem::new(Code::EmptyList, at, format!("spec.failures.{field}"), message));
        }
    }
    let terms = FailureTerms { label: label.clone(), per_address, per_prefix, per_account, account, route };
    spec.enabled.then(|| Arc::new(FailurePolicy::new(terms)))
}
