use std::collections::BTreeSet;

use super::*;

fn at(file: u32, start: u32) -> Span {
    Span { file: FileId(file), start, end: start + 1, line: start + 1, column: 1 }
}

fn messages(problems: &Problems) -> Vec<&str> {
    problems.iter().map(|problem| problem.message.as_str()).collect()
}

#[test]
fn every_code_is_unique_well_formed_and_has_a_meaning() {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes.len(), Code::ALL.len(), "a code is given away twice");
    for code in Code::ALL {
        let text = code.as_str();
        let digits = text.strip_prefix("BZ-").unwrap();
        assert!(digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
        assert!(matches!(digits.as_bytes()[0], b'1'..=b'5' | b'9'), "{text} is in no range");
        assert!(code.meaning().ends_with('.') && code.meaning().len() > 10, "{text}");
    }
    assert!(Code::ALL.is_sorted_by_key(|code| code.as_str()), "the table is ascending");
}

#[test]
fn exposures_are_told_by_their_range() {
    for code in Code::ALL {
        assert_eq!(code.severity() == Severity::Exposure, code.as_str().starts_with("BZ-9"), "{code}");
    }
}

#[test]
fn problems_come_in_the_order_of_files_and_places_whatever_the_order_found() {
    let mut problems = Problems::new();
    for (file, start, message) in [(1, 0, "d"), (0, 9, "c"), (0, 2, "a"), (0, 2, "b")] {
        problems.push(Problem::new(Code::BadValue, at(file, start), "", message));
    }
    problems.push(Problem::new(Code::BadValue, Span::SET, "", "e"));
    assert_eq!(messages(&problems), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_flood_is_counted_but_not_kept_and_never_hides_that_there_is_a_problem() {
    let mut problems = Problems::new();
    for index in 0..5_000 {
        problems.push(Problem::new(Code::BadValue, at(0, index), "", "w").warning());
    }
    assert!(!problems.is_refusing());
    problems.push(Problem::new(Code::BadValue, at(9, 0), "", "the one problem"));
    assert!(problems.is_refusing());
    assert_eq!(problems.total(), 5_001);
    assert_eq!(problems.count(Severity::Warning), 5_000);
    assert_eq!(problems.iter().count(), 1_001);
    assert_eq!(problems.iter().last().unwrap().message, "the one problem");

    let mut all = Problems::new();
    all.extend(problems);
    assert_eq!((all.total(), all.iter().count()), (5_001, 1_001), "joining keeps the counts");
}

#[test]
fn quoted_input_cannot_steer_a_terminal() {
    let cases = [
        ("plain", "`plain`"),
        ("it's \"quoted\" \\ here", "`it's \"quoted\" \\ here`"),
        ("a\x1b[31mb", "`a\\u{1b}[31mb`"),
        ("a\nb\rc\0", "`a\\nb\\rc\\0`"),
        ("ab\u{202e}cd\u{200b}", "`ab\\u{202e}cd\\u{200b}`"),
        ("Grüße 😀", "`Grüße 😀`"),
    ];
    for (input, expected) in cases {
        assert_eq!(shown(input), expected);
    }
    assert_eq!(shown(&"x".repeat(61)), format!("`{}…`", "x".repeat(60)));
    assert_eq!(shown(&"x".repeat(60)), format!("`{}`", "x".repeat(60)));
}
