//! The real binary in a process of its own.
//!
//! The process prints one line of JSON on standard output when it is ready: `run` with `listeners` (an object from
//! a listener's name to its addresses) and `admin`, `demo --format json` with `http`, `https`, `admin`, `key`,
//! `dataDir` and `try`. Everything it prints is kept, and shown when the test fails.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::tmp::TempDir;

/// A running gateway; killed by its process id when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    output: Arc<Output>,
    ready: Value,
    // Kept for its drop: the directory outlives the process.
    _data: Option<TempDir>,
}

/// How a gateway is to be started.
#[derive(Debug)]
pub struct Start {
    command: Command,
    data: Option<TempDir>,
    within: Duration,
}

/// What a process wrote so far.
#[derive(Debug, Default)]
struct Output {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    stdout: Vec<String>,
    stderr: Vec<String>,
    /// How many of the two streams have ended.
    ended: u8,
}

/// Where the binary under test is: `BARTIZAN_BIN`, what cargo says, or beside the test's own binary.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    let named =
        ["BARTIZAN_BIN", "CARGO_BIN_EXE_bartizan"].iter().find_map(std::env::var_os).map(PathBuf::from);
    let beside = || {
        // target/<profile>/deps/<test> → target/<profile>/bartizan
        let test = std::env::current_exe().ok()?;
        Some(test.parent()?.parent()?.join("bartizan"))
    };
    let path = named.or_else(beside).expect("the path of this test is known");
    assert!(
        path.is_file(),
        "{} does not exist: run `cargo build -p bartizan` or set BARTIZAN_BIN",
        path.display()
    );
    path
}

impl Gateway {
    /// Starts `run` on a document set, with a data directory of its own.
    pub fn run(config: impl AsRef<Path>) -> Gateway {
        Gateway::starting("run").arg("--config").arg(config.as_ref()).start()
    }

    /// Starts `demo` on free ports of `127.0.0.1`, with a data directory of its own.
    pub fn demo() -> Gateway {
        let free = "127.0.0.1:0";
        let start = Gateway::starting("demo").arg("--format").arg("json");
        start.arg("--http").arg(free).arg("--https").arg(free).arg("--admin").arg(free).start()
    }

    /// A start to add arguments and environment to; a fresh data directory is passed unless
    /// [`Start::data_dir`] names one.
    pub fn starting(subcommand: &str) -> Start {
        let mut command = Command::new(binary());
        command.arg(subcommand).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The developer's own settings are none of the test's.
        command.env_remove("BARTIZAN_DATA_DIR").env_remove("RUST_LOG");
        Start { command, data: Some(TempDir::new()), within: Duration::from_secs(30) }
    }

    /// The line printed when ready.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// A text of the ready line, such as `key` or `try`.
    ///
    /// # Panics
    /// When the line has no such text.
    pub fn text(&self, field: &str) -> &str {
        self.ready
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no `{field}` in {}", self.ready))
    }

    /// The first address of a listener (`run`), or of `http`, `https`, `admin` (`demo`, and `admin` in `run`).
    ///
    /// # Panics
    /// When the ready line names no such address.
    pub fn address(&self, name: &str) -> SocketAddr {
        self.addresses(name)
            .first()
            .copied()
            .unwrap_or_else(|| panic!("no address `{name}` in {}", self.ready))
    }

    /// All addresses under that name.
    pub fn addresses(&self, name: &str) -> Vec<SocketAddr> {
        let listener = self.ready.get("listeners").and_then(|listeners| listeners.get(name));
        match listener.or_else(|| self.ready.get(name)) {
            Some(Value::Array(all)) => all.iter().filter_map(address_of).collect(),
            Some(one) => address_of(one).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What was written to standard output after the ready line so far, line by line.
    pub fn stdout(&self) -> Vec<String> {
        self.output.lock().stdout.clone()
    }

    /// What was written to standard error so far, line by line.
    pub fn stderr(&self) -> Vec<String> {
        self.output.lock().stderr.clone()
    }

    /// Waits for a line on standard output that `wanted` accepts, for example the access log's line of a request.
    ///
    /// # Panics
    /// When none comes within ten seconds.
    pub fn wait_for_line(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.output
            .wait(Duration::from_secs(10), |written| written.stdout.iter().find(|line| wanted(line)).cloned())
            .unwrap_or_else(|| panic!("no such line on standard output: {:#?}", self.stdout()))
    }

    /// Waits for the access log's line of the request with this id.
    ///
    /// # Panics
    /// When none comes within ten seconds.
    pub fn wait_for_record(&self, request_id: &str) -> Value {
        let quoted = format!("\"{request_id}\"");
        let line = self.wait_for_line(|line| line.contains(&quoted));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits for a line on standard error that contains `text`.
    ///
    /// # Panics
    /// When none comes within ten seconds.
    pub fn wait_for_stderr(&self, text: &str) -> String {
        self.output
            .wait(Duration::from_secs(10), |written| {
                written.stderr.iter().find(|line| line.contains(text)).cloned()
            })
            .unwrap_or_else(|| panic!("no `{text}` on standard error: {:#?}", self.stderr()))
    }

    /// Sends a signal by its name: `TERM`, `HUP`, `INT`.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: a minimal system has no other, and our code may not call the system directly.
        let script = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").arg("-c").arg(&script).status().expect("a shell can be started");
        assert!(status.success(), "{script} failed");
    }

    /// Waits until the process ends; `None` when it does not within the time.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        wait_for_exit(&mut self.child, within)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.output.show();
        }
    }
}

