//! The certificate of `cargo xtask bench`: writes `chain.pem`, `key.pem` and `both.pem` (P-256) into a folder.
//!
//! Here and not in `xtask`, so that `xtask` needs no cryptographic library to check the formatting.

use std::{env, fs, path::PathBuf, process::ExitCode};

use bartizan_testkit::Authority;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("usage: bench-identity FOLDER")?);
    let identity = Authority::new().issue(&["localhost", "127.0.0.1"]);
    let both = format!("{}{}", identity.chain, identity.key);
    for (name, text) in [("chain.pem", &identity.chain), ("key.pem", &identity.key), ("both.pem", &both)] {
        write_private(&folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// Keys are readable by their owner only: a gateway may refuse others.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[expect(clippy::print_stderr, reason = "a program tells why it ends")]
fn complain(why: &str) {
    eprintln!("bench-identity: {why}");
}
