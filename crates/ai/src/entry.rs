//! Entries: which paths a route to models serves, and what each asks for.
//!
//! OpenAI's chat and embeddings go to every provider; the native paths go, byte for byte, to providers that speak the
//! same dialect. What is not in this table is not served.

use crate::dialect::Dialect;

/// What a request to a route of models asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `GET /v1/models`.
    Models,
    /// `GET /v1/models/{id}`.
    Model(String),
    /// A provider's own path.
    Native(Native),
}

/// A provider's own path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Native {
    /// What it speaks.
    pub dialect: Dialect,
    /// The model, where the path names it; else the body does.
    pub model: Option<String>,
    /// The path at the provider, after its base, in two parts around the model of the path.
    pub path: (String, String),
}

impl Native {
    /// Whether its body may be a form with files instead of JSON.
    pub fn takes_forms(&self) -> bool {
        const PATHS: [&str; 4] =
            ["/audio/transcriptions", "/audio/translations", "/images/edits", "/images/variations"];
        self.dialect == Dialect::OpenAi && PATHS.contains(&self.path.0.as_str())
    }
}

impl Entry {
    /// The entry of a path, after what the route matched before it. `None`: no such entry.
    pub fn find(method: &str, path: &str) -> Option<Entry> {
        match (method, path) {
            ("POST", "/v1/chat/completions") => return Some(Entry::Chat),
            ("POST", "/v1/embeddings") => return Some(Entry::Embeddings),
            ("GET", "/v1/models") => return Some(Entry::Models),
            _ => {}
        }
        if method == "GET"
            && let Some(id) = path.strip_prefix("/v1/models/").filter(|id| !id.is_empty())
        {
            return Some(Entry::Model(id.to_owned()));
        }
        if method != "POST" {
            return None;
        }
        let native = |dialect, path: &str| {
            let path = (path.to_owned(), String::new());
            Some(Entry::Native(Native { dialect, model: None, path }))
        };
        match path {
            "/v1/messages" | "/v1/messages/count_tokens" => native(Dialect::Anthropic, path),
            "/v1/responses"
            | "/v1/completions"
            | "/v1/moderations"
            | "/v1/images/generations"
            | "/v1/images/edits"
            | "/v1/images/variations"
            | "/v1/audio/speech"
            | "/v1/audio/transcriptions"
            | "/v1/audio/translations" => native(Dialect::OpenAi, path.strip_prefix("/v1")?),
            _ => Entry::gemini(path).or_else(|| {
                let service = path.strip_prefix("/api/v1")?;
                let known = [
                    "/services/aigc/text-generation/generation",
                    "/services/aigc/multimodal-generation/generation",
                    "/services/embeddings/text-embedding/text-embedding",
                ];
                known.contains(&service).then(|| native(Dialect::DashScope, service)).flatten()
            }),
        }
    }

    /// `/v1/models/{model}:generateContent` and its like, in both versions that the clients use.
    fn gemini(path: &str) -> Option<Entry> {
        let version =
            ["/v1beta/models/", "/v1/models/"].into_iter().find(|version| path.starts_with(version))?;
        let (model, method) = path.strip_prefix(version)?.split_once(':')?;
        let known =
            ["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"];
        (known.contains(&method) && !model.is_empty()).then(|| {
            Entry::Native(Native {
                dialect: Dialect::Gemini,
                model: Some(model.to_owned()),
                path: (version.to_owned(), format!(":{method}")),
            })
        })
    }

    /// The word in records.
    pub fn operation(&self) -> &'static str {
        match self {
            Entry::Chat => "chat",
            Entry::Embeddings => "embeddings",
            Entry::Models | Entry::Model(_) => "models",
            Entry::Native(native) => native.dialect.name(),
        }
    }

    /// The dialect in which the caller understands errors.
    pub fn dialect(&self) -> Dialect {
        match self {
            Entry::Native(native) => native.dialect,
            _ => Dialect::OpenAi,
        }
    }
}

/// The path in OpenAI's form, whichever part of it the route's prefix has taken: a route at `/v1`, `/v1beta` or
/// `/api/v1` serves the same paths as one at `/`.
pub fn entry_path(path: &str, prefix_bytes: usize) -> String {
    let (prefix, rest) = path.split_at_checked(prefix_bytes).unwrap_or(("", path));
    let prefix = prefix.trim_end_matches('/');
    let rest = rest.trim_start_matches('/');
    let version = ["/api/v1", "/v1beta", "/v1"].into_iter().find(|version| prefix.ends_with(version));
    format!("{}/{rest}", version.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_every_client_are_entries_and_others_are_not() {
        let table = [
            ("POST", "/v1/chat/completions", Some("chat")),
            ("GET", "/v1/chat/completions", None),
            ("POST", "/v1/embeddings", Some("embeddings")),
            ("GET", "/v1/models", Some("models")),
            ("GET", "/v1/models/gpt-4o", Some("models")),
            ("DELETE", "/v1/models/gpt-4o", None),
            ("POST", "/v1/messages", Some("anthropic")),
            ("POST", "/v1/messages/count_tokens", Some("anthropic")),
            ("POST", "/v1/messages/batches", None),
            ("POST", "/v1/responses", Some("openai")),
            ("POST", "/v1/audio/transcriptions", Some("openai")),
            ("POST", "/v1/images/edits", Some("openai")),
            ("POST", "/v1/files", None),
            ("POST", "/v1beta/models/gemini-2.5-flash:generateContent", Some("gemini")),
            ("POST", "/v1/models/gemini-2.5-flash:streamGenerateContent", Some("gemini")),
            ("POST", "/v1beta/models/gemini-2.5-flash:predict", None),
            ("POST", "/v1beta/models/:generateContent", None),
            ("POST", "/api/v1/services/aigc/text-generation/generation", Some("dashscope")),
            ("POST", "/api/v1/services/other", None),
        ];
        for (method, path, want) in table {
            let have = Entry::find(method, path);
            assert_eq!(have.as_ref().map(Entry::operation), want, "{method} {path}");
        }
    }

    #[test]
    fn a_routes_prefix_may_end_in_the_version() {
        for (path, prefix, want) in [
            ("/v1/models", "", "/v1/models"),
            ("/ai/v1/models", "/ai", "/v1/models"),
            ("/ai/v1/models", "/ai/v1", "/v1/models"),
            ("/v1/models", "/v1", "/v1/models"),
            ("/x/api/v1/services/a", "/x/api/v1", "/api/v1/services/a"),
        ] {
            assert_eq!(entry_path(path, prefix.len()), want);
        }
    }
}
