//! JUnit XML: one suite per file, one case per PolicyTest.

use std::collections::BTreeMap;

use bartizan_config::{policy_test::Case, source::Source};

use super::{Timed, report};

/// The report as JUnit XML, in the form that Jenkins, GitLab and GitHub's actions read.
pub(super) fn xml(told: &Timed<'_>) -> String {
    let mut suites: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in &told.report.cases {
        let file = told.set.sources.get(case.at.file).map_or("", Source::name);
        suites.entry(file).or_default().push(case);
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str(&format!(
        "<testsuites name=\"bartizan\" tests=\"{}\" failures=\"{}\" time=\"{:.6}\">\n",
        told.report.cases.len(),
        told.report.failures(),
        told.took.as_secs_f64()
    ));
    for (file, cases) in suites {
        let failures = cases.iter().filter(|case| !case.passed()).count();
        out.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\">\n",
            escaped(file),
            cases.len()
        ));
        for case in cases {
            one(case, file, told, &mut out);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn one(case: &Case, file: &str, told: &Timed<'_>, out: &mut String) {
    let seconds = told.time_of(case).as_secs_f64();
    out.push_str(&format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.6}\"",
        escaped(file),
        escaped(&case.name)
    ));
    let Some(step) = case.steps.iter().find(|step| !step.passed()) else {
        out.push_str("/>\n");
        return;
    };
    let first = step.misses.first();
    let message = first.map(|miss| format!("{}: expected {}, got {}", miss.field, miss.expected, miss.got));
    let mut text = format!("{} {}\n{}\n", report::place(told.set, step.at), step.name, step.request);
    for miss in &step.misses {
        text.push_str(&format!("{}: expected {}, got {}\n", miss.field, miss.expected, miss.got));
    }
    for line in step.outcome.as_deref().map(report::story).unwrap_or_default() {
        text.push_str(&format!("  {line}\n"));
    }
    out.push_str(&format!(
        ">\n      <failure type=\"expectation\" message=\"{}\">{}</failure>\n    </testcase>\n",
        escaped(&message.unwrap_or_default()),
        escaped(&text)
    ));
}

/// Text within XML. What XML 1.0 cannot hold at all becomes a question mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_document_says_cannot_leave_its_place() {
        assert_eq!(escaped("a<b>&\"c\"\n\u{1b}[2J\u{0}é"), "a&lt;b&gt;&amp;&quot;c&quot;\n?[2J?é");
    }
}
