//! `bartizan init`: a first set of documents for an API of one's own.
//!
//! The documents are templates with comments; what is written is compiled first, so that nothing that `check` would
//! refuse ever reaches the disk. The next commands are the data of this command: standard output is a script whose
//! comments say what each step is for.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use bartizan_config::{Set, source::Sources};
use bartizan_model::{
    problem::Severity,
    scalar::{EndpointUrl, HostText, PathText, Wrong},
};

use super::{
    print::{self, BOLD, Outcome, PLAIN},
    schema::WriteError,
    set,
};

/// What `init` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where your API answers, for example `http://localhost:3000` or `https://api.internal/v1`.
    #[arg(long, value_name = "URL", value_parser = upstream)]
    upstream: Upstream,
    /// The directory that the documents are written into.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where the gateway listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Write over documents of the same names.
    #[arg(long)]
    force: bool,
}

/// Where the API answers.
#[derive(Clone, Debug)]
struct Upstream {
    endpoint: EndpointUrl,
    /// The path below which it lies; empty for none.
    base: String,
}

fn upstream(text: &str) -> Result<Upstream, String> {
    let told = |wrong: Wrong| match wrong.hint {
        Some(hint) => format!("{}: {hint}", wrong.message),
        None => wrong.message,
    };
    let after_scheme = text.find("://").map_or(0, |at| at + 3);
    let rest = text.get(after_scheme..).unwrap_or_default();
    let (origin, base) = match rest.find('/') {
        Some(at) => text.split_at(after_scheme + at),
        None => (text, ""),
    };
    let base = base.trim_end_matches('/');
    if !base.is_empty() {
        PathText::parse(base).map_err(told)?;
    }
    Ok(Upstream { endpoint: origin.parse().map_err(told)?, base: base.to_owned() })
}

/// The documents by file name, in the order in which one reads them.
const DOCUMENTS: [(&str, &str); 8] = [
    ("listener.yaml", include_str!("../../templates/init/listener.yaml")),
    ("upstream.yaml", include_str!("../../templates/init/upstream.yaml")),
    ("route.yaml", include_str!("../../templates/init/route.yaml")),
    ("consumer.yaml", include_str!("../../templates/init/consumer.yaml")),
    ("authentication.yaml", include_str!("../../templates/init/authentication.yaml")),
    ("rate-limit.yaml", include_str!("../../templates/init/rate-limit.yaml")),
    ("headers.yaml", include_str!("../../templates/init/headers.yaml")),
    ("record.yaml", include_str!("../../templates/init/record.yaml")),
];

const CONSUMER: &str = "my-app";

/// Writes the documents and says what comes next.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(init(args))
}

fn init(args: &Args) -> Outcome {
    let documents: Vec<(PathBuf, String)> =
        DOCUMENTS.iter().map(|(name, text)| (args.dir.join(name), filled(text, args))).collect();
    let named = documents.iter().map(|(path, text)| (path.display().to_string(), text.as_str()));
    let set = Set::from_sources(Sources::from_texts(named));
    if set.compiled.problems.is_refusing() {
        print::note(set::section(&set, Severity::Problem).trim_end());
        return Err("these documents would not work, so nothing was written".into());
    }
    if !args.force
        && let Some((path, _)) = documents.iter().find(|(path, _)| path.symlink_metadata().is_ok())
    {
        let path = path.display();
        return Err(format!("{path} exists, so nothing was written; --force writes over it").into());
    }
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError { path, source }
    };
    fs::create_dir_all(&args.dir).map_err(fault(&args.dir))?;
    for (path, text) in &documents {
        create(path, args.force).and_then(|mut file| file.write_all(text.as_bytes())).map_err(fault(path))?;
        print::note(&format!("wrote {}", path.display()));
    }
    let exposures = set::section(&set, Severity::Exposure);
    if !exposures.is_empty() {
        print::note(&format!("\n{}", exposures.trim_end()));
    }
    print::note(&format!("\n{BOLD}next:{PLAIN}"));
    print::data(&next(args))?;
    Ok(ExitCode::SUCCESS)
}

/// Without `force`, a file that appeared meanwhile is not written over either.
fn create(path: &Path, force: bool) -> io::Result<File> {
    if force { File::create(path) } else { OpenOptions::new().write(true).create_new(true).open(path) }
}

fn filled(template: &str, args: &Args) -> String {
    let Upstream { endpoint, base } = &args.upstream;
    template
        .replace("{{listener}}", "http")
        .replace("{{address}}", &args.listen.to_string())
        .replace("{{upstream}}", "api")
        .replace("{{url}}", &endpoint.to_string())
        .replace("{{route}}", "api")
        .replace("{{filters}}", &filters(endpoint, base))
        .replace("{{consumer}}", CONSUMER)
}

