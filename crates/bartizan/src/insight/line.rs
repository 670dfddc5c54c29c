//! A line of the access log as an event.

use std::borrow::Cow;

use bartizan_insight::{Engine, Event};
use serde::Deserialize;

use crate::command::when;

/// What of a line is looked at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    consumer: Option<Cow<'a, str>>,
    identified_by: Option<Cow<'a, str>>,
    credential: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client: Cow<'a, str>,
    route: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    query: Option<Cow<'a, str>>,
    status: u16,
    stage: Option<Cow<'a, str>>,
    reason: Option<Cow<'a, str>>,
    request_bytes: u64,
    response_bytes: u64,
    duration_us: u64,
    user_agent: Option<Cow<'a, str>>,
}

/// Shows a line to the engine, unless it came at `before_ms` or later. Whether it was an event.
pub(crate) fn observe(engine: &mut Engine, line: &[u8], before_ms: u64) -> bool {
    // Announcements of lost lines and torn lines are no requests.
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return false };
    let Some(at_ms) = when::unix_ms(&line.time).filter(|at_ms| *at_ms < before_ms) else { return false };
    if line.method.is_empty() {
        return false;
    }
    engine.observe(&Event {
        at_ms,
        id: &line.id,
        consumer: line.consumer.as_deref(),
        identified_by: line.identified_by.as_deref(),
        credential: line.credential.as_deref(),
        client: &line.client,
        route: line.route.as_deref(),
        method: &line.method,
        path: &line.path,
        query: line.query.as_deref(),
        status: line.status,
        stage: line.stage.as_deref(),
        reason: line.reason.as_deref(),
        request_bytes: line.request_bytes,
        response_bytes: line.response_bytes,
        duration_us: line.duration_us,
        user_agent: line.user_agent.as_deref(),
    });
    true
}

#[cfg(test)]
mod tests {
    use bartizan_insight::{Posture, Seed, Settings};

    use super::*;

    #[test]
    fn requests_are_events_and_other_lines_are_not() {
        let mut engine = Engine::new(Settings::default(), Seed(1, 2));
        let request = br#"{"time":"2026-01-01T00:00:00.123456Z","id":"r-1","client":"192.0.2.7","method":"GET","path":"/orders/7","route":"orders","status":200,"exit":"complete","duration_us":10}"#;
        assert!(observe(&mut engine, request, u64::MAX));
        let inventory = engine.report(&Posture::default()).inventory;
        assert_eq!(inventory.len(), 1);
        assert_eq!((inventory[0].path.as_str(), inventory[0].first_ms), ("/orders/{id}", 1_767_225_600_123));
        for other in [
            &br#"{"time":"2026-01-01T00:00:00.123456Z","event":"access_log_lost","lost":3}"#[..],
            b"{\"time\":\"2026-01-01T00:0",
            b"",
        ] {
            assert!(!observe(&mut engine, other, u64::MAX));
        }
        assert!(!observe(&mut engine, request, 1_767_225_600_000), "it came later");
    }
}
