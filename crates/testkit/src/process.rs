//! What a process uses, read from `/proc`: for attacks whose harm is time or memory.

use std::{fs, time::Duration};

/// The processor time that the process has used so far, its threads together.
///
/// # Panics
/// When the process is gone or the system has no `/proc`.
pub fn cpu(pid: u32) -> Duration {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // proc(5): the second field is a name in brackets, which may contain blanks; user and system time are 14 and 15.
    let after_name = text.rsplit_once(')').map_or(text.as_str(), |(_, rest)| rest);
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every Linux there is.
    Duration::from_millis(ticks * 10)
}

/// The memory of the process that is resident now, in bytes.
///
/// # Panics
/// When the process is gone or the system has no `/proc`.
pub fn resident(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line =
        text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has resident memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("the memory is a number");
    kib * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let pid = std::process::id();
        assert!(resident(pid) > 100 * 1024);
        let before = cpu(pid);
        let start = std::time::Instant::now();
        while cpu(pid) == before {
            assert!(start.elapsed() < Duration::from_secs(20), "no time passes");
        }
    }
}
