//! Secrets in answers: found, counted, masked. What is told is the class and the number, never a value.

use std::{collections::BTreeMap, sync::Arc};

use bartizan_config::snapshot::LeakPlan;
use bartizan_inspect::leak::{LeakClass, LeakStream};
use bartizan_telemetry::LeakCount;
use bytes::Bytes;

use super::pool::{JudgePool, Trouble};
use crate::body::LeakScreen;

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

/// Whether a body is text by its type, in which secrets can be read. Streams are not held back whole.
pub(crate) fn is_text(content_type: Option<&[u8]>) -> bool {
    let kind = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default();
    let kind = kind.trim_ascii().to_ascii_lowercase();
    let has = |word: &[u8]| kind.windows(word.len()).any(|piece| piece == word);
    !is_stream(content_type)
        && (kind.is_empty()
            || kind.starts_with(b"text/")
            || has(b"json")
            || has(b"xml")
            || has(b"javascript")
            || has(b"yaml")
            || has(b"graphql"))
}

/// Whether a body comes event by event or line by line, so that it is looked through while it passes.
pub(crate) fn is_stream(content_type: Option<&[u8]>) -> bool {
    let kind = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default();
    STREAMS.iter().any(|stream| kind.trim_ascii().eq_ignore_ascii_case(stream.as_bytes()))
}

/// Types whose bodies have no end that is near.
const STREAMS: [&str; 7] = [
    "application/json-seq",
    "application/jsonl",
    "application/ndjson",
    "application/stream+json",
    "application/x-jsonlines",
    "application/x-ndjson",
    "text/event-stream",
];

/// What a policy looks for in an answer while it passes.
pub(crate) fn screen(label: &Arc<str>, plan: &LeakPlan, by_line: bool) -> LeakScreen {
    // What is held back is bounded by the screen, so all of the answer can be looked at.
    let stream = LeakStream::new(plan.scanner.clone(), u64::MAX);
    let stream = if by_line { stream.by_line() } else { stream };
    LeakScreen { label: label.clone(), masks: plan.masks, stream }
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
            ("application/x-ndjson; charset=utf-8", false),
            ("application/grpc", false),
            ("image/png", false),
        ] {
            assert_eq!(is_text(Some(kind.as_bytes())), expected, "{kind}");
        }
        assert!(is_text(None));
    }
}
