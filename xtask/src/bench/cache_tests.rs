//! `cargo xtask bench cache-tests`: the public HTTP caching tests against the gateway, nginx and Varnish, in one run.
//!
//! The suite is not the repository's: the run checks it out below the target directory, or takes a checkout that is named.
//! The package on npm (0.4.5) is an older suite of 157 and 86 tests and is not used. Configurations are those of the suite's own image; the gateway's is `bench/cache-tests/bartizan.yaml`. Scores
//! are counted as on the suite's pages, by `bench/cache-tests/score.mjs`.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use super::peers::{Pinned, free_ports};
use crate::{
    Result,
    shell::{self, cargo, output, program, root, run, target_dir},
    tools,
};

/// Where the suite is.
const SUITE: &str = "https://github.com/http-tests/cache-tests";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Bartizan,
    Nginx,
    Varnish,
}

impl Cache {
    const ALL: [Cache; 3] = [Cache::Bartizan, Cache::Nginx, Cache::Varnish];

    const fn name(self) -> &'static str {
        match self {
            Cache::Bartizan => "bartizan",
            Cache::Nginx => "nginx",
            Cache::Varnish => "varnish",
        }
    }
}

/// `cargo xtask bench cache-tests`.
pub(super) fn run_command(arguments: &[String]) -> Result {
    shell::known(arguments, &["--binary=", "--suite=", "--targets=", "--out="])?;
    let out = root().join(shell::value(arguments, "--out").unwrap_or("target/cache-tests"));
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let out = out.canonicalize().map_err(|error| error.to_string())?;
    let wanted = shell::value(arguments, "--targets").unwrap_or("bartizan,nginx,varnish");
    let caches: Vec<Cache> =
        Cache::ALL.into_iter().filter(|cache| wanted.split(',').any(|word| word == cache.name())).collect();
    if caches.is_empty() {
        return Err(format!("--targets {wanted}: known are bartizan, nginx, varnish"));
    }
    tools::install(&[("nginx", "nginx-light"), ("varnishd", "varnish"), ("node", "nodejs"), ("npm", "npm")])?;
    let suite = suite(shell::value(arguments, "--suite"), &out)?;
    let binary = binary(shell::value(arguments, "--binary"), &caches)?;
    let mut lines = String::from("| cache | required | optimal |\n|---|---|---|\n");
    for cache in caches {
        let (score, failed) = measure(cache, &suite, &binary, &out)?;
        println!("{}: {score}", cache.name());
        if cache == Cache::Bartizan {
            failed.iter().for_each(|line| println!("  {line}"));
        }
        let _ = writeln!(lines, "| {} | {score} |", cache.name());
    }
    let report = out.join("report.md");
    fs::write(&report, &lines).map_err(|error| format!("{}: {error}", report.display()))?;
    print!("{lines}");
    println!("report and results are in {}", out.display());
    Ok(())
}

/// The suite with what it needs.
fn suite(named: Option<&str>, out: &Path) -> Result<PathBuf> {
    let home = match named {
        Some(path) => root().join(path),
        None => out.join("suite"),
    };
    if named.is_none() && !home.is_dir() {
        println!("checking out {SUITE}");
        run(program("git").args(["clone", "--quiet", "--depth", "1", SUITE]).arg(&home))
            .map_err(|error| format!("{error}; name a checkout with `--suite DIR`"))?;
    }
    if !home.join("node_modules").is_dir() {
        let words = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
        run(program("npm").args(words).current_dir(&home))?;
    }
    if home.join("test-engine/cli.mjs").is_file() {
        return Ok(home);
    }
    Err(format!("{}: the suite is not there", home.display()))
}

fn binary(named: Option<&str>, caches: &[Cache]) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(root().join(path));
    }
    if caches.contains(&Cache::Bartizan) {
        println!("building the gateway");
        run(cargo().args(["build", "--quiet", "--release", "--package", "bartizan"]))?;
    }
    Ok(target_dir().join("release").join("bartizan"))
}

