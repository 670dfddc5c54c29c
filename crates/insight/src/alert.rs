//! An alert: what is unusual, said so that a person can act on it.

use serde::{Deserialize, Serialize};

/// What was noticed.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// A number that stays the alert's own as long as the process runs.
    pub id: u64,
    /// The detector: `D1` … `D5`.
    pub detector: Detector,
    /// How grave it is.
    pub severity: Severity,
    /// What happened, in one sentence.
    pub sentence: String,
    /// The consumer or address; none where it is about an endpoint as a whole.
    pub who: Option<String>,
    /// Method and path template; none where it is about all of a caller's calls.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// When it was first noticed, in milliseconds since 1970.
    pub first_ms: u64,
    /// When it was noticed last.
    pub last_ms: u64,
    /// How often it was noticed since.
    pub times: u64,
    /// Whether caller or endpoint are still being learned, so that "usual" rests on few observations.
    pub is_learning: bool,
    /// How improbable it is, as −log10 of a probability bound; 99 for what needs no statistics.
    pub surprise: f64,
    /// What it rests on, the weightiest first.
    pub features: Vec<Feature>,
    /// Some of the requests; ids of objects are not shown.
    pub samples: Vec<Sample>,
    /// The entry in the OWASP API Security Top 10 of 2023.
    pub owasp: String,
    /// What to do.
    pub action: Action,
}

/// One reason for an alert.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// What was measured.
    pub name: String,
    /// What is usual; for a threshold, the threshold.
    pub expected: f64,
    /// What was seen.
    pub seen: f64,
    /// Its part of the finding, from 0 to 1.
    pub share: f64,
}

/// A request that belongs to an alert.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Its id: `bartizan why ID` tells more.
    pub id: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Method and path template.
    pub request: String,
    /// The status.
    pub status: u16,
}

/// What to do about an alert.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// In words.
    pub sentence: String,
    /// A document that does it, where one can; to be read and tried before it is applied.
    pub document: Option<String>,
}

/// Which detector.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// Volume: spikes and drops.
    #[serde(rename = "D1")]
    Volume,
    /// Refusals and errors: guessing, probing, failing services.
    #[serde(rename = "D2")]
    Errors,
    /// Enumeration: one caller walks through objects.
    #[serde(rename = "D3")]
    Enumeration,
    /// Spraying: one caller tries many endpoints or paths.
    #[serde(rename = "D4")]
    Spray,
    /// Exfiltration: unusual volumes of answers.
    #[serde(rename = "D5")]
    Exfiltration,
}

impl Detector {
    /// All of them.
    pub const ALL: [Detector; 5] =
        [Detector::Volume, Detector::Errors, Detector::Enumeration, Detector::Spray, Detector::Exfiltration];

    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Detector::Volume => "volume",
            Detector::Errors => "errors",
            Detector::Enumeration => "enumeration",
            Detector::Spray => "spray",
            Detector::Exfiltration => "exfiltration",
        }
    }
}

/// How grave.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth looking at today.
    Medium,
    /// Worth looking at now.
    High,
    /// Needs no statistics: told whatever the budget says.
    Critical,
}

impl Severity {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// What a detector found, before it is known whether it is told.
pub(crate) struct Finding {
    pub(crate) detector: Detector,
    pub(crate) severity: Severity,
    pub(crate) sentence: String,
    pub(crate) who: Option<String>,
    pub(crate) place: Option<String>,
    pub(crate) route: Option<String>,
    pub(crate) is_learning: bool,
    pub(crate) surprise: f64,
    pub(crate) features: Vec<Feature>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) owasp: &'static str,
    pub(crate) action: Action,
}

/// Features with weights made into shares, the weightiest first.
pub(crate) fn features(weighed: &[(&str, f64, f64, f64)]) -> Vec<Feature> {
    let total: f64 = weighed.iter().map(|(.., weight)| weight.max(0.0)).sum();
    let mut features: Vec<Feature> = weighed
        .iter()
        .map(|(name, expected, seen, weight)| Feature {
            name: (*name).to_owned(),
            expected: round(*expected),
            seen: round(*seen),
            share: if total > 0.0 { round(weight.max(0.0) / total) } else { 0.0 },
        })
        .collect();
    features.sort_by(|a, b| b.share.total_cmp(&a.share));
    // What weighs nothing explains nothing.
    features.retain(|feature| feature.share > 0.0);
    features
}

/// Two places after the point: more is noise.
pub(crate) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
