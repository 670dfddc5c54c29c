//! Delivery of successors by policy: into a folder, or to a program.
//!
//! A document names a *place*; what that is, a folder or a program, only the command line of a gateway says. Who may
//! write documents can neither run a command nor write a file where it pleases (decision 0061).

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
    str::FromStr,
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use bartizan_identity::{KeyId, KeyText, LifeTerms};
use bartizan_model::scalar::Name;
use bartizan_store::{Error, KeyRow, Rotation, Store};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use zeroize::Zeroizing;

/// A place with its name, as the command line gives it: `NAME=folder:PATH` or `NAME=program:PATH`.
#[derive(Clone, Debug)]
pub(crate) struct NamedPlace(String, Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Program(PathBuf),
}

impl FromStr for NamedPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write NAME=folder:/PATH or NAME=program:/PATH";
        let (name, place) = text.split_once('=').ok_or(form)?;
        let name = name.parse::<Name>().map_err(|wrong| format!("{wrong}: {form}"))?;
        let (what, path) = place.split_once(':').ok_or(form)?;
        if !Path::new(path).is_absolute() {
            return Err(format!("the path is not absolute: {form}"));
        }
        let place = match what {
            "folder" => Place::Folder(path.into()),
            "program" => Place::Program(path.into()),
            _ => return Err(form.to_owned()),
        };
        Ok(NamedPlace(name.as_str().to_owned(), place))
    }
}

/// The places of this process, and what could not be delivered there.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_name: BTreeMap<String, Place>,
    /// Keys whose delivery failed, and when it is tried again.
    failed: BTreeMap<KeyId, Instant>,
}

impl Places {
    /// The places as given; each must be there.
    pub(super) fn open(given: Vec<NamedPlace>) -> Result<Self, String> {
        let mut by_name = BTreeMap::new();
        for NamedPlace(name, place) in given {
            let (path, is_there) = match &place {
                Place::Folder(path) => (path, path.is_dir()),
                Place::Program(path) => (path, path.is_file()),
            };
            if !is_there {
                return Err(format!("--deliver {name}: there is no {}", path.display()));
            }
            if by_name.insert(name.clone(), place).is_some() {
                return Err(format!("--deliver {name} is given twice"));
            }
        }
        Ok(Places { by_name, failed: BTreeMap::new() })
    }

    /// Whether this process has it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The keys whose successors could not be delivered.
    pub(super) fn failed(&self) -> impl Iterator<Item = &KeyId> {
        self.failed.keys()
    }

    /// Makes the successors of keys and leaves each at its place. What fails is told, and tried again after a pause; the
    /// key works on meanwhile.
    pub(super) async fn deliver(
        &mut self,
        store: &Store,
        due: Vec<(KeyRow, LifeTerms, std::sync::Arc<str>)>,
        now_unix_ms: u64,
    ) {
        for place in self.by_name.values() {
            if let Place::Folder(folder) = place
                && let Err(error) = settle(store, folder).await
            {
                tracing::warn!(folder = %folder.display(), error, "a delivery that was cut short cannot be settled");
            }
        }
        self.failed.retain(|id, _| due.iter().any(|(row, ..)| row.id == *id));
        for (row, terms, name) in due {
            let Some(place) = self.by_name.get(&*name) else { continue };
            if self.failed.get(&row.id).is_some_and(|again| Instant::now() < *again) {
                continue;
            }
            let (key, consumer) = (row.id, &*row.consumer);
            match place.leave(store, &row, &terms, now_unix_ms).await {
                Ok(Some(new)) => {
                    self.failed.remove(&key);
                    tracing::info!(%key, consumer, by = %new, place = &*name, "the key's successor was delivered");
                }
                // Another gateway was faster, or the key has ended meanwhile.
                Ok(None) => {}
                Err(why) => {
                    self.failed.insert(key, Instant::now() + PAUSE);
                    tracing::error!(%key, consumer, place = &*name, why, "the key's successor could not be delivered");
                }
            }
        }
    }
}

