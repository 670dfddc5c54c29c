//! Conditions: a subset of the Common Expression Language, typed when it is loaded and bounded when it is judged.
//!
//! The language is CEL (same syntax, same meaning, checked against another implementation by tests); parser, types and
//! evaluation are ours. A condition of a security policy must not be able to cost memory or time, and a name or type
//! that is wrong must be a problem with a place when documents are loaded, not a refused request at night.
//!
//! What a condition may look at:
//!
//! | name | type | |
//! |---|---|---|
//! | `identity.consumer`, `identity.sub` | string | absent for callers who are nobody |
//! | `identity.roles`, `identity.tags` | list of strings | |
//! | `identity.method` | string | `api_key`, `jwt`, `anonymous`, … |
//! | `identity.claims` | map of lists of strings | what the caller's token says; a list even where it is one string |
//! | `request.method`, `request.path`, `request.host` | string | the path is the canonical one |
//! | `request.headers`, `request.query` | map of lists of strings | every value that was sent, in order |
//! | `path.<variable>` | string | what stands for `{variable}` of the route's template |
//! | `client.address` | address | has `inCidr("10.0.0.0/8", …)` |
//! | `now` | timestamp | |
//!
//! Headers and query parameters are lists because callers can send them more than once, and the server behind us may
//! read another value than the first (attack cases 42 and 44). `request.query.id == "x"` is therefore no condition at
//! all but a type error at load time; it is written `only(request.query.id) == "x"`, which cannot be decided unless
//! there is exactly one value, or `request.query.id.all(value, value == "x")`. An absent name cannot be decided either
//! (`"id" in request.query` asks), so `all` is never true because there was nothing to look at.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::subject::{Asked, Subject};

mod check;
mod code;
mod eval;
mod function;
mod lex;
mod parse;
mod time;
mod types;

#[cfg(test)]
mod tests;

/// A compiled condition.
pub trait Expression: fmt::Debug + Send + Sync {
    /// As it was written.
    fn text(&self) -> &str;

    /// The variables of the path without which it cannot be decided.
    fn variables(&self) -> &[Arc<str>];

    /// Whether it looks at what is not known before there is a request: headers, parameters, the client's address or
    /// the time. What else there is follows from the caller, the route, the method and the path.
    fn looks_at_request(&self) -> bool;

    /// Whether it holds.
    ///
    /// # Errors
    ///
    /// [`Undecided`] when something that it looks at is absent, unreadable or of another shape than it says. The
    /// caller of the gateway can bring that about, so it must never be taken for a yes.
    fn holds(&self, who: &Subject<'_>, asked: &Asked<'_>, now_ms: u64) -> Result<bool, Undecided>;
}

/// A condition, shared by the rules and grants that it was compiled for.
pub type Condition = Arc<dyn Expression>;

/// Why a condition has no answer. Says what was looked at, never what stood there: it is written into records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    what: Cow<'static, str>,
}

impl Undecided {
    /// With what could not be decided.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Undecided { what: what.into() }
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What is wrong with the text of a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The first byte of what is wrong.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Wrong {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Wrong { at, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {}", self.message, self.at + 1)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Wrong {}

/// 4 KiB: the longest condition anybody can still read. It is looked at before anything else is.
pub const LENGTH_MAX: usize = 4 * 1024;

/// Compiles a condition.
///
/// # Errors
///
/// The first thing that is wrong with it. Time and memory are bounded by the text's length, whatever it says.
pub fn compile(text: &str) -> Result<Condition, Wrong> {
    if text.len() > LENGTH_MAX {
        return Err(Wrong::new(0, format!("the condition is longer than {LENGTH_MAX} bytes"))
            .hint("split it into several rules"));
    }
    let tree = parse::parse(&lex::tokens(text)?, text.len())?;
    let checked = check::check(&tree)?;
    Ok(Arc::new(Compiled {
        text: text.into(),
        code: checked.code,
        variables: checked.variables,
        looks: checked.looks_at_request,
    }))
}

/// A condition of ours.
struct Compiled {
    text: Arc<str>,
    code: code::Code,
    variables: Vec<Arc<str>>,
    looks: bool,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl Expression for Compiled {
    fn text(&self) -> &str {
        &self.text
    }

    fn variables(&self) -> &[Arc<str>] {
        &self.variables
    }

    fn looks_at_request(&self) -> bool {
        self.looks
    }

    fn holds(&self, who: &Subject<'_>, asked: &Asked<'_>, now_ms: u64) -> Result<bool, Undecided> {
        eval::holds(&self.code, who, asked, now_ms)
    }
}
