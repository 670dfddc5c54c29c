//! `cargo xtask bench inspect`: what judging requests by the Core Rule Set costs, beside nginx with libmodsecurity.
//!
//! Both are given the same rules (Debian's CRS 3.3, paranoia level 1), both enforce, both judge requests only. Each
//! proxy is measured with and without rules in the same round, so that what judging alone costs is known too. Debian's
//! packages are unpacked below the target directory and not installed: nothing of the machine changes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use super::{
    Lock, cpu, documents,
    load::{self, Said},
    peers::{self, Pinned, Place},
    report::{Quartiles, quartiles},
};
use crate::{
    Result,
    shell::{self, cargo, output, program, root, target_dir},
    tools,
};

const HELP: &str = "\
usage: cargo xtask bench inspect [OPTIONS]

  --rounds N          slices of each proxy in each case (6)
  --seconds N         length of a slice (3)
  --proxy-core N      core of the proxies (0)
  --load-core N       core of load generator and origin (1)
  --binary PATH       the gateway to measure (built here with the `dist` profile)
  --out DIR           where inspect.md goes (target/bench)

Needs a Debian, nginx and wrk. Run it on an otherwise idle machine, and read the quartiles.
";

/// What libmodsecurity's module for nginx and the rules come in.
const PACKAGES: [&str; 8] = [
    "libfuzzy2",
    "libgeoip1",
    "libmaxminddb0",
    "libmodsecurity3",
    "libnginx-mod-http-modsecurity",
    "libnginx-mod-http-ndk",
    "libyajl2",
    "modsecurity-crs",
];

/// What is sent: its name for `bench/inspect.lua`, and for the table.
const CASES: [(&str, &str); 2] =
    [("get", "GET with a query of five values"), ("post", "POST of 1 KB of JSON, 41 values")];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Proxy {
    Nginx { judges: bool },
    Bartizan { judges: bool },
}

impl Proxy {
    const ALL: [Proxy; 4] = [
        Proxy::Nginx { judges: true },
        Proxy::Bartizan { judges: true },
        Proxy::Nginx { judges: false },
        Proxy::Bartizan { judges: false },
    ];

    fn name(self) -> &'static str {
        match self {
            Proxy::Nginx { judges: true } => "nginx + libmodsecurity",
            Proxy::Bartizan { judges: true } => "bartizan + InspectionPolicy",
            Proxy::Nginx { judges: false } => "nginx",
            Proxy::Bartizan { judges: false } => "bartizan",
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Proxy::Nginx { judges: true } => "nginx-judging",
            Proxy::Bartizan { judges: true } => "bartizan-judging",
            Proxy::Nginx { judges: false } => "nginx-plain",
            Proxy::Bartizan { judges: false } => "bartizan-plain",
        }
    }
}

struct Running {
    proxy: Proxy,
    process: Pinned,
    port: u16,
}

/// Where the unpacked packages are.
struct Unpacked(PathBuf);

impl Unpacked {
    fn prepare() -> Result<Self> {
        let home = target_dir().join("bench-modsecurity");
        let unpacked = Unpacked(home.join("root"));
        if !unpacked.module().is_file() || !unpacked.rules().join("rules").is_dir() {
            fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
            println!("unpacking {} into {}", PACKAGES.join(", "), home.display());
            shell::run(program("apt-get").args(["-qq", "download"]).args(PACKAGES).current_dir(&home))?;
            let script = "for package in *.deb; do dpkg -x \"$package\" root || exit 1; done";
            shell::run(program("sh").args(["-c", script]).current_dir(&home))?;
        }
        Ok(unpacked)
    }

    fn module(&self) -> PathBuf {
        self.0.join("usr/lib/nginx/modules/ngx_http_modsecurity_module.so")
    }

    fn rules(&self) -> PathBuf {
        self.0.join("usr/share/modsecurity-crs")
    }

    fn setup(&self) -> PathBuf {
        self.0.join("etc/modsecurity/crs/crs-setup.conf")
    }

