//! One message of OpenAI's dialect.

use super::{Message, Part, Refused, Role, Source};
use crate::json::Json;

pub(super) fn read(value: &Json) -> Result<Message, Refused> {
    let role = match value.get("role").text() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        Some("function") => return Err(refused("messages of the role `function` are long gone: use `tool`")),
        _ => return Err(refused("a message has one of the roles system, developer, user, assistant, tool")),
    };
    let content = content(value.get("content"))?;
    let parts = match role {
        Role::Assistant => assistant(value, content)?,
        Role::Tool => {
            let call = value.get("tool_call_id").words();
            let call = call.ok_or_else(|| refused("a message of a tool has a `tool_call_id`"))?;
            vec![Part::Result { call: call.to_owned(), parts: content }]
        }
        Role::System | Role::User => content,
    };
    Ok(Message { role, parts, name: value.get("name").words().map(str::to_owned) })
}

fn refused(message: &str) -> Refused {
    Refused::of("messages", message)
}

fn content(value: &Json) -> Result<Vec<Part>, Refused> {
    match value {
        Json::Null => Ok(Vec::new()),
        Json::Text(text) => Ok(vec![Part::Text(text.clone())]),
        Json::List(list) => list.iter().map(part).collect(),
        _ => Err(refused("the content of a message is a text or a list of parts")),
    }
}

fn part(value: &Json) -> Result<Part, Refused> {
    let need = |value: &Json, what: &str| {
        value.text().map(str::to_owned).ok_or_else(|| refused(&format!("a part of this type has {what}")))
    };
    match value.get("type").text() {
        Some("text") => Ok(Part::Text(need(value.get("text"), "a `text`")?)),
        // A refusal that comes back in the history is what the assistant said.
        Some("refusal") => Ok(Part::Text(need(value.get("refusal"), "a `refusal`")?)),
        Some("image_url") => {
            let image = value.get("image_url");
            // Some clients write the address without its object.
            let url = image
                .text()
                .map(str::to_owned)
                .map_or_else(|| need(image.get("url"), "an `image_url.url`"), Ok)?;
            Ok(Part::Image { source: source(&url)?, detail: image.get("detail").words().map(str::to_owned) })
        }
        Some("input_audio") => {
            let audio = value.get("input_audio");
            Ok(Part::Audio {
                data: need(audio.get("data"), "an `input_audio.data`")?,
                format: need(audio.get("format"), "an `input_audio.format`")?,
            })
        }
        Some("file") => {
            let file = value.get("file");
            let source = match (file.get("file_data").text(), file.get("file_id").words()) {
                (Some(data), _) => source(data)?,
                (None, Some(id)) => Source::Id(id.to_owned()),
                (None, None) => return Err(refused("a file has `file_data` or a `file_id`")),
            };
            Ok(Part::File { name: file.get("filename").words().map(str::to_owned), source })
        }
        _ => Err(refused("a part has one of the types text, image_url, input_audio, file, refusal")),
    }
}

/// A data URI or an address.
fn source(url: &str) -> Result<Source, Refused> {
    let Some(rest) = url.strip_prefix("data:") else { return Ok(Source::Url(url.to_owned())) };
    let (head, data) =
        rest.split_once(',').ok_or_else(|| refused("a data URI has a comma before its data"))?;
    let media = head
        .strip_suffix(";base64")
        .ok_or_else(|| refused("the data of a data URI is in base64: `data:image/png;base64,…`"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/+-.;=".contains(&byte);
    if !media.contains('/') || !media.bytes().all(plain) {
        return Err(refused("a data URI has a media type"));
    }
    Ok(Source::Inline { media: media.to_owned(), data: data.to_owned() })
}

/// What an assistant said before: thoughts, words, calls, in the order in which providers want them back.
fn assistant(value: &Json, content: Vec<Part>) -> Result<Vec<Part>, Refused> {
    let mut parts = Vec::new();
    if let Some(owners) = value.get("extra_content").object() {
        for (owner, lists) in owners.iter() {
            for (list, blocks) in lists.object().into_iter().flat_map(|lists| lists.iter()) {
                let (owner, list) = (owner.to_owned(), list.to_owned());
                let thought = |block: &Json| Part::Thought {
                    owner: owner.clone(),
                    list: list.clone(),
                    block: block.clone(),
                };
                parts.extend(blocks.list().iter().map(thought));
            }
        }
    }
    let reasoning = value.get("reasoning_content").words().or(value.get("reasoning").words());
    parts.extend(reasoning.map(|text| Part::Reasoning(text.to_owned())));
    parts.extend(content);
    parts.extend(value.get("refusal").words().map(|text| Part::Text(text.to_owned())));
    for call in value.get("tool_calls").list() {
        let function = call.get("function");
        let (id, name) = (call.get("id").words(), function.get("name").words());
        let (Some(id), Some(name)) = (id, name) else {
            return Err(refused("a call has an `id` and a `function.name`"));
        };
        let signature = call.get("extra_content").get("google").get("thought_signature").words();
        parts.push(Part::Call {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: function.get("arguments").text().unwrap_or_default().to_owned(),
            signature: signature.map(str::to_owned),
        });
    }
    Ok(parts)
}
