//! `cargo xtask bench ai`: what a call to a model costs, beside LiteLLM's proxy and Portkey's gateway.
//!
//! All three ask the same provider, which answers every chat alike, and run on one core; load and provider have the
//! other. Slices are interleaved. CPU time is of the whole process tree; what is added to latency is held against the
//! provider asked directly at the same rate. The two others come from their registries, into a folder of the target
//! directory; what a gateway does besides is told with the figures.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{
    Lock, cpu, documents,
    peers::{self, Pinned},
    report::{Quartiles, quartiles},
};
use crate::{
    Result,
    shell::{self, cargo, output, program, root, target_dir},
    tools,
};

const HELP: &str = "\
usage: cargo xtask bench ai [OPTIONS]

  --targets A,B       of bartizan,litellm,portkey (all)
  --rounds N          slices of each in each case (5)
  --seconds N         length of a slice (4)
  --proxy-core N      core of the gateways (0)
  --load-core N       core of load generator and provider (1)
  --binary PATH       the gateway to measure (built here with the `dist` profile)
  --out DIR           where ai.md goes (target/bench)

Installs litellm[proxy] from PyPI and @portkey-ai/gateway from npm below the target directory where they are missing.
";

/// Connections of the cases that ask as fast as they are answered.
const CONNECTIONS: u32 = 16;
/// Connections of the case at a rate: a free one is there whenever a chat is due.
const AT_RATE: u32 = 32;
/// More wrong answers than this share spoil a figure.
const ERRORS_MAX: f64 = 0.001;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Bartizan,
    LiteLlm,
    Portkey,
}

impl Target {
    const ALL: [Target; 3] = [Target::Bartizan, Target::LiteLlm, Target::Portkey];

    fn name(self) -> &'static str {
        match self {
            Target::Bartizan => "bartizan",
            Target::LiteLlm => "litellm",
            Target::Portkey => "portkey",
        }
    }
}

/// What was asked for.
struct Options {
    targets: Vec<Target>,
    rounds: usize,
    seconds: u64,
    proxy_core: usize,
    load_core: usize,
    binary: Option<PathBuf>,
    out: PathBuf,
}

/// A gateway that runs.
struct Running {
    target: Target,
    process: Pinned,
    port: u16,
    /// What a caller sends with each chat.
    headers: Vec<String>,
    version: String,
    idle_kib: u64,
    seen: Seen,
}

/// All slices of one gateway.
#[derive(Default)]
struct Seen {
    chat_us: Vec<f64>,
    chats_a_second: Vec<f64>,
    stream_us: Vec<f64>,
    added: [Vec<f64>; 2],
    added_first: [Vec<f64>; 2],
    memory_kib: u64,
}

/// Where things are while measuring.
struct Place<'o> {
    options: &'o Options,
    directory: PathBuf,
    load: PathBuf,
    provider_port: u16,
}

/// One slice as the load generator tells it, with the CPU time of a tree per chat in microseconds.
struct Slice {
    requests: f64,
    seconds: f64,
    p: [f64; 2],
    first: [f64; 2],
    cpu_us: f64,
}