    fn libraries(&self) -> Result<String> {
        let machine = output(program("dpkg-architecture").arg("-qDEB_HOST_MULTIARCH"))
            .unwrap_or_else(|_| "x86_64-linux-gnu".to_owned());
        Ok(self.0.join("usr/lib").join(machine.trim()).to_string_lossy().into_owned())
    }
}

/// `cargo xtask bench inspect`.
pub(super) fn run(arguments: &[String]) -> Result {
    if shell::flag(arguments, "--help") {
        print!("{HELP}");
        return Ok(());
    }
    shell::known(
        arguments,
        &["--rounds=", "--seconds=", "--proxy-core=", "--load-core=", "--binary=", "--out="],
    )?;
    let number = |name: &str, otherwise: usize| match shell::value(arguments, name) {
        None => Ok(otherwise),
        Some(text) => text.parse::<usize>().map_err(|_| format!("{name}: `{text}` is no number")),
    };
    let (rounds, seconds) = (number("--rounds", 6)?.max(1), number("--seconds", 3)?.max(1) as u64);
    let out =
        shell::value(arguments, "--out").map_or_else(|| target_dir().join("bench"), |path| root().join(path));
    let _lock = Lock::take()?;
    tools::install(&[("nginx", "nginx-light"), ("wrk", "wrk"), ("taskset", "util-linux")])?;
    let unpacked = Unpacked::prepare()?;
    let place = place(arguments, &out, (number("--proxy-core", 0)?, number("--load-core", 1)?))?;
    let origin = target_dir().join("release/bench-origin");
    let _origin = peers::start_origin(&place, &origin)?;
    let mut running = Vec::new();
    for proxy in Proxy::ALL {
        println!("starting {}", proxy.name());
        running.push(start(proxy, &place, &unpacked)?);
    }
    let mut report = format!(
        "Measured with {}; {rounds} rounds of {seconds} s slices, interleaved. Median, with quartiles in brackets.\n\n",
        peers::versions(&[], place.binary.as_deref()).join(", ")
    );
    for (kind, title) in CASES {
        report.push_str(&case(kind, title, &mut running, &place, rounds, seconds)?);
    }
    report.push_str(&memory(&running));
    report.push_str(&beside_large_bodies(&running, &place, seconds)?);
    for proxy in &mut running {
        proxy.process.end()?;
    }
    println!("\n{report}");
    let path = out.join("inspect.md");
    fs::write(&path, report).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

fn place(arguments: &[String], out: &Path, (proxy_core, load_core): (usize, usize)) -> Result<Place> {
    println!("building the origin");
    shell::run(cargo().args(["build", "--quiet", "--release", "--package", "bartizan-testkit", "--bins"]))?;
    let binary = match shell::value(arguments, "--binary") {
        Some(path) => root().join(path),
        None => {
            println!("building the gateway with the `dist` profile");
            shell::run(cargo().args(["build", "--quiet", "--profile", "dist", "--package", "bartizan"]))?;
            target_dir().join("dist/bartizan")
        }
    };
    let directory = out.join("run-inspect");
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", directory.display()));
        }
        _ => fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?,
    }
    let directory = directory.canonicalize().map_err(|error| error.to_string())?;
    let [origin_port] = peers::free_ports()?;
    Ok(Place { directory, proxy_core, load_core, origin_port, binary: Some(binary) })
}

