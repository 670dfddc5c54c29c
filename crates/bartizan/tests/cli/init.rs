//! `bartizan init`: from a URL to a set that checks.

use std::fs;

use bartizan_testkit::TempDir;

use crate::bartizan;

#[test]
fn what_is_written_checks_without_a_finding_and_its_commands_work() {
    let dir = TempDir::new();
    let ran = bartizan(&dir, &["init", "--upstream", "http://127.0.0.1:9", "my shop"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.err.matches("wrote my shop/").count(), 8, "{}", ran.err);
    assert!(!ran.err.contains("BZ-"), "{}", ran.err);

    // Those that end by themselves, as a shell would split them.
    let commands: Vec<&str> = ran.out.lines().filter(|line| !line.starts_with('#')).collect();
    let split = |line: &str| -> Vec<String> {
        let line =
            line.strip_prefix("KEY=$(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(line).to_owned();
        line.replace("'my shop'", "my\0shop").split(' ').map(|word| word.replace('\0', " ")).collect()
    };
    let mut ended = 0;
    for line in &commands {
        let words = split(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["bartizan", "run", "--config", "my shop"] | ["curl", ..] => {}
            ["bartizan", ref arguments @ ..] => {
                bartizan(&dir, arguments).data();
                ended += 1;
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!((ended, commands.len()), (4, 7));
    let check = bartizan(&dir, &["check", "my shop", "--deny", "warnings,exposures"]).data();
    assert_eq!(check, "8 documents: no problems\n");
    let explained = bartizan(&dir, &["explain", "GET", "/", "--as", "my-app", "--config", "my shop"]).data();
    assert!(
        explained.ends_with("would be forwarded to Upstream/api as GET /, host localhost\n"),
        "{explained}"
    );
}

#[test]
fn nothing_is_written_over_unless_forced() {
    let dir = TempDir::new();
    let init =
        |more: &[&str]| bartizan(&dir, &[&["init", "--upstream", "http://a:1", "shop"], more].concat());
    init(&[]).data();
    fs::write(dir.join("shop/route.yaml"), "mine").unwrap();
    fs::remove_file(dir.join("shop/listener.yaml")).unwrap();
    let ran = init(&[]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("exists, so nothing was written"), "{}", ran.err);
    assert_eq!(fs::read_to_string(dir.join("shop/route.yaml")).unwrap(), "mine");
    assert!(!dir.join("shop/listener.yaml").exists(), "not even what was missing");
    init(&["--force"]).data();
    assert!(fs::read_to_string(dir.join("shop/route.yaml")).unwrap().contains("kind: Route"));
}

#[test]
fn what_would_not_work_or_stay_closed_is_told_before() {
    let dir = TempDir::new();
    let ran = bartizan(&dir, &["init", "--upstream", "localhost:3000", "shop"]);
    assert!(ran.code == 2 && ran.err.contains("http://"), "{}", ran.err);
    let ran = bartizan(&dir, &["init", "--upstream", "http://user:hunter2@a", "shop"]);
    assert!(ran.code == 2 && !dir.join("shop").exists(), "{}", ran.err);
    let ran = bartizan(&dir, &["init", "--upstream", "http://a", "shop", "--listen", "0.0.0.0:8080"]);
    assert!(ran.code == 0 && ran.err.contains("BZ-9004"), "{}", ran.err);
    assert!(ran.out.contains("http://127.0.0.1:8080/"), "{}", ran.out);
}
