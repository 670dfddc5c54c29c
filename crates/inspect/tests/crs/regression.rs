//! The regression tests of the Core Rule Set, judged by rule ids at paranoia level 4 in detection mode. The number that
//! passes is pinned: it may only rise.

use std::{collections::BTreeMap, sync::Arc, thread};

use bartizan_inspect::{EngineMode, Overlay};

use crate::{
    folder,
    ftw::{self, Stage, Test},
};

/// Passed at the last count, of v4.28.0.
const PASSED: usize = 4965;

/// The limits that the rule set's own continuous integration sets.
fn test_setup() -> Overlay {
    [
        ("blocking_paranoia_level", "4"),
        ("detection_paranoia_level", "4"),
        ("arg_name_length", "100"),
        ("arg_length", "400"),
        ("total_arg_length", "64000"),
        ("max_num_args", "255"),
        ("max_file_size", "64100"),
        ("combined_file_sizes", "65535"),
        ("crs_validate_utf8_encoding", "1"),
    ]
    .into_iter()
    .fold(Overlay::new(), |overlay, (name, value)| overlay.variable(name, value))
}

#[test]
fn the_regression_tests_of_the_core_rule_set_pass_by_rule_id() {
    let Some(folder) = folder::crs() else { return };
    let set = folder::load(&folder, EngineMode::Detect);
    let overlay = Arc::new(test_setup());
    let tests = ftw::tests(&folder.join("tests"));
    let half = tests.len().div_ceil(2);
    let failures: Vec<(String, String)> = thread::scope(|scope| {
        let running: Vec<_> = tests
            .chunks(half)
            .map(|tests| {
                let (set, overlay) = (&set, &overlay);
                scope.spawn(move || {
                    let failing = |test: &Test| {
                        let why = test.stages.iter().find_map(|stage| failure(stage, set, overlay))?;
                        Some((test.name.clone(), why))
                    };
                    tests.iter().filter_map(failing).collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|running| running.join().unwrap()).collect()
    });
    let passed = tests.len() - failures.len();
    let mut by_cause: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, why) in &failures {
        by_cause.entry(why).or_default().push(name);
    }
    for (why, names) in &by_cause {
        println!("{why}: {}", names.join(" "));
    }
    println!("{passed} of {} tests pass", tests.len());
    assert!(passed >= PASSED, "{passed} pass, {PASSED} did before");
}

fn failure(stage: &Stage, set: &Arc<bartizan_inspect::RuleSet>, overlay: &Arc<Overlay>) -> Option<String> {
    let refused = stage.request.is_refused();
    if stage.refused_by_server || stage.status == Some(400) {
        return (!refused).then(|| "the server should refuse".to_owned());
    }
    let verdict = ftw::run(set, Some(overlay), &stage.request);
    let logged: Vec<u32> = verdict.matches.iter().filter(|found| found.log).map(|found| found.rule).collect();
    if let Some(missing) = stage.expected.iter().find(|id| !logged.contains(id)) {
        return Some(format!(
            "{missing} is missing{}",
            if refused { " (a server would refuse the request)" } else { "" }
        ));
    }
    if let Some(found) = stage.unexpected.iter().find(|id| logged.contains(id)) {
        return Some(format!("{found} should not match"));
    }
    (stage.nothing_logged && !logged.is_empty()).then(|| format!("{logged:?} should not match"))
}
