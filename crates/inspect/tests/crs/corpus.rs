//! The rule set loads whole and as it is.

use bartizan_inspect::EngineMode;

use crate::folder;

#[test]
fn the_core_rule_set_loads_unmodified_and_every_pattern_can_be_built() {
    let Some(folder) = folder::crs() else { return };
    let set = folder::load(&folder, EngineMode::Enforce);
    set.warm().unwrap_or_else(|error| panic!("{error}"));
    let links: usize = set.rules().map(|rule| rule.links.len()).sum();
    assert_eq!((set.rules().count(), links), (630, 703), "rules and links of v4.28.0 with its setup");
}
