//! The variables rules write: `TX`, the captured groups in it, and collections opened by `initcol`.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use crate::rule::Variable;

/// 4096 variables: beyond, new ones are dropped and the session says so.
const VARIABLES_MAX: usize = 4096;

/// Variables by name, and `TX.0` to `TX.9`.
#[derive(Default)]
pub(super) struct Texts {
    tx: HashMap<Arc<str>, Arc<[u8]>>,
    captured: [Option<Arc<[u8]>>; 10],
    opened: HashMap<(Variable, Arc<str>), Arc<[u8]>>,
    open: Vec<Variable>,
    pub(super) overflowed: bool,
}

impl Texts {
    pub(super) fn get(&self, collection: Variable, name: &str) -> Option<&Arc<[u8]>> {
        if collection == Variable::Tx {
            return match digit(name) {
                Some(digit) => self.captured.get(digit)?.as_ref(),
                None => self.tx.get(name),
            };
        }
        // A key is built only for the rare collections.
        self.opened.get(&(collection, Arc::from(name)))
    }

    pub(super) fn all(&self, collection: Variable) -> Vec<(Arc<str>, Arc<[u8]>)> {
        let mut found: Vec<(Arc<str>, Arc<[u8]>)> = if collection == Variable::Tx {
            let captured = self.captured.iter().enumerate();
            let captured = captured
                .filter_map(|(digit, text)| Some((Arc::from(digit.to_string()), Arc::clone(text.as_ref()?))));
            self.tx.iter().map(|(name, text)| (Arc::clone(name), Arc::clone(text))).chain(captured).collect()
        } else {
            self.opened
                .iter()
                .filter(|((owner, _), _)| *owner == collection)
                .map(|((_, name), text)| (Arc::clone(name), Arc::clone(text)))
                .collect()
        };
        found.sort();
        found
    }

    pub(super) fn set(&mut self, collection: Variable, name: &str, text: Arc<[u8]>) {
        if collection == Variable::Tx {
            if let Some(place) = digit(name).and_then(|digit| self.captured.get_mut(digit)) {
                *place = Some(text);
            } else if let Some(place) = self.tx.get_mut(name) {
                *place = text;
            } else if self.tx.len() < VARIABLES_MAX {
                self.tx.insert(Arc::from(name), text);
            } else {
                self.overflowed = true;
            }
        } else if self.open.contains(&collection) {
            if self.opened.len() < VARIABLES_MAX {
                self.opened.insert((collection, Arc::from(name)), text);
            } else {
                self.overflowed = true;
            }
        }
    }

    pub(super) fn remove(&mut self, collection: Variable, name: &str) {
        if collection == Variable::Tx {
            match digit(name).and_then(|digit| self.captured.get_mut(digit)) {
                Some(place) => *place = None,
                None => drop(self.tx.remove(name)),
            }
        } else {
            self.opened.remove(&(collection, Arc::from(name)));
        }
    }

    /// The groups of a match replace those of an earlier one.
    pub(super) fn capture(&mut self, groups: Vec<Option<Vec<u8>>>) {
        let mut groups = groups.into_iter();
        for place in &mut self.captured {
            *place = groups.next().flatten().map(Arc::from);
        }
    }

    pub(super) fn open(&mut self, collection: Variable) {
        if !self.open.contains(&collection) {
            self.open.push(collection);
        }
    }

    /// A whole number, zero when it is none.
    pub(super) fn number(&self, name: &str) -> i64 {
        self.get(Variable::Tx, name).map_or(0, |text| crate::operator::whole_number(text))
    }
}

fn digit(name: &str) -> Option<usize> {
    match name.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

/// A name for the map: small letters, bytes that are no UTF-8 replaced.
pub(super) fn key(name: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(name);
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        text
    }
}