impl Place {
    /// Makes a successor and leaves it here; gives its id.
    async fn leave(
        &self,
        store: &Store,
        old: &KeyRow,
        terms: &LifeTerms,
        now_unix_ms: u64,
    ) -> Result<Option<KeyId>, String> {
        let rotation = Rotation { terms, expires_at_ms: None, created_by: Some("the schedule") };
        let rotated = match self {
            Place::Program(path) => {
                store.keys().rotate(&old.id, rotation, now_unix_ms, |text| run(path, old, text)).await
            }
            Place::Folder(folder) => {
                let file = folder.join(file_of(old)?);
                if let Err(why) = holds(&file, &old.id) {
                    let now = store.keys().show(&old.id).await;
                    // Another gateway was faster, so the file has the successor.
                    return if now.is_ok_and(|row| row.replaced_by.is_some()) { Ok(None) } else { Err(why) };
                }
                let next = next_of(&file);
                let rotated =
                    store.keys().rotate(&old.id, rotation, now_unix_ms, |text| write(&next, text)).await;
                match &rotated {
                    // Only now: were the file replaced before, a crash between would leave a key that nobody knows.
                    Ok(_) => replace(&next, &file).map_err(|error| format!("{}: {error}", file.display()))?,
                    Err(Error::NotDelivered { .. }) => {}
                    Err(_) => {
                        // What was written opens nothing.
                        let _ = fs::remove_file(&next);
                    }
                }
                rotated
            }
        };
        match rotated {
            Ok(made) => Ok(Some(made.new.id)),
            Err(Error::KeyReplaced { .. } | Error::KeyEnded { .. } | Error::KeyUnknown { .. }) => Ok(None),
            Err(error) => Err(super::keys::chain(&error)),
        }
    }
}

/// `CONSUMER.key`, of a key with a label `CONSUMER.LABEL.key`: the same for a key and its successors.
fn file_of(key: &KeyRow) -> Result<String, String> {
    let is_plain = |text: &str| {
        !text.starts_with('.')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match key.label.as_deref() {
        _ if !is_plain(&key.consumer) => Err("the consumer's name cannot be that of a file".to_owned()),
        None => Ok(format!("{}.key", key.consumer)),
        Some(label) if is_plain(label) => Ok(format!("{}.{label}.key", key.consumer)),
        Some(_) => {
            Err("the key's label cannot be part of a file's name: letters, digits, `-`, `_`, `.`".to_owned())
        }
    }
}

/// Refuses to write over anything but the key that is replaced.
fn holds(file: &Path, old: &KeyId) -> Result<(), String> {
    let shown = file.display();
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{shown}: {error}")),
        Ok(found) if !found.is_file() => return Err(format!("{shown} is no file")),
        Ok(_) => {}
    }
    match key_in(file) {
        Some(id) if id == *old => Ok(()),
        _ => Err(format!("{shown} holds something else than the key {old}; nothing is written over it")),
    }
}

/// The id of the key in a file.
fn key_in(file: &Path) -> Option<KeyId> {
    if fs::metadata(file).ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    KeyId::recognise(&Zeroizing::new(fs::read_to_string(file).ok()?))
}

fn next_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(NEXT);
    name.into()
}

