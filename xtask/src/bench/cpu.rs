//! What a process tree costs: CPU time, memory, and what else ran on its core.
//!
//! The figure to trust is CPU time per request, because it moves least when the machine is shared. It is read from
//! `/proc/<pid>/task/*/schedstat` (nanoseconds) over the whole tree. That counts living threads only, so each reading
//! is held against the process's own ticks, in which ended threads are included.

use std::{collections::BTreeMap, fs, time::Duration};

use crate::Result;

/// CPU time of a process tree, at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    processes: BTreeMap<u32, Process>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Process {
    /// Time on a CPU of all living threads.
    nanoseconds: u64,
    user_ticks: u64,
    system_ticks: u64,
}

/// CPU time between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spent {
    pub(super) cpu: Duration,
    /// Share of it spent outside the kernel.
    pub(super) user_percent: f64,
}

/// The tree below `pid`, itself first.
pub(super) fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&parent) = all.get(at) {
        for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    all
}

/// Reads the tree below `pid` now.
pub(super) fn read(pid: u32) -> Reading {
    let processes = tree(pid).into_iter().filter_map(|pid| Some((pid, process(pid)?)));
    Reading { processes: processes.collect() }
}

fn process(pid: u32) -> Option<Process> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread that ends while we read is what `Reading::until` looks for.
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    let (user_ticks, system_ticks) = ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    Some(Process { nanoseconds, user_ticks, system_ticks })
}

/// User and system time of `/proc/<pid>/stat`, the 14th and 15th field; the name before them may hold anything.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

impl Reading {
    /// What was spent until `later`.
    ///
    /// # Errors
    /// When a process of the tree ended or began in between: the figure would be of something else.
    pub(super) fn until(&self, later: &Reading) -> Result<Spent> {
        if !self.processes.keys().eq(later.processes.keys()) || self.processes.is_empty() {
            let pids = |reading: &Reading| reading.processes.keys().copied().collect::<Vec<_>>();
            return Err(format!("the processes changed: {:?}, then {:?}", pids(self), pids(later)));
        }
        let (mut nanoseconds, mut user, mut system) = (0_u64, 0_u64, 0_u64);
        for (before, after) in self.processes.values().zip(later.processes.values()) {
            let exact = after.nanoseconds.saturating_sub(before.nanoseconds);
            let (u, s) = (after.user_ticks - before.user_ticks, after.system_ticks - before.system_ticks);
            let ticks = (u + s) * NANOSECONDS_PER_TICK;
            // Threads that ended took their time with them: the ticks know it, to a hundredth of a second.
            let lost = ticks > exact + exact / 20 + 4 * NANOSECONDS_PER_TICK;
            nanoseconds += if lost { ticks } else { exact };
            (user, system) = (user + u, system + s);
        }
        let user_percent = 100.0 * user as f64 / (user + system).max(1) as f64;
        Ok(Spent { cpu: Duration::from_nanos(nanoseconds), user_percent })
    }
}

/// Memory of a process tree in KiB, shared pages counted in proportion, and all resident pages.
pub(super) fn memory(pid: u32) -> (u64, u64) {
    let of = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        (kib(&text, "Pss:"), kib(&text, "Rss:"))
    };
    tree(pid).into_iter().map(of).fold((0, 0), |(pss, rss), (p, r)| (pss + p, rss + r))
}

fn kib(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// How busy a core was so far, in ticks: by anyone, and stolen by the host.
///
/// Interrupts count: the kernel's network work on loopback runs in the sender's time and is in its `schedstat` too,
/// while the ticks list it apart.
pub(super) fn core(number: usize) -> Result<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
    core_of(&stat, number).ok_or_else(|| format!("/proc/stat has no core {number}"))
}

fn core_of(stat: &str, number: usize) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{number} ")))?;
    let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = fields.as_slice() else {
        return None;
    };
    Some((user + nice + system + irq + softirq, *steal))
}

/// USER_HZ has been 100 on every Linux for decades; it is what `/proc` counts in.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// Ticks as a time.
pub(super) fn ticks_as_time(ticks: u64) -> Duration {
    Duration::from_nanos(ticks * NANOSECONDS_PER_TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(nanoseconds: u64, user_ticks: u64) -> Reading {
        Reading { processes: BTreeMap::from([(1, Process { nanoseconds, user_ticks, system_ticks: 0 })]) }
    }

    #[test]
    fn the_exact_time_counts_unless_threads_took_theirs_with_them() {
        let second = 1_000_000_000;
        let cases = [
            (reading(second, 100), reading(3 * second, 300), 2.0),
            (reading(second, 100), reading(3 * second, 303), 2.0),
            (reading(second, 100), reading(second / 2, 300), 2.0),
        ];
        for (before, after, expected) in cases {
            let spent = before.until(&after).unwrap();
            assert!((spent.cpu.as_secs_f64() - expected).abs() < 0.001, "{spent:?}");
        }
    }

    #[test]
    fn a_process_that_came_or_went_spoils_the_slice() {
        assert!(reading(0, 0).until(&Reading::default()).is_err());
        assert!(Reading::default().until(&Reading::default()).is_err());
    }

    #[test]
    fn the_fields_of_proc_are_found() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 55 66 7 8 20 0 1 0 9";
        assert_eq!(ticks(stat), Some((55, 66)));
        let stat = "cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 10 20 30 40 50 60 70 80 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(core_of(stat, 0), Some((190, 80)));
        assert_eq!(core_of(stat, 2), None);
        assert_eq!(kib("Rss:  10 kB\nPss:      7 kB\n", "Pss:"), 7);
    }

    #[test]
    fn our_own_tree_has_time_and_memory() {
        let pid = std::process::id();
        assert!(tree(pid).contains(&pid));
        assert!(memory(pid).0 > 0);
        assert!(read(pid).until(&read(pid)).is_ok());
    }
}
