//! `RateLimitPolicy` → [`bartizan_limit::Policy`].

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use bartizan_limit::{Action, KeyPart, Limit, OnAbsent, Policy, Terms};
use bartizan_model::{
    Mode, OnFault,
    document::{
        Document, Kind,
        rate_limit::{
            KeyPartSpec, KeyWord, LimitAction, LimitActionType, LimitSpec, OnAbsentSpec, RateLimitPolicySpec,
        },
    },
    problem::{Code, Problem, Problems},
    read::Spanned,
};

use super::{label, listener::count};

/// Compiles one policy.
pub(super) fn compile(
    document: &Document,
    spec: &RateLimitPolicySpec,
    problems: &mut Problems,
) -> Option<Policy> {
    let before = problems.total();
    check_key(spec, problems);
    if spec.key.is_empty() {
        problems.push(
            Problem::new(Code::EmptyList, document.name.at, "spec.key", "a limit needs a key")
                .hint("one allowance for all callers together is written `key: [gateway]`"),
        );
    }
    let limits: Vec<Limit> = spec.limits.iter().filter_map(|limit| compile_limit(limit, problems)).collect();
    check_action(spec, problems);
    if problems.total() > before {
        return None;
    }
    Some(Policy::new(Terms {
        name: document.name.as_str().into(),
        label: label(Kind::RateLimitPolicy, document.name.as_str()),
        mode: spec.mode,
        enforce_percent: spec.enforce_percent.get(),
        on_fault: spec.on_fault,
        key: spec.key.iter().map(|part| key_part(part)).collect(),
        on_absent: match spec.on_absent {
            OnAbsentSpec::ClientAddress => OnAbsent::ClientAddress,
            OnAbsentSpec::Deny => OnAbsent::Deny,
            OnAbsentSpec::Skip => OnAbsent::Skip,
        },
        limits,
        action: action(&spec.action),
        legacy_headers: spec.legacy_headers,
    }))
}

/// The policy behind a listener's `admission.ratePerAddress`.
pub(super) fn address_policy(
    listener: &str,
    requests: NonZeroU64,
    window: Duration,
    burst: NonZeroU64,
) -> Arc<Policy> {
    Arc::new(Policy::new(Terms {
        name: format!("{listener}.rate-per-address").into(),
        label: label(Kind::Listener, listener),
        mode: Mode::Enforce,
        enforce_percent: 100,
        on_fault: OnFault::Deny,
        key: vec![KeyPart::ClientAddress],
        on_absent: OnAbsent::ClientAddress,
        limits: vec![Limit::Rate { requests, window, burst }],
        action: Action::Reject,
        legacy_headers: false,
    }))
}

fn compile_limit(limit: &Spanned<LimitSpec>, problems: &mut Problems) -> Option<Limit> {
    const PATH: &str = "spec.limits";
    let rate = match (&limit.requests, &limit.tokens) {
        (Some(requests), None) => Some((requests.get(), false)),
        (None, Some(tokens)) => Some((tokens.get(), true)),
        _ => None,
    };
    let counts_nothing = limit.requests.is_none() && limit.tokens.is_none();
    match (rate, &limit.time_window, &limit.concurrency) {
        (Some((units, is_tokens)), Some(window), None) => {
            let window = window.get();
            if window.is_zero() {
                problems.push(Problem::new(
                    Code::BadValue,
                    limit.at,
                    PATH,
                    "`timeWindow` must be longer than zero",
                ));
                return None;
            }
            let burst = limit.burst.as_ref().map_or(units, |burst| burst.get());
            Some(match is_tokens {
                true => Limit::Tokens { tokens: units, window, burst },
                false => Limit::Rate { requests: units, window, burst },
            })
        }
        (None, None, Some(concurrency)) if limit.burst.is_none() && counts_nothing => {
            Some(Limit::Concurrency {
                requests: NonZeroU32::new(count(concurrency)).unwrap_or(NonZeroU32::MIN),
            })
        }
        _ => {
            problems.push(
                Problem::new(Code::NotExactlyOne, limit.at, PATH, "a limit is a rate or a concurrency").hint(
                    "write `requests` or `tokens` with `timeWindow` (and `burst` if you like), or `concurrency` alone",
                ),
            );
            None
        }
    }
}

/// A part that is written twice, or beside `gateway`, changes nothing and was meant otherwise.
fn check_key(spec: &RateLimitPolicySpec, problems: &mut Problems) {
    const PATH: &str = "spec.key";
    for (number, part) in spec.key.iter().enumerate() {
        if let Some(first) = spec.key.iter().take(number).find(|first| **first == *part) {
            let message = "the same part is written twice";
            problems.push(
                Problem::new(Code::FieldsClash, part.at, PATH, message).also(first.at, "first written here"),
            );
        }
        if part.value == KeyPartSpec::Word(KeyWord::Gateway) && spec.key.len() > 1 {
            let message = "`gateway` has no meaning beside other parts";
            problems.push(
                Problem::new(Code::FieldsClash, part.at, PATH, message)
                    .hint("alone it means one allowance for all callers together; delete it or the others"),
            );
        }
    }
}

fn check_action(spec: &RateLimitPolicySpec, problems: &mut Problems) {
    const PATH: &str = "spec.action";
    let action = &spec.action;
    let mut clash = |at, message: &str, hint: &str| {
        problems.push(Problem::new(Code::FieldsClash, at, PATH, message).hint(hint));
    };
    let waits = *action.max_retry > 0;
    if action.type_ == LimitActionType::Reject {
        let hint = "write `type: Throttle`, or delete it";
        if waits {
            clash(action.max_retry.at, "`maxRetry` has no meaning with `type: Reject`", hint);
        }
        if action.max_wait.at.is_place() {
            clash(action.max_wait.at, "`maxWait` has no meaning with `type: Reject`", hint);
        }
        return;
    }
    if waits && action.max_wait.get().is_zero() {
        clash(
            action.max_wait.at,
            "no call can wait for a slot within no time",
            "write `maxRetry: 0`, or a longer `maxWait`",
        );
    }
    let only_concurrency = spec.limits.iter().all(|limit| limit.concurrency.is_some());
    if waits && only_concurrency {
        clash(
            action.max_retry.at,
            "a call over a concurrency cannot wait for a slot: nobody knows when one is free",
            "add a limit of `requests` per `timeWindow`, or delete `maxRetry`",
        );
    }
}

fn key_part(part: &KeyPartSpec) -> KeyPart {
    match part {
        KeyPartSpec::Word(KeyWord::Gateway) => KeyPart::Gateway,
        KeyPartSpec::Word(KeyWord::Route) => KeyPart::Route,
        KeyPartSpec::Word(KeyWord::Consumer) => KeyPart::Consumer,
        KeyPartSpec::Word(KeyWord::Team) => KeyPart::Team,
        KeyPartSpec::Word(KeyWord::ClientAddress) => KeyPart::ClientAddress,
        KeyPartSpec::Header(header) => KeyPart::Header(header.header.as_str().into()),
    }
}

fn action(action: &LimitAction) -> Action {
    match action.type_ {
        LimitActionType::Reject => Action::Reject,
        LimitActionType::Throttle => {
            Action::Throttle { max_retry: *action.max_retry, max_wait: action.max_wait.get() }
        }
    }
}
