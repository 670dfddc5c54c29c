//! `bartizan demo`: a sample API with the gateway in front of it, in one process.
//!
//! What a newcomer sees is the real thing: documents on disk that can be edited while it runs, a local authority that
//! signs the certificate (so that nobody learns to pass `-k`), an API key whose hash alone is in the store.

mod authority;
mod documents;
mod key;
mod models;
mod show;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use crate::{
    sample::Sample,
    service::{self, Admin, Documents, Failure, Keys, LogFormat, Options, Service},
};

/// What `demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address for clear text, which only redirects.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Address for TLS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// Address in clear text for clients that cannot be told a certificate authority; loopback only.
    #[arg(long, value_name = "ADDR")]
    plain: Option<SocketAddr>,
    #[command(flatten)]
    admin: Admin,
    /// Where keys, certificates and documents are kept [default: `demo` in the default data directory].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Forget everything that an earlier demo kept: keys, certificates and documents.
    #[arg(long)]
    clean: bool,
    /// What is printed when it is ready.
    #[arg(long, value_enum, default_value = "text")]
    format: show::Format,
}

/// Runs the demo until a signal ends it.
pub(crate) fn run(args: Args) -> ExitCode {
    service::log_to_stderr(LogFormat::Text);
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => service::report(&failure),
    }
}

fn serve(args: Args) -> Result<(), Failure> {
    args.admin.refuse_unsafe()?;
    if let Some(plain) = args.plain.filter(|plain| !plain.ip().is_loopback()) {
        let why =
            format!("--plain {plain}: keys in clear text never leave this machine; use a loopback address");
        return Err(Failure::Process(why));
    }
    let data_dir = match args.data_dir.as_deref() {
        Some(dir) => service::data_dir(Some(dir)),
        None => service::data_dir(None).and_then(|dir| service::data_dir(Some(&dir.path().join("demo")))),
    }
    .map_err(|error| Failure::of(&error))?;
    let lock = data_dir.lock_for_gateway("bartizan demo").map_err(|error| Failure::of(&error))?;
    if args.clean {
        data_dir.forget(&lock).map_err(|error| Failure::of(&error))?;
        for kept in [authority::FOLDER, documents::FOLDER, key::FILE] {
            documents::remove(&data_dir.path().join(kept))?;
        }
    }
    let (sample, _running) = Sample::start(SocketAddr::from(([127, 0, 0, 1], 0)))
        .map_err(|error| Failure::Process(format!("the sample API cannot be started: {error}")))?;
    let keys = Keys::open(&data_dir).map_err(|error| Failure::of(&error))?;
    let key = key::keep(&keys, data_dir.path())?;
    let https = documents::settle_port(args.https)?;
    let authority = authority::keep(data_dir.path(), https.ip())?;
    let providers = models::found();
    let more = models::write(sample, &providers);
    let addresses = documents::Addresses { http: args.http, https, plain: args.plain, sample };
    let config = documents::write(data_dir.path(), &addresses, &authority, &more)?;
    let access_log = data_dir.path().join("access.log");
    let path = data_dir.path().to_path_buf();
    let options = Options {
        documents: Documents::Files(vec![config.clone()]),
        data_dir,
        lock,
        keys: Some(keys),
        admin: args.admin,
        workers: service::workers(None),
        drain: Duration::from_secs(5),
        access_log: Some(access_log.clone()),
        records: Some(service::RecordLimits::default()),
        audit_every: None,
        deliver: Vec::new(),
        memory: None,
    };
    let Some(service) = Service::start(options, |_, _| ())? else { return Ok(()) };
    let ready = show::Ready {
        http: service.address_of("http").unwrap_or(args.http),
        https: service.address_of("https").unwrap_or(https),
        admin: service.admin(),
        console: service
            .setup_link()
            .map_or_else(|| format!("{}/console/", service.admin_url()), str::to_owned),
        is_first: service.setup_link().is_some(),
        plain: args.plain.map(|plain| service.address_of("plain").unwrap_or(plain)),
        providers: &providers,
        key: &key,
        data_dir: &path,
        documents: &config,
        access_log: &access_log,
        certificate: &authority.certificate_of_authority,
    };
    service::say(&ready.render(args.format));
    service.serve()
}
