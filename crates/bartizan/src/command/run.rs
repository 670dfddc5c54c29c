//! `bartizan run`: serve a set of documents.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use bartizan_model::scalar::{ByteSize, Time};
use bartizan_proxy::gate::ServedAddress;
use bartizan_store::data_dir::ON_STORE;
use serde_json::{Map, Value, json};

use crate::service::{self, Admin, Documents, Failure, Keys, LogFormat, Options, RecordLimits, Service};

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files or directories with documents.
    #[arg(long, required_unless_present = "store", conflicts_with = "store", num_args = 1.., value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Serve the active revision of a store instead, and follow it: `sqlite:PATH`, where PATH is a data directory or
    /// its `bartizan.db`; without a value that of the data directory.
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "URL")]
    store: Option<String>,
    /// Where keys and state are kept [default: $BARTIZAN_DATA_DIR, else the place for state of this user].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    admin: Admin,
    /// Cores to serve on [default: all].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Seconds that requests may take to finish when the gateway stops.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u64,
    /// Most bytes of requests that are kept for `why` and `log`; 0 keeps none.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    records: ByteSize,
    /// Share in percent that is kept of requests in which nothing was refused and nothing failed; the others always are.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    records_sample: u8,
    /// Most memory that the gateway may take; requests are shed from nine tenths of it on [default: what the control
    /// group allows, else what the machine has].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<ByteSize>,
    /// How often the set in force is audited, beside each time that another one went into force; 0s never.
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = super::keys::time)]
    audit_every: Time,
    /// A place where successors of keys are left whose KeyRotationPolicy names it in `deliverTo`: a folder for files of mode
    /// 0600, or a program that gets the key on its standard input. May be given several times.
    #[arg(long, value_name = "NAME=folder:PATH|program:PATH")]
    deliver: Vec<service::NamedPlace>,
    /// How the process's own log on standard error is written.
    #[arg(long, value_enum, default_value = "text")]
    log: LogFormat,
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|wrong: bartizan_model::scalar::Wrong| wrong.to_string())
}

/// Serves until a signal ends it.
pub(crate) fn run(args: Args) -> ExitCode {
    service::log_to_stderr(args.log);
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => service::report(&failure),
    }
}

fn serve(args: Args) -> Result<(), Failure> {
    args.admin.refuse_unsafe()?;
    let data_dir = service::data_dir(args.data_dir.as_deref()).map_err(|error| Failure::of(&error))?;
    // What is written there tells `apply` whether a revision would ever be seen.
    let command = if args.store.is_some() { ON_STORE } else { "bartizan run" };
    let lock = data_dir.lock_for_gateway(command).map_err(|error| Failure::of(&error))?;
    let (documents, keys) = match args.store.as_deref() {
        None => {
            (Documents::Files(args.config), Some(Keys::open(&data_dir).map_err(|error| Failure::of(&error))?))
        }
        Some(address) => {
            let store = match address {
                "" => Ok(data_dir.clone()),
                address => service::store_dir(address),
            }
            .map_err(|error| Failure::of(&error))?;
            let keys = Keys::open_unless_gone(&store, &data_dir).map_err(|error| Failure::of(&error))?;
            (Documents::Store(store), keys)
        }
    };
    let options = Options {
        documents,
        data_dir,
        lock,
        keys,
        admin: args.admin,
        workers: service::workers(args.workers),
        drain: std::time::Duration::from_secs(args.drain),
        access_log: None,
        records: (args.records.get() > 0)
            .then_some(RecordLimits { bytes_max: args.records.get(), others_percent: args.records_sample }),
        audit_every: Some(args.audit_every.get()).filter(|every| !every.is_zero()),
        deliver: args.deliver,
        memory: args.memory,
    };
    let waiting = |admin: SocketAddr, setup: Option<&str>| {
        setup.into_iter().for_each(service::show_link);
        service::say(&json!({ "event": "waiting", "admin": admin.to_string() }).to_string())
    };
    let Some(service) = Service::start(options, waiting)? else { return Ok(()) };
    service.setup_link().into_iter().for_each(service::show_link);
    service::say(&ready_line(&service.addresses(), service.admin()).to_string());
    service.serve()
}

/// One line of JSON for whoever started the process: where it listens.
fn ready_line(addresses: &[ServedAddress], admin: SocketAddr) -> Value {
    let mut listeners: Map<String, Value> = Map::new();
    for served in addresses {
        let list = listeners.entry(served.listener.to_string()).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!(served.address.to_string()));
        }
    }
    json!({ "event": "ready", "listeners": listeners, "admin": admin.to_string() })
}
