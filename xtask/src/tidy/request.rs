//! Every stage is told in the way of a request.

use super::{Finding, Report};
use crate::{Result, shell};

const STAGES: &str = "crates/proxy/src/stage";
const PAGE: &str = "docs/request.md";

pub(super) fn check() -> Result<Report> {
    let mut report = Report::default();
    let stages = shell::files(STAGES);
    if stages.is_empty() {
        report.skipped.push(format!("{STAGES} does not exist yet"));
        return Ok(report);
    }
    let Ok(page) = shell::read(PAGE) else {
        report.skipped.push(format!("{PAGE} does not exist yet"));
        return Ok(report);
    };
    for path in stages {
        // Right below the folder: what lies deeper belongs to the stage it lies in.
        let direct = path.parent().is_some_and(|parent| parent == std::path::Path::new(STAGES));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !direct
            || name == "mod.rs"
            || name == "tests.rs"
            || name.ends_with("_tests.rs")
            || !name.ends_with(".rs")
        {
            continue;
        }
        if !page.contains(&format!("stage/{name}")) {
            let what = format!("the stage is not named in {PAGE}");
            let remedy = format!("say there what it decides, with its path `stage/{name}`");
            report.findings.push(Finding::new(path.to_string_lossy(), 0, what, remedy));
        }
    }
    Ok(report)
}
