//! Files that are their owner's alone: made with mode 0600, refused when anybody else may read or write them.
//!
//! What is examined is the opened file, not its name, so nothing can be exchanged in between.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use crate::error::Error;

/// Opens for reading and writing; makes an empty file where there is none.
pub(crate) fn open_or_create(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    examined(file.map_err(fault("open", path))?, path)
}

/// Opens for reading; `None` where there is no such file.
pub(crate) fn open(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Ok(file) => examined(file, path).map(Some),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(fault("open", path)(source)),
    }
}

/// Makes `path` with `bytes`: after a crash at any moment it is there whole or not at all. The caller holds the
/// setup lock, so nobody else is making it.
pub(crate) fn create_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    let write = || -> io::Result<()> {
        match fs::remove_file(&partial) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(source),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(fault("create", path))
}

/// Wraps an I/O error with what was to be done to which file.
pub(crate) fn fault(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::File { doing, path: path.to_owned(), source }
}

fn examined(file: File, path: &Path) -> Result<File, Error> {
    let mode = file.metadata().map_err(fault("examine", path))?.mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(file) } else { Err(Error::FileExposed { path: path.to_owned(), mode }) }
}
