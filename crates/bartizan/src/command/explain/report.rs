//! What was found out, and how it reads: a row per stage and policy, and one verdict.

use std::fmt::Write as _;

use bartizan_model::{Mode, Stage};
use serde::Serialize;

use crate::command::print::{self, BOLD, BOLD_GREEN, BOLD_RED, PLAIN};

/// The way of a request.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) request: Request,
    pub(super) notes: Vec<String>,
    pub(super) stages: Vec<Step>,
    pub(super) verdict: Verdict,
}

/// What was asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) consumer: Option<String>,
    pub(super) from: String,
    pub(super) listener: String,
}

/// A stage and what it finds.
#[derive(Serialize)]
pub(super) struct Step {
    pub(super) stage: &'static str,
    /// Whether the request gets this far.
    pub(super) reached: bool,
    pub(super) findings: Vec<Finding>,
}

/// What one document, or the stage itself, has to say.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// The document, as `Kind/name`; none where the stage speaks for itself.
    pub(super) by: Option<String>,
    /// Where it stands, as `file:line`.
    pub(super) at: Option<String>,
    /// For policies: `enforce`, `shadow` or `off`.
    pub(super) mode: Option<&'static str>,
    /// For policies: the share of callers it bites, in percent.
    pub(super) enforce_percent: Option<u8>,
    /// For policies: what happens when it cannot decide.
    pub(super) on_fault: Option<&'static str>,
    /// For policies: what it is attached to; empty for the whole gateway.
    pub(super) targets: Option<Vec<String>>,
    /// What it says.
    pub(super) says: String,
    /// What that means for the request.
    pub(super) effect: Effect,
}

/// What a finding means for the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Effect {
    /// It goes on.
    #[default]
    Passes,
    /// It ends here, refused.
    Refuses,
    /// It would end here if the policy were enforced.
    WouldRefuse,
    /// It ends here, answered.
    Answers,
    /// Only a running gateway can tell.
    Depends,
    /// The document is not looked at.
    Ignored,
}

/// How it ends.
#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Verdict {
    /// An upstream gets it.
    Forwarded { route: String, upstreams: Vec<Share>, method: String, host: String, target: String },
    /// The gateway refuses it.
    Refused {
        stage: &'static str,
        by: Option<String>,
        status: u16,
        code: &'static str,
        detail: Option<String>,
        /// The share of callers for whom this holds, where the policy bites only some of them.
        for_percent: Option<u8>,
    },
    /// The gateway answers it itself.
    Answered { stage: &'static str, by: Option<String>, status: u16, location: Option<String> },
    /// Only a running gateway can tell.
    Undecided { stage: &'static str, by: Option<String>, why: String },
}

/// An upstream and its share of the requests.
#[derive(Serialize)]
pub(super) struct Share {
    pub(super) name: String,
    pub(super) percent: u64,
    pub(super) endpoints: Vec<String>,
}

impl Step {
    /// A stage that was reached; what is off stands last.
    pub(super) fn new(stage: Stage, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.mode == Some(Mode::Off.as_str()));
        Step { stage: stage.as_str(), reached: true, findings }
    }

    pub(super) fn unreached(stage: Stage) -> Self {
        Step { stage: stage.as_str(), reached: false, findings: Vec::new() }
    }
}

impl Finding {
    /// What a stage says by itself.
    pub(super) fn of_stage(says: impl Into<String>) -> Self {
        Finding { says: says.into(), ..Finding::default() }
    }

    /// The same with another effect.
    pub(super) fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }
}

impl Report {
    /// A table and the verdict.
    pub(super) fn text(&self) -> String {
        let Request { method, url, consumer, from, listener } = &self.request;
        let who = consumer.as_ref().map_or(String::new(), |name| format!(" as {name}"));
        let asked = print::clean(&format!("{method} {url}{who} from {from}, by Listener/{listener}"));
        let mut out = format!("{BOLD}{asked}{PLAIN}\n");
        for note in &self.notes {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "note: {}", print::clean(note));
        }
        let rows = self.stages.iter().flat_map(Step::rows);
        let _ = write!(out, "\n{}\n{}\n", print::table(&HEADER, rows), self.verdict.text());
        out
    }
}

const HEADER: [&str; 4] = ["STAGE", "DECIDED BY", "APPLIES", "WHAT"];

impl Step {
    fn rows(&self) -> Vec<Vec<String>> {
        let row = |stage: &str, rest: [String; 3]| -> Vec<String> {
            [stage.to_owned()].into_iter().chain(rest).collect()
        };
        if !self.reached {
            return vec![row(self.stage, ["", "", "not reached"].map(str::to_owned))];
        }
        self.findings
            .iter()
            .enumerate()
            .map(|(at, finding)| row(if at == 0 { self.stage } else { "" }, finding.cells()))
            .collect()
    }
}

impl Finding {
    fn cells(&self) -> [String; 3] {
        let mode = match (self.mode, self.enforce_percent) {
            (Some("enforce"), Some(percent)) if percent < 100 => Some(format!("enforce {percent} %")),
            (mode, _) => mode.map(str::to_owned),
        };
        let targets = self.targets.as_ref().map(|targets| match targets.as_slice() {
            [] => "gateway".to_owned(),
            targets => targets.join(", "),
        });
        let effect = match self.effect {
            Effect::Passes | Effect::Ignored => "",
            Effect::Refuses => "REFUSES: ",
            Effect::WouldRefuse => "would refuse: ",
            Effect::Answers => "ANSWERS: ",
            Effect::Depends => "DEPENDS: ",
        };
        let by = self.by.as_deref().unwrap_or(print::NONE);
        [
            self.at.as_ref().map_or(by.to_owned(), |at| format!("{by}\n  {at}")),
            mode.into_iter().chain(targets).collect::<Vec<_>>().join(", "),
            format!("{effect}{}", self.says),
        ]
    }
}

impl Verdict {
    fn text(&self) -> String {
        let by = |by: &Option<String>| by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
        match self {
            Verdict::Forwarded { upstreams, method, host, target, .. } => {
                let to: Vec<String> = upstreams
                    .iter()
                    .map(|share| match share.percent {
                        100 => format!("Upstream/{}", share.name),
                        percent => format!("Upstream/{} ({percent} %)", share.name),
                    })
                    .collect();
                let to = to.join(" or ");
                let text = format!("would be forwarded to {to} as {method} {target}, host {host}");
                format!("{BOLD_GREEN}{}{PLAIN}", print::clean(&text))
            }
            Verdict::Refused { stage, by: whom, status, code, detail, for_percent } => {
                let detail = detail.as_ref().map_or(String::new(), |detail| format!(" ({detail})"));
                let text = format!("would be refused in {stage}{}: {status} {code}{detail}", by(whom));
                let some = for_percent.map_or(String::new(), |percent| {
                    format!(", for {percent} % of callers; the others go on")
                });
                format!("{BOLD_RED}{}{PLAIN}", print::clean(&format!("{text}{some}")))
            }
            Verdict::Answered { stage, by: whom, status, location } => {
                let to = location.as_ref().map_or(String::new(), |to| format!(" to {to}"));
                let text = format!("would be answered in {stage}{}: {status}{to}", by(whom));
                format!("{BOLD}{}{PLAIN}", print::clean(&text))
            }
            Verdict::Undecided { stage, by: whom, why } => {
                let text = format!("cannot be told here: it is decided in {stage}{}; {why}", by(whom));
                format!("{BOLD}{}{PLAIN}", print::clean(&text))
            }
        }
    }
}
