//! A row of the attack table: what is sent, and what must become of it.
//!
//! Rows are data wherever one connection and one message show the case, so that a new variant is one line; a script
//! where it takes several steps, clocks or sockets.

use bartizan_testkit::Received;

use crate::House;

/// Where an attack comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// A numbered case of the attack list; the numbers are stable.
    Number(u8),
    /// Something that happened to another gateway, numbered in the order in which we wrote it down.
    Incident(u8),
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Case::Number(number) => write!(f, "{number}"),
            Case::Incident(number) => write!(f, "I{number}"),
        }
    }
}

/// How the attack is made.
pub enum How {
    /// These bytes on a new HTTP/1 connection in clear text.
    Bytes(Vec<u8>),
    /// A request with these fields, pseudo-header fields first, on a new HTTP/2 connection in clear text.
    Fields(Vec<(Vec<u8>, Vec<u8>)>),
    /// Several steps; what is wrong is told in a sentence.
    Script(fn(&House) -> Result<(), String>),
    /// A script for one of many things of a kind, by its name.
    Named(&'static str, fn(&House, &str) -> Result<(), String>),
    /// As a script, beside the others, because it waits for a clock. It uses no origin that others look at.
    Beside(fn(&House) -> Result<(), String>),
}

/// What must become of it.
#[derive(Clone, Copy)]
pub enum Expect {
    /// Refused with one of these statuses, or closed without a word where 0 is among them. The connection ends (in
    /// HTTP/2: the stream), and nothing reaches the origin.
    Closes(&'static [u16]),
    /// Refused with one of these statuses; nothing reaches the origin, and the next request on the connection is served.
    Refuses(&'static [u16]),
    /// The body's framing is broken after a sound head: refused or closed, and the origin sees no complete request.
    Breaks,
    /// Served, and the origin gets exactly one request that looks like this.
    Serves(&'static str, fn(&Received) -> Result<(), String>),
    /// What the script asserts.
    Says(&'static str),
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |statuses: &[u16]| {
            let words: Vec<String> = statuses
                .iter()
                .map(|status| if *status == 0 { "nothing".to_owned() } else { status.to_string() })
                .collect();
            words.join(" or ")
        };
        match self {
            Expect::Closes(statuses) => write!(f, "{}, closed; the origin sees nothing", list(statuses)),
            Expect::Refuses(statuses) => write!(f, "{}; the origin sees nothing", list(statuses)),
            Expect::Breaks => f.write_str("refused or closed; the origin sees no complete request"),
            Expect::Serves(words, _) | Expect::Says(words) => f.write_str(words),
        }
    }
}

/// Whether we claim that the expectation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds.
    Holds,
    /// It does not hold, for this reason. When it begins to hold, the run fails until this is removed.
    Known(&'static str),
    /// There is nothing to attack yet.
    NotYet(&'static str),
}

/// An attack and what must become of it.
pub struct Row {
    /// Unique: the case and a letter or two.
    pub id: String,
    /// The case.
    pub case: Case,
    /// A sentence.
    pub name: String,
    /// How it is made; `None` where there is nothing to attack yet.
    pub how: Option<How>,
    /// What must become of it.
    pub expect: Expect,
    /// Whether we claim that.
    pub standing: Standing,
}

/// The rows of one case, built one after another.
pub struct Rows {
    case: Case,
    rows: Vec<Row>,
}

impl Rows {
    /// The rows of a numbered case.
    pub fn of(number: u8) -> Rows {
        Rows { case: Case::Number(number), rows: Vec::new() }
    }

    /// The rows of an incident.
    pub fn incident(number: u8) -> Rows {
        Rows { case: Case::Incident(number), rows: Vec::new() }
    }

    fn add(mut self, name: impl Into<String>, how: Option<How>, expect: Expect, standing: Standing) -> Rows {
        let letter = u8::try_from(self.rows.len()).expect("a case has few rows");
        let letters = match letter {
            0..26 => char::from(b'a' + letter).to_string(),
            _ => format!("{}{}", char::from(b'a' + letter / 26 - 1), char::from(b'a' + letter % 26)),
        };
        let id = format!("{}{letters}", self.case);
        self.rows.push(Row { id, case: self.case, name: name.into(), how, expect, standing });
        self
    }

    /// These bytes in HTTP/1.
    #[must_use]
    pub fn bytes(self, name: impl Into<String>, bytes: impl Into<Vec<u8>>, expect: Expect) -> Rows {
        self.add(name, Some(How::Bytes(bytes.into())), expect, Standing::Holds)
    }

    /// A table of names and bytes with one expectation.
    #[must_use]
    pub fn all_bytes<N: Into<String>, B: Into<Vec<u8>>>(
        self,
        expect: Expect,
        cases: impl IntoIterator<Item = (N, B)>,
    ) -> Rows {
        cases.into_iter().fold(self, |rows, (name, bytes)| rows.bytes(name, bytes, expect))
    }

    /// A request with these fields in HTTP/2.
    #[must_use]
    pub fn fields(self, name: impl Into<String>, fields: Vec<(Vec<u8>, Vec<u8>)>, expect: Expect) -> Rows {
        self.add(name, Some(How::Fields(fields)), expect, Standing::Holds)
    }

    /// A script.
    #[must_use]
    pub fn script(
        self,
        name: impl Into<String>,
        says: &'static str,
        script: fn(&House) -> Result<(), String>,
    ) -> Rows {
        self.add(name, Some(How::Script(script)), Expect::Says(says), Standing::Holds)
    }

    /// A script for one of many things of a kind.
    #[must_use]
    pub fn named_script(
        self,
        name: impl Into<String>,
        says: &'static str,
        thing: &'static str,
        script: fn(&House, &str) -> Result<(), String>,
    ) -> Rows {
        self.add(name, Some(How::Named(thing, script)), Expect::Says(says), Standing::Holds)
    }

    /// A script that waits for a clock and runs beside the others.
    #[must_use]
    pub fn beside(
        self,
        name: impl Into<String>,
        says: &'static str,
        script: fn(&House) -> Result<(), String>,
    ) -> Rows {
        self.add(name, Some(How::Beside(script)), Expect::Says(says), Standing::Holds)
    }

    /// The row added last is not as expected, for this reason.
    #[must_use]
    pub fn known(mut self, reason: &'static str) -> Rows {
        self.rows.last_mut().expect("a row was added").standing = Standing::Known(reason);
        self
    }

    /// There is nothing to attack yet.
    #[must_use]
    pub fn not_yet(self, name: &'static str, says: &'static str, reason: &'static str) -> Rows {
        self.add(name, None, Expect::Says(says), Standing::NotYet(reason))
    }

    /// The rows.
    pub fn done(self) -> Vec<Row> {
        self.rows
    }
}
