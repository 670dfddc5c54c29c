//! What a provider is sent: its own words, its own key, and nothing of the caller's head but a few named headers.

use bartizan_ai::{
    Dialect, Outgoing, Refused, Target,
    json::{Json, Object},
};
use bartizan_config::snapshot::{LlmPlan, ModelTargetPlan, UpstreamPlan};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use crate::{
    body::RequestBody,
    stage::inspect::{Asking, What},
};

/// Headers that callers of native paths may send on. All others stay behind: they could choose an account, another
/// upstream or another body.
const NATIVE_HEADERS: [&str; 5] =
    ["accept", "anthropic-version", "anthropic-beta", "openai-beta", "x-dashscope-sse"];

/// Who is asked.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) target: &'a ModelTargetPlan,
    pub(super) plan: &'a UpstreamPlan,
    pub(super) llm: &'a LlmPlan,
}

/// A request, as far as it does not depend on the key.
pub(super) struct Asked {
    /// In the provider's words.
    pub(super) outgoing: Outgoing,
    /// What the answer will be in.
    pub(super) dialect: Dialect,
    /// Whether the answer passes untouched.
    pub(super) is_native: bool,
    /// What its body is: JSON, or the caller's own form with its boundary.
    content_type: HeaderValue,
}

/// The request in the target's dialect.
pub(super) fn outgoing(asking: &Asking, aim: Place<'_>) -> Result<Asked, Refused> {
    let target = Target {
        model: &aim.target.model,
        max_output: asking.model.max_output,
        version: aim.llm.version.as_deref(),
    };
    let dialect = aim.llm.dialect;
    let (outgoing, dialect, is_native) = match &asking.what {
        What::Chat(request) => (dialect.request(request, &target)?, dialect, false),
        What::Embeddings(request) => (request.outgoing(dialect, &target)?, dialect, false),
        What::Native { native, body, asked, form } => {
            if !aim.llm.speaks(native.dialect) {
                let message = format!(
                    "the model is served by a provider that does not speak {}: call /v1/chat/completions",
                    native.dialect.name()
                );
                return Err(Refused::of("model", message));
            }
            let (before, after) = &native.path;
            let path = match &native.model {
                // The model of the path is the caller's name of it; the provider's own takes its place.
                Some(_) => format!("{}{}{after}", version(before), aim.target.model),
                None => before.clone(),
            };
            let body = if native.model.is_none() && *asked != *aim.target.model {
                match form {
                    Some(form) => form.0.renamed(body, &aim.target.model),
                    None => renamed(body, &aim.target.model),
                }
            } else {
                body.to_vec()
            };
            (Outgoing { path, headers: Vec::new(), body, lost: Vec::new() }, native.dialect, true)
        }
    };
    let content_type = match &asking.what {
        What::Native { form: Some(form), .. } => form.1.clone(),
        _ => HeaderValue::from_static("application/json"),
    };
    Ok(Asked { outgoing, dialect, is_native, content_type })
}

/// Gemini's clients differ in the version they ask for; everything is in the later one.
fn version(before: &str) -> &str {
    if before == "/v1/models/" { "/v1beta/models/" } else { before }
}

fn renamed(body: &[u8], model: &str) -> Vec<u8> {
    match Json::read_strict(body) {
        Ok(Json::Object(mut object)) => {
            object.set("model", model);
            Json::from(object).to_bytes()
        }
        // It was read as an object before.
        _ => Json::from(Object::new()).to_bytes(),
    }
}

/// The request as it is sent.
pub(super) fn request(
    asked: &Asked,
    aim: Place<'_>,
    key: Option<(&HeaderName, &HeaderValue)>,
    from: &HeaderMap,
    stream: bool,
    query: Option<&str>,
) -> Option<Request<RequestBody>> {
    let base = aim.llm.base_path(asked.dialect);
    let mut path = format!("{base}{}", asked.outgoing.path);
    // One parameter of native paths decides the form of the answer; no other is sent on, keys least of all.
    if asked.is_native && query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse")) {
        path.push_str("?alt=sse");
    }
    let mut request = Request::new(RequestBody::Whole(Bytes::from(asked.outgoing.body.clone()).into()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    let headers = request.headers_mut();
    if asked.is_native {
        for name in NATIVE_HEADERS.map(HeaderName::from_static) {
            if let Some(value) = from.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        if asked.dialect == Dialect::Anthropic {
            let pinned = aim.llm.version.as_deref().and_then(|version| HeaderValue::from_str(version).ok());
            let name = HeaderName::from_static("anthropic-version");
            match pinned {
                Some(pinned) => drop(headers.insert(name, pinned)),
                None if headers.contains_key(&name) => {}
                None => {
                    let usual = HeaderValue::from_static(bartizan_ai::dialect::anthropic::VERSION);
                    headers.insert(name, usual);
                }
            }
        }
    } else {
        let accept = if stream { "text/event-stream" } else { "application/json" };
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    }
    for (name, value) in &asked.outgoing.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).ok()?);
    }
    headers.insert(header::CONTENT_TYPE, asked.content_type.clone());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(asked.outgoing.body.len()));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("bartizan"));
    headers.insert(header::HOST, host(aim.plan)?);
    if let Some((name, key)) = key {
        headers.insert(name.clone(), key.clone());
    }
    Some(request)
}

/// The provider's own host: the endpoint's, without a port that its scheme implies.
fn host(plan: &UpstreamPlan) -> Option<HeaderValue> {
    let authority = &plan.endpoints.first()?.authority;
    let usual = if plan.tls.is_some() { ":443" } else { ":80" };
    HeaderValue::from_str(authority.strip_suffix(usual).unwrap_or(authority)).ok()
}
