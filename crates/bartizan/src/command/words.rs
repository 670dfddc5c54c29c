//! How plans read: the words that `explain` and `routes` share.

use std::time::Duration;

use bartizan_config::snapshot::{Backends, HostPattern, ListenerPlan, MethodSet, PromptPlan, Snapshot};
use bartizan_limit::{Action, Limit, Policy, QuotaLimit, QuotaPolicy, QuotaUnit};
use bartizan_model::{Mode, document::Kind, scalar::Time};

/// How far a policy bites: `enforce`, `enforce 25 %`, `shadow`, `off`.
pub(crate) fn bite(mode: Mode, percent: u8) -> String {
    match (mode, percent) {
        (Mode::Enforce, 0..100) => format!("enforce {percent} %"),
        (mode, _) => mode.as_str().to_owned(),
    }
}

/// A name, with how far it bites where that is less than fully.
pub(crate) fn biting(name: &str, mode: Mode, percent: u8) -> String {
    if (mode, percent) == (Mode::Enforce, 100) {
        name.to_owned()
    } else {
        format!("{name} ({})", bite(mode, percent))
    }
}

/// The two parts of a label, `Kind/name`.
pub(crate) fn kind_and_name(label: &str) -> Option<(Kind, &str)> {
    let (word, name) = label.split_once('/')?;
    Kind::ALL.iter().find(|kind| kind.as_str() == word).map(|kind| (*kind, name))
}

/// The limits of a policy: `100 per 1m, burst 20; 5 at once`.
pub(crate) fn limits(policy: &Policy) -> String {
    policy.limits.iter().map(limit).collect::<Vec<_>>().join("; ")
}

fn limit(limit: &Limit) -> String {
    match *limit {
        Limit::Rate { requests, window, burst } if burst == requests => {
            format!("{requests} per {}", time(window))
        }
        Limit::Rate { requests, window, burst } => format!("{requests} per {}, burst {burst}", time(window)),
        Limit::Tokens { tokens, window, burst } if burst == tokens => {
            format!("{tokens} tokens per {}", time(window))
        }
        Limit::Tokens { tokens, window, burst } => {
            format!("{tokens} tokens per {}, burst {burst}", time(window))
        }
        Limit::Concurrency { requests } => format!("{requests} at once"),
    }
}

/// The quotas of a policy: `$50.00 per month (UTC); 1000 requests per day (Europe/Berlin)`.
pub(crate) fn quotas(policy: &QuotaPolicy) -> String {
    let one = |limit: &QuotaLimit| {
        let amount = match limit.unit {
            QuotaUnit::Cost => format!("${}", bartizan_ai::price::Money(limit.amount)),
            QuotaUnit::Requests | QuotaUnit::Tokens => format!("{} {}", limit.amount, limit.unit.as_str()),
        };
        format!("{amount} per {} ({})", limit.calendar.period().as_str(), limit.calendar.zone())
    };
    policy.limits.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// What happens over the limit.
pub(crate) fn action(action: Action) -> String {
    match action {
        Action::Reject | Action::Throttle { max_retry: 0, .. } => "over it 429".to_owned(),
        Action::Throttle { max_retry, max_wait } => {
            format!(
                "over it wait for one of the next {max_retry} slots, at most {}, then 429",
                time(max_wait)
            )
        }
    }
}

/// A time as documents write it.
pub(crate) fn time(time: Duration) -> String {
    Time(time).to_string()
}

/// A host as documents write it.
pub(crate) fn host(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Suffix(suffix) => format!("*.{suffix}"),
    }
}

/// `any`, or the methods.
pub(crate) fn methods(methods: MethodSet) -> Vec<String> {
    if methods == MethodSet::ANY {
        return vec!["any".to_owned()];
    }
    methods.iter().map(|method| method.to_string()).collect()
}

/// `http` or `https`.
pub(crate) fn scheme(listener: &ListenerPlan) -> &'static str {
    if listener.tls.is_some() { "https" } else { "http" }
}

/// Upstreams by name with their shares in percent, rounded; all of them together need not make 100.
pub(crate) fn shares<'s>(snapshot: &'s Snapshot, backends: &'s Backends) -> Vec<(&'s str, u64)> {
    let mut before = 0;
    let mut shares = Vec::new();
    for (end, upstream) in &backends.shares {
        let weight = end.saturating_sub(before);
        before = *end;
        let total = backends.total.max(1);
        let percent = (weight.saturating_mul(100).saturating_add(total / 2)) / total;
        let name = snapshot.upstreams.get(*upstream).map_or("?", |upstream| &*upstream.name);
        shares.push((name, percent));
    }
    shares
}

/// The upstream that a prompt's model is served by first.
pub(crate) fn of_prompt<'s>(snapshot: &'s Snapshot, prompt: &PromptPlan) -> Vec<(&'s str, u64)> {
    let model = snapshot.models.get(&prompt.template.model);
    let target = model.and_then(|model| model.targets.first());
    let upstream = target.and_then(|target| snapshot.upstreams.get(target.upstream));
    upstream.map(|upstream| (&*upstream.name, 100)).into_iter().collect()
}

/// The providers that serve models, each with the share of the models that begin with it, in percent.
pub(crate) fn of_models(snapshot: &Snapshot) -> Vec<(&str, u64)> {
    let models = &snapshot.models.models;
    let total = (models.len() as u64).max(1);
    let mut shares: Vec<(&str, u64)> = Vec::new();
    for target in models.iter().filter_map(|model| model.targets.first()) {
        let name = snapshot.upstreams.get(target.upstream).map_or("?", |upstream| &*upstream.name);
        match shares.iter_mut().find(|(have, _)| *have == name) {
            Some((_, count)) => *count += 1,
            None => shares.push((name, 1)),
        }
    }
    shares.into_iter().map(|(name, count)| (name, count * 100 / total)).collect()
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use super::*;

    #[test]
    fn a_policy_that_bites_fully_needs_no_words() {
        assert_eq!(biting("keys", Mode::Enforce, 100), "keys");
        assert_eq!(biting("keys", Mode::Enforce, 25), "keys (enforce 25 %)");
        assert_eq!(biting("keys", Mode::Shadow, 100), "keys (shadow)");
        assert_eq!(bite(Mode::Enforce, 0), "enforce 0 %");
        assert_eq!(bite(Mode::Off, 100), "off");
    }

    #[test]
    fn limits_read_as_they_are_written() {
        let rate = |requests, burst| Limit::Rate {
            requests: NonZeroU64::new(requests).unwrap(),
            window: Duration::from_secs(60),
            burst: NonZeroU64::new(burst).unwrap(),
        };
        assert_eq!(limit(&rate(100, 100)), "100 per 1m");
        assert_eq!(limit(&rate(100, 20)), "100 per 1m, burst 20");
        assert_eq!(limit(&Limit::Concurrency { requests: NonZeroU32::MIN }), "1 at once");
        assert_eq!(action(Action::Throttle { max_retry: 0, max_wait: Duration::MAX }), "over it 429");
        assert_eq!(
            action(Action::Throttle { max_retry: 2, max_wait: Duration::from_secs(5) }),
            "over it wait for one of the next 2 slots, at most 5s, then 429"
        );
    }
}
