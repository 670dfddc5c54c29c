//! What `Cache-Control` says, read strictly.
//!
//! A directive that can be read in two ways is taken in the way that keeps less: a repeated one with different values,
//! a lifetime that is no number, a field that is not a list of directives. `private` and `no-cache` with field names
//! count as without (RFC 9111 §5.2.2.4 and §5.2.2.7 allow it). Unknown directives are ignored (§5.2.3).

use http::{HeaderMap, HeaderName, header::CACHE_CONTROL};

/// RFC 9213 §3.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// RFC 9111 §1.2.2: larger numbers count as this one.
pub const DELTA_MAX: u64 = 1 << 31;

/// Most directives in all lines together. Real answers have fewer than ten; the head's limits bound the rest.
const DIRECTIVES_MAX: usize = 64;

/// What an answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// There was a field at all.
    pub is_present: bool,
    /// It cannot be understood; nothing may then be concluded from it.
    pub is_malformed: bool,
    /// §5.2.2.10.
    pub s_maxage: Option<u64>,
    /// §5.2.2.1.
    pub max_age: Option<u64>,
    /// §5.2.2.2.
    pub must_revalidate: bool,
    /// §5.2.2.3.
    pub must_understand: bool,
    /// §5.2.2.4.
    pub no_cache: bool,
    /// §5.2.2.5.
    pub no_store: bool,
    /// §5.2.2.7.
    pub private: bool,
    /// §5.2.2.8.
    pub proxy_revalidate: bool,
    /// §5.2.2.9.
    pub public: bool,
    /// RFC 5861 §3.
    pub stale_while_revalidate: Option<u64>,
    /// RFC 5861 §4.
    pub stale_if_error: Option<u64>,
    /// It came in a targeted field, so `Expires` does not count (RFC 9213 §2.1).
    pub is_targeted: bool,
}

impl Control {
    /// Reads an answer's fields; the targeted one first if `targeted`, which the plain one does not add to.
    pub fn of_response(headers: &HeaderMap, targeted: bool) -> Self {
        if targeted && let Some(control) = Self::of_targeted(headers) {
            return control;
        }
        let mut control = Control { is_present: headers.contains_key(CACHE_CONTROL), ..Control::default() };
        let read = each(headers, &CACHE_CONTROL, &mut |name, value| control.note(name, value));
        control.is_malformed |= read.is_none();
        control
    }

    /// RFC 9213 §2.1: a dictionary (RFC 9651 §3.2); one that is empty or no dictionary counts as absent.
    fn of_targeted(headers: &HeaderMap) -> Option<Self> {
        let mut control = Control { is_present: true, is_targeted: true, ..Control::default() };
        let (mut some, mut well_formed) = (false, true);
        each(headers, &CDN_CACHE_CONTROL, &mut |name, value| {
            some = true;
            well_formed &= is_dictionary_key(name);
            // Parameters of a member mean nothing here.
            let (name, value) = match value {
                Value::None => (name.split(';').next().unwrap_or_default(), Value::None),
                Value::Token(text) => (name, Value::Token(text.split(';').next().unwrap_or_default().trim())),
                quoted => (name, quoted),
            };
            // RFC 9213 §2.1: a directive of another type than its own is ignored; one that would say how long leaves nothing
            // to go by.
            well_formed &= !(matches!(value, Value::Quoted(_)) && is_lifetime(name));
            match value {
                Value::Token("?0") => {}
                Value::Token("?1") => control.note(name, Value::None),
                value => control.note(name, value),
            }
        })?;
        (some && well_formed && !control.is_malformed).then_some(control)
    }

    fn note(&mut self, name: &str, value: Value<'_>) {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "s-maxage" => self.is_malformed |= set(&mut self.s_maxage, value).is_none(),
            "max-age" => self.is_malformed |= set(&mut self.max_age, value).is_none(),
            "stale-while-revalidate" => {
                self.is_malformed |= set(&mut self.stale_while_revalidate, value).is_none();
            }
            "stale-if-error" => self.is_malformed |= set(&mut self.stale_if_error, value).is_none(),
            // What forbids counts with any value; what allows only as it is defined.
            "must-revalidate" => self.must_revalidate = true,
            "no-cache" => self.no_cache = true,
            "no-store" => self.no_store = true,
            "private" => self.private = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand |= value == Value::None,
            "public" => self.public |= value == Value::None,
            _ => {}
        }
    }

    /// Whether it may never be used stale (RFC 9111 §4.2.4: `s-maxage` implies `proxy-revalidate`).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage.is_some()
    }
}

