//! The proxies that are measured, and the origin behind them: how each is configured, started and ended.
//!
//! Every process is pinned to a core. Every port is free before a start and free again after the end: an orphan that
//! held a port has spoiled measurements before.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use super::{cpu, documents};
use crate::{
    Result,
    shell::{self, output, program},
};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Nginx,
    Haproxy,
    /// One route, no policy.
    Bartizan,
    /// API key, rate limit, header policy, access log, 1,000 routes.
    BartizanPolicies,
}

impl Target {
    pub(super) const ALL: [Target; 4] =
        [Target::Nginx, Target::Haproxy, Target::Bartizan, Target::BartizanPolicies];

    /// As in the tables and on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Target::Nginx => "nginx",
            Target::Haproxy => "haproxy",
            Target::Bartizan => "bartizan",
            Target::BartizanPolicies => "bartizan-policies",
        }
    }

    /// Whether the gateway's binary is needed.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Target::Bartizan | Target::BartizanPolicies)
    }
}

/// Where things are while measuring.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Holds a folder for each target, and the certificate.
    pub(super) directory: PathBuf,
    pub(super) proxy_core: usize,
    pub(super) load_core: usize,
    pub(super) origin_port: u16,
    /// The gateway's binary, where it is measured.
    pub(super) binary: Option<PathBuf>,
}

/// A process pinned to a core; ended with its whole tree when dropped.
#[derive(Debug)]
pub(super) struct Pinned {
    name: String,
    child: Child,
    ports: Vec<u16>,
    log: PathBuf,
}

/// A running proxy.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) target: Target,
    pub(super) process: Pinned,
    pub(super) http: u16,
    pub(super) https: u16,
    /// Sent with each request, where the proxy asks for it.
    pub(super) api_key: Option<String>,
}

/// Ports that nobody listens on now.
///
/// All are held until all are chosen, so that they differ.
pub(super) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no free port: {error}"))?;
        *port = listener.local_addr().map_err(|error| error.to_string())?.port();
        held.push(listener);
    }
    Ok(ports)
}

impl Pinned {
    /// Starts a program on a core and waits until it accepts connections on all `ports`.
    pub(super) fn start(
        name: &str,
        core: usize,
        words: &[&str],
        ports: &[u16],
        log: &Path,
    ) -> Result<Pinned> {
        Pinned::start_within(Duration::from_secs(20), name, core, words, ports, log)
    }

    /// As [`Pinned::start`], for a program that needs longer.
    pub(super) fn start_within(
        within: Duration,
        name: &str,
        core: usize,
        words: &[&str],
        ports: &[u16],
        log: &Path,
    ) -> Result<Pinned> {
        for port in ports {
            if connect(*port).is_some() {
                return Err(format!("port {port} for {name} is taken: an orphan of an earlier run?"));
            }
        }
        let file = fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        let mut command = program("taskset");
        command.args(["-c", &core.to_string()]).args(words).stdout(file).stderr(errors);
        // An orderly environment: what the developer exports does not change a figure.
        command.env_remove("RUST_LOG").env_remove("MALLOC_CONF");
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let mut pinned = Pinned { name: name.to_owned(), child, ports: ports.to_vec(), log: log.to_owned() };
        pinned.wait_until_ready(within)?;
        Ok(pinned)
    }

