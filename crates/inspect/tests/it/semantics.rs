//! The semantics that bite, one test each: where engines of this language have differed, and what went wrong then.

use bartizan_inspect::{Decision, EngineMode};

use crate::run::{Ask, GET, form, get, ids, json, session, set, tx};

#[test]
fn effects_of_a_chain_member_happen_when_it_matches_even_if_a_later_one_fails() {
    let rules = r#"
        SecRule ARGS:a "@streq 1" "id:1,phase:1,deny,log,setvar:tx.head=1,chain"
        SecRule ARGS:b "@streq 1" "setvar:tx.middle=1,chain"
        SecRule ARGS:c "@streq 1" "setvar:tx.last=1""#;
    assert_eq!(tx(rules, get("/?a=1&b=1&c=2"), "middle").as_deref(), Some("1"));
    assert_eq!(tx(rules, get("/?a=1&b=1&c=2"), "last"), None);
    assert_eq!(
        ids(rules, get("/?a=1&b=1&c=2")),
        [0; 0],
        "what decides and reports waits for the whole chain"
    );
    assert_eq!(ids(rules, get("/?a=1&b=1&c=1")), [1]);
}

#[test]
fn every_matching_value_runs_the_effects_again_and_the_groups_are_those_of_the_last() {
    let rules = r#"
        SecRule ARGS "@rx ^x(\d)" "id:1,phase:1,pass,capture,setvar:tx.n=+1,chain"
        SecRule TX:1 "@streq 3" "setvar:tx.last=%{TX.1}""#;
    assert_eq!(tx(rules, get("/?a=x1&b=x2&c=x3"), "n").as_deref(), Some("3"));
    assert_eq!(tx(rules, get("/?a=x1&b=x2&c=x3"), "last").as_deref(), Some("3"));
    assert_eq!(tx(rules, get("/?a=x3&b=x1"), "last"), None, "the chained rule sees the last match only");
}

#[test]
fn a_target_taken_out_by_ctl_is_out_of_every_link_of_the_chain() {
    let rules = r#"
        SecRule REQUEST_URI "@beginsWith /safe" "id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=2;ARGS:p"
        SecRule ARGS "@streq x" "id:2,phase:1,pass,chain"
        SecRule ARGS "@rx ^x""#;
    assert_eq!(ids(rules, get("/?p=x")), [2]);
    assert_eq!(ids(rules, get("/safe?p=x")), [0; 0]);
    assert_eq!(ids(rules, get("/safe?q=x")), [2]);
}

#[test]
fn an_absent_variable_is_not_tested_not_even_by_a_negated_operator() {
    let rules = r#"
        SecRule REQUEST_HEADERS:Host "!@rx ^good$" "id:1,phase:1,pass"
        SecRule &REQUEST_HEADERS:Host "@eq 0" "id:2,phase:1,pass""#;
    assert_eq!(ids(rules, GET), [2]);
    assert_eq!(ids(rules, Ask { headers: &[("host", "good")], ..GET }), [0; 0]);
    assert_eq!(ids(rules, Ask { headers: &[("Host", "bad")], ..GET }), [1]);
}

#[test]
fn names_of_arguments_are_exact_and_those_of_headers_cookies_and_tx_are_not() {
    let rules = r#"
        SecAction "id:9,phase:1,pass,nolog,setvar:tx.932200_MATCHED_VAR_NAME=1"
        SecRule ARGS:Name "@unconditionalMatch" "id:1,phase:1,pass"
        SecRule REQUEST_HEADERS:x-Name "@unconditionalMatch" "id:2,phase:1,pass"
        SecRule REQUEST_COOKIES:NAME "@unconditionalMatch" "id:3,phase:1,pass"
        SecRule TX:932200_matched_var_name "@eq 1" "id:4,phase:1,pass""#;
    let headers = [("X-NAME", "1"), ("Cookie", "name=1")];
    assert_eq!(ids(rules, Ask { target: "/?name=1", headers: &headers, ..GET }), [2, 3, 4]);
    assert_eq!(ids(rules, get("/?Name=1")), [1, 4]);
}

