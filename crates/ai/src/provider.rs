//! The providers: what they speak, where they are, and where their key goes.

use crate::dialect::Dialect;

/// A provider, or a kind of server that people run themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// OpenAI.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Gemini by API key.
    Gemini,
    /// Mistral.
    Mistral,
    /// Alibaba's Model Studio: Tongyi Qianwen.
    DashScope,
    /// DeepSeek.
    DeepSeek,
    /// Groq.
    Groq,
    /// OpenRouter.
    OpenRouter,
    /// Ollama: Llama and others on one's own machine.
    Ollama,
    /// Any server of OpenAI's dialect: llama.cpp, vLLM, SGLang …
    Compatible,
}

/// All providers, for tables.
pub const PROVIDERS: [Provider; 10] = [
    Provider::OpenAi,
    Provider::Anthropic,
    Provider::Gemini,
    Provider::Mistral,
    Provider::DashScope,
    Provider::DeepSeek,
    Provider::Groq,
    Provider::OpenRouter,
    Provider::Ollama,
    Provider::Compatible,
];

/// Where a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Host name.
    pub host: &'static str,
    /// Port.
    pub port: u16,
    /// Whether over TLS.
    pub tls: bool,
}

impl Provider {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            Provider::OpenAi => "OpenAi",
            Provider::Anthropic => "Anthropic",
            Provider::Gemini => "Gemini",
            Provider::Mistral => "Mistral",
            Provider::DashScope => "DashScope",
            Provider::DeepSeek => "DeepSeek",
            Provider::Groq => "Groq",
            Provider::OpenRouter => "OpenRouter",
            Provider::Ollama => "Ollama",
            Provider::Compatible => "Compatible",
        }
    }

    /// What it speaks where documents do not say.
    pub fn dialect(self) -> Dialect {
        match self {
            Provider::OpenAi => Dialect::OpenAi,
            Provider::Anthropic => Dialect::Anthropic,
            Provider::Gemini => Dialect::Gemini,
            Provider::Mistral => Dialect::Mistral,
            Provider::DashScope => Dialect::DashScopeCompatible,
            Provider::Ollama => Dialect::Ollama,
            Provider::DeepSeek | Provider::Groq | Provider::OpenRouter | Provider::Compatible => {
                Dialect::Compatible
            }
        }
    }

    /// Where it is; `None` where documents must say, or do not know the region.
    pub fn home(self, region: Option<&str>) -> Option<Home> {
        let host = match (self, region) {
            (Provider::OpenAi, None) => "api.openai.com",
            (Provider::Anthropic, None) => "api.anthropic.com",
            (Provider::Gemini, None) => "generativelanguage.googleapis.com",
            (Provider::Mistral, None) => "api.mistral.ai",
            (Provider::DashScope, Some("cn")) => "dashscope.aliyuncs.com",
            (Provider::DashScope, None | Some("intl")) => "dashscope-intl.aliyuncs.com",
            (Provider::DashScope, Some("hk")) => "cn-hongkong.dashscope.aliyuncs.com",
            (Provider::DashScope, Some("us")) => "dashscope-us.aliyuncs.com",
            (Provider::DeepSeek, None) => "api.deepseek.com",
            (Provider::Groq, None) => "api.groq.com",
            (Provider::OpenRouter, None) => "openrouter.ai",
            (Provider::Ollama, None) => return Some(Home { host: "127.0.0.1", port: 11_434, tls: false }),
            _ => return None,
        };
        Some(Home { host, port: 443, tls: true })
    }

    /// The regions it can be in.
    pub fn regions(self) -> &'static [&'static str] {
        match self {
            Provider::DashScope => &["intl", "cn", "hk", "us"],
            _ => &[],
        }
    }

    /// What stands before the paths of a dialect.
    pub fn base_path(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Provider::DashScope, Dialect::DashScope) => "/api/v1",
            (Provider::DashScope, _) => "/compatible-mode/v1",
            (Provider::Groq, _) => "/openai/v1",
            (Provider::OpenRouter, _) => "/api/v1",
            (Provider::Anthropic | Provider::Gemini | Provider::DeepSeek, _)
            | (Provider::Ollama, Dialect::Ollama) => "",
            _ => "/v1",
        }
    }

    /// The header of its key, and the word before it.
    pub fn key_header(self) -> (&'static str, &'static str) {
        match self {
            Provider::Anthropic => ("x-api-key", ""),
            Provider::Gemini => ("x-goog-api-key", ""),
            _ => ("authorization", "Bearer "),
        }
    }

    /// Whether it answers nobody without a key.
    pub fn needs_key(self) -> bool {
        !matches!(self, Provider::Ollama | Provider::Compatible)
    }

    /// The environment variable in which people have its key.
    pub fn key_variable(self) -> Option<&'static str> {
        Some(match self {
            Provider::OpenAi => "OPENAI_API_KEY",
            Provider::Anthropic => "ANTHROPIC_API_KEY",
            Provider::Gemini => "GEMINI_API_KEY",
            Provider::Mistral => "MISTRAL_API_KEY",
            Provider::DashScope => "DASHSCOPE_API_KEY",
            Provider::DeepSeek => "DEEPSEEK_API_KEY",
            Provider::Groq => "GROQ_API_KEY",
            Provider::OpenRouter => "OPENROUTER_API_KEY",
            Provider::Ollama | Provider::Compatible => return None,
        })
    }

    /// Models that `demo` and `models add` publish by name; the operator adds others.
    pub fn usual_models(self) -> &'static [&'static str] {
        match self {
            Provider::OpenAi => &["gpt-4o-mini", "gpt-4.1"],
            Provider::Anthropic => &["claude-sonnet-4-6", "claude-haiku-4-5"],
            Provider::Gemini => &["gemini-2.5-flash", "gemini-2.5-pro"],
            Provider::Mistral => &["mistral-small-latest", "mistral-large-latest"],
            Provider::DashScope => &["qwen-plus", "qwen-turbo", "qwen-max"],
            Provider::DeepSeek => &["deepseek-v4-flash"],
            Provider::Groq => &["llama-3.3-70b-versatile"],
            Provider::OpenRouter | Provider::Ollama | Provider::Compatible => &[],
        }
    }
}
