//! The gate shuts nothing out: with it and without it the same rules match, over the rule set's whole corpus.

use std::sync::Arc;

use bartizan_inspect::{EngineMode, Overlay, RuleSet};

use crate::{
    folder,
    ftw::{self, Test},
};

fn ids(set: &Arc<RuleSet>, overlay: &Arc<Overlay>, test: &Test) -> Vec<Vec<u32>> {
    test.stages
        .iter()
        .map(|stage| {
            let verdict = ftw::run(set, Some(overlay), &stage.request);
            verdict.matches.iter().map(|found| found.rule).collect()
        })
        .collect()
}

fn compare(every: usize) {
    let Some(folder) = folder::crs() else { return };
    let gated = folder::load(&folder, EngineMode::Detect);
    let ungated = Arc::new(folder::load_owned(&folder, EngineMode::Detect).without_gate());
    let overlay = Arc::new(
        Overlay::new().variable("blocking_paranoia_level", "4").variable("detection_paranoia_level", "4"),
    );
    let mut compared = 0;
    for test in ftw::tests(&folder.join("tests")).iter().step_by(every) {
        assert_eq!(ids(&gated, &overlay, test), ids(&ungated, &overlay, test), "{}", test.name);
        compared += 1;
    }
    println!("{compared} tests match the same rules with and without the gate");
}

#[test]
fn a_sample_of_the_corpus_matches_the_same_rules_with_and_without_the_gate() {
    compare(25);
}

#[test]
#[ignore = "slow without optimisation"]
fn the_whole_corpus_matches_the_same_rules_with_and_without_the_gate() {
    compare(1);
}
