//! Where documents come from: files, directories, standard input.
//!
//! Loading ends with the whole text of the set in memory and a digest of it, so that everything after it is pure. A
//! directory that a Kubernetes volume fills (`..data` links beside links into it) yields each file once, because names
//! that begin with a dot are passed over and a file is known by its real path, not by the name it was found under.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{self, SHA256};
use bartizan_model::problem::FileId;

/// A file's limit, 4 MiB: thousands of routes fit.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// The set's limit, 64 MiB: it is held in memory as a whole.
pub const SET_BYTES_MAX: usize = 64 << 20;
/// The most files of a set.
pub const FILES_MAX: usize = 20_000;
/// The deepest folder below a given one.
const FOLDER_DEPTH_MAX: usize = 32;

/// One text of a set.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    path: Option<PathBuf>,
    /// Whether `path` is only a name: it lies in no folder.
    is_kept: bool,
    text: String,
    not_utf8: Option<usize>,
}

/// The texts of a set, in the order in which they were given and, inside a directory, sorted by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Sources {
    sources: Vec<Source>,
    digest: [u8; 32],
}

/// Why a set could not be loaded; nothing of it is used.
#[derive(Debug)]
pub enum LoadError {
    /// A file is larger than [`FILE_BYTES_MAX`].
    FileTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A folder lies deeper than documents may.
    FolderTooDeep {
        /// The folder.
        path: PathBuf,
    },
    /// All files together are larger than [`SET_BYTES_MAX`].
    SetTooLarge,
    /// There are more than [`FILES_MAX`] files.
    TooManyFiles,
    /// A path does not exist or cannot be read.
    Unreadable {
        /// The path, `-` for standard input.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Reads the documents' texts: each path is a file, a directory (all `.yaml`, `.yml` and `.json` files in it and below
/// it) or `-` for standard input.
///
/// Fails when a path cannot be read or a limit is reached. A file that is not UTF-8 is part of the set and reported by
/// [`parse`](crate::parse::parse), beside all other problems.
pub fn load(paths: &[PathBuf]) -> Result<Sources, LoadError> {
    load_from(paths, &mut io::stdin())
}

/// As [`load`], with standard input given.
pub fn load_from(paths: &[PathBuf], stdin: &mut dyn io::Read) -> Result<Sources, LoadError> {
    let mut loader = Loader { sources: Vec::new(), seen: BTreeSet::new(), bytes: 0 };
    for path in paths {
        if path.as_os_str() == "-" {
            // A second `-` would read an empty rest; it is the same input, so it is read once like every file.
            if loader.seen.insert(path.clone()) {
                loader.take("<stdin>".to_owned(), None, path, stdin)?;
            }
        } else if metadata(path)?.is_dir() {
            loader.folder(path, 0)?;
        } else {
            loader.file(path)?;
        }
    }
    Ok(Sources::sealed(loader.sources))
}

struct Loader {
    sources: Vec<Source>,
    seen: BTreeSet<PathBuf>,
    bytes: usize,
}

impl Loader {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<(), LoadError> {
        // By its real path, so that a link to a folder above ends here.
        if !self.seen.insert(real(folder)?) {
            return Ok(());
        }
        if depth > FOLDER_DEPTH_MAX {
            return Err(LoadError::FolderTooDeep { path: folder.to_owned() });
        }
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
            let entry = entry.map_err(unreadable(folder))?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                entries.push(entry.path());
            }
            if entries.len() > FILES_MAX {
                return Err(LoadError::TooManyFiles);
            }
        }
        entries.sort();
        for path in entries {
            let metadata = match std::fs::metadata(&path) {
                Ok(metadata) => metadata,
                // A broken link with another ending is nobody's document.
                Err(_) if !is_document(&path) => continue,
                Err(error) => return Err(LoadError::Unreadable { path, error }),
            };
            if metadata.is_dir() {
                self.folder(&path, depth + 1)?;
            } else if metadata.is_file() && is_document(&path) {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), LoadError> {
        // A pipe (`<(…)` of a shell) has no real path; opening says what is wrong with any other.
        if !self.seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_owned())) {
            return Ok(());
        }
        let mut file = std::fs::File::open(path).map_err(unreadable(path))?;
        self.take(path.display().to_string(), Some(path.to_owned()), path, &mut file)
    }

