//! The grammar of OpenAI's chat streams, as a judge: used by tests over every recorded stream, and by whoever wants
//! to know whether a stream is one that every client understands.

use std::{collections::BTreeMap, fmt};

use crate::{json::Json, stream::Frame};

/// Which rule a stream breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a valid stream said, per choice and in total.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grammar {
    /// Text per choice.
    pub text: BTreeMap<u64, String>,
    /// Refusal text per choice.
    pub refusal: BTreeMap<u64, String>,
    /// Reasoning text per choice.
    pub reasoning: BTreeMap<u64, String>,
    /// Calls per choice: id, name, arguments.
    pub calls: BTreeMap<u64, Vec<(String, String, String)>>,
    /// The reason per choice.
    pub finish: BTreeMap<u64, String>,
    /// The usage object.
    pub usage: Option<Json>,
    /// The error that ended the stream.
    pub error: Option<Json>,
    done: bool,
    id: Option<String>,
}

impl Grammar {
    /// Judges a whole stream. `usage` says whether the caller asked for it.
    pub fn judge(frames: &[Frame], usage: bool) -> Result<Grammar, Broken> {
        let mut seen = Grammar::default();
        for frame in frames {
            seen.frame(frame, usage)
                .map_err(|rule| Broken(format!("{rule}: {}", String::from_utf8_lossy(&frame.data))))?;
        }
        let ends = if seen.error.is_some() { !seen.done } else { seen.done };
        if !ends {
            return Err(Broken("the stream ends with [DONE] or with an error, never both".into()));
        }
        if seen.error.is_none() && seen.finish.is_empty() {
            return Err(Broken("a stream has a choice".into()));
        }
        Ok(seen)
    }

    fn frame(&mut self, frame: &Frame, usage: bool) -> Result<(), &'static str> {
        if self.done || self.error.is_some() {
            return Err("nothing follows the end");
        }
        if !frame.event.is_empty() {
            return Err("events have no names");
        }
        if frame.data == b"[DONE]" {
            self.done = true;
            return if usage && self.usage.is_none() { Err("usage was asked for") } else { Ok(()) };
        }
        let chunk = Json::read(&frame.data).map_err(|_| "a chunk is JSON")?;
        if !chunk.get("error").is_null() {
            self.error = Some(chunk.get("error").clone());
            return Ok(());
        }
        self.shared(&chunk)?;
        let Json::List(choices) = chunk.get("choices") else { return Err("a chunk has choices") };
        if self.usage.is_some() {
            return Err("the usage chunk is the last");
        }
        if choices.is_empty() {
            if !usage || self.finish.is_empty() {
                return Err("an empty chunk carries the usage that was asked for, after the reasons");
            }
            self.usage = Some(chunk.get("usage").clone());
            return Ok(());
        }
        if usage != (chunk.object().is_some_and(|object| object.get("usage").is_some())) {
            return Err("usage stands on all chunks or on none");
        }
        choices.iter().try_for_each(|choice| self.choice(choice))
    }

    fn shared(&mut self, chunk: &Json) -> Result<(), &'static str> {
        if chunk.get("object").text() != Some("chat.completion.chunk") {
            return Err("object is chat.completion.chunk");
        }
        if chunk.get("created").count().is_none() || chunk.get("model").words().is_none() {
            return Err("created and model stand on every chunk");
        }
        let id = chunk.get("id").words().ok_or("id stands on every chunk")?;
        match &self.id {
            Some(have) if have != id => Err("the id stays the same"),
            _ => {
                self.id = Some(id.to_owned());
                Ok(())
            }
        }
    }

    fn choice(&mut self, choice: &Json) -> Result<(), &'static str> {
        let index = choice.get("index").count().ok_or("a choice has an index")?;
        let delta = choice.get("delta").object().ok_or("a choice has a delta")?;
        if self.finish.contains_key(&index) {
            return Err("nothing follows the reason of a choice");
        }
        let first = !self.text.contains_key(&index);
        match (delta.get("role").map(Json::text), first) {
            (Some(Some("assistant")), true) => {}
            (None, false) => {}
            _ => return Err("the first chunk of a choice, and only it, has the role"),
        }
        let text = self.text.entry(index).or_default();
        text.push_str(delta.get("content").and_then(Json::text).unwrap_or_default());
        for (name, to) in [("refusal", &mut self.refusal), ("reasoning_content", &mut self.reasoning)] {
            if let Some(text) = delta.get(name).and_then(Json::text) {
                to.entry(index).or_default().push_str(text);
            }
        }
        if let Some(calls) = delta.get("tool_calls") {
            calls.list().iter().try_for_each(|call| self.call(index, call))?;
        }
        match choice.get("finish_reason") {
            Json::Null => Ok(()),
            Json::Text(reason)
                if ["stop", "length", "tool_calls", "content_filter"].contains(&reason.as_str()) =>
            {
                if !delta.is_empty() {
                    return Err("the reason stands alone");
                }
                self.finish.insert(index, reason.clone());
                Ok(())
            }
            _ => Err("the reason is one of four"),
        }
    }

    fn call(&mut self, choice: u64, call: &Json) -> Result<(), &'static str> {
        let calls = self.calls.entry(choice).or_default();
        let at = call.get("index").count().ok_or("a call has an index")?;
        let function = call.get("function");
        let arguments = function.get("arguments").text().ok_or("arguments are a text")?;
        let next = calls.len() as u64;
        if at == next {
            let id = call.get("id").words().ok_or("the first delta of a call has its id")?;
            let name = function.get("name").text().ok_or("the first delta of a call has its name")?;
            if call.get("type").text() != Some("function") {
                return Err("the first delta of a call has its type");
            }
            if calls.iter().any(|(have, _, _)| have == id) {
                return Err("two calls have two ids");
            }
            calls.push((id.to_owned(), name.to_owned(), arguments.to_owned()));
            return Ok(());
        }
        if !call.get("id").is_null() || !function.get("name").is_null() {
            return Err("only the first delta of a call has id and name");
        }
        let at = usize::try_from(at).map_err(|_| "an index is small")?;
        let (_, _, have) = calls.get_mut(at).ok_or("indexes of calls are dense")?;
        have.push_str(arguments);
        Ok(())
    }
}
