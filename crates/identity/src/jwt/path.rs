//! Where in the claims a value stands.
//!
//! A name alone is that claim, dots and slashes of other places included, because namespaced claims are whole
//! addresses (`https://example.com/roles`); what begins with `/` is a JSON pointer (RFC 6901). Dotted paths are not
//! read: nobody could tell whether `a.b` is one name or two, and two issuers would disagree.

use std::fmt;

use crate::json::{Json, Object};

/// The way to one claim.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClaimPath(Box<[Box<str>]>);

impl ClaimPath {
    /// Reads a claim's name, or a JSON pointer such as `/realm_access/roles`; `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(pointer) = text.strip_prefix('/') else {
            return (!text.is_empty()).then(|| ClaimPath([text.into()].into()));
        };
        let steps: Option<Box<[_]>> = pointer.split('/').map(unescaped).collect();
        steps.filter(|steps| steps.len() <= STEPS_MAX).map(ClaimPath)
    }

    /// The value there; `null` is no value. Steps lead through objects only.
    pub fn find<'a>(&self, claims: &'a Object) -> Option<&'a Json> {
        let (last, ways) = self.0.split_last()?;
        let mut object = claims;
        for step in ways {
            match object.get(step)? {
                Json::Object(inner) => object = inner,
                _ => return None,
            }
        }
        object.get(last).filter(|value| !matches!(value, Json::Null))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            [name] if !name.is_empty() && !name.starts_with('/') => f.write_str(name),
            steps => {
                steps.iter().try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")))
            }
        }
    }
}

impl fmt::Debug for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimPath({self})")
    }
}

/// RFC 6901 §4: `~1` is a slash and `~0` a tilde; a tilde before anything else is an error.
fn unescaped(step: &str) -> Option<Box<str>> {
    let mut out = String::with_capacity(step.len());
    let mut rest = step.chars();
    while let Some(character) = rest.next() {
        match character {
            '~' => out.push(match rest.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return None,
            }),
            other => out.push(other),
        }
    }
    Some(out.into())
}

/// As deep as claims are read.
const STEPS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Budget;

    #[test]
    fn a_path_leads_to_one_claim_or_to_none() {
        let text = br#"{"sub":"a","a.b":"dotted","a":{"b":"inner","/":"slash","~":null,"l":[1]},"https://x/r":"name"}"#;
        let claims = Object::parse(text, Budget { depth: 4, members: 9, values: 20 }).unwrap();
        for (path, expected) in [
            ("sub", Some("a")),
            ("/sub", Some("a")),
            ("a.b", Some("dotted")),
            ("/a/b", Some("inner")),
            ("/a/~1", Some("slash")),
            ("/a/~0", None),
            ("https://x/r", Some("name")),
            ("/a", None),
            ("/a/l/0", None),
            ("/sub/a", None),
            ("/", None),
            ("nothing", None),
        ] {
            let path = ClaimPath::parse(path).unwrap();
            assert_eq!(path.find(&claims).and_then(Json::as_text), expected, "{path}");
            assert_eq!(ClaimPath::parse(&path.to_string()), Some(path));
        }
        for path in ["", "/a~", "/a~2b", "/1/2/3/4/5/6/7/8/9"] {
            assert_eq!(ClaimPath::parse(path), None, "{path}");
        }
    }
}
