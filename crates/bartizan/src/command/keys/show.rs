//! How keys look in lists and to programs: everything about them but the secret.

use bartizan_identity::{Life, LifeState, LifeTerms, Step};
use bartizan_store::{KeyRow, key_row::KeyStanding};
use serde::Serialize;

use super::Terms;
use crate::command::{
    print,
    when::{away, moment, span},
};

/// A key for programs. Times are RFC 3339 in UTC.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Key<'a> {
    id: &'a str,
    consumer: &'a str,
    label: Option<&'a str>,
    state: &'static str,
    created_at: String,
    created_by: Option<&'a str>,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
    replaced_by: Option<&'a str>,
    replaced_at: Option<String>,
    ends_at: Option<String>,
    next: Option<Next>,
}

/// What comes next for a key, for programs: the same whenever it is asked, until it comes.
#[derive(Serialize)]
struct Next {
    step: &'static str,
    at: Option<String>,
    latest: Option<String>,
}

/// A key that was just made, with its text: the only place where it is printed for programs.
#[derive(Serialize)]
pub(super) struct NewKey<'a> {
    pub(super) key: &'a str,
    #[serde(flatten)]
    pub(super) row: Key<'a>,
}

/// A rotation: the new key and the old one. The text is not in it where it went into a file.
#[derive(Serialize)]
pub(super) struct Rotated<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) new: Key<'a>,
    pub(super) old: Key<'a>,
}

impl<'a> Key<'a> {
    /// A key for which no policy was asked.
    pub(super) fn unruled(row: &'a KeyRow, now: u64) -> Self {
        Self::of(row, &LifeTerms::default(), now)
    }

    pub(super) fn of(row: &'a KeyRow, terms: &LifeTerms, now: u64) -> Self {
        let life = Life::at(&row.facts(), terms, now);
        Key {
            id: row.id.as_str(),
            consumer: &row.consumer,
            label: row.label.as_deref(),
            state: state(row, life, now),
            created_at: moment(row.created_at_ms),
            created_by: row.created_by.as_deref(),
            expires_at: row.expires_at_ms.map(moment),
            revoked_at: row.revoked_at_ms.map(moment),
            last_used_at: row.last_used_at_ms.map(moment),
            replaced_by: row.replaced_by.as_ref().map(|by| by.as_str()),
            replaced_at: row.replaced_at_ms.map(moment),
            ends_at: life.ends_ms.map(moment),
            next: step(life.next),
        }
    }
}

/// Where a key is in its life; of one that opens no more, in which way it ended.
fn state(row: &KeyRow, life: Life, now: u64) -> &'static str {
    match row.standing(now) {
        KeyStanding::Active => life.state.as_str(),
        KeyStanding::Expired if row.replaced_by.is_some() => LifeState::Retired.as_str(),
        ended => ended.as_str(),
    }
}

/// Whether lists leave a key out.
pub(super) fn is_removed(row: &KeyRow, terms: &LifeTerms, now: u64) -> bool {
    Life::at(&row.facts(), terms, now).state == LifeState::Removed
}

fn step(step: Step) -> Option<Next> {
    let next = |step, at: Option<u64>| Some(Next { step, at: at.map(moment), latest: None });
    match step {
        Step::Age { at_ms } => next("age", Some(at_ms)),
        Step::Begin { at_ms } => next("begin", Some(at_ms)),
        Step::Claim => next("claim", None),
        Step::End { at_ms } => next("end", Some(at_ms)),
        Step::EndUnused { from_ms, latest_ms } => {
            Some(Next { step: "endWhenUnused", at: Some(moment(from_ms)), latest: Some(moment(latest_ms)) })
        }
        Step::Nothing => None,
        Step::Remove { at_ms } => next("remove", Some(at_ms)),
        Step::Replace { due_ms } => next("rotate", Some(due_ms)),
        Step::Retire => next("end", None),
    }
}

/// What comes next for a key, in words.
fn next(step: Step, now: u64) -> String {
    match step {
        Step::Age { at_ms } => format!("ages {}", away(at_ms, now)),
        Step::Begin { at_ms } => format!("begins {}", away(at_ms, now)),
        Step::Claim => "to be claimed".to_owned(),
        Step::End { at_ms } => format!("ends {}", away(at_ms, now)),
        Step::EndUnused { latest_ms, .. } => {
            format!("ends when unused, at the latest {}", away(latest_ms, now))
        }
        Step::Nothing => print::NONE.to_owned(),
        Step::Remove { at_ms } => format!("leaves this list {}", away(at_ms, now)),
        Step::Replace { due_ms } if due_ms > now => format!("rotate it, due {}", away(due_ms, now)),
        Step::Replace { due_ms } => format!("rotate it, was due {}", away(due_ms, now)),
        Step::Retire => "is unused: ends at the next look".to_owned(),
    }
}

