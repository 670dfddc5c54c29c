//! Embeddings: OpenAI's request to each provider, and the vectors back.
//!
//! OpenAI's Python client asks for base64 without being told to, so the gateway writes both forms itself and asks
//! providers for numbers.

use super::{Dialect, Outgoing, Target, gemini};
use crate::{
    chat::Refused,
    failure::Failure,
    json::{Json, Object},
    openai::Public,
    usage::Usage,
};

/// Texts in one request.
const INPUTS_MAX: usize = 2048;

/// A caller's request for embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedRequest {
    /// The public name of the model.
    pub model: String,
    /// The caller's own object.
    object: Object,
    /// The texts; empty where the caller sent tokens, which only OpenAI-like providers take.
    pub texts: Vec<String>,
    dimensions: Option<u64>,
    base64: bool,
}

/// Vectors as a provider gave them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embedding {
    vectors: Vec<Json>,
    /// What the provider said the call used.
    pub usage: Option<Usage>,
}

impl EmbedRequest {
    /// Reads a body.
    pub fn read(body: &[u8]) -> Result<EmbedRequest, Refused> {
        let json = Json::read_strict(body)
            .map_err(|error| Refused::of("", format!("the body is not JSON: {error}")))?;
        let Json::Object(object) = json else { return Err(Refused::of("", "the body is not an object")) };
        let steering = |name: &str| crate::chat::fate::STEERING.contains(&name);
        if let Some((name, _)) = object.iter().find(|(name, value)| steering(name) && !value.is_null()) {
            return Err(Refused::of(name, format!("`{name}` is not the caller's to choose")));
        }
        let field = |name: &str| object.get(name).unwrap_or(&Json::Null);
        let model =
            field("model").words().ok_or_else(|| Refused::of("model", "`model` names a model"))?.to_owned();
        let wrong = || Refused::of("input", "`input` is a text, a list of texts, or tokens");
        let texts = match field("input") {
            Json::Text(text) => vec![text.clone()],
            Json::List(list) if list.is_empty() || list.len() > INPUTS_MAX => {
                return Err(Refused::of("input", format!("`input` holds 1 to {INPUTS_MAX} texts")));
            }
            Json::List(list) if list.iter().all(|item| item.text().is_some()) => {
                list.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
            }
            Json::List(list) if list.iter().all(|item| matches!(item, Json::Number(_) | Json::List(_))) => {
                Vec::new()
            }
            _ => return Err(wrong()),
        };
        let base64 = match field("encoding_format") {
            Json::Null => false,
            word => match word.text() {
                Some("float") => false,
                Some("base64") => true,
                _ => return Err(Refused::of("encoding_format", "`encoding_format` is float or base64")),
            },
        };
        let dimensions =
            match field("dimensions") {
                Json::Null => None,
                value => {
                    let count = value.count().filter(|count| *count > 0);
                    Some(count.ok_or_else(|| {
                        Refused::of("dimensions", "`dimensions` is a whole number above zero")
                    })?)
                }
            };
        Ok(EmbedRequest { model, texts, dimensions, base64, object })
    }

    /// Writes the request for a provider.
    pub fn outgoing(&self, dialect: Dialect, target: &Target<'_>) -> Result<Outgoing, Refused> {
        if self.texts.is_empty() && !dialect.is_openai_like() {
            return Err(Refused::of(
                "input",
                "tokens are taken by providers of OpenAI's dialect only: send text",
            ));
        }
        let mut lost = Vec::new();
        if !dialect.is_openai_like() && self.object.get("user").is_some_and(|user| !user.is_idle()) {
            lost.push("user".to_owned());
        }
        let (path, body) = match dialect {
            Dialect::OpenAi | Dialect::Compatible | Dialect::Mistral | Dialect::DashScopeCompatible => {
                let mut object = self.object.clone();
                object.set("model", target.model);
                if dialect == Dialect::Mistral {
                    // Mistral's own word, and 422 for those it does not know.
                    object.retain(|name, _| matches!(name, "model" | "input"));
                    if let Some(dimensions) = self.dimensions {
                        object.set("output_dimension", dimensions);
                    }
                } else {
                    object.set("encoding_format", "float");
                }
                ("/embeddings".to_owned(), object)
            }
            Dialect::Anthropic => return Err(Refused::of("model", "anthropic has no embeddings")),
            Dialect::Gemini => {
                let name = format!("models/{}", gemini::model(target.model)?);
                let one = |text: &String| {
                    let parts: Vec<Json> = vec![Object::new().with("text", text.as_str()).into()];
                    let content = Object::new().with("parts", parts);
                    let one = Object::new().with("model", name.as_str()).with("content", content);
                    Json::from(one.with_some("outputDimensionality", self.dimensions))
                };
                let requests: Vec<Json> = self.texts.iter().map(one).collect();
                (format!("/v1beta/{name}:batchEmbedContents"), Object::new().with("requests", requests))
            }
            Dialect::Ollama => {
                let body = Object::new().with("model", target.model).with("input", self.inputs());
                ("/api/embed".to_owned(), body.with_some("dimensions", self.dimensions))
            }
            Dialect::DashScope => {
                let parameters = Object::new().with_some("dimension", self.dimensions);
                let body = Object::new()
                    .with("model", target.model)
                    .with("input", Object::new().with("texts", self.inputs()))
                    .with("parameters", parameters);
                ("/services/embeddings/text-embedding/text-embedding".to_owned(), body)
            }
        };
        Ok(Outgoing { path, headers: Vec::new(), body: Json::from(body).to_bytes(), lost })
    }