#[test]
fn none_clears_what_stands_before_it_and_the_order_counts() {
    let rules = r#"
        SecDefaultAction "phase:1,log,pass,t:lowercase"
        SecRule ARGS "@streq a" "id:1,phase:1"
        SecRule ARGS "@streq a" "id:2,phase:1,t:none"
        SecRule ARGS "@streq A" "id:3,phase:1,t:hexEncode,t:none"
        SecRule ARGS "@streq a" "id:4,phase:1,t:none,t:urlDecodeUni,t:lowercase"
        SecRule ARGS "@streq a" "id:5,phase:1,t:none,t:lowercase,t:urlDecodeUni""#;
    assert_eq!(ids(rules, get("/?x=A")), [1, 3, 4, 5]);
    assert_eq!(ids(rules, get("/?x=%2541")), [4], "decoded after the letters were made small, A stays A");
}

#[test]
fn block_is_what_the_phase_says_by_default() {
    let rule = r#"SecRule ARGS "@streq x" "id:1,phase:1,block""#;
    assert_eq!(session(&set(rule), None, get("/?a=x")).decision(), Decision::Continue);
    let rules = format!("SecDefaultAction \"phase:1,log,deny,status:418\"\n{rule}");
    let Decision::Refuse(refusal) = session(&set(&rules), None, get("/?a=x")).decision() else { panic!() };
    assert_eq!((refusal.rule, refusal.status), (1, 418));
}

#[test]
fn skip_after_jumps_within_its_phase_only() {
    let rules = r#"
        SecRule ARGS "@streq x" "id:1,phase:1,pass,nolog,skipAfter:END"
        SecAction "id:2,phase:1,pass"
        SecAction "id:3,phase:2,pass"
        SecMarker END
        SecAction "id:4,phase:1,pass""#;
    assert_eq!(ids(rules, get("/?a=x")), [4, 3]);
    assert_eq!(ids(rules, get("/?a=y")), [2, 4, 3]);
}

#[test]
fn a_refusal_in_phase_one_still_runs_phase_five_which_decides_nothing() {
    let rules = r#"
        SecAction "id:1,phase:1,deny,status:403"
        SecAction "id:2,phase:2,pass"
        SecAction "id:5,phase:5,deny,status:500""#;
    let session = session(&set(rules), None, GET);
    let found: Vec<u32> = session.verdict().matches.iter().map(|found| found.rule).collect();
    assert_eq!(found, [1, 5]);
    assert_eq!(session.verdict().refusal.as_ref().map(|refusal| refusal.rule), Some(1));
}

