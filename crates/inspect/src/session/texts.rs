//! The variables rules write: `TX`, the captured groups in it, and collections opened by `initcol`. What every exchange
//! begins with is shared; an exchange holds only what it changed.

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use crate::rule::Variable;

/// 4096 variables: beyond, new ones are dropped and the session says so.
const VARIABLES_MAX: usize = 4096;

/// Variables by name. Only rules and policies put names into it, so nobody can choose names that collide.
pub(super) type Named = HashMap<Arc<str>, Arc<[u8]>, BuildHasherDefault<ShortHasher>>;

/// FNV-1a over words of eight bytes: names are short, and looked up hundreds of times for an exchange.
#[derive(Default)]
pub(super) struct ShortHasher(u64);

impl Hasher for ShortHasher {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let word = piece.iter().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
            self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

/// Variables by name, and `TX.0` to `TX.9`.
#[derive(Default)]
pub(super) struct Texts {
    /// What `TX` began with.
    begun: Arc<Named>,
    /// What became of it since; `None` for what was removed.
    tx: HashMap<Arc<str>, Option<Arc<[u8]>>>,
    captured: [Option<Arc<[u8]>>; 10],
    opened: HashMap<(Variable, Arc<str>), Arc<[u8]>>,
    open: Vec<Variable>,
    pub(super) overflowed: bool,
}

impl Texts {
    pub(super) fn begin(begun: Arc<Named>, overflowed: bool) -> Self {
        Self { begun, overflowed, ..Self::default() }
    }

    /// What `TX` holds now, for exchanges that begin so.
    pub(super) fn into_begun(self) -> (Named, bool) {
        let mut named = Named::clone(&self.begun);
        for (name, text) in self.tx {
            match text {
                Some(text) => named.insert(name, text),
                None => named.remove(&name),
            };
        }
        (named, self.overflowed)
    }

    pub(super) fn get(&self, collection: Variable, name: &str) -> Option<&Arc<[u8]>> {
        if collection == Variable::Tx {
            return match digit(name) {
                Some(digit) => self.captured.get(digit)?.as_ref(),
                None => self.written(name),
            };
        }
        // A key is built only for the rare collections.
        self.opened.get(&(collection, Arc::from(name)))
    }

    fn written(&self, name: &str) -> Option<&Arc<[u8]>> {
        if !self.tx.is_empty()
            && let Some(changed) = self.tx.get(name)
        {
            return changed.as_ref();
        }
        self.begun.get(name)
    }

    /// Those whose names are wanted, by name. `begun` are the wanted names among those that `TX` began with, where they are
    /// known.
    pub(super) fn all(
        &self,
        collection: Variable,
        begun: Option<&[Arc<str>]>,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<(Arc<str>, Arc<[u8]>)> {
        let pair = |name: &Arc<str>, text: &Arc<[u8]>| (Arc::clone(name), Arc::clone(text));
        let mut found: Vec<(Arc<str>, Arc<[u8]>)> = Vec::new();
        if collection == Variable::Tx {
            let is_changed = |name: &Arc<str>| self.tx.contains_key(name);
            match begun {
                Some(names) => {
                    let kept = names.iter().filter(|name| !is_changed(name));
                    found.extend(kept.filter_map(|name| Some(pair(name, self.begun.get(name)?))));
                }
                None => {
                    let kept = self.begun.iter().filter(|(name, _)| wanted(name) && !is_changed(name));
                    found.extend(kept.map(|(name, text)| pair(name, text)));
                }
            }
            let changed = self.tx.iter().filter(|(name, _)| wanted(name));
            found.extend(changed.filter_map(|(name, text)| Some(pair(name, text.as_ref()?))));
            const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
            let captured =
                self.captured.iter().zip(DIGITS).filter(|(text, name)| text.is_some() && wanted(name));
            found.extend(
                captured.filter_map(|(text, name)| Some((Arc::from(name), Arc::clone(text.as_ref()?)))),
            );
        } else {
            let wanted = self.opened.iter().filter(|((owner, name), _)| *owner == collection && wanted(name));
            found.extend(wanted.map(|((_, name), text)| pair(name, text)));
        }
        found.sort();
        found
    }

    pub(super) fn set(&mut self, collection: Variable, name: &str, text: Arc<[u8]>) {
        if collection == Variable::Tx {
            if let Some(place) = digit(name).and_then(|digit| self.captured.get_mut(digit)) {
                *place = Some(text);
            } else if let Some(place) = self.tx.get_mut(name) {
                *place = Some(text);
            } else if self.begun.len() + self.tx.len() < VARIABLES_MAX {
                self.tx.insert(Arc::from(name), Some(text));
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
                None if self.begun.contains_key(name) => drop(self.tx.insert(Arc::from(name), None)),
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

/// The place of a captured group, if the name is one.
pub(super) fn digit(name: &str) -> Option<usize> {
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
