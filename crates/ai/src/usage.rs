//! What a call used, by class of token, in one meaning for all providers.
//!
//! Providers count differently: OpenAI's input includes what came from a cache, Anthropic's does not, Gemini's output
//! leaves the thoughts out. Here `input` and `output` are always totals and the other counts are shares of them.
//! Present and zero is not absent: an explicit zero is never replaced by an estimate.

use crate::json::{Json, Object};

/// Where the numbers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The provider's own numbers for the whole call.
    #[default]
    Provider,
    /// The provider gave none: estimated from the bytes.
    Estimated,
    /// The call was cut off: what had been counted or delivered until then.
    Partial,
}

impl Source {
    /// The word in records.
    pub fn word(self) -> &'static str {
        match self {
            Source::Provider => "provider",
            Source::Estimated => "estimated",
            Source::Partial => "partial",
        }
    }
}

/// Tokens by class. Absent is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input tokens, those from and into caches included.
    pub input: Option<u64>,
    /// Share of the input that was read from the provider's cache.
    pub cached: Option<u64>,
    /// Share of the input that was written to the provider's cache, for whatever time.
    pub cache_write: Option<u64>,
    /// Share of `cache_write` that is kept for an hour or longer, which costs more.
    pub cache_write_long: Option<u64>,
    /// Share of the input that is sound.
    pub audio_input: Option<u64>,
    /// All output tokens, reasoning included.
    pub output: Option<u64>,
    /// Share of the output that is reasoning.
    pub reasoning: Option<u64>,
    /// Share of the output that is sound.
    pub audio_output: Option<u64>,
    /// The provider's own total, where it gives one; legitimately not the sum for sound.
    pub total: Option<u64>,
    /// Where the numbers come from.
    pub source: Source,
}

impl Usage {
    /// The total to be told: the provider's, else the sum.
    pub fn total(&self) -> u64 {
        let sum = self.input.unwrap_or(0).saturating_add(self.output.unwrap_or(0));
        self.total.unwrap_or(sum)
    }

    /// Takes the later report; what it does not tell stays as it was told before.
    #[must_use]
    pub fn then(self, later: Usage) -> Usage {
        Usage {
            input: later.input.or(self.input),
            cached: later.cached.or(self.cached),
            cache_write: later.cache_write.or(self.cache_write),
            cache_write_long: later.cache_write_long.or(self.cache_write_long),
            audio_input: later.audio_input.or(self.audio_input),
            output: later.output.or(self.output),
            reasoning: later.reasoning.or(self.reasoning),
            audio_output: later.audio_output.or(self.audio_output),
            total: later.total.or(self.total),
            source: later.source,
        }
    }

    /// OpenAI's chat shape, also of Mistral, DeepSeek, Groq, OpenRouter and the many that speak it.
    pub fn openai_chat(usage: &Json) -> Option<Usage> {
        usage.object()?;
        let prompt = usage.get("prompt_tokens_details");
        let completion = usage.get("completion_tokens_details");
        let first = |values: [&Json; 3]| values.into_iter().find_map(Json::count);
        Some(Usage {
            input: usage.get("prompt_tokens").count(),
            cached: first([
                prompt.get("cached_tokens"),
                usage.get("num_cached_tokens"),
                usage.get("prompt_cache_hit_tokens"),
            ]),
            cache_write: prompt.get("cache_write_tokens").count(),
            cache_write_long: None,
            audio_input: prompt.get("audio_tokens").count(),
            output: usage.get("completion_tokens").count(),
            reasoning: completion.get("reasoning_tokens").count(),
            audio_output: completion.get("audio_tokens").count(),
            total: usage.get("total_tokens").count(),
            source: Source::Provider,
        })
    }

    /// OpenAI's Responses shape.
    pub fn openai_responses(usage: &Json) -> Option<Usage> {
        usage.object()?;
        let input = usage.get("input_tokens_details");
        Some(Usage {
            input: usage.get("input_tokens").count(),
            cached: input.get("cached_tokens").count(),
            cache_write: input.get("cache_write_tokens").count(),
            cache_write_long: input.get("cache_write_tokens_details").get("ttl_12h_tokens").count(),
            output: usage.get("output_tokens").count(),
            reasoning: usage.get("output_tokens_details").get("reasoning_tokens").count(),
            total: usage.get("total_tokens").count(),
            ..Usage::default()
        })
    }

    /// Anthropic's shape: its input leaves the caches out, so they are added.
    pub fn anthropic(usage: &Json) -> Option<Usage> {
        usage.object()?;
        let cached = usage.get("cache_read_input_tokens").count();
        let write = usage.get("cache_creation_input_tokens").count();
        let add = |fresh: u64| fresh.saturating_add(cached.unwrap_or(0)).saturating_add(write.unwrap_or(0));
        Some(Usage {
            input: usage.get("input_tokens").count().map(add),
            cached,
            cache_write: write,
            cache_write_long: usage.get("cache_creation").get("ephemeral_1h_input_tokens").count(),
            output: usage.get("output_tokens").count(),
            reasoning: usage.get("output_tokens_details").get("thinking_tokens").count(),
            ..Usage::default()
        })
    }

