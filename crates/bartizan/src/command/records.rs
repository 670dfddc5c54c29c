//! Reading what was recorded: the store in the data directory, or an access log in JSON.
//!
//! `why`, `log` and `review` see requests only through [`Line`], which is one line of the access log.

use std::{
    collections::VecDeque,
    error::Error,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use bartizan_model::scalar::{Moment, Time};
use bartizan_telemetry::records::{FOLDER, RecordReader, Wanted};
use serde::Deserialize;
use serde_json::Value;

use super::data_dir::DataDirArg;

/// Where records come from.
#[derive(Debug, clap::Args)]
pub(crate) struct From {
    #[command(flatten)]
    data_dir: DataDirArg,
    /// Read this access log (JSON lines; `-` is standard input) instead of the data directory.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// What is looked for.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) consumer: Option<&'a str>,
    pub(crate) route: Option<&'a str>,
    pub(crate) since_s: u64,
    /// Any of these bits; 0 for all.
    pub(crate) flags: u16,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// As it was written.
    pub(crate) raw: Value,
    /// As it is read.
    pub(crate) line: Line,
}

/// One line of the access log. What a record does not say is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Line {
    pub(crate) time: String,
    pub(crate) id: String,
    pub(crate) listener: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) tls: Option<String>,
    pub(crate) consumer: Option<String>,
    pub(crate) credential: Option<String>,
    pub(crate) method: String,
    pub(crate) host: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) route: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) upstream_attempts: u64,
    pub(crate) status: u16,
    pub(crate) exit: String,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) duration_us: u64,
    pub(crate) gateway_us: u64,
    pub(crate) upstream_us: Option<u64>,
    pub(crate) waited_us: Option<u64>,
    pub(crate) stage: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) would_deny: Vec<Would>,
    pub(crate) faults: Vec<Passed>,
    pub(crate) rules: Vec<Matched>,
    pub(crate) revision: Option<String>,
}

/// A rule of an inspection that matched. Of the message it tells only the shape.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Matched {
    pub(crate) rule: u32,
    pub(crate) role: String,
    pub(crate) policy: String,
    pub(crate) half: String,
    pub(crate) at: String,
    pub(crate) message: String,
    pub(crate) variable: String,
    pub(crate) transforms: String,
    pub(crate) excerpt: String,
    pub(crate) exclusion: Option<String>,
}

/// What a policy in shadow would have done.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Would {
    pub(crate) mode: String,
    pub(crate) stage: String,
    pub(crate) policy: String,
    pub(crate) reason: String,
    pub(crate) wait_ms: Option<u64>,
    pub(crate) detail: Option<String>,
}

/// A judge that could not decide while its policy lets such requests pass.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Passed {
    pub(crate) stage: String,
    pub(crate) policy: Option<String>,
    pub(crate) detail: Option<String>,
}

impl Line {
    /// When it came: seconds since 1970.
    fn at_s(&self) -> u64 {
        // The log has microseconds, documents have milliseconds at most.
        let whole = self.time.split(['.', 'Z']).next().unwrap_or_default();
        Moment::parse(&format!("{whole}Z")).map_or(0, |moment| moment.unix_ms() / 1000)
    }

    /// Whether it is what the query asks for; the index of a store only guesses.
    fn is(&self, query: &Query<'_>) -> bool {
        use bartizan_telemetry::records::Flags;
        let bit = |is_so: bool, bit: u16| if is_so { bit } else { 0 };
        let flags = bit(self.reason.is_some(), Flags::REFUSED)
            | bit(!self.would_deny.is_empty(), Flags::WOULD)
            | bit(
                !self.faults.is_empty() || self.reason.as_deref() == Some("JudgeUnavailable"),
                Flags::FAULT,
            )
            | bit(self.status >= 500 || !matches!(&*self.exit, "complete"), Flags::BROKEN);
        query.id.is_none_or(|id| id == self.id)
            && query.consumer.is_none_or(|name| self.consumer.as_deref() == Some(name))
            && query.route.is_none_or(|name| self.route.as_deref() == Some(name))
            && (query.since_s == 0 || self.at_s() >= query.since_s)
            && (query.flags == 0 || flags & query.flags != 0)
    }
}

