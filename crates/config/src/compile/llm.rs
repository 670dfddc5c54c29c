//! `Upstream.spec.llm` → [`LlmPlan`], and the provider's own address where documents give none.

use bartizan_ai::{Dialect, Provider, provider::Home};
use bartizan_model::{
    Reference,
    document::{
        Document, Kind, Spec,
        upstream::{LlmDialect, LlmKey, LlmProvider, LlmSpec, UpstreamKind, UpstreamSpec},
    },
    problem::{Code, Problem, Problems},
    read::Spanned,
};

use super::index::{Index, spec_of};
use crate::snapshot::LlmPlan;

/// The provider, if the upstream is one. Every contradiction is reported.
pub(super) fn compile(
    index: &Index<'_>,
    document: &Document,
    spec: &UpstreamSpec,
    problems: &mut Problems,
) -> Option<LlmPlan> {
    let llm = match (spec.kind, &spec.llm) {
        (UpstreamKind::Http, None) => return None,
        (UpstreamKind::Http, Some(llm)) => {
            problems.push(
                Problem::new(
                    Code::FieldsClash,
                    llm.at,
                    "spec.llm",
                    "`llm` has no meaning for an HTTP service",
                )
                .hint("write `kind: Llm`, or delete `llm`"),
            );
            return None;
        }
        (UpstreamKind::Llm, None) => {
            let message = "an upstream of kind `Llm` says which provider it is";
            problems.push(Problem::new(Code::MissingField, document.name.at, "spec.llm", message).hint(
                "write for example `llm: { provider: OpenAi, keys: [{ valueRef: env://OPENAI_API_KEY }] }`",
            ));
            return None;
        }
        (UpstreamKind::Llm, Some(llm)) => llm,
    };
    let provider = provider(*llm.provider);
    if let Some(credential) = &spec.credential {
        problems.push(
            Problem::new(
                Code::FieldsClash,
                credential.at,
                "spec.credential",
                "a provider's keys are `llm.keys`",
            )
            .hint("move the reference to `llm.keys`"),
        );
    }
    let home = home(provider, llm, problems);
    if spec.endpoints.is_empty() && home.is_none() {
        let message = "where the provider is, is not known";
        problems.push(
            Problem::new(Code::EmptyList, document.name.at, "spec.endpoints", message)
                .hint("write its address in `endpoints`"),
        );
    }
    if let Some(second) = spec.endpoints.get(1) {
        let message = "a provider of models has one address";
        problems.push(
            Problem::new(Code::FieldsClash, second.at, "spec.endpoints", message)
                .hint("write another Upstream, and another target in the Model"),
        );
    }
    check_keys(provider, document, spec, llm, problems);
    let dialect = dialect(provider, llm, problems);
    if let Some(version) = llm.version.as_ref().filter(|_| provider != Provider::Anthropic) {
        let message = "`version` has a meaning for Anthropic only";
        problems.push(Problem::new(Code::FieldsClash, version.at, "spec.llm.version", message));
    }
    Some(LlmPlan {
        provider,
        dialect,
        version: llm.version.as_ref().map(|version| version.as_str().into()),
        base_path: llm.base_path.as_ref().map(|path| path.as_str().trim_end_matches('/').into()),
        keys: llm.keys.iter().filter_map(|key| reference(index, document, key, problems)).collect(),
    })
}

/// The address of the provider named, for an upstream without endpoints.
pub(super) fn home_of(spec: &UpstreamSpec) -> Option<Home> {
    let llm = spec.llm.as_ref().filter(|_| spec.kind == UpstreamKind::Llm && spec.endpoints.is_empty())?;
    provider(*llm.provider).home(llm.region.as_ref().map(|region| region.as_str()))
}

fn home(provider: Provider, llm: &LlmSpec, problems: &mut Problems) -> Option<Home> {
    let region = llm.region.as_ref().map(|region| region.as_str());
    let home = provider.home(region);
    if let Some(region) = &llm.region
        && !provider.regions().contains(&region.as_str())
    {
        let problem = Problem::new(
            Code::BadValue,
            region.at,
            "spec.llm.region",
            format!("{} has no region {}", provider.word(), bartizan_model::problem::shown(region)),
        );
        problems.push(match provider.regions() {
            [] => problem.hint("delete `region`"),
            regions => problem.hint(format!("write one of {}", regions.join(", "))),
        });
        // The region is what is wrong, not the missing address.
        return provider.home(None);
    }
    home
}

fn check_keys(
    provider: Provider,
    document: &Document,
    spec: &UpstreamSpec,
    llm: &Spanned<LlmSpec>,
    problems: &mut Problems,
) {
    if llm.keys.is_empty() && provider.needs_key() && spec.endpoints.is_empty() {
        let variable = provider.key_variable().unwrap_or("API_KEY");
        problems.push(
            Problem::new(
                Code::MissingField,
                llm.at,
                "spec.llm.keys",
                format!("{} answers nobody without a key", provider.word()),
            )
            .hint(format!("write `keys: [{{ valueRef: env://{variable} }}]`")),
        );
    }
    // Loopback does not leave the machine.
    let is_far = |host: &str| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host != "localhost" && !host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let open = spec.endpoints.iter().find(|endpoint| !endpoint.url.tls && is_far(&endpoint.url.host));
    if let (Some(open), false) = (open, llm.keys.is_empty()) {
        problems.push(
            Problem::new(Code::FieldsClash, open.at, "spec.endpoints", "a key would travel in clear text")
                .also(document.name.at, "the upstream has keys")
                .hint("write `https://`, or leave the keys out"),
        );
    }
}

fn dialect(provider: Provider, llm: &LlmSpec, problems: &mut Problems) -> Dialect {
    match &llm.dialect {
        Some(dialect) if provider != Provider::DashScope => {
            let message = format!("{} has one dialect", provider.word());
            problems.push(Problem::new(Code::FieldsClash, dialect.at, "spec.llm.dialect", message));
            provider.dialect()
        }
        Some(dialect) if **dialect == LlmDialect::Native => Dialect::DashScope,
        _ => provider.dialect(),
    }
}

fn reference(
    index: &Index<'_>,
    document: &Document,
    key: &Spanned<LlmKey>,
    problems: &mut Problems,
) -> Option<Reference> {
    match (&key.value_ref, &key.secret_name) {
        (Some(reference), None) => Some(index.locate(document, reference)),
        (None, Some(name)) => {
            let document = index.find(Kind::Secret, name, "spec.llm.keys.secretName", problems)?;
            spec_of!(document, Secret).map(|secret| index.locate(document, &secret.value_ref))
        }
        _ => {
            let message = "a key needs `valueRef` or `secretName`, not both";
            problems.push(Problem::new(Code::NotExactlyOne, key.at, "spec.llm.keys", message));
            None
        }
    }
}

fn provider(word: LlmProvider) -> Provider {
    match word {
        LlmProvider::OpenAi => Provider::OpenAi,
        LlmProvider::Anthropic => Provider::Anthropic,
        LlmProvider::Gemini => Provider::Gemini,
        LlmProvider::Mistral => Provider::Mistral,
        LlmProvider::DashScope => Provider::DashScope,
        LlmProvider::DeepSeek => Provider::DeepSeek,
        LlmProvider::Groq => Provider::Groq,
        LlmProvider::OpenRouter => Provider::OpenRouter,
        LlmProvider::Ollama => Provider::Ollama,
        LlmProvider::Compatible => Provider::Compatible,
    }
}
