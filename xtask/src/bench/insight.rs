//! `cargo xtask bench insight`: what the detectors find and what they cost; see docs/insight.md.
//!
//! The measuring itself is a benchmark of the crate `insight`, because nothing of the gateway is built into this. What is
//! added here is where the public data lies: `--data`, else `BARTIZAN_DATA`, else `../shared/data` beside the repository.
//! Without it that part is skipped, in one line.

use std::{env, path::PathBuf};

use crate::{
    Result,
    shell::{self, cargo, root},
    tools,
};

/// `cargo xtask bench insight`.
pub(super) fn run(arguments: &[String]) -> Result {
    shell::known(arguments, &["--data=", "--first-seed=", "--quick"])?;
    let beside = || Some(root().join("../shared/data")).filter(|path| path.is_dir());
    let named = shell::value(arguments, "--data").map(|path| root().join(path));
    let data: Option<PathBuf> =
        named.or_else(|| env::var_os("BARTIZAN_DATA").map(PathBuf::from)).or_else(beside);
    let mut command = cargo();
    command.args(["bench", "--quiet", "--package", "bartizan-insight", "--bench", "insight", "--"]);
    if shell::flag(arguments, "--quick") {
        command.arg("--quick");
    }
    if let Some(seed) = shell::value(arguments, "--first-seed") {
        command.arg(format!("--first-seed={seed}"));
    }
    if let Some(data) = data {
        tools::install(&[("unzip", "unzip")])?;
        let whole = data.canonicalize().map_err(|error| format!("{}: {error}", data.display()))?;
        command.arg(whole);
    }
    shell::run(&mut command)
}
