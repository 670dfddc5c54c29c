//! A process that is killed while it writes: what it confirmed is there, and nothing is stale.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use bartizan_store::{DataDir, KeyFeed, Store};

use super::{NOW, Place, judged, new_key};

const PLACE: &str = "BARTIZAN_TEST_CRASH_DIR";

/// Not a test of its own: the process that [`what_was_confirmed_outlives_kill_9`] starts and kills.
#[tokio::test]
#[ignore = "started by another test"]
async fn child_that_makes_keys_until_it_is_killed() {
    let Ok(place) = env::var(PLACE) else { return };
    let dir = DataDir::open(Path::new(&place)).unwrap();
    let _lock = dir.lock_for_gateway("bartizan child").unwrap();
    let store = Store::open(&dir).await.unwrap();
    loop {
        let (_, text) = store.keys().create(new_key("acme"), NOW).await.unwrap();
        println!("\nmade {}", text.expose());
    }
}

#[tokio::test]
async fn what_was_confirmed_outlives_kill_9() {
    let place = Place::new();
    let mut confirmed: Vec<String> = Vec::new();
    for round in 1..=3 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "crash::child_that_makes_keys_until_it_is_killed", "--ignored", "--nocapture"])
            .env(PLACE, &place.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut made = lines.filter_map(|line| line.strip_prefix("made ").map(str::to_owned));
        // By reference: with its pipe closed the child would end by itself.
        confirmed.extend(made.by_ref().take(10));
        assert_eq!(confirmed.len(), round * 10, "the child made keys");
        if round == 1 {
            let error = place.dir().lock_for_gateway("bartizan run").expect_err("the child holds it");
            let expected = format!("`bartizan child` (pid {})", child.id());
            assert!(error.to_string().contains(&expected), "{error}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(made);
        drop(place.dir().lock_for_gateway("bartizan run").expect("a killed process holds no lock"));

        let store = place.store().await;
        let feed = KeyFeed::open(&store).await.unwrap();
        for text in &confirmed {
            assert_eq!(judged(&store, feed.table(), text), Ok("acme".into()));
        }
    }
}
