use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bartizan-source-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn names(&self, sources: &Sources) -> Vec<String> {
        let folder = format!("{}/", self.0.display());
        sources.iter().map(|(_, source)| source.name().replace(&folder, "")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn one(path: &Path) -> Result<Sources, LoadError> {
    load_from(&[path.to_owned()], &mut io::empty())
}

#[test]
fn a_directory_yields_its_documents_sorted_and_below() {
    let folder = Folder::new();
    for name in
        ["b.yaml", "a.json", "c.yml", "notes.txt", "sub/d.yaml", ".hidden.yaml", ".git/e.yaml", "f.yaml~"]
    {
        folder.write(name, name);
    }
    let sources = one(&folder.0).unwrap();
    assert_eq!(folder.names(&sources), ["a.json", "b.yaml", "c.yml", "sub/d.yaml"]);
    let (id, first) = sources.iter().next().unwrap();
    assert_eq!((id, first.text(), first.stem()), (FileId(0), "a.json", Some("a")));
    assert_eq!(first.folder(), Some(folder.0.as_path()));
    assert_eq!(sources.get(FileId(4)), None);
}

#[test]
fn a_kubernetes_volume_yields_each_file_once() {
    let folder = Folder::new();
    folder.write("..2026_11_22/orders.yaml", "a: 1");
    symlink("..2026_11_22", folder.0.join("..data")).unwrap();
    symlink("..data/orders.yaml", folder.0.join("orders.yaml")).unwrap();
    symlink("orders.yaml", folder.0.join("twice.yaml")).unwrap();
    symlink(".", folder.0.join("loop")).unwrap();
    let sources = one(&folder.0).unwrap();
    assert_eq!(folder.names(&sources), ["orders.yaml"]);
    assert_eq!(sources.iter().next().unwrap().1.text(), "a: 1");

    // The swap of `..data` changes the set, and its digest tells.
    folder.write("..2026_11_23/orders.yaml", "a: 2");
    fs::remove_file(folder.0.join("..data")).unwrap();
    symlink("..2026_11_23", folder.0.join("..data")).unwrap();
    assert_ne!(one(&folder.0).unwrap().digest(), sources.digest());
}

#[test]
fn a_path_named_twice_is_read_once_and_a_named_file_may_have_any_ending() {
    let folder = Folder::new();
    let file = folder.write("b.conf", "b: 1");
    folder.write("a.yaml", "a: 1");
    let sources = load_from(&[file.clone(), folder.0.clone(), file], &mut io::empty()).unwrap();
    assert_eq!(folder.names(&sources), ["b.conf", "a.yaml"]);
}

#[test]
fn standard_input_is_a_source_without_path() {
    let sources = load_from(&["-".into(), "-".into()], &mut "a: 1".as_bytes()).unwrap();
    let [(_, source)] = &*sources.iter().collect::<Vec<_>>() else { panic!("one source") };
    assert_eq!((source.name(), source.text(), source.stem(), source.path()), ("<stdin>", "a: 1", None, None));
}

#[test]
fn what_cannot_be_read_ends_the_loading_with_its_path() {
    let folder = Folder::new();
    let missing = folder.0.join("missing.yaml");
    let error = one(&missing).unwrap_err();
    assert!(error.to_string().contains("missing.yaml cannot be read"), "{error}");

    let odd = one(Path::new("no\u{1b}[2Jsuch")).unwrap_err();
    assert_eq!(odd.to_string().matches("no?[2Jsuch cannot be read").count(), 1, "{odd}");

    symlink("nowhere", folder.0.join("broken.yaml")).unwrap();
    assert!(
        matches!(one(&folder.0), Err(LoadError::Unreadable { path, .. }) if path.ends_with("broken.yaml"))
    );
}

#[test]
fn a_file_at_the_limit_is_read_and_one_above_it_is_not() {
    let folder = Folder::new();
    let file = folder.write("a.yaml", &" ".repeat(FILE_BYTES_MAX));
    assert!(one(&file).is_ok());
    folder.write("a.yaml", &" ".repeat(FILE_BYTES_MAX + 1));
    assert!(matches!(one(&file), Err(LoadError::FileTooLarge { path }) if path == file));
}

#[test]
fn a_set_above_the_limit_is_not_read() {
    let folder = Folder::new();
    for index in 0..=SET_BYTES_MAX / FILE_BYTES_MAX {
        folder.write(&format!("{index:02}.yaml"), &" ".repeat(FILE_BYTES_MAX));
    }
    assert!(matches!(one(&folder.0), Err(LoadError::SetTooLarge)));
    fs::remove_file(folder.0.join("00.yaml")).unwrap();
    assert!(one(&folder.0).is_ok());
}

#[test]
fn the_digest_is_of_names_and_texts() {
    let digest = |texts: &[(&str, &str)]| Sources::from_texts(texts.iter().copied()).digest();
    let base = digest(&[("a", "1"), ("b", "2")]);
    assert_eq!(base, digest(&[("a", "1"), ("b", "2")]));
    for other in
        [&[("a", "1"), ("b", "3")][..], &[("a", "1"), ("c", "2")], &[("b", "2"), ("a", "1")], &[("a", "1b2")]]
    {
        assert_ne!(base, digest(other));
    }
    assert_eq!(Sources::from_texts([("a", "1")]).digest_hex().len(), 64);
}

#[test]
fn a_byte_order_mark_is_not_text_and_sources_do_not_print_their_text() {
    let sources = Sources::from_texts([("a.yaml", "\u{feff}password: hunter2")]);
    assert_eq!(sources.get(FileId(0)).map(Source::text), Some("password: hunter2"));
    assert!(!format!("{sources:?}").contains("hunter2"));
}
