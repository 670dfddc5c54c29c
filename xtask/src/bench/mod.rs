//! `cargo xtask bench`: what a request costs, as a ratio to nginx in the same run.
//!
//! The proxy under test runs on one core with one worker, the load generator and a fast origin on another. Slices of
//! a few seconds alternate between the proxies (A B A B), so that what the machine does meanwhile hits all of them;
//! the order turns by one in each round, so that no proxy always comes first. The figure is CPU time per request and
//! its ratio to nginx within the round. Traps met before, and where each is handled: an orphan that holds a port
//! ([`peers`]), two benches at once ([`Lock`]), ended threads that take their CPU time with them ([`cpu`]), refusals
//! measured as answers ([`peers`] and the errors here), a client without TCP_NODELAY (wrk and h2load set it).

mod ai;
mod cache_tests;
mod cpu;
mod documents;
mod insight;
mod inspect;
mod load;
mod peers;
mod report;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    load::Case,
    peers::{Peer, Pinned, Place, Target},
    report::{Measured, Memory, Report},
};
use crate::{
    Result,
    shell::{self, cargo, program, root, target_dir},
    tools,
};

const HELP: &str = "\
usage: cargo xtask bench [OPTIONS]
       cargo xtask bench inspect [OPTIONS]      beside nginx with libmodsecurity and the Core Rule Set
       cargo xtask bench ai [OPTIONS]           calls to models, beside LiteLLM's proxy and Portkey's gateway

  --targets A,B       of nginx,haproxy,bartizan,bartizan-policies (all; nginx is what others are held against)
  --cases A,B         of h1,tls,h2 (h1,tls)
  --rounds N          slices of each target in each case (8)
  --seconds N         length of a slice (3)
  --foreign-max N     leave out slices with more foreign load on the proxy's core, in percent (12)
  --proxy-core N      core of the proxies (0)
  --load-core N       core of load generator and origin (1)
  --binary PATH       the gateway to measure (built here with the `dist` profile)
  --out DIR           where report.md and report.json go (target/bench)

Run it on an otherwise idle machine, and read the quartiles.

`cargo xtask bench insight [--data DIR] [--quick]` measures the detectors instead.
`cargo xtask bench cache-tests [--binary PATH] [--suite DIR] [--targets A,B] [--out DIR]` runs the public HTTP caching
tests against the gateway, nginx and Varnish.
";

/// What was asked for.
struct Options {
    targets: Vec<Target>,
    cases: Vec<Case>,
    rounds: usize,
    seconds: u64,
    foreign_max: f64,
    proxy_core: usize,
    load_core: usize,
    binary: Option<PathBuf>,
    out: PathBuf,
}

/// `cargo xtask bench`.
pub(crate) fn run(arguments: &[String]) -> Result {
    if let Some((first, rest)) = arguments.split_first() {
        match first.as_str() {
            "ai" => return ai::run(rest),
            "insight" => return insight::run(rest),
            "inspect" => return inspect::run(rest),
            "cache-tests" => return cache_tests::run_command(rest),
            _ => {}
        }
    }
    if shell::flag(arguments, "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let options = Options::read(arguments)?;
    let (_lock, place, origin) = prepare(&options)?;
    let mut peers = Vec::new();
    for target in &options.targets {
        println!("starting {}", target.name());
        peers.push(peers::start(*target, &place)?);
    }
    let mut report = Report {
        versions: peers::versions(&options.targets, place.binary.as_deref()),
        rounds: options.rounds,
        seconds: options.seconds,
        foreign_max: options.foreign_max,
        slices: Vec::new(),
        memory: Vec::new(),
    };
    // Idle means: started, asked once, and left alone for a moment.
    std::thread::sleep(Duration::from_secs(2));
    remember_memory(&peers, "idle", &mut report);
    for case in &options.cases {
        measure(*case, &mut peers, &origin, &place, &options, &mut report)?;
    }
    remember_memory(&peers, "after the load", &mut report);
    for peer in &mut peers {
        peer.process.end()?;
    }
    write(&report, &options.out)
}

/// Builds what is needed, and starts the origin. The lock is first: a second bench must not even build.
fn prepare(options: &Options) -> Result<(Lock, Place, Pinned)> {
    let lock = Lock::take()?;
    tools::install(&[
        ("nginx", "nginx-light"),
        ("haproxy", "haproxy"),
        ("wrk", "wrk"),
        ("h2load", "nghttp2-client"),
        ("taskset", "util-linux"),
    ])?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if options.proxy_core == options.load_core || options.proxy_core.max(options.load_core) >= cores {
        return Err(format!("proxies and load need a core each; this machine has {cores}"));
    }
    println!("building the origin");
    shell::run(cargo().args(["build", "--quiet", "--release", "--package", "bartizan-testkit", "--bins"]))?;
    let tool = |name: &str| target_dir().join("release").join(name);
    let ours = options.targets.iter().any(|target| target.is_ours());
    let binary = match &options.binary {
        Some(path) => Some(path.clone()),
        None if ours => {
            println!("building the gateway with the `dist` profile");
            shell::run(cargo().args(["build", "--quiet", "--profile", "dist", "--package", "bartizan"]))?;
            Some(target_dir().join("dist").join("bartizan"))
        }
        None => None,
    };
    let directory = options.out.join("run");
    // A data directory of an earlier run has keys and logs that this one did not make.
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", directory.display()));
        }
        _ => fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?,
    }
    let directory = directory.canonicalize().map_err(|error| error.to_string())?;
    shell::run(program(tool("bench-identity")).arg(&directory))?;
    let [origin_port] = peers::free_ports()?;
    let Options { proxy_core, load_core, .. } = *options;
    let place = Place { directory, proxy_core, load_core, origin_port, binary };
    let origin = peers::start_origin(&place, &tool("bench-origin"))?;
    Ok((lock, place, origin))
}

