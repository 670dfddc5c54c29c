//! What a session promises its caller: limits are never silent, steps resume, policies change what they say, records
//! tell shapes and never values.

use std::sync::Arc;

use bartizan_inspect::{
    Decision, EngineMode, Exchange, Incomplete, Overlay, OverlayError, RequestHead, Session, Step,
    overlay::Rules,
};

use crate::run::{Ask, GET, form, get, json, session, set};

#[test]
fn a_body_that_cannot_be_read_in_one_way_is_incomplete_and_refused_when_enforcing() {
    let rules = set(r#"SecAction "id:1,phase:2,pass""#);
    let bad = session(&rules, None, json(r#"{"a":1,"a":2}"#));
    assert!(matches!(bad.decision(), Decision::Incomplete(Incomplete::BodyUnreadable(_))));
    assert_eq!(session(&rules, None, json(r#"{"a":1}"#)).decision(), Decision::Continue);
    let watching = session(&rules, Some(Overlay::new().mode(EngineMode::Detect)), json("{"));
    assert_eq!(watching.decision(), Decision::Continue);
    assert_eq!(watching.verdict().incomplete.len(), 1);
}

#[test]
fn of_prose_for_a_model_only_how_it_is_built_is_judged() {
    let rules = set(r#"SecRule ARGS|REQUEST_BODY|ARGS_NAMES "@contains attack" "id:1,phase:2,deny""#);
    let judged = |target: &str, body: &str| {
        let mut session = Session::new(rules.clone(), None, Exchange::default());
        let headers: &[(&[u8], &[u8])] = &[(b"Content-Type", b"application/json")];
        session.request_head(&RequestHead { target: target.as_bytes(), headers, ..RequestHead::default() });
        session.body_is_prose();
        let _ = session.run();
        session.request_body(body.as_bytes());
        session.request_end();
        let _ = session.run();
        session.decision()
    };
    assert_eq!(judged("/", r#"{"messages":[{"content":"what is an attack?"}]}"#), Decision::Continue);
    assert_eq!(judged("/", &format!("[{}1]", "1,".repeat(5_000))), Decision::Continue, "a long conversation");
    assert!(matches!(judged("/?q=attack", "{}"), Decision::Refuse(_)), "its query is a query");
    for broken in [r#"{"model":"a","model":"b"}"#, "{", &"[".repeat(100)] {
        assert!(
            matches!(judged("/", broken), Decision::Incomplete(Incomplete::BodyUnreadable(_))),
            "{broken}"
        );
    }
}

#[test]
fn a_body_above_its_limit_is_incomplete_or_said_to_be_cut() {
    let body = format!("a={}&b=attack", "x".repeat(3000));
    let rules = "SecRequestBodyNoFilesLimit 1000\nSecRule ARGS \"@streq attack\" \"id:1,phase:2,deny\"";
    let refused = session(&set(rules), None, form(&body));
    assert_eq!(refused.decision(), Decision::Incomplete(Incomplete::BodyTooLong));
    let partial =
        session(&set(&format!("SecRequestBodyLimitAction ProcessPartial\n{rules}")), None, form(&body));
    assert_eq!(partial.decision(), Decision::Continue);
    assert!(partial.verdict().body_cut);
}

#[test]
fn too_many_arguments_and_too_much_work_are_incomplete() {
    let rules = set(r#"SecRule ARGS "@rx x+y" "id:1,phase:1,pass""#);
    let target = format!("/?{}", "a=1&".repeat(1001));
    assert_eq!(session(&rules, None, get(&target)).decision(), Decision::Incomplete(Incomplete::Values));
    let mut text = String::new();
    for id in 1..200 {
        text.push_str(&format!("SecRule ARGS \"@rx x+y{id}\" \"id:{id},phase:1,pass,t:none,t:lowercase\"\n"));
    }
    let small =
        Arc::new(Arc::into_inner(set(&text)).unwrap().with_settings(|settings| settings.work_max = 500));
    assert_eq!(session(&small, None, get("/?a=1")).decision(), Decision::Incomplete(Incomplete::Work));
}

#[test]
fn a_session_pauses_at_its_budget_and_resumes_to_the_same_verdict() {
    let mut text = String::new();
    for id in 1..100 {
        text.push_str(&format!("SecRule ARGS \"@rx a{{1,{id}}}\" \"id:{id},phase:1,pass,setvar:tx.n=+1\"\n"));
    }
    let rules = set(&text);
    let head = RequestHead { target: b"/?q=baaaab", ..RequestHead::default() };
    let mut paused = Session::new(Arc::clone(&rules), None, Exchange::default());
    paused.request_head(&head);
    let mut steps = 0;
    while paused.step(100) == Step::More {
        steps += 1;
    }
    let mut whole = Session::new(rules, None, Exchange::default());
    whole.request_head(&head);
    assert_eq!(whole.run(), Step::Done(Decision::Continue));
    assert!(steps > 5, "{steps}");
    assert_eq!(paused.verdict(), whole.verdict());
    assert_eq!(paused.variable("n"), Some(&b"99"[..]));
}

#[test]
fn a_policy_sets_variables_removes_excludes_and_shadows() {
    let text = r#"
        SecRule &TX:level "@eq 0" "id:1,phase:1,pass,nolog,setvar:tx.level=1"
        SecRule TX:level "@ge 2" "id:2,phase:1,pass"
        SecRule ARGS "@streq x" "id:3,phase:1,deny,tag:'t',setvar:tx.score=+5""#;
    let rules = set(text);
    let ids = |overlay: Overlay| -> Vec<u32> {
        session(&rules, Some(overlay), get("/?a=x"))
            .verdict()
            .matches
            .iter()
            .map(|found| found.rule)
            .collect()
    };
    assert_eq!(ids(Overlay::new()), [3]);
    assert_eq!(ids(Overlay::new().variable("LEVEL", "3")), [2, 3]);
    assert_eq!(ids(Overlay::new().remove(&rules, &Rules::Ids(3, 3)).unwrap()), [0; 0]);
    assert_eq!(ids(Overlay::new().exclude(&rules, &Rules::Tag("t".to_owned()), "ARGS:a").unwrap()), [0; 0]);
    assert_eq!(ids(Overlay::new().exclude(&rules, &Rules::Ids(3, 3), "ARGS:b").unwrap()), [3]);
    let shadowed =
        session(&rules, Some(Overlay::new().shadow(&rules, &Rules::Ids(3, 3)).unwrap()), get("/?a=x"));
    assert_eq!(shadowed.decision(), Decision::Continue);
    assert!(shadowed.verdict().matches[0].shadow);
    assert_eq!((shadowed.variable("score"), &shadowed.verdict().refusal), (None, &None));
    assert!(matches!(Overlay::new().remove(&rules, &Rules::Ids(9, 9)), Err(OverlayError::NoRule(_))));
    assert!(Overlay::new().exclude(&rules, &Rules::Ids(3, 3), "ARGZ:b").is_err());
}

#[test]
fn a_record_names_rule_place_variable_and_transformations_and_shows_only_the_shape_of_values() {
    let rules = set(
        "\nSecRule REQUEST_HEADERS:Authorization \"@rx (s3cr3t)\" \"id:7,phase:1,deny,capture,t:lowercase,\
         msg:'Found',logdata:'Data: %{TX.0} in %{MATCHED_VAR_NAME}',tag:'a',severity:'CRITICAL'\"",
    );
    let found = session(&rules, None, Ask { headers: &[("Authorization", "Bearer S3cr3t'--")], ..GET });
    let record = &found.verdict().matches[0];
    assert_eq!(record.place.to_string(), "t.conf:2");
    assert_eq!(record.variable, "REQUEST_HEADERS:Authorization");
    assert_eq!(record.transforms, ["lowercase"]);
    assert_eq!(record.excerpt, "aaaaaa a9aa9a'--");
    assert_eq!(record.log_data, "Data: a9aa9a in REQUEST_HEADERS:Authorization");
    assert!(!format!("{:?}", found.verdict()).to_lowercase().contains("s3cr3t"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_session_panic(
        target in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
        value in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
        body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120),
        kind in proptest::sample::select(vec!["application/json", "text/xml", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded", "x"]),
    ) {
        let rules = set("SecRule ARGS|REQUEST_HEADERS|REQUEST_COOKIES|XML:/*|FILES \"@rx a\" \"id:1,phase:2,pass,capture,t:urlDecodeUni,t:jsDecode,t:htmlEntityDecode,setvar:tx.%{MATCHED_VAR_NAME}=%{TX.0},logdata:'%{MATCHED_VAR}'\"");
        let mut session = Session::new(rules, None, Exchange::default());
        session.request_head(&RequestHead {
            target: &target,
            headers: &[(b"Content-Type", kind.as_bytes()), (b"Cookie", &value), (&value, b"x")],
            ..RequestHead::default()
        });
        let _ = session.run();
        session.request_body(&body);
        session.request_end();
        let _ = session.run();
    }
}