    /// The process at the root of the tree (`taskset` replaces itself by the program).
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self, within: Duration) -> Result {
        let start = Instant::now();
        while !self.ports.iter().all(|port| connect(*port).is_some()) {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || start.elapsed() > within {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let from = log.char_indices().rev().nth(2_000).map_or(0, |(at, _)| at);
                let how =
                    ended.map_or_else(|| "is not ready".to_owned(), |status| format!("ended ({status})"));
                return Err(format!("{} {how}:\n{}", self.name, log.get(from..).unwrap_or_default()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends the whole tree by its process ids and sees to it that the ports are free.
    pub(super) fn end(&mut self) -> Result {
        // The tree is read first: once its root is gone, orphans cannot be found.
        let tree = cpu::tree(self.pid());
        signal("TERM", &tree);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) && !matches!(self.child.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(20));
        }
        signal("KILL", &tree);
        let _ = self.child.wait();
        let start = Instant::now();
        while let Some(port) = self.ports.iter().find(|port| connect(**port).is_some()) {
            if start.elapsed() > Duration::from_secs(5) {
                return Err(format!("{} is ended and port {port} is still answered", self.name));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(why) = self.end() {
            eprintln!("{why}");
        }
    }
}

/// Sends a signal to processes of ours; those that are gone are gone.
fn signal(name: &str, pids: &[u32]) {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let script = format!("kill -{name} {} 2>/dev/null", pids.join(" "));
    let _ = program("sh").args(["-c", &script]).status();
}

fn connect(port: u16) -> Option<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_millis(500))
        .ok()
}

/// Starts the origin on the load generator's core.
pub(super) fn start_origin(place: &Place, program: &Path) -> Result<Pinned> {
    let port = place.origin_port;
    let program = program.to_string_lossy();
    let log = place.directory.join("origin.log");
    Pinned::start("the origin", place.load_core, &[&program, &port.to_string()], &[port], &log)
}

/// Configures and starts one proxy, and sees to it that it answers as the others do.
pub(super) fn start(target: Target, place: &Place) -> Result<Peer> {
    let directory = place.directory.join(target.name());
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let [http, https, admin] = free_ports()?;
    let fill = |template: &str| fill(template, place, &directory, http, https);
    let log = directory.join("output.log");
    let start = |words: &[&str]| Pinned::start(target.name(), place.proxy_core, words, &[http, https], &log);
    let (process, api_key) = match target {
        Target::Nginx => {
            let path = write(&directory, "nginx.conf", &fill(&shell::read("bench/nginx.conf")?))?;
            (start(&["nginx", "-e", &in_directory(&directory, "start.err"), "-c", &path])?, None)
        }
        Target::Haproxy => {
            let path = write(&directory, "haproxy.cfg", &fill(&shell::read("bench/haproxy.cfg")?))?;
            (start(&["haproxy", "-db", "-f", &path])?, None)
        }
        Target::Bartizan | Target::BartizanPolicies => {
            let binary =
                place.binary.as_deref().ok_or("the gateway's binary is not known")?.to_string_lossy();
            let config = directory.join("config");
            let data = in_directory(&directory, "data");
            for (name, text) in documents::set(target)? {
                write(&config, &name, &fill(&text))?;
            }
            let api_key = if target == Target::BartizanPolicies {
                Some(documents::mint_key(&binary, &data)?)
            } else {
                None
            };
            let words = documents::run_arguments(&config.to_string_lossy(), &data, admin);
            let words: Vec<&str> = [&*binary].into_iter().chain(words.iter().map(String::as_str)).collect();
            (start(&words)?, api_key)
        }
    };
    let peer = Peer { target, process, http, https, api_key };
    peer.check()?;
    Ok(peer)
}

impl Peer {
    /// One request by hand: what is measured must be answers of the origin, and not refusals.
    fn check(&self) -> Result {
        let wrong = |why: String| format!("{} does not answer as it must: {why}", self.target.name());
        let mut stream = connect(self.http).ok_or_else(|| wrong("no connection".to_owned()))?;
        let key = self.api_key.as_ref().map_or_else(String::new, |key| format!("x-api-key: {key}\r\n"));
        let request = format!(
            "GET /1k HTTP/1.1\r\nhost: localhost\r\nuser-agent: check\r\nconnection: close\r\n{key}\r\n"
        );
        stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
        stream.write_all(request.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|error| wrong(error.to_string()))?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1);
        if status != Some("200") || !body.contains(&"a".repeat(1024)) {
            return Err(wrong(format!("{}…", answer.chars().take(300).collect::<String>())));
        }
        Ok(())
    }
}

/// The status of the answer to one request by hand.
pub(super) fn status_of(port: u16, target: &str) -> Result<u16> {
    let mut stream = connect(port).ok_or_else(|| format!("nobody listens on port {port}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: api.example.com\r\nuser-agent: Mozilla/5.0\r\naccept: */*\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| format!("no answer to {target}: {answer}"))
}

/// Versions of what is measured and measured with, for the report.
pub(super) fn versions(targets: &[Target], binary: Option<&Path>) -> Vec<String> {
    let shell = |script: String| {
        let text = output(program("sh").args(["-c", &script])).unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    };
    let mut all = vec![shell("nginx -v 2>&1".to_owned()), shell("haproxy -v".to_owned())];
    if let Some(binary) = binary.filter(|_| targets.iter().any(|target| target.is_ours())) {
        all.push(shell(format!("'{}' version || true", binary.display())));
    }
    all.push(shell("wrk -v 2>&1 | head -n 1".to_owned()));
    all.push(shell("uname -sr".to_owned()));
    all.push(shell("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo".to_owned()));
    all.retain(|line| !line.is_empty());
    all
}

fn fill(template: &str, place: &Place, directory: &Path, http: u16, https: u16) -> String {
    let certificate = |name: &str| in_directory(&place.directory, name);
    template
        .replace("@DIRECTORY@", &directory.to_string_lossy())
        .replace("@ORIGIN@", &place.origin_port.to_string())
        .replace("@HTTPS@", &https.to_string())
        .replace("@HTTP@", &http.to_string())
        .replace("@CHAIN@", &certificate("chain.pem"))
        .replace("@KEY@", &certificate("key.pem"))
        .replace("@BOTH@", &certificate("both.pem"))
}

/// Writes a file for a proxy and gives its path.
pub(super) fn write(directory: &Path, name: &str, text: &str) -> Result<String> {
    let path = directory.join(name);
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.to_string_lossy().into_owned())
}

fn in_directory(directory: &Path, name: &str) -> String {
    directory.join(name).to_string_lossy().into_owned()
}