/// A service that is one of many on its host is known by its name, and one below a path by that; both get what they
/// expect instead of what the caller wrote.
fn filters(endpoint: &EndpointUrl, base: &str) -> String {
    let is_name = endpoint.address().is_none() && endpoint.host.contains('.');
    let is_named = is_name && endpoint.host.parse::<HostText>().is_ok();
    let hostname = is_named.then(|| format!("hostname: {}", endpoint.host));
    let path = (!base.is_empty()).then(|| format!("path: {{ type: ReplacePrefixMatch, value: \"{base}\" }}"));
    let rewrite: Vec<String> = hostname.into_iter().chain(path).collect();
    if rewrite.is_empty() {
        return String::new();
    }
    let rewrite = rewrite.join(", ");
    format!(
        "      # What the upstream sees instead of the caller's Host and path.\n      \
         filters:\n        - type: URLRewrite\n          urlRewrite: {{ {rewrite} }}\n"
    )
}

/// The next commands. Each works as it stands, in a shell that stands where this command was called.
fn next(args: &Args) -> String {
    let dir = quoted(&args.dir.display().to_string());
    let address = reachable(args.listen);
    format!(
        "# see that the documents are sound, and what they publish\n\
         bartizan check {dir}\n\
         bartizan routes --config {dir}\n\
         # start the gateway; it stays in the foreground, so go on in a second terminal\n\
         bartizan run --config {dir}\n\
         # make a key for the consumer {CONSUMER}; it is shown this once, and live within a second\n\
         KEY=$(bartizan keys create --consumer {CONSUMER})\n\
         # call your API through the gateway: without a key (401), then with it\n\
         curl -i http://{address}/\n\
         curl -i -H \"X-API-Key: $KEY\" http://{address}/\n\
         # see which stage and policy decides about a request\n\
         bartizan explain GET http://{address}/ --as {CONSUMER} --config {dir}\n"
    )
}

/// Where a listener that listens everywhere can be called from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), address.port())
        }
        _ => address,
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    match word.chars().all(is_plain) && !word.is_empty() && !word.starts_with('-') {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_model::problem::Code;

    use super::*;

    fn args(url: &str, listen: &str) -> Args {
        Args {
            upstream: upstream(url).unwrap(),
            dir: "shop".into(),
            listen: listen.parse().unwrap(),
            force: false,
        }
    }

    fn set(args: &Args) -> Set {
        let texts = DOCUMENTS.iter().map(|(name, text)| (*name, filled(text, args)));
        Set::from_sources(Sources::from_texts(texts))
    }

    #[test]
    fn what_is_written_is_sound_and_closed() {
        for url in [
            "http://localhost:3000",
            "http://127.0.0.1:3000/",
            "http://[::1]:3000",
            "https://api.example.com/v1",
            "http://api.internal:8080/a/b/",
        ] {
            let set = set(&args(url, "127.0.0.1:8080"));
            let problems: Vec<_> = set.compiled.problems.iter().collect();
            assert!(problems.is_empty(), "{url}: {problems:?}");
            let snapshot = set.compiled.snapshot.unwrap();
            let plan = &snapshot.routes[0];
            assert!(plan.authentication.enforced.is_some() && !plan.limits.is_empty(), "{url}");
        }
    }

    #[test]
    fn listening_for_others_in_clear_text_is_told_as_an_exposure() {
        let set = set(&args("http://localhost:3000", "0.0.0.0:8080"));
        let found: Vec<Code> = set.compiled.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(found, [Code::ListenerClearText]);
    }

    #[test]
    fn a_service_gets_the_name_and_path_that_it_expects() {
        let route = |url| filled(DOCUMENTS[2].1, &args(url, "127.0.0.1:8080"));
        assert!(!route("http://localhost:3000").contains("urlRewrite"));
        assert!(!route("http://127.0.0.1:3000").contains("urlRewrite"));
        assert!(route("https://api.example.com").contains("urlRewrite: { hostname: api.example.com }"));
        let both =
            "urlRewrite: { hostname: api.example.com, path: { type: ReplacePrefixMatch, value: \"/v1\" } }";
        assert!(route("https://api.example.com/v1/").contains(both));
    }

    #[test]
    fn a_url_that_is_none_is_refused_with_the_next_step() {
        for (url, part) in [
            ("localhost:3000", "scheme"),
            ("ftp://a", "scheme"),
            ("http://user:secret@a/", "secret"),
            ("http://a/b/../c", "`"),
            ("http://a/b?x=1", "`"),
        ] {
            let told = upstream(url).unwrap_err();
            assert!(told.contains(part) && !told.contains("user:secret"), "{url}: {told}");
        }
    }

    #[test]
    fn a_directory_of_any_name_is_one_word_of_the_shell() {
        assert_eq!(quoted("docs/shop"), "docs/shop");
        assert_eq!(quoted("my shop"), "'my shop'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("-x"), "'-x'");
    }

    #[test]
    fn an_address_that_means_all_is_called_by_loopback() {
        for (listen, called) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), called.parse().unwrap());
        }
    }
}