/// One key, a line per fact.
pub(super) fn one(row: &KeyRow, terms: &LifeTerms, now: u64) -> String {
    let life = Life::at(&row.facts(), terms, now);
    let dated =
        |at: Option<u64>| at.map_or("never".to_owned(), |at| format!("{} ({})", moment(at), away(at, now)));
    let none = || print::NONE.to_owned();
    let facts = [
        ("id", row.id.to_string()),
        ("consumer", row.consumer.clone()),
        ("label", row.label.clone().unwrap_or_else(none)),
        ("state", state(row, life, now).to_owned()),
        ("created", dated(Some(row.created_at_ms))),
        ("created by", row.created_by.clone().unwrap_or_else(none)),
        ("expires", dated(row.expires_at_ms)),
        ("revoked", dated(row.revoked_at_ms)),
        ("last used", dated(row.last_used_at_ms)),
        ("replaced by", row.replaced_by.map_or_else(none, |by| by.to_string())),
        ("replaced", dated(row.replaced_at_ms)),
        ("next", next(life.next, now)),
    ];
    facts.iter().map(|(name, value)| format!("{name:<12}{}\n", print::clean(value))).collect()
}

/// Keys as a table.
pub(super) fn many(rows: &[KeyRow], terms: &Terms, now: u64) -> String {
    let header = ["ID", "CONSUMER", "STATE", "AGE", "EXPIRES", "LAST USED", "NEXT", "LABEL"];
    let rows = rows.iter().map(|row| {
        let life = Life::at(&row.facts(), &terms.of(row), now);
        let state = state(row, life, now);
        vec![
            row.id.to_string(),
            row.consumer.clone(),
            state.to_string(),
            span(now.saturating_sub(row.created_at_ms)),
            // When a revoked key would have ended concerns nobody any more.
            if row.revoked_at_ms.is_some() { print::NONE.to_owned() } else { expiry(row, now) },
            row.last_used_at_ms.map_or("never".to_owned(), |at| away(at, now)),
            next(life.next, now),
            row.label.clone().unwrap_or_default(),
        ]
    });
    print::table(&header, rows)
}

/// When a key ends, seen from now.
pub(super) fn expiry(row: &KeyRow, now: u64) -> String {
    row.expires_at_ms.map_or("never".to_owned(), |at| away(at, now))
}

#[cfg(test)]
mod tests {
    use bartizan_identity::KeyId;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const DAY: u64 = 86_400_000;

    fn row(id: &str) -> KeyRow {
        KeyRow {
            id: KeyId::parse(id).unwrap(),
            consumer: "shop".to_owned(),
            label: Some("nightly job".to_owned()),
            created_at_ms: NOW - 10 * DAY,
            created_by: None,
            not_before_ms: 0,
            expires_at_ms: Some(NOW + 80 * DAY),
            revoked_at_ms: None,
            last_used_at_ms: Some(NOW - 90_000),
            replaced_by: None,
            replaced_at_ms: None,
            overlap_until_ms: None,
            leaked_at_ms: None,
        }
    }

    #[test]
    fn keys_are_listed_with_age_end_and_last_use() {
        let active = row("AAAAAAAAAAAA");
        let expired = KeyRow { expires_at_ms: Some(NOW - DAY), label: None, ..row("BBBBBBBBBBBB") };
        let revoked = KeyRow { revoked_at_ms: Some(NOW - 1), last_used_at_ms: None, ..row("CCCCCCCCCCCC") };
        let expected = "\
ID            CONSUMER  STATE    AGE  EXPIRES  LAST USED  NEXT                     LABEL
AAAAAAAAAAAA  shop      active   10d  in 80d   1m ago     ends in 80d              nightly job
BBBBBBBBBBBB  shop      expired  10d  1d ago   1m ago     leaves this list in 89d
CCCCCCCCCCCC  shop      revoked  10d  –        never      leaves this list in 89d  nightly job
";
        assert_eq!(many(&[active, expired, revoked], &Terms::default(), NOW), expected);
    }

    #[test]
    fn one_key_shows_every_fact() {
        let expected = "\
id          AAAAAAAAAAAA
consumer    shop
label       nightly job
state       active
created     2027-01-05T08:00:00.000000Z (10d ago)
created by  –
expires     2027-04-05T08:00:00.000000Z (in 80d)
revoked     never
last used   2027-01-15T07:58:30.000000Z (1m ago)
replaced by –
replaced    never
next        ends in 80d
";
        assert_eq!(one(&row("AAAAAAAAAAAA"), &LifeTerms::default(), NOW), expected);
    }

    #[test]
    fn programs_get_every_field_always() {
        let json = serde_json::to_value(Key::unruled(&row("AAAAAAAAAAAA"), NOW)).unwrap();
        assert_eq!(json["state"], "active");
        assert_eq!(json["revokedAt"], serde_json::Value::Null);
        assert_eq!(json["expiresAt"], "2027-04-05T08:00:00.000000Z");
        assert_eq!(json.as_object().unwrap().len(), 13);
    }
}
