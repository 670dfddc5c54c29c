//! `models list`: the public names, who serves each, and the price.

use bartizan_config::snapshot::{ModelTargetPlan, Snapshot};
use serde_json::{Value, json};

use crate::command::{
    print::{self, Format, Outcome},
    set::{ConfigArg, Sound},
};

/// What `models list` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// How it is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &Args) -> Outcome {
    Sound::with(&args.config.paths, |sound| {
        let snapshot = &sound.snapshot;
        match args.format {
            Format::Json => print::json(&all(snapshot))?,
            Format::Text => print::data(&text(snapshot))?,
        }
        Ok(std::process::ExitCode::SUCCESS)
    })
}

fn names(snapshot: &Snapshot, at: usize) -> Vec<&str> {
    let own = snapshot.models.models.get(at).map(|model| &*model.name);
    let mut names: Vec<&str> =
        snapshot.models.by_name.iter().filter(|(_, model)| **model == at).map(|(name, _)| &**name).collect();
    names.sort_unstable_by_key(|name| (Some(*name) != own, *name));
    names
}

fn provider(snapshot: &Snapshot, target: &ModelTargetPlan) -> (String, &'static str) {
    let plan = snapshot.upstreams.get(target.upstream);
    let word = plan.and_then(|plan| plan.llm.as_ref()).map_or("?", |llm| llm.provider.word());
    (plan.map_or_else(String::new, |plan| plan.name.to_string()), word)
}

/// Picodollars for a token are millionths of a dollar for a million.
fn dollars(pico: u64) -> String {
    let text = format!("{}.{:06}", pico / 1_000_000, pico % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn all(snapshot: &Snapshot) -> Value {
    let models = snapshot.models.models.iter().enumerate().map(|(at, model)| {
        let targets = model.targets.iter().map(|target| {
            let (upstream, provider) = provider(snapshot, target);
            let price = target.price.map(|price| json!({ "input": dollars(price.input), "output": dollars(price.output) }));
            json!({ "upstream": upstream, "provider": provider, "model": &*target.model, "pricePerMillion": price })
        });
        json!({ "name": &*model.name, "names": names(snapshot, at), "roles": roles(&model.roles),
            "targets": targets.collect::<Vec<_>>() })
    });
    json!({ "models": models.collect::<Vec<_>>() })
}

fn roles(roles: &[std::sync::Arc<str>]) -> Vec<&str> {
    roles.iter().map(|role| &**role).collect()
}

fn text(snapshot: &Snapshot) -> String {
    if snapshot.models.models.is_empty() {
        return "no models; `bartizan models add PROVIDER` writes some\n".to_owned();
    }
    let mut out = String::new();
    for (at, model) in snapshot.models.models.iter().enumerate() {
        out.push_str(&names(snapshot, at).join(", "));
        if !model.roles.is_empty() {
            out.push_str(&format!("   (roles: {})", model.roles.join(", ")));
        }
        out.push('\n');
        for target in &model.targets {
            let (upstream, provider) = provider(snapshot, target);
            let price = target.price.map_or("no price known".to_owned(), |price| {
                format!("${} in, ${} out per million tokens", dollars(price.input), dollars(price.output))
            });
            out.push_str(&format!("  {upstream} ({provider}) {}   {price}\n", target.model));
        }
    }
    out
}
