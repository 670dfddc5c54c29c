//! `models probe`: one tiny call to each target, on the way that the gateway itself would take.
//!
//! The same preparation, connections and dialects as in the data plane; only the pipeline of callers is left out.

use std::{process::ExitCode, sync::Arc, time::Duration};

use bartizan_ai::{Class, Failure, Request, Target};
use bartizan_config::snapshot::{ModelTargetPlan, Snapshot};
use bartizan_proxy::upstream::{CorePools, Pick, PreparedUpstream, UpstreamSet, send};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::json;

use crate::{
    command::{
        print::{self, Format, Outcome},
        set::{ConfigArg, Sound},
    },
    service,
};

/// A model that thinks may need this long for one word.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer to a tiny call.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What `models probe` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each target is charged for a handful of tokens. Exit code: 0 all serve, 1 some do not."
)]
pub(crate) struct Args {
    /// The model's public name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    config: ConfigArg,
    /// How it is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What became of a target.
struct Found {
    upstream: Arc<str>,
    model: Arc<str>,
    key: Option<usize>,
    fault: Option<(&'static str, String)>,
}

pub(super) fn run(args: &Args) -> Outcome {
    Sound::with(&args.config.paths, |sound| {
        let Some(model) = sound.snapshot.models.get(&args.name).cloned() else {
            return Err(format!("there is no model `{}`", args.name).into());
        };
        // Only the providers of this model are prepared: the others' secrets are none of its business.
        let plans: Vec<_> = model
            .targets
            .iter()
            .filter_map(|target| sound.snapshot.upstreams.get(target.upstream).cloned())
            .collect();
        let prepared = UpstreamSet::prepare(&plans, &service::read_secret, None)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = tokio::task::LocalSet::new();
        let found = local.block_on(&runtime, async {
            let mut all = Vec::new();
            for (target, upstream) in model.targets.iter().zip(prepared.iter()) {
                all.extend(probe(&sound.snapshot, target, upstream, model.max_output).await);
            }
            all
        });
        let failed = found.iter().any(|found| found.fault.is_some());
        match args.format {
            Format::Text => print::data(&found.iter().map(line).collect::<String>())?,
            Format::Json => print::json(&json!({ "targets": found.iter().map(value).collect::<Vec<_>>() }))?,
        }
        Ok(if failed { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS })
    })
}

/// Every key of a target, because each may have its own trouble.
async fn probe(
    snapshot: &Snapshot,
    target: &ModelTargetPlan,
    upstream: &PreparedUpstream,
    max_output: Option<u64>,
) -> Vec<Found> {
    let keys: Vec<Option<usize>> = match &upstream.keys {
        Some(keys) => (0..keys.len()).map(Some).collect(),
        None => vec![None],
    };
    let mut all = Vec::new();
    for key in keys {
        let fault = call(target, upstream, key, max_output).await.err();
        let name =
            snapshot.upstreams.get(target.upstream).map_or_else(|| "?".into(), |plan| plan.name.clone());
        all.push(Found { upstream: name, model: target.model.clone(), key, fault });
    }
    all
}

async fn call(
    target: &ModelTargetPlan,
    upstream: &PreparedUpstream,
    key: Option<usize>,
    max_output: Option<u64>,
) -> Result<(), (&'static str, String)> {
    let ours = |message: String| ("configuration", message);
    let llm = upstream.plan.llm.as_ref().ok_or_else(|| ours("the upstream is no provider".to_owned()))?;
    // Room for a model that thinks before it speaks.
    let body =
        json!({ "model": "probe", "max_tokens": 64, "messages": [{ "role": "user", "content": "Say ok." }] });
    let request = Request::read(body.to_string().as_bytes()).map_err(|refused| ours(refused.message))?;
    let aim = Target { model: &target.model, max_output, version: llm.version.as_deref() };
    let outgoing = llm.dialect.request(&request, &aim).map_err(|refused| ours(refused.message))?;
    let mut wire = http::Request::new(Full::new(Bytes::from(outgoing.body.clone())));
    *wire.method_mut() = Method::POST;
    *wire.uri_mut() = format!("{}{}", llm.base_path(llm.dialect), outgoing.path)
        .parse()
        .map_err(|_| ours("the path cannot be written".to_owned()))?;
    let headers = wire.headers_mut();
    for (name, value) in &outgoing.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let endpoint =
        upstream.plan.endpoints.first().map(|endpoint| endpoint.authority.clone()).unwrap_or_default();
    let usual = if upstream.plan.tls.is_some() { ":443" } else { ":80" };
    let host = HeaderValue::from_str(endpoint.strip_suffix(usual).unwrap_or(&endpoint));
    headers.insert(header::HOST, host.map_err(|_| ours("the address is no host".to_owned()))?);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(outgoing.body.len()));
    if let (Some(keys), Some(at)) = (&upstream.keys, key) {
        let others: Vec<usize> = (0..keys.len()).filter(|other| *other != at).collect();
        if let Some((_, value)) = keys.pick(0, &others) {
            headers.insert(keys.header().clone(), value.clone());
        }
    }
    let pools = CorePools::new(0);
    let answering = async {
        let sent = send(&pools, upstream, &Pick::default(), &mut Some(wire))
            .await
            .map_err(|error| ("network", error.detail))?;
        let (parts, body) = sent.response.into_parts();
        let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let whole = whole.map_err(|_| ("network", "the answer broke off".to_owned()))?.to_bytes();
        Ok((parts.status.as_u16(), whole))
    };
    let (status, answer) = match tokio::time::timeout(TIMEOUT, answering).await {
        Ok(answered) => answered?,
        Err(_) => return Err(("network", format!("no answer within {} s", TIMEOUT.as_secs()))),
    };
    if status >= 300 {
        return Err(fault(upstream, &Failure::from_answer(status, &answer, None)));
    }
    let mut said = bartizan_ai::Whole::new();
    said.extend(llm.dialect.answer(&answer));
    let public =
        bartizan_ai::Public { id: "probe".into(), model: "probe".into(), created: 0, include_usage: false };
    said.to_openai(&public).map(|_| ()).map_err(|failure| fault(upstream, &failure))
}

/// The word for what is wrong, and what to do.
fn fault(upstream: &PreparedUpstream, failure: &Failure) -> (&'static str, String) {
    let (word, hint) = match failure.class {
        Class::Key => {
            ("key", "the provider does not take the key; check the variable, and the region the key is of")
        }
        Class::Quota => ("quota", "the account has nothing left"),
        Class::Rate => ("quota", "too many requests or tokens just now"),
        Class::Model => ("model", "the provider does not have the model, or not for this account"),
        Class::Overloaded | Class::Timeout => ("provider", "the provider is overloaded or slow just now"),
        Class::Request | Class::Context | Class::Content => {
            ("request", "the model does not take a plain chat")
        }
        Class::Server | Class::Broken => ("provider", "the provider failed"),
    };
    let code =
        if failure.native_code.is_empty() { String::new() } else { format!(" {}", failure.native_code) };
    let said = format!("{code}: {}", failure.message);
    // A provider that quotes a key must not make this command tell it.
    let quotes = upstream.keys.as_ref().is_some_and(|keys| keys.shows_in(said.as_bytes()));
    let said = if quotes { "" } else { &said };
    (word, format!("{hint} ({}{said})", failure.native_status))
}

fn line(found: &Found) -> String {
    let key = found.key.map_or(String::new(), |key| format!(" key {}", key + 1));
    let outcome = match &found.fault {
        None => "serves".to_owned(),
        Some((word, detail)) => format!("{word}: {detail}"),
    };
    format!("{} {}{key}: {outcome}\n", found.upstream, found.model)
}

fn value(found: &Found) -> serde_json::Value {
    let (fault, detail) = found.fault.as_ref().map(|(word, detail)| (*word, detail.as_str())).unzip();
    json!({ "upstream": &*found.upstream, "model": &*found.model, "key": found.key.map(|key| key + 1),
        "serves": found.fault.is_none(), "fault": fault, "detail": detail })
}
