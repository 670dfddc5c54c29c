//! The two text formats of a scrape: Prometheus 0.0.4 and OpenMetrics 1.0.
//!
//! They differ in the family's name of a counter (without `_total` in OpenMetrics) and in the closing `# EOF`.
//! Everything is written from a [`Family`], so no sample can appear without its help and type.

use std::fmt::Write;

use super::{
    cell::{Bounds, HistogramSum},
    table::{Family, Kind},
};

/// The format of a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics text, version 1.0.
    OpenMetrics,
}

impl Format {
    /// The format for an `Accept` header: OpenMetrics only where it is named and preferred, since everything reads
    /// the older one.
    pub fn accepted(accept: &str) -> Self {
        let weight = |wanted: &str| {
            accept
                .split(',')
                .filter_map(|range| {
                    let mut parts = range.split(';').map(str::trim);
                    let media = parts.next()?;
                    // RFC 9110 §12.4.2: no weight is 1; one that cannot be read counts as none wanted.
                    let q = parts
                        .filter_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                        .next();
                    let q = q.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
                    media.eq_ignore_ascii_case(wanted).then_some(q)
                })
                .fold(0.0_f32, f32::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// The `Content-Type` of an answer.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The text of one scrape as it grows.
pub(super) struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Exposition { format, text: String::with_capacity(16 * 1024) }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// Opens a family; its samples follow.
    pub(super) fn family(&mut self, family: &'static Family) -> Samples<'_> {
        let name = match (self.format, family.kind) {
            (Format::OpenMetrics, Kind::Counter) => family.name.strip_suffix("_total").unwrap_or(family.name),
            _ => family.name,
        };
        self.text.push_str("# HELP ");
        self.text.push_str(name);
        self.text.push(' ');
        self.text.push_str(family.help);
        self.text.push_str("\n# TYPE ");
        self.text.push_str(name);
        self.text.push(' ');
        self.text.push_str(family.kind.as_str());
        self.text.push('\n');
        Samples { family, text: &mut self.text }
    }
}

/// The samples of one family.
pub(super) struct Samples<'a> {
    family: &'static Family,
    text: &'a mut String,
}

impl Samples<'_> {
    /// Adds a sample; `labels` are the values of the family's labels, in their order.
    pub(super) fn integer(&mut self, labels: &[&str], value: u64) {
        self.name_and_labels("", labels, None);
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, " {value}");
    }

    /// Adds a share, from 0 to 1.
    pub(super) fn share(&mut self, labels: &[&str], value: f64) {
        self.name_and_labels("", labels, None);
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, " {value}");
    }

    /// Adds a sample in seconds with all its nanoseconds.
    pub(super) fn seconds(&mut self, labels: &[&str], nanos: u128) {
        self.name_and_labels("", labels, None);
        self.text.push(' ');
        seconds(nanos, self.text);
        self.text.push('\n');
    }

    /// Adds the buckets, sum and count of a histogram.
    pub(super) fn histogram(&mut self, labels: &[&str], bounds: Bounds, sum: &HistogramSum) {
        let mut cumulated = 0;
        for (bound, count) in bounds.nanos().iter().zip(&sum.buckets) {
            cumulated += count;
            let mut le = String::new();
            seconds(u128::from(*bound), &mut le);
            self.name_and_labels("_bucket", labels, Some(&le));
            let _ = writeln!(self.text, " {cumulated}");
        }
        let count = sum.count();
        self.name_and_labels("_bucket", labels, Some("+Inf"));
        let _ = writeln!(self.text, " {count}");
        self.name_and_labels("_sum", labels, None);
        self.text.push(' ');
        seconds(sum.nanos, self.text);
        self.text.push('\n');
        self.name_and_labels("_count", labels, None);
        let _ = writeln!(self.text, " {count}");
    }

    fn name_and_labels(&mut self, suffix: &str, values: &[&str], le: Option<&str>) {
        self.text.push_str(self.family.name);
        self.text.push_str(suffix);
        let pairs = self.family.labels.iter().copied().zip(values.iter().copied());
        let mut separator = '{';
        for (label, value) in pairs.chain(le.map(|le| ("le", le))) {
            self.text.push(separator);
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(value, self.text);
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
    }
}

/// Both formats escape these three in a label's value and nothing else.
fn escape(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(character),
        }
    }
}

/// Nanoseconds as seconds: at least one digit after the point (OpenMetrics asks for it in `le`), no needless zeros.
fn seconds(nanos: u128, out: &mut String) {
    let start = out.len();
    let _ = write!(out, "{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let needed = out.get(start..).map_or(0, |text| text.trim_end_matches('0').len());
    out.truncate(start + needed);
    if out.ends_with('.') {
        out.push('0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_given_only_to_those_who_prefer_it() {
        for (accept, format) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain", Format::Prometheus),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;q=0.2,text/plain;q=0.5", Format::Prometheus),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            ("application/openmetrics-text;q=oops", Format::Prometheus),
            (",;,;q=,", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn seconds_are_written_without_needless_zeros() {
        for (nanos, text) in [
            (0, "0.0"),
            (1, "0.000000001"),
            (500_000, "0.0005"),
            (1_000_000_000, "1.0"),
            (30_000_000_000, "30.0"),
            (1_500_000_000, "1.5"),
        ] {
            let mut out = String::from("x");
            seconds(nanos, &mut out);
            assert_eq!(out, format!("x{text}"));
        }
    }

    #[test]
    fn a_label_s_value_cannot_leave_its_quotes() {
        let mut out = String::new();
        escape("a\"} 1\nevil{b=\"\\", &mut out);
        assert_eq!(out, r#"a\"} 1\nevil{b=\"\\"#);
    }
}
