//! `models add`: the documents of a provider and its models, in one file of their own.

use std::{fs, path::PathBuf, process::ExitCode};

use bartizan_ai::Provider;
use bartizan_config::Set;
use bartizan_model::problem::Severity;

use super::provider;
use crate::command::{
    print::{self, Outcome},
    set,
};

/// What `models add` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The file is called `models-NAME.yaml`. A gateway that serves the folder takes it up at once."
)]
pub(crate) struct Args {
    /// The provider: openai, anthropic, gemini, mistral, qwen, deepseek, groq, openrouter, ollama, compatible.
    #[arg(value_name = "PROVIDER")]
    provider: String,
    /// The environment variable of the gateway that holds the key [default: the provider's usual one].
    #[arg(long, value_name = "NAME")]
    key_env: Option<String>,
    /// With qwen: intl, cn, hk or us.
    #[arg(long)]
    region: Option<String>,
    /// Where the server is, for `compatible`, or instead of the provider's own address.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The provider's models to publish, by their own names [default: the usual ones].
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// The folder of documents to write into.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// The documents of one provider.
pub(crate) struct Wanted<'w> {
    /// The name of the upstream.
    pub(crate) name: &'w str,
    pub(crate) provider: Provider,
    pub(crate) key_env: Option<&'w str>,
    pub(crate) region: Option<&'w str>,
    pub(crate) url: Option<&'w str>,
    pub(crate) models: &'w [String],
}

pub(super) fn run(args: &Args) -> Outcome {
    let provider = provider(&args.provider)?;
    let name: String = args
        .provider
        .to_ascii_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let usual: Vec<String> = provider.usual_models().iter().map(|model| (*model).to_owned()).collect();
    let models = if args.models.is_empty() { usual } else { args.models.clone() };
    if models.is_empty() {
        return Err(format!("{} has no usual models: name some with --model", provider.word()).into());
    }
    let text = documents(&Wanted {
        name: &name,
        provider,
        key_env: args.key_env.as_deref().or(provider.key_variable()),
        region: args.region.as_deref(),
        url: args.url.as_deref(),
        models: &models,
    });
    let path = args.to.join(format!("models-{name}.yaml"));
    if path.exists() {
        return Err(format!("{} is there already: edit it, or remove it first", path.display()).into());
    }
    // Checked together with what is there before a running gateway sees it.
    let beside = tempfile(&args.to, &text)?;
    let checked = Set::open(&[args.to.clone(), beside.clone()]);
    let is_sound = checked.as_ref().is_ok_and(|set| set.compiled.problems.count(Severity::Problem) == 0);
    if is_sound {
        // In one step, so that a gateway never sees half of it.
        fs::rename(&beside, &path)?;
    } else {
        let _ = fs::remove_file(&beside);
    }
    let set = checked?;
    if !is_sound {
        print::note(set::section(&set, Severity::Problem).trim_end());
        print::note("nothing was written");
        return Ok(ExitCode::from(print::FOUND));
    }
    print::data(&format!("{}\n", path.display()))?;
    let publishes = set.compiled.snapshot.as_ref().is_some_and(|snapshot| {
        let serves = bartizan_config::snapshot::RouteAction::asks_a_model;
        snapshot.routes.iter().any(|plan| serves(&plan.action))
    });
    if !publishes {
        print::note("no route serves models yet: write one with `backendRefs: [{ kind: Models }]`");
    }
    if let Some(variable) = args.key_env.as_deref().or(provider.key_variable()) {
        print::note(&format!("the gateway's process needs {variable} in its environment"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A hidden file beside the folder's documents; names that begin with a dot are passed over by a running gateway.
fn tempfile(folder: &std::path::Path, text: &str) -> std::io::Result<PathBuf> {
    let path = folder.join(format!(".models-{}.yaml", std::process::id()));
    fs::write(&path, text)?;
    Ok(path)
}

/// The documents as text.
pub(crate) fn documents(wanted: &Wanted<'_>) -> String {
    let Wanted { name, provider, key_env, region, url, models } = wanted;
    let mut llm = format!("provider: {}", provider.word());
    if let Some(region) = region {
        llm.push_str(&format!(", region: {}", quoted(region)));
    }
    if let Some(variable) = key_env {
        llm.push_str(&format!(", keys: [{{ valueRef: {} }}]", quoted(&format!("env://{variable}"))));
    }
    let mut text = format!(
        "apiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: {name} }}\nspec:\n  kind: Llm\n  llm: {{ {llm} }}\n"
    );
    if let Some(url) = url {
        text.push_str(&format!("  endpoints: [{{ url: {} }}]\n", quoted(url)));
    }
    for model in *models {
        let public = public_name(model);
        let target = if public == *model { String::new() } else { format!(", model: {}", quoted(model)) };
        // A provider's own spelling stays usable where a document's name cannot have it.
        let alias =
            if public == *model { String::new() } else { format!("  aliases: [{}]\n", quoted(model)) };
        text.push_str(&format!(
            "---\napiVersion: management.v1\nkind: Model\nmetadata: {{ name: {} }}\nspec:\n{alias}  targets: [{{ upstream: {name}{target} }}]\n",
            quoted(&public)
        ));
    }
    text
}

/// A document's name for a model: lower case, with `-` for what names cannot have.
fn public_name(model: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = model.chars().map(plain).collect();
    let parts: Vec<&str> =
        name.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty()).collect();
    parts.join(".")
}

/// A JSON string is a YAML string whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_becomes_a_documents_name() {
        for (model, name) in [
            ("gpt-4.1", "gpt-4.1"),
            ("meta-llama/Llama-3.3-70B", "meta-llama-llama-3.3-70b"),
            ("qwen3:4b", "qwen3-4b"),
            ("a_.b", "a.b"),
        ] {
            assert_eq!(public_name(model), name);
        }
    }

    #[test]
    fn what_is_written_compiles() {
        for provider in bartizan_ai::provider::PROVIDERS {
            let url = provider.home(None).is_none().then_some("http://127.0.0.1:8000");
            let text = documents(&Wanted {
                name: "p",
                provider,
                key_env: provider.key_variable(),
                region: None,
                url,
                models: &["qwen3:4b".to_owned(), "plain".to_owned()],
            });
            let set = Set::from_sources(bartizan_config::source::Sources::from_texts([(
                "models.yaml",
                text.as_str(),
            )]));
            assert_eq!(set.compiled.problems.count(Severity::Problem), 0, "{provider:?}: {text}");
        }
    }
}
