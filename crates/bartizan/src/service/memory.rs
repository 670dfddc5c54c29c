//! How much memory the process takes of the most that it may: read ten times a second and told to the data plane.
//!
//! The most is what `--memory` says, else what the process's control group allows, else what the machine has. What counts
//! is memory that cannot be given back (`RssAnon`): pages of files can be read again. The same thread sees when a core
//! hangs, because nobody on the core could.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use bartizan_model::scalar::ByteSize;
use bartizan_proxy::overload::{Overload, Step, worst::Worst};

use super::Failure;
use crate::memory;

/// 100 ms: the beat of the cores that act on it.
const LOOK: Duration = Duration::from_millis(100);
/// 2 s without a beat: a core is busy with one thing, or the system does not let it run.
const HANGS: Duration = Duration::from_secs(2);
/// A limit of less than twice what an idle process takes leaves no room to serve anybody.
const LEAST: u64 = 2;
/// What a control group says that has no limit is larger.
const LIMIT_MOST: u64 = 1 << 60;

/// The most memory that the process may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Who says so.
    pub(crate) by: &'static str,
}

impl Limit {
    /// What `--memory` asked for, else what the system tells; nothing where it tells nothing.
    pub(crate) fn find(asked: Option<ByteSize>) -> Option<Self> {
        if let Some(asked) = asked {
            return Some(Limit { bytes: asked.get(), by: "--memory" });
        }
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let read = |path: &Path| fs::read_to_string(path).ok();
        let group = group_limit(&membership, Path::new("/sys/fs/cgroup"), &read);
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kibibytes(&text, "MemTotal:"));
        match (group, machine) {
            (Some(group), machine) if machine.is_none_or(|machine| group < machine) => {
                Some(Limit { bytes: group, by: "the control group" })
            }
            (_, machine) => machine.map(|bytes| Limit { bytes, by: "the machine" }),
        }
    }

    /// Refuses a limit under which nobody could be served.
    pub(crate) fn refuse_too_little(&self) -> Result<(), Failure> {
        let used = used().unwrap_or(0);
        if self.bytes / LEAST >= used {
            return Ok(());
        }
        let text = format!(
            "{} allows {} of memory, and the process takes {} before it serves anybody; allow at least {}",
            self.by,
            shown(self.bytes),
            shown(used),
            shown(used.saturating_mul(LEAST))
        );
        match self.by {
            "--memory" => Err(Failure::Process(text)),
            // Whoever set it may not be whoever starts us; requests will be shed, and this says why.
            _ => {
                tracing::warn!("{text}");
                Ok(())
            }
        }
    }
}

/// Says what may be taken at worst, and what happens before that.
pub(crate) fn tell(limit: Option<&Limit>, worst: &Worst) {
    tracing::info!(
        connections = shown(worst.connections),
        upstreams = shown(worst.upstreams),
        bodies = shown(worst.bodies),
        cache = shown(worst.cache),
        limits = shown(worst.limits),
        sum = shown(worst.total()),
        limit = limit.map_or_else(|| "unknown".to_owned(), |limit| shown(limit.bytes)),
        by = limit.map_or("nobody", |limit| limit.by),
        "memory at worst, if every limit were reached at once; requests are shed from nine tenths of the limit on"
    );
}

/// Watches memory and cores as long as `overload` is in use.
pub(crate) fn watch(overload: &Arc<Overload>, limit: Option<Limit>) -> std::io::Result<()> {
    let overload = Arc::downgrade(overload);
    let Some(limit) = limit.filter(|_| used().is_some()) else {
        tracing::warn!("the system does not tell how much memory is used; nothing is shed because of it");
        return Ok(());
    };
    let watch = Watch { limit, is_pressed: false, beats: Vec::new() };
    thread::Builder::new().name("memory".into()).spawn(move || watch.run(&overload)).map(drop)
}

struct Watch {
    limit: Limit,
    /// Said once, until it is over.
    is_pressed: bool,
    /// The last beat of each core, when it was seen, and whether somebody was told since.
    beats: Vec<(u64, Instant, bool)>,
}

