//! Where lines go: stdout, or a file with a bounded size and a bounded number of predecessors.
//!
//! The file is opened for appending and renamed by ourselves, because a log that nobody rotates fills the disk
//! that the gateway needs (security.md case 37). Only the writer's thread touches it.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Where the access log goes.
pub enum Destination {
    /// The process's standard output.
    Stdout,
    /// A file that is rotated by size.
    File(FileOptions),
    /// Anything that takes bytes; for tests and for shipping elsewhere. It is written by the log's thread only and
    /// may block.
    Other(Box<dyn Write + Send>),
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Stdout => f.write_str("Stdout"),
            Destination::File(options) => options.fmt(f),
            Destination::Other(_) => f.write_str("Other(…)"),
        }
    }
}

/// A log file and its rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// The file that is written; its predecessors have `.1` (the newest), `.2` … after it.
    pub path: PathBuf,
    /// The size it does not exceed, except by a single batch larger than that.
    pub bytes_max: u64,
    /// How many predecessors are kept; with 0 a full file is emptied.
    pub keep: u32,
}

/// An open destination.
pub(crate) enum Sink {
    Stdout(io::Stdout),
    File(RotatedFile),
    Other(Box<dyn Write + Send>),
}

impl Sink {
    pub(crate) fn open(destination: Destination) -> io::Result<Self> {
        Ok(match destination {
            Destination::Stdout => Sink::Stdout(io::stdout()),
            Destination::File(options) => Sink::File(RotatedFile::open(options)?),
            Destination::Other(writer) => Sink::Other(writer),
        })
    }

    /// Makes room for `length` more bytes, which may mean to rotate. When that fails, what is open stays open.
    pub(crate) fn make_room(&mut self, length: usize) -> io::Result<()> {
        match self {
            Sink::File(file) => file.make_room(length as u64),
            Sink::Stdout(_) | Sink::Other(_) => Ok(()),
        }
    }

    /// Whether a file that could not be rotated has grown to twice its size: beyond that the disk matters more
    /// than the log.
    pub(crate) fn is_overgrown(&self) -> bool {
        match self {
            Sink::File(file) => file.length >= file.options.bytes_max.saturating_mul(2),
            Sink::Stdout(_) | Sink::Other(_) => false,
        }
    }

    /// Opens a file's path anew. When that fails, what is open stays open.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Sink::File(file) => file.reopen(),
            Sink::Stdout(_) | Sink::Other(_) => Ok(()),
        }
    }

    /// Writes all of `bytes`, or says how many were written before the error.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        loop {
            let rest = bytes.get(written..).unwrap_or_default();
            if rest.is_empty() {
                return self.writer().flush().map_err(|error| (written, error));
            }
            match self.writer().write(rest) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    if let Sink::File(file) = self {
                        file.length += count as u64;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Sink::Stdout(stdout) => stdout,
            Sink::File(file) => &mut file.file,
            Sink::Other(writer) => writer,
        }
    }
}

/// A file that is renamed when it is full.
pub(crate) struct RotatedFile {
    options: FileOptions,
    file: File,
    length: u64,
    /// Devices and pipes have no size and are never renamed.
    is_regular: bool,
}

