//! What is settled before an exchange means what it would mean in one.

use bartizan_inspect::{Overlay, overlay::Rules};

use crate::run::{get, ids, session, set};

/// A gate as rule sets write them: below level 2, the rule behind it does not run.
const GATED: &str = r#"
    SecRule &TX:level "@eq 0" "id:1,phase:1,pass,nolog,setvar:tx.level=1"
    SecRule REQUEST_URI "@beginsWith /loose" "id:2,phase:1,pass,nolog,ctl:ruleRemoveById=3"
    SecRule REQUEST_URI "@beginsWith /jump" "id:5,phase:1,pass,nolog,skipAfter:INSIDE"
    SecRule TX:level "@lt 2" "id:3,phase:1,pass,nolog,skipAfter:END"
    SecRule ARGS "@streq x" "id:4,phase:1,pass"
    SecMarker INSIDE
    SecRule ARGS "@streq x" "id:6,phase:1,pass"
    SecMarker END
    SecRule ARGS "@streq x" "id:7,phase:1,pass""#;

fn with(rules: &str, overlay: Overlay, target: &str) -> Vec<u32> {
    session(&set(rules), Some(overlay), get(target))
        .verdict()
        .matches
        .iter()
        .map(|found| found.rule)
        .collect()
}

#[test]
fn a_gate_that_setup_decides_skips_what_is_behind_it_and_a_policy_opens_it() {
    assert_eq!(ids(GATED, get("/?a=x")), [7]);
    assert_eq!(with(GATED, Overlay::new().variable("level", "2"), "/?a=x"), [4, 6, 7]);
    assert_eq!(with(GATED, Overlay::new().variable("level", "1"), "/?a=x"), [7]);
}

#[test]
fn a_gate_that_ctl_takes_out_skips_nothing() {
    assert_eq!(ids(GATED, get("/loose?a=x")), [4, 6, 7]);
}

#[test]
fn rules_in_the_part_a_gate_skips_run_for_those_who_jump_into_it() {
    assert_eq!(ids(GATED, get("/jump?a=x")), [6, 7]);
}

#[test]
fn a_policy_that_takes_out_or_watches_a_gate_or_hides_its_variable_opens_it() {
    let rules = set(GATED);
    let gate = Rules::Ids(3, 3);
    for overlay in [
        Overlay::new().remove(&rules, &gate).unwrap(),
        Overlay::new().shadow(&rules, &gate).unwrap(),
        Overlay::new().exclude(&rules, &gate, "TX:level").unwrap(),
    ] {
        assert_eq!(with(GATED, overlay, "/?a=x"), [4, 6, 7]);
    }
}

#[test]
fn a_gate_on_what_a_later_rule_may_write_is_asked_in_the_exchange() {
    for written in ["tx.level=2", "tx.%{ARGS.n}=2", "tx.le%{ARGS.e}=2"] {
        let rules = GATED.replace("ctl:ruleRemoveById=3", &format!("setvar:'{written}'"));
        assert_eq!(ids(&rules, get("/loose?a=x&n=level&e=vel")), [4, 6, 7], "{written}");
        assert_eq!(ids(&rules, get("/?a=x&n=level&e=vel")), [7], "{written}");
    }
}

#[test]
fn one_policy_used_with_two_sets_is_settled_for_each() {
    let overlay = std::sync::Arc::new(Overlay::new().variable("level", "1"));
    for (rules, expected) in [(GATED.to_owned(), vec![7]), (GATED.replace("@lt 2", "@lt 1"), vec![4, 6, 7])] {
        let set = set(&rules);
        let mut session =
            bartizan_inspect::Session::new(set, Some(overlay.clone()), bartizan_inspect::Exchange::default());
        session.request_head(&bartizan_inspect::RequestHead {
            target: b"/?a=x",
            ..bartizan_inspect::RequestHead::default()
        });
        let _ = session.run();
        let found: Vec<u32> = session.verdict().matches.iter().map(|found| found.rule).collect();
        assert_eq!(found, expected);
    }
}
