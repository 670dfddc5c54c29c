//! Our own rule set, compiled in: `policies/baseline` of the repository. A gateway refuses an injection with it before
//! anybody downloaded anything.

use crate::{error::LoadError, ruleset::RuleSet, seclang::Loader, source::MemoryFiles};

/// The files of the set under the names their rules are reported by, in the order they load.
pub const BASELINE_FILES: &[(&str, &str)] = &[
    ("baseline/00-setup.conf", include_str!("../../../policies/baseline/00-setup.conf")),
    ("baseline/10-protocol.conf", include_str!("../../../policies/baseline/10-protocol.conf")),
    ("baseline/20-scanner.conf", include_str!("../../../policies/baseline/20-scanner.conf")),
    ("baseline/30-sql.conf", include_str!("../../../policies/baseline/30-sql.conf")),
    ("baseline/32-nosql.conf", include_str!("../../../policies/baseline/32-nosql.conf")),
    ("baseline/34-directory.conf", include_str!("../../../policies/baseline/34-directory.conf")),
    ("baseline/40-command.conf", include_str!("../../../policies/baseline/40-command.conf")),
    ("baseline/42-code.conf", include_str!("../../../policies/baseline/42-code.conf")),
    ("baseline/44-template.conf", include_str!("../../../policies/baseline/44-template.conf")),
    ("baseline/46-deserialisation.conf", include_str!("../../../policies/baseline/46-deserialisation.conf")),
    ("baseline/50-traversal.conf", include_str!("../../../policies/baseline/50-traversal.conf")),
    ("baseline/51-traversal-raw.conf", include_str!("../../../policies/baseline/51-traversal-raw.conf")),
    ("baseline/52-ssrf.conf", include_str!("../../../policies/baseline/52-ssrf.conf")),
    ("baseline/54-xml.conf", include_str!("../../../policies/baseline/54-xml.conf")),
    ("baseline/60-xss.conf", include_str!("../../../policies/baseline/60-xss.conf")),
    ("baseline/62-object.conf", include_str!("../../../policies/baseline/62-object.conf")),
];

/// Adds the baseline to a set that is being loaded, before the operator's own files and their exclusions.
///
/// # Errors
/// Only when an id of the baseline (8,100,000 to 8,199,999) is already used.
pub fn load_baseline(loader: &mut Loader<'_>) -> Result<(), LoadError> {
    for (name, text) in BASELINE_FILES {
        loader.text(name, text)?;
    }
    Ok(())
}

/// The baseline alone, enforcing.
///
/// # Errors
/// Never with the files this crate is built with; a test loads them.
pub fn baseline() -> Result<RuleSet, LoadError> {
    let files = MemoryFiles::new();
    let mut loader = Loader::new(&files);
    load_baseline(&mut loader)?;
    loader.finish()
}
