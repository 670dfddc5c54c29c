//! D2: refusals and errors: guessing credentials, probing, failing services.
//!
//! One caller is held against a share of failures that neither its own past nor the fleet has, and against the number of
//! different credentials it tries. Guessing from many addresses shows on no address: it is looked for on the endpoint, where
//! refused credentials of a minute, and where they come from, are held against quiet minutes. OWASP API2.

use crate::{
    alert::{Action, Detector, Finding, Severity, features},
    caller::Caller,
    detect::{Look, SURPRISE_MAX},
    endpoint::{Endpoint, Refusals},
    event::Outcome,
    level::surprise,
    settings::MINUTE_MS,
};

/// Fewer failures in five minutes are nobody's trouble.
const FAILED: u32 = 20;

/// So many different credentials nobody mistypes.
const ACCOUNTS: f64 = 10.0;

/// Refused credentials, of at least so many accounts, after which a success is the success of a guess.
const GUESSES: u32 = 10;
const GUESSED_ACCOUNTS: f64 = 5.0;

/// Refused credentials of a minute on an endpoint below which nothing is said, and from how many addresses.
const MINUTE_FAILED: f64 = 30.0;
const SOURCES: f64 = 20.0;

/// Minutes that an endpoint's refusals are learned.
const MINUTES: u32 = 60;

/// A failure of a caller, which is already counted.
pub(crate) fn caller(caller: &Caller, endpoint: Option<&Endpoint>, look: &Look<'_, '_>) -> Option<Finding> {
    if !look.outcome.is_failure() {
        return None;
    }
    // When everybody fails, it is not this caller.
    if endpoint.is_some_and(|endpoint| endpoint.refusals.told_until_ms > look.now_ms) {
        return None;
    }
    let failures = &caller.failures;
    let accounts = failures.accounts.count();
    if look.outcome == Outcome::Credential && accounts >= ACCOUNTS && failures.credential.is_multiple_of(5) {
        return Some(guessing(caller, endpoint, accounts));
    }
    if failures.failed < FAILED || !failures.failed.is_multiple_of(5) {
        return None;
    }
    let (failed, calls) = (f64::from(failures.failed), f64::from(failures.calls.max(failures.failed)));
    // The posterior of a share, with three deviations taken off.
    let share = (failed + 0.5) / (calls + 1.0);
    let bound = share - 3.0 * (share * (1.0 - share) / (calls + 2.0)).sqrt();
    let own = if failures.windows >= 3 { f64::from(failures.share) } else { 0.0 };
    let fleet = look.fleet.failures.mean();
    let usual = own.max(fleet).max(0.01);
    // Who always fails in half of its calls is badly made, not an attacker.
    if bound < (4.0 * usual).clamp(0.3, 0.95) {
        return None;
    }
    let surprise = surprise(failed, usual * calls, 4.0).min(SURPRISE_MAX);
    Some(Finding {
        detector: Detector::Errors,
        severity: Severity::Medium,
        sentence: format!(
            "{} failed in {failed:.0} of {calls:.0} calls within five minutes; usual for it are {:.0} %, for callers {:.0} %",
            caller.shown(),
            100.0 * own,
            100.0 * fleet
        ),
        who: Some(caller.shown()),
        place: None,
        route: route(endpoint),
        is_learning: failures.windows < 3,
        surprise,
        features: features(&[
            ("failures in five minutes", usual * calls, failed, (failed / (usual * calls).max(1.0)).ln()),
            (
                "refused credentials",
                0.0,
                f64::from(failures.credential),
                f64::from(failures.credential) / failed,
            ),
            (
                "refused by authorization",
                0.0,
                f64::from(failures.forbidden),
                f64::from(failures.forbidden) / failed,
            ),
        ]),
        samples: caller.samples.clone(),
        owasp: if failures.credential * 2 > failures.failed {
            "API2:2023 Broken Authentication"
        } else {
            "API5:2023 Broken Function Level Authorization"
        },
        action: Action {
            sentence: format!("see what {} asks for: `bartizan why` with one of the samples", caller.shown()),
            document: None,
        },
    })
}

fn guessing(caller: &Caller, endpoint: Option<&Endpoint>, accounts: f64) -> Finding {
    let refused = f64::from(caller.failures.credential);
    Finding {
        detector: Detector::Errors,
        severity: Severity::High,
        sentence: format!(
            "{} tried about {accounts:.0} different credentials within five minutes and was refused",
            caller.shown()
        ),
        who: Some(caller.shown()),
        place: None,
        route: route(endpoint),
        is_learning: false,
        surprise: surprise(accounts, 1.0, 1.0).min(SURPRISE_MAX),
        features: features(&[
            ("different credentials", 1.0, accounts, accounts.ln()),
            ("refused credentials", 2.0, refused, refused.max(1.0).ln()),
        ]),
        samples: caller.samples.clone(),
        owasp: "API2:2023 Broken Authentication",
        action: Action {
            sentence: format!(
                "lower `failures` of the AuthenticationPolicy so that guessing is held sooner, or deny {} in the listener's \
                 admission",
                caller.shown()
            ),
            document: None,
        },
    }
}

