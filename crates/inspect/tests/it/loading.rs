//! What is not understood is refused with file and line; never a rule that is silently dead.

use bartizan_inspect::{Loader, MemoryFiles};

fn error(rules: &str) -> String {
    let files = MemoryFiles::new()
        .with("rules/a.data", "one\n# c\n")
        .with("rules/bad.conf", "\nSecRule ARGZ x \"id:3\"");
    let mut loader = Loader::new(&files);
    let failed = match loader.text("rules/t.conf", rules) {
        Err(error) => error,
        Ok(_) => match loader.finish() {
            Err(error) => error,
            Ok(_) => panic!("loads: {rules}"),
        },
    };
    failed.to_string()
}

#[test]
fn every_unknown_or_refused_word_is_an_error_at_its_line() {
    for (rules, expected) in [
        ("\nSecNoSuch On", "rules/t.conf:2: unknown directive `SecNoSuch`"),
        ("SecRule ARGZ \"x\" \"id:1\"", "rules/t.conf:1: unknown variable `ARGZ`"),
        ("SecRule ARGS \"@nosuch\" \"id:1\"", "unknown operator `@nosuch`"),
        ("SecRule ARGS \"@rx (\" \"id:1\"", "pattern: "),
        ("SecRule ARGS \"@rx a(?=b)\" \"id:1\"", "lookahead is not supported"),
        ("SecRule ARGS x \"id:1,nosuch\"", "unknown action `nosuch`"),
        ("SecRule ARGS x \"id:1,t:nosuch\"", "unknown transformation `nosuch`"),
        ("SecRule ARGS x \"id:1,msg:'%{nosuch}'\"", "unknown macro `nosuch`"),
        ("SecRule ARGS x \"phase:1\"", "the id of the rule is missing"),
        ("SecAction \"id:1\"\nSecAction \"id:1\"", "t.conf:2: rule id 1 is already used at rules/t.conf:1"),
        ("SecAction \"id:1,skipAfter:NOWHERE\"", "t.conf:1: skipAfter: no SecMarker `NOWHERE` follows"),
        ("SecMarker X\nSecAction \"id:1,skipAfter:X\"", "no SecMarker `X` follows"),
        ("SecRule ARGS x \"id:1,chain\"", "expects another one behind it"),
        ("SecRule ARGS x \"id:1,chain\"\nSecMarker X", "expects another one directly behind it"),
        ("SecRule ARGS x \"id:1,chain\"\nSecRule ARGS y \"deny\"", "only the first rule of a chain decides"),
        ("SecRule ARGS \"@pmFromFile b.data\" \"id:1\"", "cannot read `rules/b.data`"),
        ("SecRuleRemoveById 7", "no rule has the id 7"),
        ("SecRuleUpdateTargetById 7 !ARGS:x", "no rule has the id 7"),
        ("SecRule ARGS x \"id:1,exec:/bin/x\"", "action `exec` is not supported"),
        ("SecRuleScript x.lua", "directive `SecRuleScript` is not supported"),
        ("SecArgumentSeparator ;", "only `&` divides arguments"),
        ("SecRuleEngine Perhaps", "`Perhaps` is not"),
        ("Include bad.conf", "rules/bad.conf:2: unknown variable `ARGZ`"),
        ("SecRule ARGS x \\", "the file ends with a backslash"),
    ] {
        let message = error(rules);
        assert!(message.contains(expected), "{rules}\n{message}");
    }
}

#[test]
fn files_include_files_and_a_circle_ends() {
    let files = MemoryFiles::new()
        .with("r/main.conf", "Include parts/*.conf\n")
        .with("r/parts/a.conf", "SecRule ARGS \"@pmFromFile words.data\" \"id:1,phase:1,pass\"")
        .with("r/parts/b.conf", "SecAction \"id:2,phase:1,pass\"")
        .with("r/parts/words.data", "# words\nalpha beta\n")
        .with("circle.conf", "Include circle.conf");
    let mut loader = Loader::new(&files);
    loader.file("r/main.conf").unwrap();
    assert_eq!(loader.finish().unwrap().rules().count(), 2);
    let circle = Loader::new(&files).file("circle.conf").map(|_| ()).unwrap_err();
    assert!(circle.to_string().contains("levels deep"), "{circle}");
}

#[test]
fn a_configuration_in_use_loads_and_says_what_does_nothing_here() {
    let files = MemoryFiles::new();
    let mut loader = Loader::new(&files);
    loader
        .text(
            "modsecurity.conf",
            "SecRuleEngine DetectionOnly\nSecRequestBodyAccess On\nSecRequestBodyLimit 13107200\n\
             SecRequestBodyNoFilesLimit 131072\nSecRequestBodyLimitAction Reject\nSecRequestBodyJsonDepthLimit 512\n\
             SecArgumentsLimit 1000\nSecPcreMatchLimit 1000\nSecResponseBodyAccess On\n\
             SecResponseBodyMimeType text/plain text/html text/xml\nSecResponseBodyLimit 524288\n\
             SecResponseBodyLimitAction ProcessPartial\nSecTmpDir /tmp/\nSecAuditEngine RelevantOnly\n\
             SecAuditLogRelevantStatus \"^(?:5|4(?!04))\"\nSecArgumentSeparator &\nSecCookieFormat 0\n\
             SecUnicodeMapFile unicode.mapping 20127\nSecStatusEngine Off\nSecComponentSignature \"X/1\"\n",
        )
        .unwrap();
    let set = loader.finish().unwrap();
    assert_eq!(set.settings().json_depth_max, 512);
    assert!(set.notices().iter().any(|notice| notice.text == "SecTmpDir has no effect here"));
}
