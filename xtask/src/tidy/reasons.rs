//! Every reason for which a request is refused has its answer and its page.

use std::collections::BTreeSet;

use super::{Finding, Report};
use crate::{
    Result,
    shell::{self, root},
};

const REASONS: &str = "crates/model/src/reason.rs";
const ANSWERS: &str = "crates/proxy/src/answer.rs";
const PAGES: &str = "docs/errors";

pub(super) fn check() -> Result<Report> {
    let mut report = Report::default();
    let reasons = reasons(&shell::read(REASONS)?);
    if reasons.is_empty() {
        return Err(format!("{REASONS} lists no reason; the rule does not understand it any more"));
    }
    match shell::read(ANSWERS) {
        Ok(answers) => {
            for (line, reason) in reasons.iter().filter(|(_, reason)| !has_word(&answers, reason)) {
                let remedy = format!("give it a status and a sentence in {ANSWERS}");
                report.findings.push(Finding::new(REASONS, *line, format!("{reason} has no answer"), remedy));
            }
        }
        Err(_) => report.skipped.push(format!("{ANSWERS} does not exist yet")),
    }
    if !root().join(PAGES).is_dir() {
        report.skipped.push(format!("{PAGES} does not exist yet"));
        return Ok(report);
    }
    let pages: BTreeSet<String> = shell::files(PAGES)
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    for (line, reason) in reasons.iter().filter(|(_, reason)| !pages.contains(reason)) {
        let remedy =
            format!("write {PAGES}/{reason}.md: what, why, what the caller does, what the operator runs");
        report.findings.push(Finding::new(REASONS, *line, format!("{reason} has no page"), remedy));
    }
    let index = ["README", "index"];
    let known =
        |page: &String| index.contains(&page.as_str()) || reasons.iter().any(|(_, reason)| reason == page);
    for page in pages.iter().filter(|page| !known(page)) {
        let (file, what) = (format!("{PAGES}/{page}.md"), "a page of no reason");
        report.findings.push(Finding::new(file, 0, what, "remove it, or add the reason"));
    }
    Ok(report)
}

/// The rows `Name => Stage,` of the table, with their lines.
fn reasons(text: &str) -> Vec<(usize, String)> {
    let table = text.lines().enumerate().skip_while(|(_, line)| line.trim() != "reasons! {");
    let rows = table.skip(1).take_while(|(_, line)| !line.starts_with('}'));
    rows.filter_map(|(index, line)| {
        let (name, _) = line.trim().split_once(" => ")?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_name.then(|| (index + 1, name.to_owned()))
    })
    .collect()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|other| other == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_with_its_lines() {
        let text =
            "macro\n($name => $stage)\nreasons! {\n    /// A => B\n    NoRoute => Route,\n}\nOther => X,\n";
        assert_eq!(reasons(text), [(5, "NoRoute".to_owned())]);
    }

    #[test]
    fn a_longer_name_is_no_mention() {
        assert!(has_word("Reason::NoRoute => 404", "NoRoute"));
        assert!(!has_word("Reason::NoRouteAtAll => 404", "NoRoute"));
    }
}
