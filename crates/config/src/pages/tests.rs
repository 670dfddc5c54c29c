use super::*;

#[test]
fn every_kind_has_a_page_whose_links_lead_somewhere() {
    for kind in Kind::ALL {
        let page = of_kind(*kind);
        assert!(page.starts_with(&format!("# {}\n", kind.as_str())));
        assert!(page.contains("\n## spec\n") && page.ends_with('\n') && !page.ends_with("\n\n"), "{page}");
        for link in page.split("](#").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let headings = page.lines().filter(|line| line.to_lowercase() == format!("## {link}")).count();
            assert_eq!(headings, 1, "{link} in the page of {kind:?}");
        }
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let cells = row.replace("\\|", "").matches('|').count() - 1;
            assert!(matches!(cells, 2 | 4), "{row}");
        }
    }
    assert_eq!(index().matches(".md)").count(), Kind::ALL.len());
}

#[test]
fn a_row_says_type_default_and_meaning() {
    let page = of_kind(Kind::RateLimitPolicy);
    for row in [
        "| `limits` | [LimitSpec](#limitspec) or list of [LimitSpec](#limitspec) | **required** |",
        "| `enforcePercent` | number 0–100 | `100` |",
        "| `maxWait` | duration, as `30s` | `30s` |",
        "| `mode` | [Mode](#mode) | `enforce` |",
        "| `shadow` | The policy judges and counts;",
    ] {
        assert!(page.contains(row), "{row} is not in\n{page}");
    }
}