impl Start {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Start {
        self.command.arg(argument);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Start {
        self.command.env(name, value);
        self
    }

    /// Uses this data directory, which outlives the gateway: a second start finds what the first left.
    pub fn data_dir(mut self, path: impl AsRef<Path>) -> Start {
        self.data = None;
        self.command.arg("--data-dir").arg(path.as_ref());
        self
    }

    /// Waits longer for it to be ready: large rule sets take their time in a build that is not optimised.
    pub fn patiently(mut self, within: Duration) -> Start {
        self.within = within;
        self
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Panics
    /// When it ends before, or is not ready in time.
    pub fn start(mut self) -> Gateway {
        self.pass_data_dir();
        let mut child = self.command.spawn().expect("the gateway can be started");
        let output = Arc::new(Output::default());
        output.follow(child.stdout.take(), |written| &mut written.stdout);
        output.follow(child.stderr.take(), |written| &mut written.stderr);
        let ready = output.wait(self.within, |written| {
            let ready = written.stdout.iter().position(|line| ready_line(line).is_some());
            match ready {
                Some(at) => Some(ready_line(&written.stdout.remove(at))),
                None if written.ended == 2 => Some(None),
                None => None,
            }
        });
        let Some(Some(ready)) = ready else {
            let _ = child.kill();
            let status = child.wait();
            output.show();
            panic!("the gateway did not become ready within {:?}: {status:?}", self.within);
        };
        Gateway { child, output, ready, _data: self.data }
    }

    /// Runs the process to its end and gives its status, standard output and standard error: for a start that is
    /// to fail, and for subcommands that end by themselves.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn finish(mut self) -> (Option<i32>, String, String) {
        self.pass_data_dir();
        let mut child = self.command.spawn().expect("the gateway can be started");
        let output = Arc::new(Output::default());
        output.follow(child.stdout.take(), |written| &mut written.stdout);
        output.follow(child.stderr.take(), |written| &mut written.stderr);
        let Some(status) = wait_for_exit(&mut child, self.within) else {
            let _ = child.kill();
            let _ = child.wait();
            output.show();
            panic!("the process did not end within {:?}", self.within);
        };
        output.wait(Duration::from_secs(5), |written| (written.ended == 2).then_some(()));
        let written = output.lock();
        (status.code(), joined(&written.stdout), joined(&written.stderr))
    }

    fn pass_data_dir(&mut self) {
        if let Some(data) = &self.data {
            self.command.arg("--data-dir").arg(data.path());
        }
    }
}

/// Runs a subcommand that takes no data directory (`check`, `explain`, …) to its end: status, output, errors.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> (Option<i32>, String, String) {
    let output = Command::new(binary())
        .args(arguments)
        .env_remove("BARTIZAN_DATA_DIR")
        .stdin(Stdio::null())
        .output()
        .expect("the gateway can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The ready line of `run` or `demo`, and nothing else: an access log line is JSON too.
fn ready_line(line: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    let is_ready =
        value.get("listeners").is_some() || (value.get("http").is_some() && value.get("try").is_some());
    is_ready.then_some(value)
}

/// `127.0.0.1:80`, or the same within a URL, or as `address` of an object.
fn address_of(value: &Value) -> Option<SocketAddr> {
    let text = value.as_str().or_else(|| value.get("address")?.as_str())?;
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    text.trim_end_matches('/').parse().ok()
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn wait_for_exit(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => return Some(status),
            None if start.elapsed() > within => return None,
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(
        self: &Arc<Output>,
        stream: Option<impl Read + Send + 'static>,
        lines: fn(&mut Written) -> &mut Vec<String>,
    ) {
        let output = Arc::clone(self);
        let stream = stream.expect("the stream was piped");
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                lines(&mut output.lock()).push(line);
                output.changed.notify_all();
            }
            output.lock().ended += 1;
            output.changed.notify_all();
        });
    }

    fn wait<T>(&self, within: Duration, mut found: impl FnMut(&mut Written) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut written = self.lock();
        loop {
            if let Some(value) = found(&mut written) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            written = self.changed.wait_timeout(written, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn show(&self) {
        let written = self.lock();
        let last: BTreeMap<&str, &[String]> =
            BTreeMap::from([("standard output", &*written.stdout), ("standard error", &*written.stderr)]);
        for (name, lines) in last {
            let skipped = lines.len().saturating_sub(40);
            eprintln!("--- the gateway's {name} ({skipped} earlier lines left out)");
            lines.iter().skip(skipped).for_each(|line| eprintln!("{line}"));
        }
    }
}