/// Runs the suite against one cache: the score as two columns, and what failed.
fn measure(cache: Cache, suite: &Path, binary: &Path, out: &Path) -> Result<(String, Vec<String>)> {
    let directory = out.join(cache.name());
    // What an earlier run kept would be hits of this one.
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", directory.display()));
        }
        _ => fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?,
    }
    let [http, origin, admin] = free_ports()?;
    let server = suite.join("test-engine/server/server.mjs");
    let settings = [
        "npm_config_protocol=http".to_owned(),
        format!("npm_config_port={origin}"),
        format!("npm_config_pidfile={}", directory.join("origin.pid").display()),
    ];
    let mut words: Vec<&str> = vec!["env"];
    words.extend(settings.iter().map(String::as_str));
    let server = server.to_string_lossy();
    words.extend(["node", &*server]);
    let _origin = Pinned::start("the suite's origin", 1, &words, &[origin], &directory.join("origin.log"))?;
    let fill = |name: &str, file: &str| -> Result<String> {
        let text = shell::read(Path::new("bench/cache-tests").join(file))?
            .replace("@DIRECTORY@", &directory.to_string_lossy())
            .replace("@HTTP@", &http.to_string())
            .replace("@ORIGIN@", &origin.to_string());
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    };
    let words: Vec<String> = match cache {
        Cache::Bartizan => {
            let config = fill("bartizan.yaml", "bartizan.yaml")?;
            let data = directory.join("data");
            let admin = format!("127.0.0.1:{admin}");
            let binary = binary.to_string_lossy();
            let data = data.to_string_lossy();
            let words = [&*binary, "run", "--config", &config, "--admin", &admin, "--data-dir", &data];
            words.map(str::to_owned).to_vec()
        }
        Cache::Nginx => {
            let config = fill("nginx.conf", "nginx.conf")?;
            let errors = directory.join("start.err").to_string_lossy().into_owned();
            ["nginx", "-e", &errors, "-c", &config].map(str::to_owned).to_vec()
        }
        Cache::Varnish => {
            let config = fill("default.vcl", "varnish.vcl")?;
            let place = directory.join("state").to_string_lossy().into_owned();
            let address = format!("127.0.0.1:{http}");
            let words = ["varnishd", "-F", "-j", "none", "-n", &place, "-a", &address, "-f", &config];
            let settings = ["default_ttl=0", "default_grace=0", "default_keep=3600"];
            let settings = settings.iter().flat_map(|setting| ["-p", *setting]);
            words.into_iter().chain(settings).chain(["-s", "malloc,64M"]).map(str::to_owned).collect()
        }
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let _cache = Pinned::start(cache.name(), 0, &words, &[http], &directory.join("output.log"))?;
    println!("testing {}", cache.name());
    let results = out.join(format!("{}.json", cache.name()));
    let tested = output(
        program("node")
            .args(["--no-warnings", "test-engine/cli.mjs"])
            .env("npm_config_base", format!("http://127.0.0.1:{http}"))
            .env("npm_config_id", "")
            .env("npm_package_config_id", "")
            .current_dir(suite),
    )?;
    fs::write(&results, tested).map_err(|error| format!("{}: {error}", results.display()))?;
    let script = root().join("bench/cache-tests/score.mjs");
    let scored = output(program("node").arg(script).arg(suite).arg(&results))?;
    let scored: serde_json::Value =
        serde_json::from_str(&scored).map_err(|error| format!("the score cannot be read: {error}"))?;
    let column = |kind: &str| {
        let number =
            |field: &str| scored.pointer(&format!("/{kind}/{field}")).and_then(serde_json::Value::as_u64);
        format!("{} of {}", number("passed").unwrap_or(0), number("all").unwrap_or(0))
    };
    let failed = scored.get("failed").and_then(serde_json::Value::as_array).into_iter().flatten();
    let failed = failed.map(|one| {
        let text = |field: &str| one.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
        format!("{} {}: {}", text("kind"), text("id"), text("why"))
    });
    Ok((format!("{} | {}", column("required"), column("optimal")), failed.collect()))
}
