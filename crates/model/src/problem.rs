//! What is wrong with a document, where, and what to do about it.
//!
//! A problem is data: a stable [`Code`], a [`Span`], the path of the field, a sentence and a hint. Readers push
//! problems into a [`Problems`] and go on, so that one run reports all of them; how they look is decided by
//! `config/src/render.rs` alone. Messages quote input only through [`shown`].

use std::{collections::BTreeMap, fmt};

/// Which file of a set of documents; the set keeps the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

impl FileId {
    /// No file: the problem is about the set as a whole.
    pub const NONE: FileId = FileId(u32::MAX);
}

/// A place in a file: bytes from `start` to `end`, and the line and column (in characters) of `start`, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
    /// The line of `start`, from 1; 0 when the problem is about the whole file or set.
    pub line: u32,
    /// The column of `start` in characters, from 1; 0 as for `line`.
    pub column: u32,
}

impl Span {
    /// The set as a whole.
    pub const SET: Span = Span { file: FileId::NONE, start: 0, end: 0, line: 0, column: 0 };

    /// A file as a whole.
    pub const fn whole(file: FileId) -> Self {
        Span { file, start: 0, end: 0, line: 0, column: 0 }
    }

    /// Whether the span names a line, not only a file or the set.
    pub const fn is_place(&self) -> bool {
        self.line > 0
    }
}

/// How grave a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The set is refused.
    Problem,
    /// The set is accepted; something in it is probably not meant so.
    Warning,
    /// The set is accepted; something in it leaves a door open.
    Exposure,
}

impl Severity {
    /// The word in text and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Problem => "problem",
            Severity::Warning => "warning",
            Severity::Exposure => "exposure",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! codes {
    ($($name:ident = $code:literal: $meaning:literal,)+) => {
        /// The stable code of a kind of problem: `BZ-1…` syntax, `BZ-2…` shape and values, `BZ-3…` references
        /// and names, `BZ-4…` meaning, `BZ-5…` preparation, `BZ-9…` exposures. A code is never given away again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)+
        }

        impl Code {
            /// All codes in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// The code as it is printed.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)+ }
            }

            /// What the code means, one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$name => $meaning,)+ }
            }
        }
    };
}

