//! From slices to figures: ratios within a round, quartiles over the rounds, and the table.
//!
//! A ratio is taken within one round only, because two slices a few seconds apart saw the same machine. Rounds in
//! which others used the proxy's core are left out and counted, never quietly replaced.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    load::{Case, Slice},
    peers::Target,
};

/// A slice with its place in the run.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) case: Case,
    pub(super) target: Target,
    pub(super) round: usize,
    pub(super) slice: Slice,
}

/// Memory of a proxy at a moment, KiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) target: Target,
    pub(super) when: &'static str,
    pub(super) pss_kib: u64,
    pub(super) rss_kib: u64,
}

/// All of a run.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) versions: Vec<String>,
    pub(super) rounds: usize,
    pub(super) seconds: u64,
    /// A slice with more foreign load than this, in percent of the core, is left out.
    pub(super) foreign_max: f64,
    pub(super) slices: Vec<Measured>,
    pub(super) memory: Vec<Memory>,
}

/// Median and quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quartiles {
    lower: f64,
    median: f64,
    upper: f64,
}

/// What others are held against.
const BASE: Target = Target::Nginx;

impl Report {
    /// The report as Markdown: one table per case, one for memory, and how it was measured.
    pub(super) fn markdown(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "Measured with {}; {} rounds of {} s slices, interleaved; slices with more than {} % foreign load on the proxy's \
             core left out. Median, with quartiles in brackets.\n",
            self.versions.join(", "),
            self.rounds,
            self.seconds,
            self.foreign_max
        );
        for case in [Case::Clear, Case::Tls, Case::Http2] {
            if self.slices.iter().any(|measured| measured.case == case) {
                self.table(case, &mut out);
            }
        }
        if !self.memory.is_empty() {
            out.push_str("### Memory\n\n| target | when | PSS MB | RSS MB |\n|---|---|---|---|\n");
            for Memory { target, when, pss_kib, rss_kib } in &self.memory {
                let mb = |kib: u64| kib as f64 * 1024.0 / 1e6;
                let _ = writeln!(
                    out,
                    "| {} | {when} | {:.1} | {:.1} |",
                    target.name(),
                    mb(*pss_kib),
                    mb(*rss_kib)
                );
            }
            out.push('\n');
        }
        out
    }

    fn table(&self, case: Case, out: &mut String) {
        let (p50, p99) = if case == Case::Http2 { ("mean µs", "max µs") } else { ("p50 µs", "p99 µs") };
        let _ = writeln!(
            out,
            "### {}\n\n| target | CPU µs/request | ratio to {} | requests/s | {p50} | {p99} | core % | user % | foreign % | \
             steal % | load core % | quiet/all | errors |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|",
            case.title(),
            BASE.name()
        );
        for target in Target::ALL {
            let all: Vec<&Measured> = self.of(case, target).collect();
            if all.is_empty() {
                continue;
            }
            let quiet: Vec<&Slice> =
                all.iter().map(|m| &m.slice).filter(|slice| self.is_quiet(slice)).collect();
            let shown = |value: fn(&Slice) -> f64, digits: usize| {
                let values = quiet.iter().map(|slice| value(slice)).collect();
                quartiles(values).map_or_else(|| "–".to_owned(), |q| q.shown(digits))
            };
            let median = |value: fn(&Slice) -> f64| {
                let values = quiet.iter().map(|slice| value(slice)).collect();
                quartiles(values).map_or_else(|| "–".to_owned(), |q| format!("{:.0}", q.median))
            };
            let ratio = quartiles(self.ratios(case, target)).map_or_else(|| "–".to_owned(), |q| q.shown(2));
            let errors: u64 = all.iter().map(|measured| measured.slice.errors).sum();
            let _ = writeln!(
                out,
                "| {} | {} | {ratio} | {} | {} | {} | {} | {} | {} | {} | {} | {}/{} | {errors} |",
                target.name(),
                shown(|slice| slice.cpu_us, 1),
                shown(|slice| slice.rps, 0),
                median(|slice| slice.p50_us),
                median(|slice| slice.p99_us),
                median(|slice| slice.core_percent),
                median(|slice| slice.user_percent),
                median(|slice| slice.foreign_percent),
                median(|slice| slice.steal_percent),
                median(|slice| slice.load_percent),
                quiet.len(),
                all.len()
            );
        }
        out.push('\n');
    }

    /// CPU per request over that of the base, for each round in which both slices were quiet.
    fn ratios(&self, case: Case, target: Target) -> Vec<f64> {
        let quiet = |measured: &&Measured| self.is_quiet(&measured.slice);
        let own = self.of(case, target).filter(quiet);
        own.filter_map(|own| {
            let base = self.of(case, BASE).filter(quiet).find(|base| base.round == own.round)?;
            Some(own.slice.cpu_us / base.slice.cpu_us)
        })
        .collect()
    }

    fn of(&self, case: Case, target: Target) -> impl Iterator<Item = &Measured> {
        self.slices.iter().filter(move |measured| measured.case == case && measured.target == target)
    }

    fn is_quiet(&self, slice: &Slice) -> bool {
        slice.foreign_percent <= self.foreign_max
    }

    /// Everything, for later comparison.
    pub(super) fn json(&self) -> Value {
        let slices: Vec<Value> = self
            .slices
            .iter()
            .map(|Measured { case, target, round, slice }| {
                json!({
                    "case": case.name(), "target": target.name(), "round": round, "quiet": self.is_quiet(slice),
                    "requests": slice.requests, "rps": slice.rps, "p50Us": slice.p50_us, "p99Us": slice.p99_us,
                    "cpuUs": slice.cpu_us, "userPercent": slice.user_percent, "corePercent": slice.core_percent,
                    "foreignPercent": slice.foreign_percent, "stealPercent": slice.steal_percent,
                    "loadPercent": slice.load_percent, "errors": slice.errors,
                })
            })
            .collect();
        let memory: Vec<Value> = self
            .memory
            .iter()
            .map(|m| json!({ "target": m.target.name(), "when": m.when, "pssKiB": m.pss_kib, "rssKiB": m.rss_kib }))
            .collect();
        let mut ratios = Vec::new();
        for case in [Case::Clear, Case::Tls, Case::Http2] {
            for target in Target::ALL {
                if let Some(q) = quartiles(self.ratios(case, target)) {
                    ratios.push(json!({
                        "case": case.name(), "target": target.name(),
                        "lower": q.lower, "median": q.median, "upper": q.upper,
                    }));
                }
            }
        }
        json!({
            "versions": self.versions, "rounds": self.rounds, "seconds": self.seconds, "foreignMax": self.foreign_max,
            "ratios": ratios, "slices": slices, "memory": memory,
        })
    }
}