/// A file that was not there before, for its owner alone from its first moment, and on the disk when this returns.
fn write(path: &Path, text: &KeyText) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = writeln!(file, "{}", text.expose()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Puts a written file in another's place, with that one's owner kept out of it: mode 0600, ours.
fn replace(next: &Path, file: &Path) -> io::Result<()> {
    fs::set_permissions(next, fs::Permissions::from_mode(0o600))?;
    fs::rename(next, file)?;
    match file.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Ends what a gateway began that died between: a successor that the store knows takes its file's place, one that it
/// does not know is removed. One that is being written this moment is left alone.
async fn settle(store: &Store, folder: &Path) -> Result<(), String> {
    let wrong = |error: io::Error| error.to_string();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let next = entry.map_err(wrong)?.path();
        let file =
            next.to_str().and_then(|name| name.strip_suffix(NEXT)).filter(|name| name.ends_with(".key"));
        let Some(file) = file.map(PathBuf::from) else { continue };
        let age = fs::metadata(&next).and_then(|found| found.modified()).map_err(wrong)?;
        if SystemTime::now().duration_since(age).unwrap_or_default() < IN_FLIGHT {
            continue;
        }
        let known = match key_in(&next) {
            Some(id) => match store.keys().show(&id).await {
                Ok(row) => row.revoked_at_ms.is_none(),
                Err(Error::KeyUnknown { .. }) => false,
                Err(error) => return Err(super::keys::chain(&error)),
            },
            None => false,
        };
        let settled = if known { replace(&next, &file) } else { fs::remove_file(&next) };
        settled.map_err(wrong)?;
    }
    Ok(())
}

/// Gives a key to a program, on its standard input alone: arguments and environment are readable by others. The
/// gateway's environment, in which secrets may be, is not handed on. It is given little time: the store is held for it,
/// so that a successor nobody took never was.
fn run(program: &Path, old: &KeyRow, text: &KeyText) -> io::Result<()> {
    let new = KeyId::recognise(text.expose()).map(|id| id.to_string()).unwrap_or_default();
    let mut child = process::Command::new(program)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("BARTIZAN_CONSUMER", &old.consumer)
        .env("BARTIZAN_LABEL", old.label.as_deref().unwrap_or_default())
        .env("BARTIZAN_OLD_KEY_ID", old.id.as_str())
        .env("BARTIZAN_KEY_ID", new)
        .stdin(process::Stdio::piped())
        .stdout(process::Stdio::null())
        .spawn()?;
    let written = match child.stdin.take() {
        Some(mut stdin) => writeln!(stdin, "{}", text.expose()),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let pid = Pid::from_child(&child);
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name("key-program".into()).spawn(move || {
        // It stays to be reaped below, so its number is nobody else's when it is ended there.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        // Whoever waited may have given up.
        let _ = tell.send(());
    })?;
    let in_time = told.recv_timeout(PROGRAM_MAX).is_ok();
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    if !in_time {
        return Err(io::Error::other(format!("the program took longer than {} s", PROGRAM_MAX.as_secs())));
    }
    written?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the program ended with {status}"))) }
}

/// Behind the name of a file that is to take another's place.
const NEXT: &str = ".next";
/// Longer than a transaction takes.
const IN_FLIGHT: Duration = Duration::from_secs(10);
/// Whoever mends the place does not wait long; one that stays broken is not filled with attempts.
const PAUSE: Duration = Duration::from_secs(10);
/// Shorter than writers wait for the store.
const PROGRAM_MAX: Duration = Duration::from_secs(3);
/// A key is 65 bytes; what is longer is none.
const FILE_BYTES_MAX: u64 = 4_096;

#[cfg(test)]
mod tests {
    use bartizan_store::{DataDir, KeyFilter, NewKey};
    use bartizan_testkit::TempDir;

    use super::*;

    struct House {
        store: Store,
        _data: TempDir,
        out: TempDir,
    }

    const NOW: u64 = 1_800_000_000_000;

    impl House {
        async fn new() -> House {
            let (data, out) = (TempDir::new(), TempDir::new());
            let store = Store::open(&DataDir::open(data.path()).unwrap()).await.unwrap();
            House { store, _data: data, out }
        }

        async fn key(&self, label: Option<&str>) -> (KeyRow, String) {
            let new = NewKey { consumer: "shop", label, expires_at_ms: None, created_by: None };
            let (row, text) = self.store.keys().create(new, NOW).await.unwrap();
            (row, text.expose().to_owned())
        }

        fn place(&self, what: &str, path: &Path) -> Places {
            Places::open(vec![format!("vault={what}:{}", path.display()).parse().unwrap()]).unwrap()
        }

        async fn deliver(&self, places: &mut Places, row: &KeyRow) -> Vec<KeyId> {
            let due = vec![(row.clone(), LifeTerms::default(), "vault".into())];
            places.deliver(&self.store, due, NOW + 1).await;
            places.failed().copied().collect()
        }

        async fn keys(&self) -> usize {
            self.store.keys().list(KeyFilter::default()).await.unwrap().rows.len()
        }
    }

    fn script(folder: &TempDir, text: &str) -> PathBuf {
        let path = folder.join("take.sh");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_successor_takes_the_place_of_its_key_in_a_private_file_and_of_nothing_else() {
        let house = House::new().await;
        let (row, text) = house.key(None).await;
        let (mut places, file) = (house.place("folder", house.out.path()), house.out.join("shop.key"));
        fs::write(&file, "somebody else's").unwrap();
        assert_eq!(house.deliver(&mut places, &row).await, [row.id]);
        assert_eq!(house.deliver(&mut places, &row).await, [row.id], "not tried again at once");
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), house.keys().await), ("somebody else's", 1));
        fs::write(&file, format!("{text}\n")).unwrap();
        let mut places = house.place("folder", house.out.path());
        assert!(house.deliver(&mut places, &row).await.is_empty());
        let new = fs::read_to_string(&file).unwrap();
        let id = KeyId::recognise(&new).unwrap();
        assert_eq!(house.store.keys().show(&row.id).await.unwrap().replaced_by, Some(id));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(house.out.path()).unwrap().count(), 1, "nothing is left beside it");
        // A key that was replaced meanwhile is no failure, and makes nothing.
        assert!(house.deliver(&mut places, &row).await.is_empty());
        assert_eq!((fs::read_to_string(&file).unwrap(), house.keys().await), (new, 2));
    }

    #[tokio::test]
    async fn keys_with_labels_have_files_of_their_own_and_a_label_leads_nowhere_else() {
        let house = House::new().await;
        let mut places = house.place("folder", house.out.path());
        let (blue, _) = house.key(Some("blue")).await;
        let (evil, _) = house.key(Some("../evil")).await;
        assert!(house.deliver(&mut places, &blue).await.is_empty());
        assert_eq!(house.deliver(&mut places, &evil).await, [evil.id]);
        let names: Vec<_> =
            fs::read_dir(house.out.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(names, ["shop.blue.key"]);
    }

    #[tokio::test]
    async fn what_a_gateway_left_that_died_between_is_settled_by_what_the_store_knows() {
        let house = House::new().await;
        let (row, text) = house.key(None).await;
        let (known, unknown, fresh) =
            (house.out.join("shop.key.next"), house.out.join("b.key.next"), house.out.join("c.key.next"));
        fs::write(&known, &text).unwrap();
        for file in [&unknown, &fresh] {
            fs::write(file, "bzk_nothing").unwrap();
        }
        let old = SystemTime::now() - Duration::from_secs(60);
        for file in [&known, &unknown] {
            fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
        }
        settle(&house.store, house.out.path()).await.unwrap();
        assert_eq!(key_in(&house.out.join("shop.key")), Some(row.id));
        assert!(!known.exists() && !unknown.exists() && fresh.exists());
    }

    #[tokio::test]
    async fn a_program_gets_the_key_on_its_input_and_where_it_fails_there_is_no_key() {
        let house = House::new().await;
        let (row, _) = house.key(None).await;
        for (text, is_taken) in [
            ("cat > /dev/null; exit 3", false),
            ("sleep 30", false),
            (
                "cat > $0.took; echo \"$BARTIZAN_CONSUMER $BARTIZAN_OLD_KEY_ID $HOME$CARGO_MANIFEST_DIR\" > $0.env",
                true,
            ),
        ] {
            let program = script(&house.out, text);
            let mut places = house.place("program", &program);
            let failed = house.deliver(&mut places, &row).await;
            assert_eq!(failed.is_empty(), is_taken, "{text}");
            assert_eq!(house.keys().await, 1 + usize::from(is_taken), "{text}");
        }
        let took = fs::read_to_string(house.out.join("take.sh.took")).unwrap();
        let replaced = house.store.keys().show(&row.id).await.unwrap().replaced_by;
        assert_eq!(KeyId::recognise(&took), replaced);
        assert!(took.starts_with("bzk_") && took.trim().len() > 30, "the whole key");
        assert_eq!(
            fs::read_to_string(house.out.join("take.sh.env")).unwrap().trim(),
            format!("shop {}", row.id)
        );
    }

    #[test]
    fn a_place_is_a_name_and_an_absolute_path_that_is_there() {
        for wrong in ["vault", "vault=/tmp", "vault=folder:tmp", "vault=shell:/tmp", "Va ult=folder:/tmp"] {
            assert!(wrong.parse::<NamedPlace>().is_err(), "{wrong}");
        }
        let parse = |text: &str| text.parse::<NamedPlace>().unwrap();
        assert!(Places::open(vec![parse("vault=folder:/no/such/folder")]).is_err());
        assert!(Places::open(vec![parse("vault=folder:/tmp"), parse("vault=folder:/tmp")]).is_err());
        assert!(Places::open(vec![parse("vault=folder:/tmp")]).unwrap().has("vault"));
    }
}