    /// Gemini's shape: its candidates leave the thoughts out, so they are added; a count of zero is left away.
    pub fn gemini(usage: &Json) -> Option<Usage> {
        usage.object()?;
        let count = |name: &str| usage.get(name).count();
        let prompt = count("promptTokenCount");
        let tool_use = count("toolUsePromptTokenCount");
        let thoughts = count("thoughtsTokenCount");
        let candidates = count("candidatesTokenCount");
        let sound = |name: &str| {
            let of = |part: &&Json| part.get("modality").text() == Some("AUDIO");
            usage.get(name).list().iter().find(of).and_then(|part| part.get("tokenCount").count())
        };
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        };
        // Absent output beside a prompt is a zero: the field is left away then.
        let output = sum(candidates, thoughts).or(prompt.map(|_| 0));
        Some(Usage {
            input: sum(prompt, tool_use),
            cached: count("cachedContentTokenCount"),
            audio_input: sound("promptTokensDetails"),
            output,
            reasoning: thoughts,
            audio_output: sound("candidatesTokensDetails"),
            total: count("totalTokenCount"),
            ..Usage::default()
        })
    }

    /// Ollama's shape: the counts stand in the last line itself.
    pub fn ollama(line: &Json) -> Option<Usage> {
        let input = line.get("prompt_eval_count").count();
        let output = line.get("eval_count").count();
        (input.is_some() || output.is_some()).then(|| Usage { input, output, ..Usage::default() })
    }

    /// DashScope's native shape.
    pub fn dashscope(usage: &Json) -> Option<Usage> {
        usage.object()?;
        let cached = |name: &str| usage.get(name).get("cached_tokens").count();
        Some(Usage {
            input: usage.get("input_tokens").count(),
            cached: cached("input_tokens_details").or_else(|| cached("prompt_tokens_details")),
            output: usage.get("output_tokens").count(),
            reasoning: usage.get("output_tokens_details").get("reasoning_tokens").count(),
            total: usage.get("total_tokens").count(),
            ..Usage::default()
        })
    }

    /// The usage as OpenAI's chat shape tells it.
    pub fn to_openai(&self) -> Json {
        let mut usage = Object::new()
            .with("prompt_tokens", self.input.unwrap_or(0))
            .with("completion_tokens", self.output.unwrap_or(0))
            .with("total_tokens", self.total());
        let prompt = Object::new()
            .with_some("cached_tokens", self.cached)
            .with_some("cache_write_tokens", self.cache_write)
            .with_some("audio_tokens", self.audio_input);
        let completion = Object::new()
            .with_some("reasoning_tokens", self.reasoning)
            .with_some("audio_tokens", self.audio_output);
        if !prompt.is_empty() {
            usage.set("prompt_tokens_details", prompt);
        }
        if !completion.is_empty() {
            usage.set("completion_tokens_details", completion);
        }
        usage.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Reader = fn(&Json) -> Option<Usage>;

    #[test]
    fn every_providers_counts_mean_the_same_afterwards() {
        // reader, text, input, cached, write, output, reasoning, total
        let table: [(Reader, &str, [Option<u64>; 5], u64); 9] = [
            (
                Usage::openai_chat,
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":2},"completion_tokens_details":{"reasoning_tokens":3}}"#,
                [Some(10), Some(0), Some(2), Some(5), Some(3)],
                15,
            ),
            (
                Usage::openai_chat,
                r#"{"prompt_tokens":7,"completion_tokens":0,"prompt_cache_hit_tokens":4}"#,
                [Some(7), Some(4), None, Some(0), None],
                7,
            ),
            (
                Usage::openai_responses,
                r#"{"input_tokens":9,"output_tokens":1,"input_tokens_details":{"cached_tokens":8},"total_tokens":10}"#,
                [Some(9), Some(8), None, Some(1), None],
                10,
            ),
            (
                Usage::anthropic,
                r#"{"input_tokens":3,"cache_read_input_tokens":100,"cache_creation_input_tokens":20,"output_tokens":7,"output_tokens_details":{"thinking_tokens":2}}"#,
                [Some(123), Some(100), Some(20), Some(7), Some(2)],
                130,
            ),
            (
                Usage::gemini,
                r#"{"promptTokenCount":10,"toolUsePromptTokenCount":5,"cachedContentTokenCount":4,"candidatesTokenCount":6,"thoughtsTokenCount":9,"totalTokenCount":30}"#,
                [Some(15), Some(4), None, Some(15), Some(9)],
                30,
            ),
            (
                Usage::gemini,
                r#"{"promptTokenCount":10,"totalTokenCount":10}"#,
                [Some(10), None, None, Some(0), None],
                10,
            ),
            (Usage::ollama, r#"{"done":true,"eval_count":4}"#, [None, None, None, Some(4), None], 4),
            (
                Usage::dashscope,
                r#"{"input_tokens":8,"output_tokens":2,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":1}}"#,
                [Some(8), Some(1), None, Some(2), None],
                10,
            ),
            (
                Usage::openai_chat,
                r#"{"prompt_tokens":5,"completion_tokens":5,"total_tokens":400}"#,
                [Some(5), None, None, Some(5), None],
                400,
            ),
        ];
        for (reader, text, want, total) in table {
            let usage = reader(&Json::read(text.as_bytes()).unwrap()).unwrap();
            let have = [usage.input, usage.cached, usage.cache_write, usage.output, usage.reasoning];
            assert_eq!(have, want, "{text}");
            assert_eq!(usage.total(), total, "{text}");
        }
        assert_eq!(Usage::openai_chat(&Json::Null), None);
        assert_eq!(Usage::ollama(&Json::Object(Object::new())), None);
    }
}
