//! Which endpoint a path belongs to, and which object it names.
//!
//! Segments that look like ids (numbers, UUIDs, long codes) become `{id}`. Where a path has many different words at one place
//! they are names of things too, and the place becomes `{name}`. How many templates there can be is bounded by that and by
//! the engine's tables, so that paths made up by an attacker cost nothing.

use crate::{distinct::Distinct, hash::Seed, table::Table};

/// More different words than this at one place of a path are names of things.
const WORDS_MAX: f64 = 48.0;

/// Places of paths that are followed.
const PLACES_MAX: usize = 4_096;

/// Deeper segments are one `**`.
const DEPTH_MAX: usize = 12;

/// Longer templates are cut: they are shown to people.
const TEMPLATE_BYTES_MAX: usize = 200;

/// What a path says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The object it names last, as a hash.
    pub(crate) object: Option<u64>,
    /// The same as a number, where it is one.
    pub(crate) number: Option<i64>,
}

/// Makes templates; remembers where words are names.
pub(crate) struct Templates {
    places: Table<Distinct<1>>,
}

impl Templates {
    pub(crate) fn new() -> Self {
        Templates { places: Table::new(PLACES_MAX) }
    }

    /// Writes the template of `path` into `template` and says which object it names. Words teach only where `teaches`: a
    /// path that no service knows is no evidence of what there is.
    pub(crate) fn of(&mut self, seed: Seed, path: &str, teaches: bool, template: &mut String) -> Place {
        template.clear();
        let mut place = Place::default();
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        for (depth, segment) in segments.enumerate() {
            if depth == DEPTH_MAX || template.len() > TEMPLATE_BYTES_MAX {
                template.push_str("/**");
                break;
            }
            let hash = seed.of(&[template.as_bytes(), segment.as_bytes()]);
            let shown = if is_id(segment) {
                place.number = segment.parse().ok();
                place.object = Some(hash);
                "{id}"
            } else if self.is_name(seed, template, hash, teaches) {
                place.number = None;
                place.object = Some(hash);
                "{name}"
            } else {
                segment
            };
            template.push('/');
            template.extend(shown.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }));
        }
        if template.is_empty() {
            template.push('/');
        }
        place
    }

    fn is_name(&mut self, seed: Seed, before: &str, word: u64, teaches: bool) -> bool {
        let key = seed.of(&[before.as_bytes()]);
        if !teaches {
            return self.places.peek(key).is_some_and(|words| words.count() > WORDS_MAX);
        }
        let Some((words, _)) = self.places.entry(key, Distinct::default) else { return false };
        words.note(word);
        words.count() > WORDS_MAX
    }

    pub(crate) fn bytes(&self) -> usize {
        self.places.bytes()
    }
}

/// The object that a query names: the first parameter whose name says that it is an id and whose value is shown.
pub(crate) fn object_of_query(seed: Seed, query: &str) -> Option<Place> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let named = name.eq_ignore_ascii_case("id") || name.ends_with("_id") || name.ends_with("Id");
        let is_shown = !value.is_empty() && value != "***";
        (named && is_shown).then(|| Place {
            object: Some(seed.of(&[name.as_bytes(), value.as_bytes()])),
            number: value.parse().ok(),
        })
    })
}

/// Whether a segment looks like the id of an object and not like a word of an API.
fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == bytes.len() || bytes.len() > 40 {
        return true;
    }
    let is_code = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~'));
    // `v2`, `oauth2` and `2024-reports` are words; `ord_8f3k2m1q`, `5f4dcc3b-…` and `INV-00017` are not.
    is_code && ((bytes.len() >= 8 && digits >= 3) || (bytes.len() >= 4 && digits * 2 >= bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(templates: &mut Templates, path: &str) -> String {
        let mut out = String::new();
        templates.of(Seed(1, 2), path, true, &mut out);
        out
    }

    #[test]
    fn ids_become_places_and_words_stay() {
        let cases = [
            ("/", "/"),
            ("/orders", "/orders"),
            ("/orders/17", "/orders/{id}"),
            ("/v2/orders/17/items/3", "/v2/orders/{id}/items/{id}"),
            ("/users/5f4dcc3b-5aa7-65d6-1d83-27deb882cf99", "/users/{id}"),
            ("/invoices/INV-00017/pdf", "/invoices/{id}/pdf"),
            ("/oauth2/token", "/oauth2/token"),
            ("/a/b/c/d/e/f/g/h/i/j/k/l/m/n", "/a/b/c/d/e/f/g/h/i/j/k/l/**"),
        ];
        for (path, expected) in cases {
            assert_eq!(template(&mut Templates::new(), path), expected, "{path}");
        }
    }

    #[test]
    fn many_words_at_one_place_are_names_and_only_known_paths_teach_that() {
        let mut templates = Templates::new();
        for user in 0..200 {
            template(&mut templates, &format!("/users/{}", letters(user)));
        }
        assert_eq!(template(&mut templates, "/users/zoe"), "/users/{name}");
        assert_eq!(template(&mut templates, "/orders"), "/orders");
        let mut fresh = Templates::new();
        let mut out = String::new();
        for user in 0..200 {
            fresh.of(Seed(1, 2), &format!("/users/{}", letters(user)), false, &mut out);
        }
        assert_eq!(template(&mut fresh, "/users/zoe"), "/users/zoe");
    }

    fn letters(mut number: u32) -> String {
        let mut word = String::from("u");
        while number > 0 {
            word.push(char::from(b'a' + (number % 26) as u8));
            number /= 26;
        }
        word
    }

    #[test]
    fn an_object_is_named_by_path_or_query_and_a_masked_value_is_none() {
        let mut out = String::new();
        let place = Templates::new().of(Seed(1, 2), "/orders/17", true, &mut out);
        assert_eq!(place.number, Some(17));
        assert_eq!(object_of_query(Seed(1, 2), "page=2&order_id=9").and_then(|place| place.number), Some(9));
        assert_eq!(object_of_query(Seed(1, 2), "id=***"), None);
        assert_eq!(object_of_query(Seed(1, 2), "width=9"), None);
    }

    #[test]
    fn what_is_shown_has_no_control_characters_and_is_short() {
        let path = format!("/a\u{1b}[31m/{}", "x/".repeat(10_000));
        let shown = template(&mut Templates::new(), &path);
        assert!(shown.len() < 400 && !shown.contains('\u{1b}'));
    }
}
