//! Names of documents, patterns, and where secrets lie.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

use super::{Wrong, from_text, scalar, text_shape};
use crate::{
    node::Node,
    problem::{Code, Problems, clipped, shown},
    read::{Path, Read},
    secret::Reference,
    shape::Shape,
};

/// A document's name: lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit, at most
/// 253 characters (a DNS subdomain, as Kubernetes names things).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    const LENGTH_MAX: usize = 253;

    /// A name that our own code writes; must be valid.
    pub fn known(name: &'static str) -> Self {
        debug_assert!(is_name(name), "not a name: {name}");
        Name(Arc::from(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= Name::LENGTH_MAX
        && text.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
        })
}

impl FromStr for Name {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if is_name(text) {
            return Ok(Name(Arc::from(text)));
        }
        let wrong = Wrong::new(Code::BadName, format!("{} is not a name", shown(text)));
        let meant: String = text
            .trim()
            .to_lowercase()
            .chars()
            .map(|c| if c == '_' || c == ' ' || c == '/' { '-' } else { c })
            .collect();
        let form =
            "write lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit";
        Err(if text.len() > Name::LENGTH_MAX {
            wrong.hint("write at most 253 characters")
        } else if is_name(&meant) {
            wrong.hint(format!("{form}: `{}`", clipped(&meant)))
        } else {
            wrong.hint(form)
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

scalar!(Name, from_text, text_shape("name", "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", "orders"));

/// A regular expression; it is compiled where it is used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// 4 KiB: what compiles from more is too slow to judge every request with.
    const LENGTH_MAX: usize = 4 * 1024;

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pattern {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() {
            let wrong = Wrong::new(Code::BadPattern, "the pattern is empty and would match everything");
            return Err(wrong.hint("leave the field out, or write what must match"));
        }
        if text.len() > Pattern::LENGTH_MAX {
            let message = format!("the pattern is longer than {} bytes", Pattern::LENGTH_MAX);
            return Err(Wrong::new(Code::BadPattern, message));
        }
        Ok(Pattern(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(
    Pattern,
    from_text,
    Shape::Text { format: "regular expression", pattern: None, example: Some("^[A-Z]{3}-[0-9]+$") }
);

/// What was written may be the secret itself, so no message quotes it; the renderer hides the source text too.
impl FromStr for Reference {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = |message: &str| {
            Wrong::new(Code::SecretInDocument, message)
                .hint("write where it lies: `env://NAME`, `file:///absolute/path` or `file://relative/path`")
        };
        if let Some(name) = text.strip_prefix("env://") {
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let sound = !name.is_empty()
                && name.bytes().all(inner)
                && !name.starts_with(|c: char| c.is_ascii_digit());
            return match sound {
                true => Ok(Reference::Env(name.to_owned())),
                false => Err(wrong("what follows `env://` is not the name of an environment variable")),
            };
        }
        if let Some(path) = text.strip_prefix("file://") {
            return match path.is_empty() || path.ends_with('/') || path.contains('\0') {
                false => Ok(Reference::File(PathBuf::from(path))),
                true => Err(wrong("what follows `file://` is not the path of a file")),
            };
        }
        Err(wrong("a secret's value does not belong in a document"))
    }
}

impl Read for Reference {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        let parsed = node.text().unwrap_or_default().parse();
        match parsed {
            Ok(reference) => Some(reference),
            Err(Wrong { code, message, hint }) => {
                let mut problem = at.problem(code, node.at, message);
                problem.hint = hint;
                problems.push(problem);
                None
            }
        }
    }

    fn shape() -> Shape {
        text_shape("secret reference", "^(env://[A-Za-z_][A-Za-z0-9_]*|file://.+)$", "env://ORDERS_TOKEN")
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