#[test]
fn the_raw_body_is_a_variable_for_forms_or_when_asked_for() {
    let rules = r#"SecRule REQUEST_BODY "@contains 1" "id:1,phase:2,pass""#;
    assert_eq!(ids(rules, form("a=1")), [1]);
    assert_eq!(ids(rules, json(r#"{"a":1}"#)), [0; 0]);
    let forced = format!("SecAction \"id:9,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On\"\n{rules}");
    assert_eq!(ids(&forced, json(r#"{"a":1}"#)), [1]);
    assert_eq!(ids(&forced, Ask { method: "POST", body: "x1", ..GET }), [1]);
}

#[test]
fn parts_of_a_multipart_body_are_arguments_and_its_files_are_not() {
    let rules = r#"
        SecRule ARGS:t "@streq one" "id:1,phase:2,pass"
        SecRule ARGS "@contains content" "id:2,phase:2,pass"
        SecRule FILES "@streq x.php" "id:3,phase:2,pass"
        SecRule FILES_NAMES "@streq f" "id:4,phase:2,pass"
        SecRule MULTIPART_PART_HEADERS:f "@rx ^Content-Type: text/php$" "id:5,phase:2,pass""#;
    let body = "--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\none\r\n--b\r\nContent-Disposition: form-data; \
                name=\"f\"; filename=\"x.php\"\r\nContent-Type: text/php\r\n\r\ncontent\r\n--b--\r\n";
    let ask =
        Ask { method: "POST", headers: &[("Content-Type", "multipart/form-data; boundary=b")], body, ..GET };
    assert_eq!(ids(rules, ask), [1, 3, 4, 5]);
}

#[test]
fn the_parts_of_a_target_are_four_variables() {
    let rules = r#"
        SecRule REQUEST_URI "@streq /a%20b/c.php?q=%41" "id:1,phase:1,pass"
        SecRule REQUEST_URI_RAW "@streq http://host/a%20b/c.php?q=%41" "id:2,phase:1,pass"
        SecRule REQUEST_FILENAME "@streq /a b/c.php" "id:3,phase:1,pass"
        SecRule REQUEST_BASENAME "@streq c.php" "id:4,phase:1,pass"
        SecRule QUERY_STRING "@streq q=%41" "id:5,phase:1,pass"
        SecRule REQUEST_LINE "@streq GET http://host/a%20b/c.php?q=%41 HTTP/2.0" "id:6,phase:1,pass""#;
    let ask = Ask { target: "http://host/a%20b/c.php?q=%41", protocol: "HTTP/2.0", ..GET };
    assert_eq!(ids(rules, ask), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_name_of_a_matched_variable_has_the_form_that_exclusions_are_written_in() {
    let rules = r#"SecRule ARGS|REQUEST_HEADERS|REQUEST_URI "@rx x" "id:1,phase:1,pass,setvar:tx.n=%{MATCHED_VAR_NAME}""#;
    assert_eq!(tx(rules, form(""), "n").as_deref(), Some("REQUEST_HEADERS:Content-Type"));
    assert_eq!(tx(rules, get("/?Abc=x"), "n").as_deref(), Some("REQUEST_URI"));
    let rules = r#"SecRule ARGS "@rx x" "id:1,phase:1,pass,setvar:tx.n=%{MATCHED_VAR_NAME}""#;
    assert_eq!(tx(rules, get("/?Abc=x"), "n").as_deref(), Some("ARGS:Abc"));
}

#[test]
fn multi_match_tests_after_each_change() {
    let rule = |multi: &str| {
        format!(
            "SecRule ARGS \"@rx ^(?:%41|A|a)$\" \"id:1,phase:1,pass,t:none,t:urlDecodeUni,t:lowercase{multi},setvar:tx.n=+1\""
        )
    };
    assert_eq!(tx(&rule(",multiMatch"), get("/?x=%2541"), "n").as_deref(), Some("3"));
    assert_eq!(tx(&rule(""), get("/?x=%2541"), "n").as_deref(), Some("1"));
    assert_eq!(
        tx(&rule(",multiMatch"), get("/?x=a"), "n").as_deref(),
        Some("1"),
        "no change, no second test"
    );
}

#[test]
fn setvar_assigns_adds_subtracts_and_removes_whole_numbers() {
    let rules = r#"
        SecAction "id:1,phase:1,pass,nolog,setvar:'tx.a=5',setvar:tx.a=+3,setvar:tx.a=-%{tx.b},setvar:tx.c=+2"
        SecAction "id:2,phase:1,pass,nolog,setvar:tx.b=2,setvar:tx.a=-%{tx.b},setvar:tx.d=x,setvar:!tx.d,setvar:tx.e"
        SecAction "id:3,phase:1,pass,nolog,setvar:'tx.name_%{tx.b}=%{tx.a}%{tx.nosuch}',setvar:tx.f=text,setvar:tx.f=+1""#;
    let session = session(&set(rules), None, GET);
    let value = |name: &str| session.variable(name).map(|text| String::from_utf8_lossy(text).into_owned());
    assert_eq!(value("a").as_deref(), Some("6"));
    assert_eq!(value("c").as_deref(), Some("2"), "what is missing counts as zero");
    assert_eq!(value("d"), None);
    assert_eq!(value("e").as_deref(), Some("1"));
    assert_eq!(value("name_2").as_deref(), Some("6"));
    assert_eq!(value("f").as_deref(), Some("1"), "what is no number counts as zero");
}

#[test]
fn within_asks_whether_the_value_is_part_of_the_parameter_now() {
    let rules = r#"
        SecAction "id:9,phase:1,pass,nolog,setvar:'tx.types=|text/html| |a/b|',setvar:'tx.t=|%{ARGS.t}|'"
        SecRule TX:t "!@within %{tx.types}" "id:1,phase:1,pass""#;
    assert_eq!(ids(rules, get("/?t=a/b")), [0; 0]);
    assert_eq!(ids(rules, get("/?t=a")), [1], "delimiters keep a part from passing for the whole");
}

#[test]
fn phrases_are_found_in_any_case_and_hexadecimal_is_read() {
    let rules = r#"SecRule ARGS "@pm sElect |55 4e|ION" "id:1,phase:1,pass""#;
    assert_eq!(ids(rules, get("/?a=xSELECTx")), [1]);
    assert_eq!(ids(rules, get("/?a=uNion")), [1]);
    assert_eq!(ids(rules, get("/?a=on")), [0; 0]);
}

#[test]
fn the_length_and_numbers_are_compared_as_whole_numbers() {
    let rules = r#"
        SecRule ARGS:a "@gt 3" "id:1,phase:1,pass,t:length"
        SecRule ARGS:b "@eq 0" "id:2,phase:1,pass"
        SecRule ARGS:c "@validateByteRange 32-126" "id:3,phase:1,pass,t:urlDecodeUni""#;
    assert_eq!(ids(rules, get("/?a=abcd&b=text&c=%2500")), [1, 2, 3]);
    assert_eq!(ids(rules, get("/?a=abc&b=1&c=x")), [0; 0]);
}

#[test]
fn a_collection_that_was_not_opened_holds_nothing() {
    let rules = r#"
        SecAction "id:1,phase:1,pass,nolog,setvar:ip.n=+1"
        SecRule &IP:n "@eq 0" "id:2,phase:1,pass"
        SecAction "id:3,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR},setvar:ip.n=+1"
        SecRule IP:n "@eq 1" "id:4,phase:1,pass""#;
    assert_eq!(ids(rules, GET), [2, 4]);
    assert_eq!(set(rules).notices().len(), 1, "and the operator is told that it ends with the exchange");
}

#[test]
fn ctl_removes_rules_by_id_tag_and_message_and_may_only_soften_the_mode() {
    let rules = r#"
        SecRule ARGS:by "@streq id" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=10-19"
        SecRule ARGS:by "@streq tag" "id:2,phase:1,pass,nolog,ctl:ruleRemoveByTag=attack/x"
        SecRule ARGS:by "@streq msg" "id:3,phase:1,pass,nolog,ctl:ruleRemoveByMsg=Ten"
        SecRule ARGS:by "@streq off" "id:4,phase:1,pass,nolog,ctl:ruleEngine=DetectionOnly"
        SecAction "id:10,phase:1,deny,tag:'attack/x',msg:'Ten'""#;
    for by in ["id", "tag", "msg"] {
        assert_eq!(ids(rules, get(&format!("/?by={by}"))), [0; 0], "{by}");
    }
    let softened = session(&set(rules), None, get("/?by=off"));
    assert_eq!(softened.decision(), Decision::Continue);
    assert!(softened.verdict().refusal.is_some(), "what would have been refused is still told");
    let detecting = format!(
        "SecRuleEngine DetectionOnly\nSecAction \"id:5,phase:1,pass,nolog,ctl:ruleEngine=On\"\n{rules}"
    );
    assert_eq!(session(&set(&detecting), None, GET).decision(), Decision::Continue);
    assert_eq!(set(&detecting).settings().mode, EngineMode::Detect);
}

#[test]
fn targets_are_updated_when_the_rules_are_loaded() {
    let rules = r#"
        SecRule ARGS|REQUEST_COOKIES "@streq x" "id:1,phase:1,pass,tag:'t'"
        SecRuleUpdateTargetById 1 "!REQUEST_COOKIES:/^_ga(?:_\w+)?$/"
        SecRuleUpdateTargetByTag t "!ARGS:secret|REQUEST_HEADERS:X""#;
    let cookie = |cookie| ids(rules, Ask { headers: &[("Cookie", cookie)], ..GET });
    assert_eq!(cookie("_ga_1=x"), [0; 0]);
    assert_eq!(cookie("_gb=x"), [1]);
    assert_eq!(ids(rules, get("/?secret=x")), [0; 0]);
    assert_eq!(ids(rules, Ask { headers: &[("x", "x")], ..GET }), [1]);
}

#[test]
fn allow_skips_as_much_as_it_says() {
    let rules = |scope: &str| {
        format!(
            "SecAction \"id:1,phase:1,allow{scope}\"\nSecAction \"id:2,phase:1,deny\"\nSecAction \"id:3,phase:2,deny\"\n\
             SecAction \"id:4,phase:3,deny\"\nSecAction \"id:5,phase:5,pass\""
        )
    };
    assert_eq!(ids(&rules(""), GET), [1, 5]);
    assert_eq!(ids(&rules(":phase"), GET), [1, 3, 5]);
    assert_eq!(ids(&rules(":request"), GET), [1, 4, 5]);
}

#[test]
fn response_rules_see_bodies_of_the_types_that_are_read() {
    let rules = r#"
        SecRule RESPONSE_BODY "@contains ORA-" "id:1,phase:4,deny"
        SecRule RESPONSE_STATUS "@rx ^5" "id:2,phase:3,pass"
        SecRule RESPONSE_HEADERS:X "@streq y" "id:3,phase:3,pass""#;
    let ids_of =
        |kind| ids(rules, Ask { response: (500, &[("content-type", kind), ("x", "y")], "ORA-1"), ..GET });
    assert_eq!(ids_of("text/html; charset=utf-8"), [2, 3, 1]);
    assert_eq!(ids_of("image/png"), [2, 3]);
}

#[test]
fn a_pattern_with_macros_is_what_its_variables_say_now() {
    let rules = r#"
        SecAction "id:9,phase:1,pass,nolog,setvar:'tx.good=utf-8|latin1',setvar:'tx.bad=('"
        SecRule ARGS:c "!@rx ^(?:%{tx.good})$" "id:1,phase:1,pass"
        SecRule ARGS:d "@rx %{tx.bad}" "id:2,phase:1,pass""#;
    assert_eq!(ids(rules, get("/?c=utf-8")), [0; 0]);
    assert_eq!(ids(rules, get("/?c=utf-7")), [1]);
    let broken = session(&set(rules), None, get("/?d=x"));
    assert_eq!(broken.decision(), Decision::Incomplete(bartizan_inspect::Incomplete::Pattern(2)));
}

#[test]
fn elements_of_json_arrays_are_found_by_both_spellings_in_use() {
    let rules = r#"
        SecRule ARGS:json.a.0.b "@streq x" "id:1,phase:2,pass"
        SecRule ARGS:json.a.array_0.b "@streq x" "id:2,phase:2,pass"
        SecRule ARGS|!ARGS:json.a.array_0.b "@streq x" "id:3,phase:2,pass""#;
    assert_eq!(ids(rules, json(r#"{"a":[{"b":"x"}]}"#)), [1, 2]);
    assert_eq!(ids(rules, json(r#"{"a":[{"b":"y"},{"b":"x"}]}"#)), [3]);
}

#[test]
fn names_of_files_are_meant_in_any_case() {
    let rules = r#"
        SecRule FILES:UPLOAD "@streq a.txt" "id:1,phase:2,pass"
        SecRule ARGS:UPLOAD "@unconditionalMatch" "id:2,phase:2,pass""#;
    let body =
        "--b\r\nContent-Disposition: form-data; name=\"upload\"; filename=\"a.txt\"\r\n\r\nx\r\n--b--\r\n";
    let headers = [("Content-Type", "multipart/form-data; boundary=b")];
    assert_eq!(ids(rules, Ask { method: "POST", headers: &headers, body, ..GET }), [1]);
}

#[test]
fn a_marker_in_another_file_is_where_skip_after_goes_on() {
    let files = bartizan_inspect::MemoryFiles::new()
        .with("a.conf", "SecRule ARGS \"@streq x\" \"id:1,phase:1,pass,nolog,skipAfter:END\"\nSecAction \"id:2,phase:1,pass\"")
        .with("b.conf", "SecAction \"id:3,phase:1,pass\"\nSecMarker END\nSecAction \"id:4,phase:1,pass\"");
    let mut loader = bartizan_inspect::Loader::new(&files);
    loader.file("a.conf").unwrap();
    loader.file("b.conf").unwrap();
    let set = std::sync::Arc::new(loader.finish().unwrap());
    let found = |target| -> Vec<u32> {
        let session = session(&set, None, get(target));
        session.verdict().matches.iter().map(|found| found.rule).collect()
    };
    assert_eq!(found("/?a=x"), [4]);
    assert_eq!(found("/?a=y"), [2, 3, 4]);
}

#[test]
fn a_file_of_phrases_has_one_on_each_line_with_its_spaces_and_comments_are_none() {
    let files = bartizan_inspect::MemoryFiles::new()
        .with("t.conf", "SecRule ARGS \"@pmFromFile words.data\" \"id:1,phase:1,pass\"")
        .with("words.data", "# comment\n\nalpha beta\ngamma\n");
    let mut loader = bartizan_inspect::Loader::new(&files);
    loader.file("t.conf").unwrap();
    let set = std::sync::Arc::new(loader.finish().unwrap());
    for (target, matches) in [
        ("/?a=ALPHA+beta", true),
        ("/?a=alphabeta", false),
        ("/?a=alpha", false),
        ("/?a=xgammax", true),
        ("/?a=comment", false),
    ] {
        assert_eq!(!session(&set, None, get(target)).verdict().matches.is_empty(), matches, "{target}");
    }
}

#[test]
fn rules_for_answers_refuse_in_their_phases_and_the_last_phase_still_runs() {
    let rules = r#"
        SecRule RESPONSE_STATUS "@streq 500" "id:3,phase:3,deny,status:502"
        SecRule RESPONSE_BODY "@contains bad" "id:4,phase:4,deny,status:503"
        SecAction "id:5,phase:5,pass""#;
    let kind = [("content-type", "text/html")];
    assert_eq!(ids(rules, Ask { response: (500, &kind, "bad"), ..GET }), [3, 5]);
    assert_eq!(ids(rules, Ask { response: (200, &kind, "bad"), ..GET }), [4, 5]);
    assert_eq!(ids(rules, Ask { response: (200, &kind, "fine"), ..GET }), [5]);
}

#[test]
fn the_default_collections_are_opened_only_where_the_setup_asks_for_them() {
    let rules = r#"
        SecAction "id:8,phase:1,pass,nolog,setvar:tx.enable_default_collections=0"
        SecRule TX:ENABLE_DEFAULT_COLLECTIONS "@eq 1" "id:1,phase:1,pass,nolog,initcol:global=global,setvar:global.n=1"
        SecRule &GLOBAL:n "@eq 0" "id:2,phase:1,pass""#;
    assert_eq!(ids(rules, GET), [2]);
    assert_eq!(ids(&rules.replace("collections=0", "collections=1"), GET), [0; 0]);
}