// One line per code, ascending. To add one: pick the next free number of its range.
codes! {
    Syntax = "BZ-1001": "The text is neither YAML nor JSON.",
    NotUtf8 = "BZ-1002": "The file is not UTF-8 text.",
    TooDeep = "BZ-1003": "The document is nested deeper than documents may be.",
    TooLarge = "BZ-1004": "The document has more values, or a longer one, than documents may have.",
    AliasRefused = "BZ-1005": "Anchors, aliases and merge keys are not part of the document language.",
    TagRefused = "BZ-1006": "Tags are not part of the document language.",
    KeyNotText = "BZ-1007": "A field's name is not plain text.",
    DirectiveRefused = "BZ-1008": "The document asks for a YAML version that is not read here.",

    UnknownField = "BZ-2001": "There is no such field here.",
    MissingField = "BZ-2002": "A required field is missing or has no value.",
    WrongType = "BZ-2003": "The value has another type than the field.",
    DuplicateKey = "BZ-2004": "The same field is written twice.",
    NotExactlyOne = "BZ-2005": "Exactly one of several fields must be written.",
    EmptyList = "BZ-2006": "The list must have at least one item.",
    BadValue = "BZ-2100": "The value is not valid for this field.",
    BadWord = "BZ-2101": "The word is none of those the field knows.",
    BadNumber = "BZ-2102": "The number is malformed or out of range.",
    BadText = "BZ-2103": "The text is malformed.",
    BadDuration = "BZ-2104": "The text is not a duration.",
    BadSize = "BZ-2105": "The text is not a size in bytes.",
    BadName = "BZ-2106": "The text is not a valid name.",
    BadHeaderName = "BZ-2107": "The text is not a header name that the gateway lets pass.",
    BadHeaderValue = "BZ-2108": "The text is not a header value.",
    BadMethod = "BZ-2109": "The text is not a method that the gateway lets pass.",
    BadHost = "BZ-2110": "The text is not a host name or address.",
    BadNetwork = "BZ-2111": "The text is not an IP network.",
    BadAddress = "BZ-2112": "The text is not an address to listen on.",
    BadPath = "BZ-2113": "The text is not a canonical path.",
    BadUrl = "BZ-2114": "The text is not the URL of an endpoint.",
    BadPattern = "BZ-2115": "The text is not a regular expression that can be compiled.",
    SecretInDocument = "BZ-2116": "A secret must be a reference, never a value.",
    BadCondition = "BZ-2117": "The text is not a CEL condition that can be compiled.",
    BadRules = "BZ-2140": "The rules of an inspection cannot be loaded, or do not have what is named.",
    BadSchema = "BZ-2141": "The text is not a JSON Schema that can be used.",

    UnknownReference = "BZ-3001": "The document refers to another one that does not exist.",
    DuplicateName = "BZ-3002": "Two documents of one kind have the same name.",
    NameMissing = "BZ-3003": "The document has no name and none can be derived.",
    UnknownKind = "BZ-3004": "There is no such kind of document.",
    UnknownVersion = "BZ-3005": "The document is written in another version of the language.",
    WrongTarget = "BZ-3006": "The policy cannot be attached to a document of this kind.",

    SetEmpty = "BZ-4000": "The set has no documents.",
    RouteTie = "BZ-4001": "Two routes match the same requests and neither is more specific.",
    PoliciesClash = "BZ-4002": "Two enforced policies of a settling kind meet on one target.",
    OverrideForbidden = "BZ-4003": "A narrower policy would replace a wider one that does not allow it.",
    FieldsClash = "BZ-4004": "Two fields contradict each other, or one has no meaning beside the other.",
    NoShadow = "BZ-4005": "This kind of policy cannot be run in shadow.",
    ReservedHeader = "BZ-4006": "The header belongs to the gateway and documents cannot change it.",
    AddressTwice = "BZ-4007": "Two listeners use the same address.",
    SetIncomplete = "BZ-4008": "The set can be checked but not run: it has no Listener or no Route.",
    RouteUnreachable = "BZ-4009": "None of a route's listeners serves its hosts.",
    RoleUnused = "BZ-4010": "Nobody has a role and nothing asks for it.",
    VariableAbsent = "BZ-4011": "A condition needs a variable of the path that a route does not have.",
    RelativeReference = "BZ-4012": "A document of a revision refers to a file relative to its own folder, and has none.",
    TokenNeeded = "BZ-4013": "A route sends to an upstream that needs the caller's token, and no policy of it asks for one.",

    FileUnreadable = "BZ-5001": "A file that a document names cannot be read.",
    BindFailed = "BZ-5002": "A listener's address cannot be bound.",

    RouteOpen = "BZ-9001": "A route has no AuthenticationPolicy.",
    RouteAnonymous = "BZ-9002": "A route admits callers without a credential.",
    RouteUnlimited = "BZ-9003": "A route has no RateLimitPolicy.",
    ListenerClearText = "BZ-9004": "A listener serves clear text beyond this machine.",
    TrustsEveryone = "BZ-9005": "A listener believes forwarding headers of every peer.",
    UpstreamUnverified = "BZ-9006": "An upstream's certificate is not verified.",
    FailsOpen = "BZ-9007": "A policy lets requests pass when it cannot decide.",
    InShadow = "BZ-9008": "A policy only watches, for some or all callers.",
    SwitchedOff = "BZ-9009": "A policy is off.",
    RoleWildcard = "BZ-9010": "A role permits something on every route, also on those that come later.",
    RuleOpen = "BZ-9011": "A rule of an AuthorizationPolicy allows every caller.",
    FetchClearText = "BZ-9013": "Keys or answers about tokens are fetched without TLS.",
    AnyAudience = "BZ-9014": "Tokens that were made for other services are taken.",
    RevocationOpen = "BZ-9015": "A listener accepts certificates whose revocation is not known.",
    FailuresUncounted = "BZ-9016": "Failed attempts to identify are not limited.",
    CredentialClearText = "BZ-9017": "A credential is sent to an upstream without TLS, beyond this machine.",
    PathsAmbiguous = "BZ-9018": "A listener admits paths that servers read in two ways.",
    BodyUnjudged = "BZ-9030": "An InspectionPolicy lets bodies or parts of them pass unjudged.",
    RulesSwitchedOff = "BZ-9031": "Rules of an InspectionPolicy are off, or only watch.",
}