fn measure(
    case: Case,
    peers: &mut [Peer],
    origin: &Pinned,
    place: &Place,
    options: &Options,
    report: &mut Report,
) -> Result {
    println!("\n{}", case.title());
    for peer in peers.iter() {
        // Connections, caches and the branch predictor; nobody's figure.
        load::slice(case, peer, origin, place, 1)?;
    }
    for round in 0..options.rounds {
        for peer in peers.iter() {
            let slice = load::slice(case, peer, origin, place, options.seconds)?;
            println!(
                "round {round:>2}  {:<18} {:>6.1} µs/request  {:>6.0} requests/s  foreign {:>4.1} %  errors {}",
                peer.target.name(),
                slice.cpu_us,
                slice.rps,
                slice.foreign_percent,
                slice.errors
            );
            if slice.errors as f64 > ERRORS_MAX * slice.requests {
                return Err(format!(
                    "{} of {:.0} answers of {} were errors: what is measured are refusals",
                    slice.errors,
                    slice.requests,
                    peer.target.name()
                ));
            }
            report.slices.push(Measured { case, target: peer.target, round, slice });
        }
        peers.rotate_left(1);
    }
    Ok(())
}

fn remember_memory(peers: &[Peer], when: &'static str, report: &mut Report) {
    for target in Target::ALL {
        for peer in peers.iter().filter(|peer| peer.target == target) {
            let (pss_kib, rss_kib) = cpu::memory(peer.process.pid());
            report.memory.push(Memory { target, when, pss_kib, rss_kib });
        }
    }
}

fn write(report: &Report, out: &Path) -> Result {
    let text = report.markdown();
    println!("\n{text}");
    for (name, text) in [("report.md", text), ("report.json", format!("{:#}\n", report.json()))] {
        let path = out.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

impl Options {
    fn read(arguments: &[String]) -> Result<Options> {
        let known = [
            "--targets=",
            "--cases=",
            "--rounds=",
            "--seconds=",
            "--foreign-max=",
            "--proxy-core=",
            "--load-core=",
            "--binary=",
            "--out=",
        ];
        shell::known(arguments, &known)?;
        let value = |name: &str| shell::value(arguments, name);
        let targets = match value("--targets") {
            None => Target::ALL.to_vec(),
            Some(names) => chosen(names, &Target::ALL, Target::name)?,
        };
        let cases = match value("--cases") {
            None => vec![Case::Clear, Case::Tls],
            Some(names) => chosen(names, &[Case::Clear, Case::Tls, Case::Http2], Case::name)?,
        };
        let number = |name: &str, otherwise: u64| match value(name) {
            None => Ok(otherwise),
            Some(text) => text.parse::<u64>().map_err(|_| format!("{name}: `{text}` is no number")),
        };
        let core = |name: &str, otherwise: u64| Ok::<_, String>(number(name, otherwise)? as usize);
        let out = value("--out").map_or_else(|| target_dir().join("bench"), |path| root().join(path));
        Ok(Options {
            targets,
            cases,
            rounds: (number("--rounds", 8)? as usize).max(1),
            seconds: number("--seconds", 3)?.max(1),
            foreign_max: number("--foreign-max", 12)? as f64,
            proxy_core: core("--proxy-core", 0)?,
            load_core: core("--load-core", 1)?,
            binary: value("--binary").map(|path| root().join(path)),
            out,
        })
    }
}

fn chosen<T: Copy>(names: &str, all: &[T], name_of: fn(T) -> &'static str) -> Result<Vec<T>> {
    let find = |name: &str| {
        all.iter().copied().find(|one| name_of(*one) == name).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|one| name_of(*one)).collect();
            format!("`{name}` is none of {}", known.join(", "))
        })
    };
    names.split(',').map(find).collect()
}

/// One bench on a machine at a time.
struct Lock {
    path: PathBuf,
}

impl Lock {
    fn take() -> Result<Lock> {
        let path = std::env::temp_dir().join("bartizan-bench.lock");
        if let Ok(text) = fs::read_to_string(&path) {
            if text.trim().parse::<u32>().is_ok_and(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
                return Err(format!("another bench is running (process {})", text.trim()));
            }
            // Left behind by a bench that was killed.
            let _ = fs::remove_file(&path);
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        let _ = write!(file, "{}", std::process::id());
        Ok(Lock { path })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A broken connection at the end of a slice happens; a share of a thousandth does not.
const ERRORS_MAX: f64 = 0.001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused() {
        let read =
            |line: &str| Options::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(read("").map(|options| options.targets.len()), Ok(4));
        let some =
            read("--targets nginx,haproxy --cases tls --rounds 2").map(|o| (o.targets.len(), o.rounds));
        assert_eq!(some, Ok((2, 2)));
        for wrong in ["--targets apache", "--cases h3", "--rounds many", "--rounds", "--loud"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
