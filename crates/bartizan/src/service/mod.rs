//! A gateway as a process: documents, keys, data plane and management listener, wired together.
//!
//! Both `run` and `demo` are this; they differ in where the documents come from and in what they print. Everything that
//! can fail fails before the first socket accepts, and says what to do.

mod alerts;
mod audit;
mod capture;
mod desk;
mod files;
mod handover;
mod insight;
mod keys;
mod management;
pub(crate) mod memory;
mod notices;
mod process;
mod revisions;
pub(crate) mod rollout;
mod rotation;
mod secrets;
mod shadow;
mod spending;
mod watch;
mod wish;

use std::{io::Write as _, num::NonZeroUsize, process::ExitCode, thread};

use tracing_subscriber::{EnvFilter, fmt};

pub(crate) use self::{
    files::{data_dir, root_of_environment, store_dir},
    handover::NamedPlace,
    keys::Keys,
    management::{Admin, show_link},
    process::{Documents, Failure, Options, RecordLimits, Service},
    secrets::read as read_secret,
};

/// Sets up the log of the process on standard error; `RUST_LOG` chooses what is shown. The access log is another
/// thing and goes elsewhere.
pub(crate) fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, in tests, changes nothing.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// How the process's own log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// How many cores serve: as many as asked for, else all there are.
pub(crate) fn workers(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get)).max(1)
}

/// Says why the process could not run, and with which code it ends: 1 for documents, 2 for everything else.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    let (text, code) = match failure {
        Failure::Documents(text) => (text, 1),
        Failure::Process(text) => (text, 2),
    };
    // Without a standard error nobody could be told anyway.
    let _ = writeln!(std::io::stderr(), "bartizan: {}", text.trim_end());
    ExitCode::from(code)
}

/// Prints data on standard output, at once.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe means that nobody wants to know; the gateway serves all the same.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