    /// The body for the caller.
    pub fn to_openai(&self, embedding: &Embedding, public: &Public) -> Json {
        let one = |(index, vector): (usize, &Json)| {
            let vector = if self.base64 { base64(vector).into() } else { vector.clone() };
            let one = Object::new().with("object", "embedding").with("index", index as u64);
            Json::from(one.with("embedding", vector))
        };
        let data: Vec<Json> = embedding.vectors.iter().enumerate().map(one).collect();
        let usage = embedding.usage.unwrap_or_default();
        let input = usage.input.unwrap_or(0);
        Object::new()
            .with("object", "list")
            // Mistral's client wants an id where OpenAI has none.
            .with("id", public.id.as_str())
            .with("data", data)
            .with("model", public.model.as_str())
            .with("usage", Object::new().with("prompt_tokens", input).with("total_tokens", usage.total()))
            .into()
    }

    fn inputs(&self) -> Vec<Json> {
        self.texts.iter().map(|text| text.as_str().into()).collect()
    }
}

/// Reads a provider's vectors from an answer with status 200.
pub fn embeddings(dialect: Dialect, body: &[u8]) -> Result<Embedding, Failure> {
    let body = Json::read(body).map_err(|_| Failure::broken("the provider's answer is not JSON"))?;
    if !body.get("error").is_null() || body.get("code").words().is_some() {
        return Err(Failure::from_json(0, &body));
    }
    let (mut vectors, usage): (Vec<(u64, Json)>, _) = match dialect {
        Dialect::Gemini => {
            let usage = Usage::gemini(body.get("usageMetadata"));
            (numbered(body.get("embeddings"), "values", ""), usage)
        }
        Dialect::Ollama => {
            let list = body.get("embeddings").list();
            ((0_u64..).zip(list.iter().cloned()).collect(), Usage::ollama(&body))
        }
        Dialect::DashScope => {
            let usage = body.get("usage");
            let total = usage.get("total_tokens").count();
            let usage =
                Usage { input: usage.get("input_tokens").count().or(total), total, ..Usage::default() };
            (numbered(body.get("output").get("embeddings"), "embedding", "text_index"), Some(usage))
        }
        _ => (numbered(body.get("data"), "embedding", "index"), Usage::openai_chat(body.get("usage"))),
    };
    vectors.sort_by_key(|(index, _)| *index);
    let vectors: Vec<Json> = vectors.into_iter().map(|(_, vector)| vector).collect();
    let sound = |vector: &Json| {
        !vector.list().is_empty() && vector.list().iter().all(|value| matches!(value, Json::Number(_)))
    };
    if vectors.is_empty() || !vectors.iter().all(sound) {
        return Err(Failure::broken("the provider's answer holds no vectors"));
    }
    Ok(Embedding { vectors, usage: usage.map(|usage| Usage { output: Some(0), ..usage }) })
}

fn numbered(list: &Json, vector: &str, index: &str) -> Vec<(u64, Json)> {
    let list = (0_u64..).zip(list.list());
    list.map(|(at, item)| (item.get(index).count().unwrap_or(at), item.get(vector).clone())).collect()
}

