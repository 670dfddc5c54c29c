//! What the file of a capture promises: what was written, in its order, to nobody without the key.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use super::*;

/// A directory that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bartizan-capture-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(folder: &Folder, name: &str) -> CaptureKey {
    CaptureKey::create(&folder.0.join(name)).unwrap()
}

fn written(key: &CaptureKey, records: &[&[u8]]) -> Vec<u8> {
    let mut writer = CaptureWriter::begin(Vec::new(), key, CaptureLimits::default()).unwrap();
    for record in records {
        assert_eq!(writer.append(record).unwrap(), Appended::Written);
    }
    writer.end().unwrap()
}

/// The records that can be read, whether the end is torn, and how it ended.
fn read(bytes: &[u8], key: &CaptureKey) -> (Vec<Vec<u8>>, bool, Result<(), CaptureError>) {
    let mut reader = match CaptureReader::begin(bytes, key) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), false, Err(error)),
    };
    let mut records = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record.to_vec()),
            Ok(None) => return (records, reader.is_torn(), Ok(())),
            Err(error) => return (records, reader.is_torn(), Err(error)),
        }
    }
}

#[test]
fn what_is_written_is_read_in_its_order_and_is_not_in_the_file() {
    let folder = Folder::new("order");
    let key = key(&folder, "key");
    let records: [&[u8]; 3] = [b"the first secret", b"", b"the third secret"];
    let bytes = written(&key, &records);
    assert_eq!(read(&bytes, &key).0, records);
    assert!(!bytes.windows(6).any(|part| part == b"secret"));
    // Another salt, so another key: the same records look different.
    assert_ne!(written(&key, &records), bytes);
}

#[test]
fn a_torn_end_is_told_and_everything_before_it_is_read() {
    let folder = Folder::new("torn");
    let key = key(&folder, "key");
    let whole = written(&key, &[b"one", b"two"]);
    let first = HEADER_BYTES + FRAME_BYTES + 3 + TAG_BYTES;
    for end in HEADER_BYTES..whole.len() {
        let (records, is_torn, ended) = read(&whole[..end], &key);
        assert!(ended.is_ok(), "{end}");
        assert_eq!(records.len(), usize::from(end >= first), "{end}");
        assert_eq!(is_torn, end != HEADER_BYTES && end != first, "{end}");
    }
    for end in 0..HEADER_BYTES {
        assert!(matches!(read(&whole[..end], &key).2, Err(CaptureError::NotACapture)), "{end}");
    }
}

#[test]
fn no_byte_can_be_changed_unseen() {
    let folder = Folder::new("changed");
    let key = key(&folder, "key");
    let whole = written(&key, &[b"one", b"two"]);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let (records, is_torn, ended) = read(&changed, &key);
        // A length that says too much looks like a torn end; nothing changed is ever handed out.
        assert!(ended.is_err() || is_torn, "{at}");
        assert!(records.iter().zip([b"one", b"two"]).all(|(read, written)| read == written), "{at}");
    }
}

#[test]
fn records_cannot_be_moved_repeated_left_out_or_taken_to_another_file() {
    let folder = Folder::new("moved");
    let key = key(&folder, "key");
    let whole = written(&key, &[b"one", b"two"]);
    let (header, rest) = whole.split_at(HEADER_BYTES);
    let (one, two) = rest.split_at(FRAME_BYTES + 3 + TAG_BYTES);
    let other = written(&key, &[b"one"]);
    for parts in
        [[header, two, one], [header, one, one], [header, two, b""], [&other[..HEADER_BYTES], one, b""]]
    {
        let ended = read(&parts.concat(), &key).2;
        assert!(matches!(ended, Err(CaptureError::Inauthentic { .. })));
    }
}

#[test]
fn another_key_or_version_reads_nothing() {
    let folder = Folder::new("other");
    let (one, other) = (key(&folder, "one"), key(&folder, "other"));
    let mut bytes = written(&one, &[b"one"]);
    assert!(matches!(read(&bytes, &other).2, Err(CaptureError::Inauthentic { record: 0 })));
    bytes[9] = 2;
    assert!(matches!(read(&bytes, &one).2, Err(CaptureError::Version(2))));
}

#[test]
fn a_capture_ends_at_its_limits() {
    let folder = Folder::new("limits");
    let key = key(&folder, "key");
    let by_records = CaptureLimits { records_max: 2, ..CaptureLimits::default() };
    let two = (HEADER_BYTES + 2 * (FRAME_BYTES + 3 + TAG_BYTES)) as u64;
    for limits in [by_records, CaptureLimits { bytes_max: two, ..CaptureLimits::default() }] {
        let mut writer = CaptureWriter::begin(Vec::new(), &key, limits).unwrap();
        assert_eq!(writer.append(b"one").unwrap(), Appended::Written);
        assert_eq!(writer.append(&vec![0; RECORD_BYTES_MAX + 1]).unwrap(), Appended::TooLarge);
        assert_eq!(writer.append(b"two").unwrap(), Appended::Written);
        assert_eq!(writer.append(b"").unwrap(), Appended::Full);
        assert_eq!(read(&writer.end().unwrap(), &key).0.len(), 2);
    }
}

#[test]
fn a_capture_is_over_when_a_write_fails() {
    struct Disk(u64);
    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let folder = Folder::new("disk");
    let key = key(&folder, "key");
    let room = (HEADER_BYTES + FRAME_BYTES) as u64;
    let mut writer = CaptureWriter::begin(Disk(room), &key, CaptureLimits::default()).unwrap();
    assert_eq!(writer.append(b"one").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(writer.append(b"").unwrap(), Appended::Full);
}

#[test]
fn files_are_for_their_owner_alone_and_never_written_twice() {
    let folder = Folder::new("owner");
    let path = folder.0.join("key");
    let key = CaptureKey::create(&path).unwrap();
    assert!(CaptureKey::create(&path).is_err());
    let capture = folder.0.join("capture");
    let mut writer = CaptureWriter::create(&capture, &key, CaptureLimits::default()).unwrap();
    assert_eq!(writer.append(b"one").unwrap(), Appended::Written);
    writer.sync().unwrap();
    assert!(CaptureWriter::create(&capture, &key, CaptureLimits::default()).is_err());
    for file in [&path, &capture] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(read(&fs::read(&capture).unwrap(), &CaptureKey::read(&path).unwrap()).0, [b"one"]);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert!(CaptureKey::read(&path).unwrap_err().to_string().contains("0600"));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, [0; 31]).unwrap();
    assert!(CaptureKey::read(&path).unwrap_err().to_string().contains("32 bytes"));
    assert_eq!(format!("{key:?}"), "CaptureKey");
}
