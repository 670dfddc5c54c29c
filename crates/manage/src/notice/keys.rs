//! What is told about the lives of keys, and to whom.

use std::collections::BTreeMap;

use bartizan_config::snapshot::{ConsumerPlan, Snapshot};
use bartizan_identity::LifeState;
use bartizan_store::{Came, KeyEvent, NewNotice};
use bartizan_telemetry::time::Rfc3339;

use super::message::{Message, Standing};

/// The notices for an event in a key's life: to each contact of its consumer, and by each channel of its policy.
pub fn notices(snapshot: &Snapshot, event: &KeyEvent, now_unix_ms: u64) -> Vec<NewNotice> {
    let Some(consumer) = snapshot.consumers.get(&*event.row.consumer) else { return Vec::new() };
    let Some(message) = message(consumer, event, now_unix_ms) else { return Vec::new() };
    let about = event.row.id.to_string();
    let occasion = format!("{about} {}", event.what.word());
    let told =
        |(channel, recipient): &(String, String)| message.notice(channel, recipient, &about, &occasion);
    recipients(snapshot, consumer).iter().map(told).collect()
}

/// Channels and whom each tells, each pair once.
fn recipients(snapshot: &Snapshot, consumer: &ConsumerPlan) -> Vec<(String, String)> {
    let notify = consumer.rotation.as_ref().map_or(&[][..], |rotation| &rotation.notify);
    let mut all = Vec::new();
    let is_email = |name: &str| snapshot.channels.get(name).is_some_and(|channel| channel.is_email());
    for contact in &consumer.contacts {
        let own = contact.channel.as_deref();
        let by = own.into_iter().chain(notify.iter().map(|name| &**name).filter(|_| own.is_none()));
        for channel in by {
            match &contact.email {
                Some(address) if is_email(channel) => all.push((channel.to_owned(), address.to_string())),
                _ if own.is_some() && !is_email(channel) => all.push((channel.to_owned(), String::new())),
                _ => {}
            }
        }
    }
    for channel in notify {
        let plan = snapshot.channels.get(channel);
        all.extend(plan.into_iter().flat_map(|plan| plan.recipients()).map(|to| (channel.to_string(), to)));
    }
    all.sort();
    all.dedup();
    all
}

/// What is said. Never a key's text: the one secret that a notice may carry is a link that opens once.
fn message(consumer: &ConsumerPlan, event: &KeyEvent, now_unix_ms: u64) -> Option<Message> {
    let KeyEvent { row, what } = event;
    let (id, owner) = (row.id.as_str(), &row.consumer);
    let mut facts =
        BTreeMap::from([("key".to_owned(), id.to_owned()), ("consumer".to_owned(), owner.clone())]);
    let mut fact = |name: &str, value: String| facts.insert(name.to_owned(), value);
    if let Some(label) = &row.label {
        fact("label", label.clone());
    }
    let ends = row.expires_at_ms.map(moment);
    if let Some(ends) = &ends {
        fact("ends", ends.clone());
    }
    let (word, subject, text) = match what {
        Came::Due { due_ms, .. } => {
            let due = moment(*due_ms);
            fact("due", due.clone());
            (
                "key.due",
                format!("API key {id} of {owner} is to be replaced by {due}"),
                format!(
                    "The API key {id} of {owner} is to be replaced by {due}. After a replacement both keys work for a \
                     while, so nothing breaks."
                ),
            )
        }
        Came::Offered { token, .. } => {
            let url = consumer.rotation.as_ref()?.claim_url.as_ref()?;
            let link = format!("{}/claim/{}", url.to_string().trim_end_matches('/'), token.expose());
            fact("link", link.clone());
            (
                "key.offered",
                format!("A new API key of {owner} can be taken over"),
                format!(
                    "A successor of the API key {id} of {owner} waits to be taken over: {link} opens once, within 72 \
                     hours, and shows the new key once. The old key works on meanwhile, and for a while after that."
                ),
            )
        }
        Came::Unclaimed { links } => {
            fact("links", links.to_string());
            (
                "key.unclaimed",
                format!("Nobody took over the successor of API key {id} of {owner}"),
                format!(
                    "The successor of the API key {id} of {owner} was not taken over within 72 hours. The old key works \
                     on up to its hard limit, and then ends. Another link was sent."
                ),
            )
        }
        Came::Leaked => (
            "key.leaked",
            format!("API key {id} of {owner} was reported as leaked and is revoked"),
            format!(
                "The API key {id} of {owner} was reported as known to others. It is revoked and opens nothing more. \
                 Make a new one, and look at what it was used for."
            ),
        ),
        Came::State(LifeState::Ageing) => (
            "key.ageing",
            format!("API key {id} of {owner} is ageing"),
            format!("The API key {id} of {owner} is ageing and should be replaced before long."),
        ),
        Came::State(LifeState::Overlapping) => {
            if let Some(by) = row.replaced_by {
                fact("replacedBy", by.to_string());
            }
            let until = ends.unwrap_or_default();
            (
                "key.rotated",
                format!("API key {id} of {owner} was replaced"),
                format!("The API key {id} of {owner} was replaced. Both work; the old one ends by {until}."),
            )
        }
        Came::State(LifeState::Retired) => (
            "key.retired",
            format!("API key {id} of {owner} has ended"),
            format!("The API key {id} of {owner} opens nothing any more."),
        ),
        Came::State(_) => return None,
    };
    Some(Message {
        event: word.to_owned(),
        standing: Standing::Once,
        subject,
        text,
        facts,
        at_ms: now_unix_ms,
        recipient: String::new(),
    })
}

/// To the minute, as people read it.
fn moment(unix_ms: u64) -> String {
    let mut out = Vec::with_capacity(30);
    Rfc3339::default().write(unix_ms / 1000 * 1_000_000_000, &mut out);
    String::from_utf8(out).unwrap_or_default()
}