/// `cargo xtask bench ai`.
pub(super) fn run(arguments: &[String]) -> Result {
    if shell::flag(arguments, "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let options = Options::read(arguments)?;
    let _lock = Lock::take()?;
    println!("building the provider and the load");
    shell::run(cargo().args(["build", "--quiet", "--release", "--package", "bartizan-testkit", "--bins"]))?;
    let tool = |name: &str| target_dir().join("release").join(name);
    let directory = options.out.join("ai");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let directory = directory.canonicalize().map_err(|error| error.to_string())?;
    let [provider_port] = peers::free_ports()?;
    let place = Place { options: &options, directory, load: tool("bench-chat"), provider_port };
    let provider = tool("bench-provider").to_string_lossy().into_owned();
    let words = [provider.as_str(), &provider_port.to_string()];
    let log = place.directory.join("provider.log");
    let mut provider = Pinned::start("the provider", options.load_core, &words, &[provider_port], &log)?;
    let mut all = Vec::new();
    for target in &options.targets {
        println!("starting {}", target.name());
        all.push(place.start(*target)?);
    }
    std::thread::sleep(Duration::from_secs(2));
    for one in &mut all {
        one.idle_kib = cpu::memory(one.process.pid()).0;
    }
    for round in 0..options.rounds {
        println!("round {round}");
        for one in &mut all {
            place.measure(one)?;
        }
        all.rotate_left(1);
    }
    for one in &mut all {
        one.seen.memory_kib = cpu::memory(one.process.pid()).0;
    }
    all.sort_by_key(|one| Target::ALL.iter().position(|target| *target == one.target));
    let text = markdown(&all, &options);
    for one in &mut all {
        one.process.end()?;
    }
    provider.end()?;
    println!("\n{text}");
    let path = options.out.join("ai.md");
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

impl Options {
    fn read(arguments: &[String]) -> Result<Options> {
        shell::known(
            arguments,
            &[
                "--targets=",
                "--rounds=",
                "--seconds=",
                "--proxy-core=",
                "--load-core=",
                "--binary=",
                "--out=",
            ],
        )?;
        let number = |name: &str, otherwise: usize| match shell::value(arguments, name) {
            None => Ok(otherwise),
            Some(text) => text.parse::<usize>().map_err(|_| format!("{name}: `{text}` is no number")),
        };
        let targets = match shell::value(arguments, "--targets") {
            None => Target::ALL.to_vec(),
            Some(names) => super::chosen(names, &Target::ALL, Target::name)?,
        };
        Ok(Options {
            targets,
            rounds: number("--rounds", 5)?.max(1),
            seconds: number("--seconds", 4)?.max(1) as u64,
            proxy_core: number("--proxy-core", 0)?,
            load_core: number("--load-core", 1)?,
            binary: shell::value(arguments, "--binary").map(|path| root().join(path)),
            out: shell::value(arguments, "--out")
                .map_or_else(|| target_dir().join("bench"), |path| root().join(path)),
        })
    }
}

impl Place<'_> {
    fn start(&self, target: Target) -> Result<Running> {
        let directory = self.directory.join(target.name());
        fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let [port, admin] = peers::free_ports()?;
        let (words, headers, version) = match target {
            Target::Bartizan => self.bartizan(&directory, port, admin)?,
            Target::LiteLlm => self.litellm(&directory, port)?,
            Target::Portkey => self.portkey(port)?,
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let log = directory.join("output.log");
        let core = self.options.proxy_core;
        // Python imports for half a minute on a busy core.
        let within = Duration::from_secs(120);
        let process = Pinned::start_within(within, target.name(), core, &words, &[port], &log)?;
        let running = Running { target, process, port, headers, version, idle_kib: 0, seen: Seen::default() };
        for stream in [false, true] {
            self.slice(&running, 1.0, &Load { connections: 1, rate: None, stream })?;
        }
        Ok(running)
    }

    fn bartizan(
        &self,
        directory: &Path,
        port: u16,
        admin: u16,
    ) -> Result<(Vec<String>, Vec<String>, String)> {
        let binary = match &self.options.binary {
            Some(binary) => binary.clone(),
            None => {
                println!("building the gateway with the `dist` profile");
                shell::run(cargo().args(["build", "--quiet", "--profile", "dist", "--package", "bartizan"]))?;
                target_dir().join("dist").join("bartizan")
            }
        };
        let binary = binary.to_string_lossy().into_owned();
        let (config, data) =
            (directory.join("config"), directory.join("data").to_string_lossy().into_owned());
        let text = shell::read("bench/bartizan-ai.yaml")?
            .replace("@HTTP@", &port.to_string())
            .replace("@PROVIDER@", &self.provider_port.to_string());
        peers::write(&config, "bartizan-ai.yaml", &text)?;
        let key = documents::mint_key(&binary, &data)?;
        let mut words = vec![binary.clone()];
        words.extend(documents::run_arguments(&config.to_string_lossy(), &data, admin));
        let version = output(program(&binary).arg("--version")).unwrap_or_default();
        Ok((words, vec![format!("Authorization: Bearer {key}")], version.trim().to_owned()))
    }

    fn litellm(&self, directory: &Path, port: u16) -> Result<(Vec<String>, Vec<String>, String)> {
        let home = self.options.out.join("litellm");
        let command = home.join("bin/litellm");
        if !command.is_file() {
            println!("installing litellm[proxy]");
            tools::virtual_environment(&home)?;
            shell::run(program(home.join("bin/pip")).args(["install", "--quiet", "litellm[proxy]"]))?;
        }
        let text = format!(
            "model_list:\n  - model_name: gpt-4o-mini\n    litellm_params: {{ model: openai/gpt-4o-mini, \
             api_base: \"http://127.0.0.1:{}/v1\", api_key: sk-bench }}\ngeneral_settings: {{ master_key: sk-bench }}\n\
             litellm_settings: {{ telemetry: false }}\n",
            self.provider_port
        );
        let config = peers::write(directory, "litellm.yaml", &text)?;
        let command = command.to_string_lossy();
        let port = port.to_string();
        // Its table of prices comes with the package instead of the network.
        let words = [
            "env",
            "LITELLM_LOCAL_MODEL_COST_MAP=True",
            &command,
            "--config",
            &config,
            "--host",
            "127.0.0.1",
        ];
        let words =
            words.into_iter().chain(["--port", &port, "--num_workers", "1"]).map(str::to_owned).collect();
        let shown = output(program(home.join("bin/pip")).args(["show", "litellm"])).unwrap_or_default();
        let version = shown.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap_or("?");
        Ok((words, vec!["Authorization: Bearer sk-bench".to_owned()], format!("litellm {version}")))
    }

    fn portkey(&self, port: u16) -> Result<(Vec<String>, Vec<String>, String)> {
        let home = self.options.out.join("portkey");
        let package = home.join("node_modules/@portkey-ai/gateway");
        if !package.is_dir() {
            println!("installing @portkey-ai/gateway");
            fs::create_dir_all(&home).map_err(|error| error.to_string())?;
            let install = ["install", "--silent", "--no-audit", "--no-fund", "--prefix"];
            shell::run(program("npm").args(install).arg(&home).arg("@portkey-ai/gateway"))?;
        }
        let start = package.join("build/start-server.js").to_string_lossy().into_owned();
        let words =
            ["env", "TRUSTED_CUSTOM_HOSTS=127.0.0.1,localhost", "NODE_ENV=production", "node", &start];
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        words.extend([format!("--port={port}"), "--headless".to_owned()]);
        let about = fs::read_to_string(package.join("package.json")).unwrap_or_default();
        let about: Value = serde_json::from_str(&about).unwrap_or_default();
        let version = about.get("version").and_then(Value::as_str).unwrap_or("?");
        let headers = vec![
            "Authorization: Bearer sk-bench".to_owned(),
            "x-portkey-provider: openai".to_owned(),
            format!("x-portkey-custom-host: http://127.0.0.1:{}/v1", self.provider_port),
        ];
        Ok((words, headers, format!("portkey {version}")))
    }

    /// One slice of each case.
    fn measure(&self, one: &mut Running) -> Result {
        let seconds = self.options.seconds as f64;
        let fast = Load { connections: CONNECTIONS, rate: None, stream: false };
        let chat = self.slice(one, seconds, &fast)?;
        let most = chat.requests / chat.seconds;
        let stream = self.slice(one, seconds, &Load { stream: true, ..fast })?;
        // Half of what it can: of chats by what it just did, of streams a handful, because the provider paces them.
        let half = Load { connections: AT_RATE, rate: Some((most / 2.0).max(1.0)), stream: false };
        let few = Load { connections: 4, rate: None, stream: true };
        println!(
            "  {:<9} {:>8.1} µs/chat  {most:>7.0} chats/s  {:>8.1} µs/stream",
            one.target.name(),
            chat.cpu_us,
            stream.cpu_us
        );
        one.seen.chat_us.push(chat.cpu_us);
        one.seen.chats_a_second.push(most);
        one.seen.stream_us.push(stream.cpu_us);
        for (load, is_first) in [(half, false), (few, true)] {
            let direct = self.direct(seconds, &load)?;
            let through = self.slice(one, seconds, &load)?;
            for at in 0..2 {
                let (with, without, into) = if is_first {
                    (through.first, direct.first, &mut one.seen.added_first)
                } else {
                    (through.p, direct.p, &mut one.seen.added)
                };
                if let (Some(with), Some(without), Some(into)) =
                    (with.get(at), without.get(at), into.get_mut(at))
                {
                    into.push((with - without) / 1000.0);
                }
            }
        }
        Ok(())
    }

    fn slice(&self, one: &Running, seconds: f64, load: &Load) -> Result<Slice> {
        let before = cpu::read(one.process.pid());
        let mut slice = self.load(one.target.name(), one.port, &one.headers, seconds, load)?;
        let spent = before.until(&cpu::read(one.process.pid()))?;
        slice.cpu_us = spent.cpu.as_secs_f64() * 1e6 / slice.requests.max(1.0);
        Ok(slice)
    }

    /// The same load on the provider itself.
    fn direct(&self, seconds: f64, load: &Load) -> Result<Slice> {
        self.load("the provider", self.provider_port, &[], seconds, load)
    }

    fn load(&self, name: &str, port: u16, headers: &[String], seconds: f64, load: &Load) -> Result<Slice> {
        let mut command = program("taskset");
        command.args(["-c", &self.options.load_core.to_string()]).arg(&self.load);
        command.args(["--port", &port.to_string(), "--seconds", &seconds.to_string()]);
        command.args(["--connections", &load.connections.to_string()]);
        if let Some(rate) = load.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if load.stream {
            command.arg("--stream");
        }
        for header in headers {
            command.args(["--header", header]);
        }
        let said = output(&mut command)?;
        let said: Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        let number = |key: &str| said.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        if number("errors") > ERRORS_MAX * number("requests") {
            return Err(format!("{name} does not answer as it must: {said}"));
        }
        Ok(Slice {
            requests: number("requests"),
            seconds: number("seconds"),
            p: [number("p50_us"), number("p99_us")],
            first: [number("first_p50_us"), number("first_p99_us")],
            cpu_us: 0.0,
        })
    }
}

#[derive(Clone, Copy)]
struct Load {
    connections: u32,
    rate: Option<f64>,
    stream: bool,
}

fn markdown(all: &[Running], options: &Options) -> String {
    let mut out = String::new();
    let versions: Vec<&str> = all.iter().map(|one| one.version.as_str()).collect();
    let _ = writeln!(
        out,
        "Measured with {}; {} rounds of {} s slices, interleaved. Median, with quartiles in brackets.\n\n\
         | gateway | CPU µs/chat | chats/s on one core | CPU µs/stream of 50 | added p50 ms | added p99 ms | added to first chunk \
         p50 ms | p99 ms | memory idle MB | after the load MB |\n|---|---|---|---|---|---|---|---|---|---|",
        versions.join(", "),
        options.rounds,
        options.seconds
    );
    for one in all {
        let shown = |values: &[f64], digits: usize| {
            quartiles(values.to_vec()).map_or_else(|| "–".to_owned(), |q: Quartiles| q.shown(digits))
        };
        let [p50, p99] = &one.seen.added;
        let [first50, first99] = &one.seen.added_first;
        let mb = |kib: u64| kib as f64 * 1024.0 / 1e6;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} |",
            one.target.name(),
            shown(&one.seen.chat_us, 1),
            shown(&one.seen.chats_a_second, 0),
            shown(&one.seen.stream_us, 1),
            shown(p50, 3),
            shown(p99, 3),
            shown(first50, 3),
            shown(first99, 3),
            mb(one.idle_kib),
            mb(one.seen.memory_kib)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused() {
        let read =
            |line: &str| Options::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(read("").map(|options| (options.targets.len(), options.rounds)), Ok((3, 5)));
        assert_eq!(read("--targets portkey").map(|options| options.targets), Ok(vec![Target::Portkey]));
        for wrong in ["--targets kong", "--rounds many", "--loud"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