impl Watch {
    fn run(mut self, overload: &Weak<Overload>) {
        while let Some(overload) = overload.upgrade() {
            if let Some(used) = used() {
                overload.note_memory(used, self.limit.bytes);
                self.tell(&overload, used);
                if overload.memory().reaches(Step::ShortIdle) {
                    memory::give_back();
                }
            }
            self.look_at_cores(&overload, Instant::now());
            drop(overload);
            // Nobody wakes it; waking early would only mean looking early.
            thread::park_timeout(LOOK);
        }
    }

    fn tell(&mut self, overload: &Overload, used: u64) {
        let pressure = overload.memory();
        let (used, limit) = (shown(used), shown(self.limit.bytes));
        if pressure.reaches(Step::Shed) && !self.is_pressed {
            self.is_pressed = true;
            tracing::warn!(used, limit, "memory runs out; requests are shed");
        } else if self.is_pressed && !pressure.reaches(Step::ShortIdle) {
            self.is_pressed = false;
            tracing::info!(used, limit, "there is memory again");
        }
    }

    fn look_at_cores(&mut self, overload: &Overload, now: Instant) {
        let beats = overload.beats();
        self.beats.resize(beats.len(), (0, now, false));
        for (core, (beats, known)) in beats.into_iter().zip(&mut self.beats).enumerate() {
            if beats != known.0 {
                *known = (beats, now, false);
            } else if beats > 0 && !known.2 && now.saturating_duration_since(known.1) >= HANGS {
                known.2 = true;
                tracing::error!(core, "a core has done one thing for two seconds, or was not let run");
            }
        }
    }
}

/// What the process takes and could not give back.
fn used() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

/// `RssAnon:     1234 kB` and its like.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The least limit of the control groups that the process is in; cgroups(7): those above count too.
fn group_limit(membership: &str, root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = membership.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => (root.to_path_buf(), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // In a container the path is that of the host; its own group is then the root.
        let own: PathBuf = root.join(path.trim_start_matches('/'));
        let groups = own.ancestors().take_while(|group| group.starts_with(&root));
        groups.filter_map(|group| read(&group.join(file))?.trim().parse::<u64>().ok()).min()
    });
    limits.filter(|bytes| *bytes < LIMIT_MOST).min()
}

fn shown(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= 10 * unit) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let files = |known: &'static [(&'static str, &'static str)]| {
            move |path: &Path| {
                let found = known.iter().find(|(name, _)| Path::new(name) == path);
                found.map(|(_, text)| (*text).to_owned())
            }
        };
        let unified: &[_] = &[
            ("/cg/a/b/memory.max", "max\n"),
            ("/cg/a/memory.max", "1073741824\n"),
            ("/cg/memory.max", "2147483648\n"),
        ];
        let old: &[_] = &[("/cg/memory/memory.limit_in_bytes", "536870912\n")];
        let none: &[_] = &[("/cg/memory/memory.limit_in_bytes", "9223372036854771712\n")];
        let cases = [
            ("0::/a/b\n", unified, Some(1 << 30)),
            ("0::/other\n", unified, Some(2 << 30)),
            ("5:cpu:/x\n4:memory:/docker/abc\n", old, Some(512 << 20)),
            ("4:memory:/docker/abc\n", none, None),
            ("", unified, None),
        ];
        for (membership, known, expected) in cases {
            let read = files(known);
            assert_eq!(group_limit(membership, Path::new("/cg"), &read), expected, "{membership:?}");
        }
    }

    #[test]
    fn figures_are_read_from_the_kernel_s_text() {
        let text = "VmRSS:\t 9 kB\nRssAnon:\t    1234 kB\n";
        assert_eq!(kibibytes(text, "RssAnon:"), Some(1234 * 1024));
        assert_eq!(kibibytes(text, "RssFile:"), None);
        assert_eq!(
            (shown(5), shown(64 << 10), shown(2 << 30)),
            ("5 B".into(), "64 KiB".into(), "2048 MiB".into())
        );
    }

    #[test]
    fn a_limit_that_is_less_than_what_an_idle_process_takes_is_refused() {
        assert!(Limit { bytes: 1, by: "--memory" }.refuse_too_little().is_err());
        assert!(Limit { bytes: 1, by: "the control group" }.refuse_too_little().is_ok());
        assert!(Limit { bytes: 1 << 50, by: "--memory" }.refuse_too_little().is_ok());
    }
}
