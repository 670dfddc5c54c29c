//! Just enough YAML for test files: events into a tree of texts.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser};

#[derive(Clone, Debug)]
pub(crate) enum Yaml {
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut events = Parser::new_from_str(text)
            .map(|event| event.map(|(event, _)| event).map_err(|error| error.to_string()))
            .filter(|event| {
                !matches!(
                    event,
                    Ok(Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamEnd)
                )
            });
        let mut anchors = HashMap::new();
        match events.next() {
            Some(event) => node(event?, &mut events, &mut anchors),
            None => Ok(Self::Map(Vec::new())),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }
}

fn node<'e>(
    event: Event<'e>,
    events: &mut impl Iterator<Item = Result<Event<'e>, String>>,
    anchors: &mut HashMap<usize, Yaml>,
) -> Result<Yaml, String> {
    let next = |events: &mut dyn Iterator<Item = Result<Event<'e>, String>>| {
        events.next().ok_or("the document ends early".to_owned()).and_then(|event| event)
    };
    let (anchor, found) = match event {
        Event::Alias(id) => return anchors.get(&id).cloned().ok_or("an unknown alias".to_owned()),
        Event::Scalar(text, _, anchor, _) => (anchor, Yaml::Text(text.into_owned())),
        Event::SequenceStart(anchor, _) => {
            let mut items = Vec::new();
            loop {
                match next(events)? {
                    Event::SequenceEnd => break,
                    event => items.push(node(event, events, anchors)?),
                }
            }
            (anchor, Yaml::List(items))
        }
        Event::MappingStart(anchor, _) => {
            let mut entries = Vec::new();
            loop {
                match next(events)? {
                    Event::MappingEnd => break,
                    key => {
                        let key = node(key, events, anchors)?.text().unwrap_or_default().to_owned();
                        let value = next(events)?;
                        entries.push((key, node(value, events, anchors)?));
                    }
                }
            }
            (anchor, Yaml::Map(entries))
        }
        other => return Err(format!("unexpected {other:?}")),
    };
    if anchor > 0 {
        anchors.insert(anchor, found.clone());
    }
    Ok(found)
}
