//! The figures of the process, read from `/proc` when scraped; where there is none, they are left out.

use std::fs;

/// What the system tells of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Memory in RAM.
    pub resident_bytes: Option<u64>,
    /// CPU time of all threads, user and system.
    pub cpu_nanos: Option<u128>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Most it may open.
    pub max_fds: Option<u64>,
}

impl ProcessFigures {
    /// Reads them now.
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        ProcessFigures {
            resident_bytes: resident_bytes(&status),
            cpu_nanos: cpu_nanos(&stat),
            // The listing itself has one open.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
            max_fds: max_fds(&limits),
        }
    }
}

/// `VmRSS:      1234 kB` in `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The 14th and 15th field of `/proc/self/stat`. The second is the program's name in parentheses and may hold
/// anything, so fields are counted from the last parenthesis.
fn cpu_nanos(stat: &str) -> Option<u128> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u128 = fields.next()?.parse().ok()?;
    let system: u128 = fields.next()?.parse().ok()?;
    // proc(5): in clock ticks, of which user space sees 100 a second on every Linux we build for.
    Some((user + system) * 10_000_000)
}

/// The soft limit in `Max open files   1024   4096   files`.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_kernel_s_text() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    1234 kB\nVmData: 1 kB\n"), Some(1234 * 1024));
        assert_eq!(resident_bytes("VmSize: 1 kB\n"), None);
        let stat = "1 (a) b (c) S 1 1 1 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_nanos(stat), Some(2_000_000_000));
        assert_eq!(cpu_nanos("1 (a) S 1"), None);
        assert_eq!(max_fds("Limit Soft\nMax open files            1024      4096     files\n"), Some(1024));
        assert_eq!(max_fds("Max open files            unlimited      4096     files\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_figures() {
        let figures = ProcessFigures::read();
        assert!(figures.resident_bytes.unwrap() > 100_000);
        assert!(figures.open_fds.unwrap() >= 3);
        assert!(figures.cpu_nanos.is_some());
    }
}