impl RotatedFile {
    fn open(options: FileOptions) -> io::Result<Self> {
        let (file, length, is_regular) = open_for_appending(&options.path)?;
        Ok(RotatedFile { options, file, length, is_regular })
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.length, self.is_regular) = open_for_appending(&self.options.path)?;
        Ok(())
    }

    fn make_room(&mut self, length: u64) -> io::Result<()> {
        let full = self.length > 0 && self.length.saturating_add(length) > self.options.bytes_max;
        if full && self.is_regular { self.rotate() } else { Ok(()) }
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.options.keep == 0 {
            self.file.set_len(0)?;
            self.length = 0;
            return Ok(());
        }
        for number in (1..self.options.keep).rev() {
            rename_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        rename_if_there(&self.options.path, &self.numbered(1))?;
        self.reopen()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.options.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn open_for_appending(path: &Path) -> io::Result<(File, u64, bool)> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    // The log tells who called what: readable by its group (log shippers), not by everyone.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata.len(), metadata.is_file()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory of its own for one test, removed at its end.
    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Folder {
        pub(crate) fn for_test() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name =
                format!("bartizan-log-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        pub(crate) fn names(&self) -> Vec<String> {
            let all = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn open(folder: &Folder, bytes_max: u64, keep: u32) -> Sink {
        let path = folder.0.join("access.log");
        Sink::open(Destination::File(FileOptions { path, bytes_max, keep })).unwrap()
    }

    fn put(sink: &mut Sink, line: &str) {
        sink.make_room(line.len()).unwrap();
        sink.write_all(line.as_bytes()).map_err(|(_, error)| error).unwrap();
    }

    fn text(folder: &Folder, name: &str) -> String {
        fs::read_to_string(folder.0.join(name)).unwrap()
    }

    #[test]
    fn a_full_file_is_renamed_and_only_so_many_are_kept() {
        let folder = Folder::for_test();
        let mut sink = open(&folder, 10, 2);
        for line in ["11111\n", "22222\n", "33333\n", "44444\n"] {
            put(&mut sink, line);
        }
        assert_eq!(folder.names(), ["access.log", "access.log.1", "access.log.2"]);
        assert_eq!(text(&folder, "access.log"), "44444\n");
        assert_eq!(text(&folder, "access.log.1"), "33333\n");
        assert_eq!(text(&folder, "access.log.2"), "22222\n");
    }

    #[test]
    fn a_file_that_is_exactly_full_is_not_renamed_before_the_next_line() {
        let folder = Folder::for_test();
        let mut sink = open(&folder, 12, 1);
        put(&mut sink, "11111\n");
        put(&mut sink, "22222\n");
        assert_eq!(folder.names(), ["access.log"]);
        put(&mut sink, "3\n");
        assert_eq!(text(&folder, "access.log.1"), "11111\n22222\n");
    }

    #[test]
    fn a_restart_counts_what_is_there() {
        let folder = Folder::for_test();
        put(&mut open(&folder, 10, 1), "11111\n");
        put(&mut open(&folder, 10, 1), "22222\n");
        assert_eq!(text(&folder, "access.log.1"), "11111\n");
    }

    #[test]
    fn with_no_predecessors_a_full_file_is_emptied() {
        let folder = Folder::for_test();
        let mut sink = open(&folder, 10, 0);
        put(&mut sink, "11111\n");
        put(&mut sink, "22222\n");
        assert_eq!(
            (folder.names(), text(&folder, "access.log")),
            (vec!["access.log".into()], "22222\n".into())
        );
    }

    #[test]
    fn a_line_larger_than_the_file_may_be_is_still_written() {
        let folder = Folder::for_test();
        let mut sink = open(&folder, 3, 1);
        put(&mut sink, "11111\n");
        assert_eq!(text(&folder, "access.log"), "11111\n");
        assert_eq!(folder.names(), ["access.log"], "an empty file is not rotated");
    }

    #[test]
    fn reopening_follows_a_file_that_others_renamed() {
        let folder = Folder::for_test();
        let mut sink = open(&folder, 1000, 1);
        put(&mut sink, "1\n");
        fs::rename(folder.0.join("access.log"), folder.0.join("moved")).unwrap();
        put(&mut sink, "2\n");
        sink.reopen().unwrap();
        put(&mut sink, "3\n");
        assert_eq!((text(&folder, "moved"), text(&folder, "access.log")), ("1\n2\n".into(), "3\n".into()));
    }

    #[test]
    fn a_failed_reopening_keeps_the_open_file() {
        let folder = Folder::for_test();
        let mut sink = open(&folder, 1000, 1);
        fs::rename(folder.0.join("access.log"), folder.0.join("moved")).unwrap();
        fs::create_dir(folder.0.join("access.log")).unwrap();
        assert!(sink.reopen().is_err());
        put(&mut sink, "still here\n");
        assert_eq!(text(&folder, "moved"), "still here\n");
    }

    #[test]
    #[cfg(unix)]
    fn a_new_file_is_not_readable_by_everyone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::for_test();
        let _sink = open(&folder, 10, 1);
        let mode = fs::metadata(folder.0.join("access.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_device_is_written_and_never_renamed() {
        let options = FileOptions { path: "/dev/null".into(), bytes_max: 1, keep: 1 };
        let mut sink = Sink::open(Destination::File(options)).unwrap();
        put(&mut sink, "1\n");
        put(&mut sink, "2\n");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error_that_says_how_much_was_written() {
        let options = FileOptions { path: "/dev/full".into(), bytes_max: 100, keep: 1 };
        let mut sink = Sink::open(Destination::File(options)).unwrap();
        let (written, error) = sink.write_all(b"1\n").unwrap_err();
        assert_eq!((written, error.kind()), (0, io::ErrorKind::StorageFull));
    }
}