    fn take(
        &mut self,
        name: String,
        at: Option<PathBuf>,
        path: &Path,
        reader: &mut dyn io::Read,
    ) -> Result<(), LoadError> {
        if self.sources.len() >= FILES_MAX {
            return Err(LoadError::TooManyFiles);
        }
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file at the limit from one above it.
        let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        reader.take(limit).read_to_end(&mut bytes).map_err(unreadable(path))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(LoadError::FileTooLarge { path: path.to_owned() });
        }
        self.bytes += bytes.len();
        if self.bytes > SET_BYTES_MAX {
            return Err(LoadError::SetTooLarge);
        }
        self.sources.push(Source::new(name, at, bytes));
        Ok(())
    }
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, LoadError> {
    std::fs::metadata(path).map_err(unreadable(path))
}

fn real(path: &Path) -> Result<PathBuf, LoadError> {
    path.canonicalize().map_err(unreadable(path))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> LoadError {
    move |error| LoadError::Unreadable { path: path.to_owned(), error }
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known))
}

// === impl Source ===

impl Source {
    fn new(name: String, path: Option<PathBuf>, bytes: Vec<u8>) -> Self {
        let (text, not_utf8) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => (String::new(), Some(error.utf8_error().valid_up_to())),
        };
        // A byte order mark says nothing in UTF-8; without it, places count from what an editor shows.
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        Source { name, path, is_kept: false, text, not_utf8 }
    }

    /// The name as it was given or found, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text, without byte order mark; empty when the file is not UTF-8.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first byte that is not UTF-8, if there is one.
    pub fn not_utf8(&self) -> Option<usize> {
        self.not_utf8
    }

    /// The file; standard input has none.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The folder that relative paths in its documents count from; none for a text of a revision.
    pub fn folder(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| !self.is_kept).and_then(Path::parent)
    }

    /// The file's name without its ending: the name of a document that has none.
    pub fn stem(&self) -> Option<&str> {
        self.path.as_deref().and_then(Path::file_stem).and_then(|stem| stem.to_str())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may hold what its author took for a secret's place.
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

// === impl Sources ===

impl Sources {
    /// Texts that are already in memory, with their names; a name that is a path gives stem and folder.
    pub fn from_texts<N: Into<String>, T: Into<String>>(texts: impl IntoIterator<Item = (N, T)>) -> Self {
        let sources = texts.into_iter().map(|(name, text)| {
            let name = name.into();
            Source::new(name.clone(), Some(PathBuf::from(name)), text.into().into_bytes())
        });
        Sources::sealed(sources.collect())
    }

    /// Texts of a revision: they have names, and lie in no folder.
    pub fn kept<N: Into<String>, T: Into<String>>(texts: impl IntoIterator<Item = (N, T)>) -> Self {
        let mut sources = Self::from_texts(texts);
        sources.sources.iter_mut().for_each(|source| source.is_kept = true);
        sources
    }

    fn sealed(sources: Vec<Source>) -> Self {
        let mut context = digest::Context::new(&SHA256);
        for source in &sources {
            // Lengths first, so that no two sets run together into the same bytes.
            for part in [source.name.as_bytes(), source.text.as_bytes()] {
                context.update(&part.len().to_be_bytes());
                context.update(part);
            }
            context.update(&[u8::from(source.not_utf8.is_some())]);
        }
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Sources { sources, digest }
    }

    /// The source of a file, if the id is of this set.
    pub fn get(&self, file: FileId) -> Option<&Source> {
        usize::try_from(file.0).ok().and_then(|index| self.sources.get(index))
    }

    /// All sources with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        // There are at most FILES_MAX of them.
        (0_u32..).map(FileId).zip(&self.sources)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// SHA-256 over all names and texts: two sets with the same digest are the same set.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The digest in hexadecimal.
    pub fn digest_hex(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("sources", &self.sources).field("digest", &self.digest_hex()).finish()
    }
}

// === impl LoadError ===

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::FileTooLarge { path } => {
                write!(f, "{} is larger than {} MiB", named(path), FILE_BYTES_MAX >> 20)
            }
            LoadError::FolderTooDeep { path } => {
                write!(f, "{} lies more than {FOLDER_DEPTH_MAX} folders deep", named(path))
            }
            LoadError::SetTooLarge => write!(f, "the documents are larger than {} MiB", SET_BYTES_MAX >> 20),
            LoadError::TooManyFiles => write!(f, "there are more than {FILES_MAX} files"),
            LoadError::Unreadable { path, error } => write!(f, "{} cannot be read: {error}", named(path)),
        }
    }
}

/// A path for people; what a name holds must not steer the terminal.
fn named(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Unreadable { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