/// Little-endian 32-bit floats in base64, as OpenAI's clients decode them.
fn base64(vector: &Json) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    #[expect(clippy::cast_possible_truncation, reason = "OpenAI's form has 32 bits")]
    let bytes: Vec<u8> =
        vector.list().iter().flat_map(|value| (value.float().unwrap_or(0.0) as f32).to_le_bytes()).collect();
    let letter = |bits: u32| ALPHABET.get((bits & 63) as usize).copied().map_or('=', char::from);
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4_usize {
            let shift = 18 - 6 * at;
            out.push(if at <= three.len() { letter(bits >> shift) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public() -> Public {
        Public { id: "e-1".into(), model: "public".into(), created: 0, include_usage: false }
    }

    #[test]
    fn every_provider_is_asked_in_its_own_words_and_answers_in_openais() {
        let request = EmbedRequest::read(
            br#"{"model":"m","input":["a","b"],"dimensions":2,"encoding_format":"base64"}"#,
        )
        .unwrap();
        let target = Target { model: "e5", max_output: None, version: None };
        let table: [(Dialect, &str, &str, &str, u64); 5] = [
            (
                Dialect::OpenAi,
                "/embeddings",
                r#"{"model":"e5","input":["a","b"],"dimensions":2,"encoding_format":"float"}"#,
                r#"{"data":[{"index":1,"embedding":[0.5,1]},{"index":0,"embedding":[1,2]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#,
                3,
            ),
            (
                Dialect::Mistral,
                "/embeddings",
                r#"{"model":"e5","input":["a","b"],"output_dimension":2}"#,
                r#"{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[0.5,1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#,
                3,
            ),
            (
                Dialect::Gemini,
                "/v1beta/models/e5:batchEmbedContents",
                r#"{"requests":[{"model":"models/e5","content":{"parts":[{"text":"a"}]},"outputDimensionality":2},{"model":"models/e5","content":{"parts":[{"text":"b"}]},"outputDimensionality":2}]}"#,
                r#"{"embeddings":[{"values":[1,2]},{"values":[0.5,1]}]}"#,
                0,
            ),
            (
                Dialect::Ollama,
                "/api/embed",
                r#"{"model":"e5","input":["a","b"],"dimensions":2}"#,
                r#"{"embeddings":[[1,2],[0.5,1]],"prompt_eval_count":3}"#,
                3,
            ),
            (
                Dialect::DashScope,
                "/services/embeddings/text-embedding/text-embedding",
                r#"{"model":"e5","input":{"texts":["a","b"]},"parameters":{"dimension":2}}"#,
                r#"{"output":{"embeddings":[{"text_index":1,"embedding":[0.5,1]},{"text_index":0,"embedding":[1,2]}]},"usage":{"total_tokens":3}}"#,
                3,
            ),
        ];
        for (dialect, path, body, answer, tokens) in table {
            let outgoing = request.outgoing(dialect, &target).unwrap();
            assert_eq!(outgoing.path, path);
            assert_eq!(String::from_utf8(outgoing.body).unwrap(), body, "{dialect:?}");
            let answer = request.to_openai(&embeddings(dialect, answer.as_bytes()).unwrap(), &public());
            let data = answer.get("data").list();
            assert_eq!(data[0].get("embedding").text(), Some("AACAPwAAAEA="), "{dialect:?}");
            assert_eq!(data[1].get("embedding").text(), Some("AAAAPwAAgD8="), "{dialect:?}");
            assert_eq!(answer.get("usage").get("prompt_tokens").count(), Some(tokens));
        }
        assert!(request.outgoing(Dialect::Anthropic, &target).is_err());
    }

    #[test]
    fn tokens_go_to_openai_like_providers_only() {
        let request = EmbedRequest::read(br#"{"model":"m","input":[[1,2],[3]]}"#).unwrap();
        let target = Target { model: "e5", max_output: None, version: None };
        assert!(request.outgoing(Dialect::OpenAi, &target).is_ok());
        assert!(request.outgoing(Dialect::Ollama, &target).is_err());
    }

    #[test]
    fn an_answer_without_vectors_is_broken_and_an_error_is_told() {
        assert!(embeddings(Dialect::OpenAi, br#"{"data":[]}"#).is_err());
        assert!(embeddings(Dialect::OpenAi, br#"{"data":[{"embedding":["x"]}]}"#).is_err());
        let failure =
            embeddings(Dialect::DashScope, br#"{"code":"InvalidApiKey","message":"x"}"#).unwrap_err();
        assert_eq!(failure.class, crate::failure::Class::Key);
    }
}