/// A success of someone whose address was refused often: `guesser` is what is known of the address.
pub(crate) fn success(
    guesser: &Caller,
    who: &str,
    endpoint: Option<&Endpoint>,
    now_ms: u64,
) -> Option<Finding> {
    let failures = &guesser.failures;
    let accounts = failures.accounts.count();
    let is_fresh = now_ms.saturating_sub(failures.guesses_since_ms) < 15 * MINUTE_MS;
    if failures.guesses < GUESSES || accounts < GUESSED_ACCOUNTS || !is_fresh {
        return None;
    }
    let guesses = f64::from(failures.guesses);
    Some(Finding {
        detector: Detector::Errors,
        severity: Severity::Critical,
        sentence: format!(
            "{} was refused {guesses:.0} times with about {accounts:.0} different credentials, and then got in as consumer {who}",
            guesser.shown()
        ),
        who: Some(guesser.shown()),
        place: endpoint.map(Endpoint::shown),
        route: route(endpoint),
        is_learning: false,
        surprise: 99.0,
        features: features(&[
            ("refused credentials before the success", 0.0, guesses, guesses.ln()),
            ("different credentials", 1.0, accounts, accounts.ln()),
        ]),
        samples: guesser.samples.clone(),
        owasp: "API2:2023 Broken Authentication",
        action: Action {
            sentence: format!("revoke the credential of {who} and see what it did since"),
            document: None,
        },
    })
}

/// A call of an endpoint: whether its failures of the last minute are unusual as a whole.
pub(crate) fn endpoint(endpoint: &mut Endpoint, look: &Look<'_, '_>) -> Option<Finding> {
    let is_server = look.outcome == Outcome::Server;
    if !(look.outcome.is_failure() || is_server) || endpoint.refusals.told_until_ms > look.now_ms {
        return None;
    }
    let refusals = &endpoint.refusals;
    let calls = Refusals::sum(&refusals.calls);
    let sources = refusals.sources.count().max(refusals.sources_before.count());
    let (counts, usual, what) = match look.outcome {
        Outcome::Credential => (&refusals.credential, &refusals.credential_usual, "refused credentials"),
        Outcome::Server => (&refusals.server, &refusals.server_usual, "failures of the service"),
        _ => (&refusals.failed, &refusals.failed_usual, "refused or failed calls"),
    };
    let failed = Refusals::sum(counts);
    // A test costs logarithms, so not at each failure.
    if failed < MINUTE_FAILED || !(failed as u64).is_multiple_of(4) {
        return None;
    }
    let known = usual.seen() >= MINUTES;
    let expected = usual.mean().exp_m1().max(0.5);
    let z = usual.z(failed.ln_1p(), 0.3);
    let spread = 1.0 + expected * usual.deviation(0.3).powi(2).exp_m1();
    let surprise = surprise(failed, expected, spread).min(SURPRISE_MAX);
    // Of an endpoint that nobody knows yet, only what no endpoint should have.
    let unusual =
        if known { z > 6.0 && surprise > 6.0 } else { failed > 0.5 * calls && failed > 2.0 * MINUTE_FAILED };
    if !unusual || (!is_server && sources < SOURCES) {
        return None;
    }
    endpoint.refusals.told_until_ms = look.now_ms + 15 * MINUTE_MS;
    Some(together(endpoint, look, &Together { what, failed, calls, expected, sources, surprise, known }))
}

struct Together {
    what: &'static str,
    failed: f64,
    calls: f64,
    expected: f64,
    sources: f64,
    surprise: f64,
    known: bool,
}

fn together(endpoint: &Endpoint, look: &Look<'_, '_>, found: &Together) -> Finding {
    let Together { what, failed, calls, expected, sources, surprise, known } = *found;
    let place = endpoint.shown();
    let (owasp, severity, action) = match look.outcome {
        Outcome::Credential => (
            "API2:2023 Broken Authentication",
            Severity::High,
            "guessing from many addresses: put a limit on the endpoint as a whole, and look for successes since",
        ),
        Outcome::Server => (
            "API4:2023 Unrestricted Resource Consumption",
            Severity::Medium,
            "look at the service; `bartizan log --failed` shows the calls",
        ),
        _ => (
            "API5:2023 Broken Function Level Authorization",
            Severity::Medium,
            "a release that broke its callers, or probing by many: `bartizan log --denied` shows the calls",
        ),
    };
    let from = if look.outcome == Outcome::Server {
        String::new()
    } else {
        format!(" from about {sources:.0} callers")
    };
    Finding {
        detector: Detector::Errors,
        severity,
        sentence: format!("{place} had {failed:.0} {what} in a minute{from}; usual are {expected:.0}"),
        who: None,
        place: Some(place),
        route: endpoint.route.as_deref().map(str::to_owned),
        is_learning: !known,
        surprise: if known { surprise } else { surprise.min(12.0) },
        features: features(&[
            (what, expected, failed, (failed / expected).ln()),
            ("callers who failed", 1.0, sources, sources.max(1.0).ln()),
            (
                "share of calls that failed",
                expected / calls.max(1.0),
                failed / calls.max(1.0),
                failed / calls.max(1.0),
            ),
        ]),
        samples: Vec::new(),
        owasp,
        action: Action { sentence: action.to_owned(), document: None },
    }
}

/// Closes a minute of an endpoint's refusals: a quiet one teaches.
pub(crate) fn close(refusals: &mut Refusals, now_ms: u64) {
    if refusals.told_until_ms > now_ms {
        return;
    }
    let sums = [
        (Refusals::sum(&refusals.credential), &mut refusals.credential_usual),
        (Refusals::sum(&refusals.failed), &mut refusals.failed_usual),
        (Refusals::sum(&refusals.server), &mut refusals.server_usual),
    ];
    for (sum, usual) in sums {
        if usual.seen() < MINUTES || usual.z(sum.ln_1p(), 0.3) < 4.0 {
            usual.learn(sum.ln_1p(), 480.0);
        }
    }
}

fn route(endpoint: Option<&Endpoint>) -> Option<String> {
    endpoint.and_then(|endpoint| endpoint.route.as_deref()).map(str::to_owned)
}
