//! OpenAI's chat request becomes a [`Chat`].

use serde_json::Number;

use super::{
    Chat, Effort, Format, MESSAGES_MAX, Refused, Request, TOOLS_MAX, Tool, ToolChoice,
    fate::{STEERING, asks},
    message,
};
use crate::json::{Json, Object};

/// Longest name of a field that is told back to a caller.
const NAME_BYTES_MAX: usize = 64;

impl Request {
    /// Reads a body. What is wrong with it is told in one sentence.
    pub fn read(body: &[u8]) -> Result<Request, Refused> {
        let json = Json::read_strict(body)
            .map_err(|error| Refused::of("", format!("the body is not JSON: {error}")))?;
        let Json::Object(object) = json else { return Err(Refused::of("", "the body is not an object")) };
        if let Some((name, _)) =
            object.iter().find(|(name, value)| STEERING.contains(name) && !value.is_null())
        {
            return Err(Refused::of(name, format!("`{name}` is not the caller's to choose")));
        }
        let chat = read(&object)?;
        Ok(Request { object, chat })
    }
}

fn read(object: &Object) -> Result<Chat, Refused> {
    let field = |name: &str| object.get(name).unwrap_or(&Json::Null);
    let model = field("model").words().ok_or_else(|| Refused::of("model", "`model` names a model"))?;
    let Json::List(messages) = field("messages") else {
        return Err(Refused::of("messages", "`messages` is a list"));
    };
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        return Err(Refused::of("messages", format!("`messages` holds 1 to {MESSAGES_MAX} messages")));
    }
    let stream_options = field("stream_options");
    Ok(Chat {
        model: model.to_owned(),
        messages: messages.iter().map(message::read).collect::<Result<_, _>>()?,
        tools: tools(field("tools"))?,
        tool_choice: tool_choice(field("tool_choice"))?,
        parallel_calls: flag(object, "parallel_tool_calls")?,
        max_output: match count(object, "max_completion_tokens")? {
            Some(max) => Some(max),
            None => count(object, "max_tokens")?,
        },
        temperature: number(object, "temperature")?,
        top_p: number(object, "top_p")?,
        seed: number(object, "seed")?,
        presence_penalty: number(object, "presence_penalty")?,
        frequency_penalty: number(object, "frequency_penalty")?,
        stop: stop(field("stop"))?,
        count: count(object, "n")?.unwrap_or(1),
        format: format(field("response_format"))?,
        effort: effort(field("reasoning_effort"))?,
        stream: flag(object, "stream")?.unwrap_or(false),
        include_usage: stream_options.get("include_usage").bool().unwrap_or(false),
        asked: object.iter().filter(|(name, value)| asks(name, value)).map(|(name, _)| told(name)).collect(),
    })
}

/// A field's name as it is told: nothing that could break a header.
fn told(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.len() <= NAME_BYTES_MAX && !name.is_empty() && name.bytes().all(plain) {
        name.to_owned()
    } else {
        "unknown".to_owned()
    }
}

fn wrong(name: &str, is: &str) -> Refused {
    Refused::of(name, format!("`{name}` is {is}"))
}

fn flag(object: &Object, name: &str) -> Result<Option<bool>, Refused> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(wrong(name, "true or false")),
    }
}

fn count(object: &Object, name: &str) -> Result<Option<u64>, Refused> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => match value.count() {
            Some(count) if count > 0 => Ok(Some(count)),
            _ => Err(wrong(name, "a whole number above zero")),
        },
    }
}

fn number(object: &Object, name: &str) -> Result<Option<Number>, Refused> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Number(number)) => Ok(Some(number.clone())),
        Some(_) => Err(wrong(name, "a number")),
    }
}

fn stop(value: &Json) -> Result<Vec<String>, Refused> {
    let text = |value: &Json| {
        value.text().map(str::to_owned).ok_or_else(|| wrong("stop", "a text or a list of texts"))
    };
    match value {
        Json::Null => Ok(Vec::new()),
        Json::List(list) => list.iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}

fn tools(value: &Json) -> Result<Vec<Tool>, Refused> {
    if value.list().len() > TOOLS_MAX {
        return Err(Refused::of("tools", format!("`tools` holds at most {TOOLS_MAX} tools")));
    }
    match value {
        Json::Null => Ok(Vec::new()),
        Json::List(list) => list.iter().map(tool).collect(),
        _ => Err(wrong("tools", "a list")),
    }
}

fn tool(value: &Json) -> Result<Tool, Refused> {
    let function = value.get("function");
    if value.get("type").text().is_some_and(|kind| kind != "function") || function.object().is_none() {
        return Err(Refused::of("tools", "a tool is `{\"type\":\"function\",\"function\":{…}}`"));
    }
    let name = function.get("name").words().ok_or_else(|| Refused::of("tools", "a tool has a name"))?;
    Ok(Tool {
        name: name.to_owned(),
        description: function.get("description").words().map(str::to_owned),
        parameters: function.get("parameters").object().map(|schema| Json::Object(schema.clone())),
        strict: function.get("strict").bool().unwrap_or(false),
    })
}

fn tool_choice(value: &Json) -> Result<Option<ToolChoice>, Refused> {
    let unknown = || Refused::of("tool_choice", "`tool_choice` is none, auto, required or names a function");
    match value {
        Json::Null => Ok(None),
        Json::Text(word) => match word.as_str() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::Never)),
            "required" | "any" => Ok(Some(ToolChoice::Required)),
            _ => Err(unknown()),
        },
        value => {
            let name = value.get("function").get("name").words().ok_or_else(unknown)?;
            Ok(Some(ToolChoice::Named(name.to_owned())))
        }
    }
}

fn format(value: &Json) -> Result<Format, Refused> {
    if value.is_null() {
        return Ok(Format::Text);
    }
    match value.get("type").text() {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Json),
        Some("json_schema") => {
            let schema = value.get("json_schema");
            let body = schema.get("schema");
            if body.object().is_none() {
                return Err(Refused::of("response_format", "`json_schema` has a `schema`"));
            }
            Ok(Format::Schema {
                name: schema.get("name").text().unwrap_or("answer").to_owned(),
                schema: body.clone(),
                strict: schema.get("strict").bool(),
            })
        }
        _ => Err(Refused::of("response_format", "`response_format` is text, json_object or json_schema")),
    }
}

fn effort(value: &Json) -> Result<Option<Effort>, Refused> {
    let effort = match value {
        Json::Null => return Ok(None),
        value => match value.text() {
            Some("none") => Effort::None,
            Some("minimal") => Effort::Minimal,
            Some("low") => Effort::Low,
            Some("medium") => Effort::Medium,
            Some("high") => Effort::High,
            Some("xhigh") => Effort::Extra,
            Some("max") => Effort::Max,
            _ => return Err(wrong("reasoning_effort", "none, minimal, low, medium, high, xhigh or max")),
        },
    };
    Ok(Some(effort))
}
