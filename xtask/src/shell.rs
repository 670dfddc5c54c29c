//! Starting other programs, and where things are.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Result;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Where this crate was built from; `cargo run` says so again, for a checkout that was moved since.
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// The directory that cargo builds into.
pub(crate) fn target_dir() -> PathBuf {
    // target/<profile>/xtask, unless told otherwise.
    let beside = || Some(env::current_exe().ok()?.parent()?.parent()?.to_owned());
    env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .or_else(beside)
        .unwrap_or_else(|| root().join("target"))
}

/// Cargo itself, the one that runs us.
pub(crate) fn cargo() -> Command {
    program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program started in the repository's root.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root()).stdin(Stdio::null());
    // Cargo sets these for us; a cargo that we start must not take them for its own.
    for inherited in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_MANIFEST_PATH"] {
        command.env_remove(inherited);
    }
    command
}

/// Runs a command, its output going to the terminal.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed ({status})", shown(command))) }
}

/// Runs a command and gives its standard output; its errors go to the terminal.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", shown(command)))?;
    if !output.status.success() {
        return Err(format!("`{}` failed ({})", shown(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{}` wrote no text", shown(command)))
}

/// Whether a program is in the path.
pub(crate) fn has(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A file's text, by its path below the root.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(root().join(path)).map_err(|error| format!("{}: {error}", path.display()))
}

/// All files below `directory` (a path below the root), as paths below the root, sorted; none when it is absent.
pub(crate) fn files(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    let (root, mut found) = (root(), Vec::new());
    let mut open = vec![directory.as_ref().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory)).into_iter().flatten().flatten() {
            let path = directory.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// Whether an argument was given.
pub(crate) fn flag(arguments: &[String], name: &str) -> bool {
    arguments.iter().any(|argument| argument == name)
}

/// The value after an argument.
pub(crate) fn value<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let mut words = arguments.iter();
    words.find(|argument| *argument == name)?;
    words.next().map(String::as_str)
}

/// Refuses arguments that a command does not know, so that a typo is not ignored.
///
/// `known` names flags; those that take a value end in `=`.
pub(crate) fn known(arguments: &[String], known: &[&str]) -> Result {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if known.contains(&word.as_str()) {
            continue;
        }
        let takes_value = known.iter().any(|name| name.strip_suffix('=') == Some(word));
        if !takes_value || words.next().is_none() {
            return Err(format!("`{word}` is not understood here; known: {}", known.join(" ")));
        }
    }
    Ok(())
}
