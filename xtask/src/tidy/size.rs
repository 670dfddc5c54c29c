//! Long files, as a warning: the habit is 400 production lines, and a longer file may be the clearer one.

use super::{Finding, Report, source};
use crate::Result;

const LINES: usize = 600;

pub(super) fn check() -> Result<Report> {
    let mut report = Report::default();
    for folder in ["crates", "xtask"] {
        for source in source::production(folder)? {
            let count = source.lines.len();
            if count > LINES {
                let what = format!("{count} production lines");
                let remedy = "is it still one subject?";
                report.warnings.push(Finding::new(&source.path, 0, what, remedy));
            }
        }
    }
    Ok(report)
}