impl From {
    /// The newest records that are asked for, newest first.
    pub(crate) fn find(&self, query: &Query<'_>, most: usize) -> Result<Vec<Recorded>, Box<dyn Error>> {
        let mut found = VecDeque::new();
        if self.log.is_some() {
            // A log is read forward, so the newest are those that come last.
            self.each(query, |one| {
                if found.len() == most {
                    found.pop_back();
                }
                found.push_front(one);
                true
            })?;
        } else {
            self.each(query, |one| {
                found.push_back(one);
                found.len() < most
            })?;
        }
        Ok(found.into())
    }

    /// Shows every record that is asked for, as long as `each` wants more: of a store the newest first, of a log in the
    /// order of its lines.
    pub(crate) fn each(
        &self,
        query: &Query<'_>,
        mut each: impl FnMut(Recorded) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        let mut show = |bytes: &[u8]| match read(bytes).filter(|one| one.line.is(query)) {
            Some(one) => each(one),
            None => true,
        };
        match &self.log {
            Some(path) => of_log(path, query, &mut show),
            None => {
                let wanted = Wanted {
                    id: query.id,
                    consumer: query.consumer,
                    route: query.route,
                    since_s: query.since_s,
                    flags: query.flags,
                };
                let reader = RecordReader::open(self.folder()?);
                Ok(reader.visit(&wanted, |found| show(&found.line))?)
            }
        }
    }

    /// Where it was looked, in words.
    pub(crate) fn place(&self) -> String {
        match (&self.log, self.folder()) {
            (Some(path), _) => path.display().to_string(),
            (None, Ok(folder)) => folder.display().to_string(),
            (None, Err(_)) => "the data directory".to_owned(),
        }
    }

    fn folder(&self) -> Result<PathBuf, Box<dyn Error>> {
        Ok(self.data_dir.open()?.path().join(FOLDER))
    }
}

/// The newest refusals in the record store at `folder`, newest first; none where there is no store yet.
pub(crate) fn refusals(folder: &Path, most: usize) -> io::Result<Vec<Recorded>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let query = Query { flags: bartizan_telemetry::records::Flags::REFUSED, ..Query::default() };
    let wanted = Wanted { id: None, consumer: None, route: None, since_s: 0, flags: query.flags };
    let mut found = Vec::new();
    RecordReader::open(folder.to_path_buf()).visit(&wanted, |line| {
        found.extend(read(&line.line).filter(|one| one.line.is(&query)));
        found.len() < most
    })?;
    Ok(found)
}

fn read(bytes: &[u8]) -> Option<Recorded> {
    // Announcements of lost lines and torn lines are no requests.
    let raw: Value = serde_json::from_slice(bytes).ok()?;
    raw.get("method")?;
    let line = Line::deserialize(&raw).ok()?;
    Some(Recorded { raw, line })
}

fn of_log(path: &Path, query: &Query<'_>, show: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Box<dyn Error>> {
    let named = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let mut lines: BufReader<Box<dyn io::Read>> = if path.as_os_str() == "-" {
        BufReader::new(Box::new(io::stdin()))
    } else {
        BufReader::with_capacity(1 << 20, Box::new(File::open(path).map_err(named)?))
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line longer than any of ours is read in pieces, none of which is a record.
        let mut limited = io::Read::take(&mut lines, LINE_BYTES_MAX);
        if limited.read_until(b'\n', &mut line).map_err(named)? == 0 {
            return Ok(());
        }
        // Looking for the text costs a fraction of reading the line.
        let may_be = query.id.is_none_or(|id| contains(&line, id.as_bytes()));
        if may_be && !show(&line) {
            return Ok(());
        }
    }
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    part.is_empty() || line.windows(part.len()).any(|window| window == part)
}

/// A line of ours is a few kilobytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The moment so long ago, in seconds since 1970.
pub(crate) fn since(ago: Option<&Time>) -> u64 {
    let Some(ago) = ago else { return 0 };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(ago.get()).as_secs()
}

/// Microseconds as milliseconds.
pub(crate) fn ms(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us / 100 % 10)
}