impl Quartiles {
    /// `median [lower–upper]`.
    pub(super) fn shown(self, digits: usize) -> String {
        let Quartiles { lower, median, upper } = self;
        format!("{median:.digits$} [{lower:.digits$}–{upper:.digits$}]")
    }
}

/// Median and quartiles, interpolated between neighbours; `None` of nothing.
/// Of what is not infinite; `None` of nothing.
pub(super) fn quartiles(mut values: Vec<f64>) -> Option<Quartiles> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (values.len().checked_sub(1)?) as f64;
        let (low, high) = (values.get(place.floor() as usize)?, values.get(place.ceil() as usize)?);
        Some(low + (high - low) * place.fract())
    };
    Some(Quartiles { lower: at(0.25)?, median: at(0.5)?, upper: at(0.75)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(target: Target, round: usize, cpu_us: f64, foreign_percent: f64) -> Measured {
        let slice = Slice {
            requests: 1.0,
            rps: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            cpu_us,
            user_percent: 1.0,
            core_percent: 1.0,
            foreign_percent,
            steal_percent: 0.0,
            load_percent: 1.0,
            errors: 0,
        };
        Measured { case: Case::Clear, target, round, slice }
    }

    #[test]
    fn ratios_are_taken_within_quiet_rounds_only() {
        let slices = vec![
            measured(Target::Nginx, 0, 10.0, 0.0),
            measured(Target::Bartizan, 0, 11.0, 0.0),
            measured(Target::Nginx, 1, 20.0, 0.0),
            measured(Target::Bartizan, 1, 18.0, 0.0),
            // The base was disturbed, then the other.
            measured(Target::Nginx, 2, 10.0, 50.0),
            measured(Target::Bartizan, 2, 99.0, 0.0),
            measured(Target::Nginx, 3, 10.0, 0.0),
            measured(Target::Bartizan, 3, 99.0, 12.1),
        ];
        let report = Report {
            versions: vec!["a".to_owned()],
            rounds: 4,
            seconds: 3,
            foreign_max: 12.0,
            slices,
            memory: Vec::new(),
        };
        assert_eq!(report.ratios(Case::Clear, Target::Bartizan), [1.1, 0.9]);
        let text = report.markdown();
        assert!(text.contains("| bartizan | 18.0 [14.5–58.5] | 1.00 [0.95–1.05] |"), "{text}");
        assert!(text.contains("| 3/4 | 0 |"), "{text}");
        assert_eq!(report.json()["slices"].as_array().unwrap().len(), 8);
    }

    #[test]
    fn quartiles_lie_between_neighbours() {
        let q = |values: &[f64]| quartiles(values.to_vec()).map(|q| (q.lower, q.median, q.upper));
        assert_eq!(q(&[]), None);
        assert_eq!(q(&[3.0]), Some((3.0, 3.0, 3.0)));
        assert_eq!(q(&[4.0, 1.0, 3.0, 2.0, 5.0]), Some((2.0, 3.0, 4.0)));
        assert_eq!(q(&[1.0, 2.0]), Some((1.25, 1.5, 1.75)));
    }
}