fn is_lifetime(name: &str) -> bool {
    ["s-maxage", "max-age", "stale-while-revalidate", "stale-if-error"].contains(&name)
}

/// What a caller says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// §5.2.1.1.
    pub max_age: Option<u64>,
    /// §5.2.1.3.
    pub min_fresh: Option<u64>,
    /// §5.2.1.4, or `Pragma: no-cache` (§5.4), or what cannot be understood.
    pub no_cache: bool,
    /// §5.2.1.5.
    pub no_store: bool,
    /// §5.2.1.7.
    pub only_if_cached: bool,
}

impl RequestControl {
    /// Reads a caller's fields.
    pub fn of_request(headers: &HeaderMap) -> Self {
        let mut control = RequestControl::default();
        let mut malformed = false;
        let read =
            each(headers, &CACHE_CONTROL, &mut |name, value| match name.to_ascii_lowercase().as_str() {
                "max-age" => malformed |= set(&mut control.max_age, value).is_none(),
                "min-fresh" => malformed |= set(&mut control.min_fresh, value).is_none(),
                "no-cache" => control.no_cache = true,
                "no-store" => control.no_store = true,
                "only-if-cached" => control.only_if_cached = true,
                _ => {}
            });
        control.no_cache |= malformed || read.is_none();
        if !headers.contains_key(CACHE_CONTROL) {
            let pragma = headers.get_all(http::header::PRAGMA).iter().filter_map(|line| line.to_str().ok());
            control.no_cache |= pragma
                .flat_map(|line| line.split(','))
                .any(|word| word.trim().eq_ignore_ascii_case("no-cache"));
        }
        control
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    None,
    Token(&'a str),
    Quoted(&'a str),
}

/// A lifetime; nothing if it is no number or contradicts one before it.
fn set(slot: &mut Option<u64>, value: Value<'_>) -> Option<()> {
    // RFC 9111 §5.2: both forms ought to be accepted.
    let (Value::Token(text) | Value::Quoted(text)) = value else { return None };
    let seconds = delta(text)?;
    // RFC 9111 §4.2.1: one that contradicts itself may be taken as stale.
    match slot.replace(seconds) {
        Some(before) if before != seconds => None,
        _ => Some(()),
    }
}

/// delta-seconds (RFC 9111 §1.2.2): digits only, the largest if there are too many.
pub fn delta(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse::<u64>().unwrap_or(DELTA_MAX).min(DELTA_MAX))
}

/// Calls `note` with each directive of all lines; nothing if the field is no list of them. Empty members are allowed
/// (RFC 9110 §5.6.1.2).
fn each(headers: &HeaderMap, field: &HeaderName, note: &mut dyn FnMut(&str, Value<'_>)) -> Option<()> {
    let mut count = 0;
    for line in headers.get_all(field) {
        let mut rest = line.to_str().ok()?;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            count += 1;
            if count > DIRECTIVES_MAX {
                return None;
            }
            rest = directive(rest, note)?;
        }
    }
    Some(())
}

/// Reads one directive from the start of `text`; gives what follows, which begins with a comma or is nothing.
fn directive<'a>(text: &'a str, note: &mut dyn FnMut(&str, Value<'_>)) -> Option<&'a str> {
    let end = text.find([',', '=', '"']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let name = name.trim_end_matches([' ', '\t']);
    if name.is_empty() || !name.split(';').next().is_some_and(is_token) {
        return None;
    }
    if rest.is_empty() || rest.starts_with(',') {
        note(name, Value::None);
        return Some(rest);
    }
    let rest = rest.strip_prefix('=')?;
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(',').unwrap_or(rest.len());
        let (value, rest) = rest.split_at_checked(end)?;
        let value = value.trim_end_matches([' ', '\t']);
        if value.is_empty() || value.contains(['"', ' ', '\t']) {
            return None;
        }
        note(name, Value::Token(value));
        return Some(rest);
    };
    let end = quoted_end(quoted)?;
    let (value, rest) = quoted.split_at_checked(end)?;
    note(name, Value::Quoted(value));
    let rest = rest.strip_prefix('"')?.trim_start_matches([' ', '\t']);
    (rest.is_empty() || rest.starts_with(',')).then_some(rest)
}

/// Where the closing quote is.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// RFC 9651 §3.1.2: keys are lower-case.
fn is_dictionary_key(name: &str) -> bool {
    let name = name.split(';').next().unwrap_or_default();
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn response(lines: &[&str]) -> Control {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        }
        Control::of_response(&headers, true)
    }

    fn plain() -> Control {
        Control { is_present: true, ..Control::default() }
    }

    #[test]
    fn directives_are_read_as_rfc_9111_5_2_2_says() {
        let rows = [
            ("max-age=60", Control { max_age: Some(60), ..plain() }),
            ("Max-Age=\"60\"", Control { max_age: Some(60), ..plain() }),
            ("max-age=60, s-maxage=0", Control { max_age: Some(60), s_maxage: Some(0), ..plain() }),
            (",, max-age=1 ,\t,", Control { max_age: Some(1), ..plain() }),
            ("max-age=99999999999999999999999", Control { max_age: Some(DELTA_MAX), ..plain() }),
            ("max-age=60, max-age=60", Control { max_age: Some(60), ..plain() }),
            ("private=\"x-a, x-b\", public", Control { private: true, public: true, ..plain() }),
            ("no-store, no-cache=\"a\"", Control { no_store: true, no_cache: true, ..plain() }),
            ("public=yes", plain()),
            ("x=\"max-age=60\", unknown", plain()),
            (
                "stale-while-revalidate=5, stale-if-error=7",
                Control { stale_while_revalidate: Some(5), stale_if_error: Some(7), ..plain() },
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(response(&[text]), expected, "{text}");
        }
        assert_eq!(response(&["public", "max-age=1"]), Control { public: true, max_age: Some(1), ..plain() });
        assert_eq!(response(&[]), Control::default());
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_malformed() {
        let rows = [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age=1 2",
            "max-age=1, max-age=2",
            "=1",
            "max-age=\"1",
            "max-age=\"1\"2",
            "max-age='60'",
            "max age=60",
            "a\"b\"",
            "s-maxage=+3",
            "max-age =60=",
        ];
        for text in rows {
            assert!(response(&[text]).is_malformed, "{text}");
        }
    }

    #[test]
    fn a_targeted_field_replaces_the_plain_one_unless_it_is_no_dictionary() {
        let read = |targeted: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(CDN_CACHE_CONTROL, HeaderValue::from_static(targeted));
            Control::of_response(&headers, true)
        };
        let targeted = Control { is_targeted: true, ..plain() };
        assert_eq!(read("max-age=9;x=1, private=?0"), Control { max_age: Some(9), ..targeted });
        assert_eq!(read("no-store=?1"), Control { no_store: true, ..targeted });
        for bad in ["", "Max-Age=9", "max-age=", "max-age=x"] {
            assert_eq!(read(bad), Control { no_store: true, ..plain() }, "{bad}");
        }
    }

    #[test]
    fn a_caller_that_cannot_be_understood_gets_a_validated_answer() {
        let read = |name: HeaderName, text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(text).unwrap());
            RequestControl::of_request(&headers)
        };
        assert!(read(CACHE_CONTROL, "max-age=x").no_cache);
        assert!(read(http::header::PRAGMA, "no-cache").no_cache);
        let asked = RequestControl { max_age: Some(3), only_if_cached: true, ..RequestControl::default() };
        assert_eq!(read(CACHE_CONTROL, "max-age=3, only-if-cached, max-stale"), asked);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_forbidding_words_are_never_lost(text in "[ -~]{0,40}") {
            let _ = response(&[&text]);
            let control = response(&[&format!("no-store, {text}")]);
            prop_assert!(control.no_store);
            let control = response(&[&text, "private"]);
            prop_assert!(control.private || control.is_malformed);
        }
    }
}