impl Code {
    /// The severity that problems of this code have unless they say otherwise.
    pub fn severity(self) -> Severity {
        if self.as_str().starts_with("BZ-9") { Severity::Exposure } else { Severity::Problem }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong, or probably not meant, or open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem.
    pub code: Code,
    /// How grave.
    pub severity: Severity,
    /// Where.
    pub at: Span,
    /// Which field, as `spec.limits[0].timeWindow`; empty at a document's root.
    pub path: String,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
    /// Other places that take part in it, each with its role (`first written here`).
    pub also: Vec<(Span, String)>,
}

impl Problem {
    /// A problem of the code's own severity, without hint.
    pub fn new(code: Code, at: Span, path: impl Into<String>, message: impl Into<String>) -> Self {
        Problem {
            code,
            severity: code.severity(),
            at,
            path: path.into(),
            message: message.into(),
            hint: None,
            also: Vec::new(),
        }
    }

    /// The same problem with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem with another place that takes part in it.
    #[must_use]
    pub fn also(mut self, at: Span, role: impl Into<String>) -> Self {
        self.also.push((at, role.into()));
        self
    }

    /// The same finding as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same finding as an exposure.
    #[must_use]
    pub fn exposure(mut self) -> Self {
        self.severity = Severity::Exposure;
        self
    }
}

/// All problems of a set, in the order of files and places; where two share a place, in the order found.
///
/// Keeps at most [`Problems::KEPT`] of each severity and counts the rest, so that a hostile document cannot make
/// its own report the attack. A dropped problem still counts, so a set never becomes fine by having too many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    found: BTreeMap<(FileId, u32, u64), Problem>,
    counts: [u64; 3],
}

impl Problems {
    /// 1,000 of each severity: more than anybody reads, few enough to hold and print.
    pub const KEPT: u64 = 1_000;

    /// No problems yet.
    pub fn new() -> Self {
        Problems::default()
    }

    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        let order = self.total();
        let count = self.count_mut(problem.severity);
        *count += 1;
        if *count <= Problems::KEPT {
            self.found.insert((problem.at.file, problem.at.start, order), problem);
        }
    }

    /// Adds all problems of another sink, the dropped ones as a number.
    pub fn extend(&mut self, other: Problems) {
        let dropped: [u64; 3] = [Severity::Problem, Severity::Warning, Severity::Exposure]
            .map(|severity| other.count(severity).saturating_sub(Problems::KEPT));
        for (_, problem) in other.found {
            self.push(problem);
        }
        for (count, more) in self.counts.iter_mut().zip(dropped) {
            *count += more;
        }
    }

    /// The same problems, each changed; the dropped ones stay a number.
    #[must_use]
    pub fn map(self, mut change: impl FnMut(Problem) -> Problem) -> Self {
        let found = self.found.into_iter().map(|((_, _, order), problem)| {
            let problem = change(problem);
            ((problem.at.file, problem.at.start, order), problem)
        });
        Problems { found: found.collect(), counts: self.counts }
    }

    /// Whether nothing at all was found.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Whether something was found for which the set is refused.
    pub fn is_refusing(&self) -> bool {
        self.count(Severity::Problem) > 0
    }

    /// How many of this severity were found, dropped ones included.
    pub fn count(&self, severity: Severity) -> u64 {
        let [problems, warnings, exposures] = self.counts;
        match severity {
            Severity::Problem => problems,
            Severity::Warning => warnings,
            Severity::Exposure => exposures,
        }
    }

    /// How many were found altogether, dropped ones included; a mark to see whether a step found more.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The kept problems in the order of files and places.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.found.values()
    }

    fn count_mut(&mut self, severity: Severity) -> &mut u64 {
        let [problems, warnings, exposures] = &mut self.counts;
        match severity {
            Severity::Problem => problems,
            Severity::Warning => warnings,
            Severity::Exposure => exposures,
        }
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::collections::btree_map::IntoValues<(FileId, u32, u64), Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_values()
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        for problem in problems {
            self.push(problem);
        }
    }
}

/// Input as a message may quote it: in backticks, on one line, without control or invisible characters (a
/// document must not steer the terminal of the one who reads its problems), at most 60 characters.
pub fn shown(text: &str) -> String {
    format!("`{}`", clipped(text))
}

/// As [`shown`], without the backticks.
pub fn clipped(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN {
            out.push('…');
            break;
        }
        // `escape_debug` escapes what cannot be seen; quotes need no escape here.
        match character {
            '"' | '\'' | '\\' => out.push(character),
            hidden if is_invisible(hidden) => out.extend(hidden.escape_unicode()),
            other => out.extend(other.escape_debug()),
        }
    }
    out
}

/// Characters that reorder or hide the text around them: directional marks, zero-width characters, tags.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests;