fn start(proxy: Proxy, place: &Place, unpacked: &Unpacked) -> Result<Running> {
    let directory = place.directory.join(proxy.directory());
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let [port, admin] = peers::free_ports()?;
    let inside = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let fill = |name: &str, judges: bool| -> Result<String> {
        let inspect = format!("modsecurity on; modsecurity_rules_file {};", inside("modsecurity.conf"));
        Ok(shell::read(format!("bench/{name}"))?
            .replace("@DIRECTORY@", &directory.to_string_lossy())
            .replace("@ORIGIN@", &place.origin_port.to_string())
            .replace("@HTTP@", &port.to_string())
            .replace("@MODULE@", &unpacked.module().to_string_lossy())
            .replace("@INSPECT@", if judges { &inspect } else { "" })
            .replace("@CRS@", &unpacked.rules().to_string_lossy())
            .replace("@SETUP@", &unpacked.setup().to_string_lossy())
            .replace("@MODE@", if judges { "enforce" } else { "off" }))
    };
    let log = directory.join("output.log");
    let words: Vec<String> = match proxy {
        Proxy::Nginx { judges } => {
            peers::write(&directory, "modsecurity.conf", &fill("modsecurity.conf", judges)?)?;
            let path = peers::write(&directory, "nginx.conf", &fill("nginx-inspect.conf", judges)?)?;
            let libraries = format!("LD_LIBRARY_PATH={}", unpacked.libraries()?);
            ["env", &libraries, "nginx", "-e", &inside("start.err"), "-c", &path].map(str::to_owned).to_vec()
        }
        Proxy::Bartizan { judges } => {
            let config = directory.join("config");
            peers::write(&config, "gateway.yaml", &fill("bartizan-inspect.yaml", judges)?)?;
            let binary = place.binary.as_deref().ok_or("the gateway's binary is not known")?;
            let mut words = vec![binary.to_string_lossy().into_owned()];
            words.extend(documents::run_arguments(&config.to_string_lossy(), &inside("data"), admin));
            words
        }
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let process = Pinned::start(proxy.name(), place.proxy_core, &words, &[port], &log)?;
    let running = Running { proxy, process, port };
    running.check()?;
    Ok(running)
}

impl Running {
    /// What judges must refuse an attack and let ordinary requests pass; what does not judge lets both pass.
    fn check(&self) -> Result {
        let judges = matches!(self.proxy, Proxy::Nginx { judges: true } | Proxy::Bartizan { judges: true });
        for (target, refused) in [("/?q=blue+shoes", false), ("/?q=1%27+union+select+1,2,3--+-", judges)] {
            let status = peers::status_of(self.port, target)?;
            if (status == 403) != refused || (status != 200 && status != 403) {
                return Err(format!("{} answers {status} to {target}", self.proxy.name()));
            }
        }
        Ok(())
    }
}

/// Starts the load generator on its core.
fn load(place: &Place, running: &Running, kind: &str, connections: usize, seconds: u64) -> Result<Child> {
    let (core, connections) = (place.load_core.to_string(), format!("-c{connections}"));
    let (duration, url) = (format!("-d{seconds}s"), format!("http://127.0.0.1:{}/", running.port));
    let mut command = program("taskset");
    command.args(["-c", &core, "wrk", "-t1", &connections, &duration, "--timeout", "30s", "--latency"]);
    command.args(["-s", "bench/inspect.lua", &url, "--", kind]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| format!("wrk: {error}"))
}

fn said(child: Child) -> Result<Said> {
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    load::wrk(&text).ok_or_else(|| format!("wrk is not understood:\n{text}"))
}

/// CPU per request of one slice, in microseconds.
fn slice(place: &Place, running: &Running, kind: &str, seconds: u64) -> Result<f64> {
    let before = cpu::read(running.process.pid());
    let said = said(load(place, running, kind, 16, seconds)?)?;
    let spent = before.until(&cpu::read(running.process.pid()))?;
    if said.errors as f64 > 0.001 * said.requests {
        return Err(format!(
            "{} of {} answers of {} are errors",
            said.errors,
            said.requests,
            running.proxy.name()
        ));
    }
    Ok(spent.cpu.as_secs_f64() * 1e6 / said.requests)
}

fn case(
    kind: &str,
    title: &str,
    running: &mut [Running],
    place: &Place,
    rounds: usize,
    seconds: u64,
) -> Result<String> {
    println!("\n{title}");
    for proxy in running.iter() {
        slice(place, proxy, kind, 1)?;
    }
    let mut costs: Vec<[f64; 4]> = Vec::new();
    for round in 0..rounds {
        let mut of_round = [0.0; 4];
        for proxy in running.iter() {
            let cost = slice(place, proxy, kind, seconds)?;
            println!("round {round:>2}  {:<28} {cost:>8.1} µs/request", proxy.proxy.name());
            let at = Proxy::ALL.iter().position(|known| *known == proxy.proxy);
            if let Some(place) = at.and_then(|at| of_round.get_mut(at)) {
                *place = cost;
            }
        }
        costs.push(of_round);
        running.rotate_left(1);
    }
    Ok(table(title, &costs))
}

/// Costs per round in the order of [`Proxy::ALL`].
fn table(title: &str, costs: &[[f64; 4]]) -> String {
    let shown = |value: &dyn Fn(&[f64; 4]) -> f64, digits: usize| {
        let all: Vec<f64> = costs.iter().map(value).collect();
        quartiles(all).map_or_else(|| "–".to_owned(), |found: Quartiles| found.shown(digits))
    };
    let mut text = format!("### {title}\n\n| proxy | CPU µs/request |\n|---|---|\n");
    for (at, proxy) in Proxy::ALL.iter().enumerate() {
        let cost = shown(&|round| round.get(at).copied().unwrap_or(f64::NAN), 1);
        text.push_str(&format!("| {} | {cost} |\n", proxy.name()));
    }
    let whole = shown(&|[theirs, ours, ..]| theirs / ours, 1);
    let judging =
        shown(&|[theirs, ours, their_plain, our_plain]| (theirs - their_plain) / (ours - our_plain), 1);
    text.push_str(&format!(
        "\nThe whole request costs nginx {whole} times as much; judging alone, {judging} times.\n\n"
    ));
    text
}

fn memory(running: &[Running]) -> String {
    let mut text = "### Memory after the load\n\n| proxy | PSS MB |\n|---|---|\n".to_owned();
    for proxy in Proxy::ALL {
        for running in running.iter().filter(|running| running.proxy == proxy) {
            let (pss_kib, _) = cpu::memory(running.process.pid());
            text.push_str(&format!("| {} | {:.1} |\n", proxy.name(), pss_kib as f64 * 1024.0 / 1e6));
        }
    }
    text.push('\n');
    text
}

/// Small requests while others post 1 MB of JSON to the same proxy.
fn beside_large_bodies(running: &[Running], place: &Place, seconds: u64) -> Result<String> {
    let mut text =
        "### Small requests beside posts of 1 MB\n\n| proxy | p50 / p99 alone, ms | p50 / p99 beside two \
                    connections that post 1 MB without pause, ms |\n|---|---|---|\n"
            .to_owned();
    let judging = [Proxy::Nginx { judges: true }, Proxy::Bartizan { judges: true }];
    for running in running.iter().filter(|running| judging.contains(&running.proxy)) {
        let alone = said(load(place, running, "get", 4, seconds)?)?;
        let large = load(place, running, "large", 2, seconds + 1)?;
        std::thread::sleep(Duration::from_millis(500));
        let beside = said(load(place, running, "get", 4, seconds)?)?;
        let large = said(large)?;
        let ms = |said: &Said| format!("{:.1} / {:.1}", said.p50_us / 1e3, said.p99_us / 1e3);
        text.push_str(&format!(
            "| {} | {} | {} ({:.0} posts, {} of them refused) |\n",
            running.proxy.name(),
            ms(&alone),
            ms(&beside),
            large.requests,
            large.errors
        ));
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_taken_within_a_round_with_and_without_what_the_proxy_itself_costs() {
        let text = table("t", &[[1010.0, 30.0, 10.0, 10.0], [2020.0, 40.0, 20.0, 10.0]]);
        assert!(text.contains("nginx 42.1 [37.9"), "{text}");
        assert!(text.contains("judging alone, 58.3 [54.2"), "{text}");
    }
}
