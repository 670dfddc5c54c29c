//! Secrets in answers: found, counted, masked. What is told is the class and the number, never a value.

use std::{collections::BTreeMap, sync::Arc};

use bartizan_config::snapshot::LeakPlan;
use bartizan_inspect::leak::LeakClass;
use bartizan_telemetry::LeakCount;
use bytes::Bytes;

use super::pool::{JudgePool, Trouble};

/// What was found in an answer.
pub(crate) struct Found {
    pub(crate) counts: BTreeMap<LeakClass, usize>,
    /// The body with every secret masked, where something was found.
    pub(crate) masked: Option<Bytes>,
}

impl Found {
    /// The lines of the record.
    pub(crate) fn told(&self, label: &Arc<str>, action: &'static str) -> Vec<LeakCount> {
        let line = |(class, count): (&LeakClass, &usize)| LeakCount {
            policy: label.clone(),
            class: class.word(),
            count: *count as u64,
            action,
        };
        self.counts.iter().map(line).collect()
    }

    /// The same for people.
    pub(crate) fn describe(&self) -> String {
        let lines: Vec<String> =
            self.counts.iter().map(|(class, count)| format!("{count} of {}", class.word())).collect();
        format!("the answer holds {}", lines.join(", "))
    }
}

/// Looks for secrets in a body.
pub(crate) async fn look(pool: &JudgePool, plan: &LeakPlan, body: &Bytes) -> Result<Found, Trouble> {
    let (scanner, bytes) = (plan.scanner.clone(), body.clone());
    pool.weigh(body.len(), move || {
        let mut leaks = scanner.scan(&bytes);
        let mut counts = leaks.counts();
        if let Some(last) = leaks.found.pop().filter(|_| leaks.more > 0) {
            // More than are told apart: they count with the last.
            *counts.entry(last.class).or_default() += leaks.more;
        }
        let masked = (!counts.is_empty()).then(|| {
            let mut copy = bytes.to_vec();
            scanner.mask(&mut copy);
            Bytes::from(copy)
        });
        Found { counts, masked }
    })
    .await
}

/// Whether a body is text by its type, in which secrets can be read. Streams of events are not held back.
pub(crate) fn is_text(content_type: Option<&[u8]>) -> bool {
    let kind = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default();
    let kind = kind.trim_ascii().to_ascii_lowercase();
    let has = |word: &[u8]| kind.windows(word.len()).any(|piece| piece == word);
    kind != b"text/event-stream"
        && (kind.is_empty()
            || kind.starts_with(b"text/")
            || has(b"json")
            || has(b"xml")
            || has(b"javascript")
            || has(b"yaml")
            || has(b"graphql"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_looked_at_and_streams_and_pictures_are_not() {
        for (kind, expected) in [
            ("application/json; charset=utf-8", true),
            ("Text/HTML", true),
            ("application/problem+json", true),
            ("", true),
            ("text/event-stream", false),
            ("application/grpc", false),
            ("image/png", false),
        ] {
            assert_eq!(is_text(Some(kind.as_bytes())), expected, "{kind}");
        }
        assert!(is_text(None));
    }
}
