//! The bodies of webhooks, and the signature of Standard Webhooks 1.0: `v1,` and the base64 of an HMAC-SHA256 over id,
//! time and body, so that a receiver can tell who sent what and when.

use aws_lc_rs::hmac;
use bartizan_fetch::Ask;
use bartizan_identity::base64;
use bartizan_model::SecretValue;
use bartizan_telemetry::time::Rfc3339;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::{
    channel::WEBHOOK_ID,
    message::{Message, Standing},
};

/// A signing secret.
pub struct Signing(hmac::Key);

impl Signing {
    /// Reads `whsec_` and base64, or takes the bytes as they are; both at least 24 bytes (Standard Webhooks).
    pub(super) fn of(secret: &SecretValue) -> Result<Self, String> {
        let bytes = match secret.expose().strip_prefix(b"whsec_") {
            Some(text) => std::str::from_utf8(text)
                .ok()
                .and_then(|text| base64::decode(text.as_bytes()))
                .ok_or("the signing secret is not `whsec_` and base64")?,
            None => secret.expose().to_vec(),
        };
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(format!("the signing secret is shorter than {SECRET_BYTES_MIN} bytes"));
        }
        Ok(Signing(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", base64::encode(context.sign().as_ref()))
    }
}

/// A signed message. The time is that of the attempt: a receiver refuses old ones.
pub(super) fn signed(id: &str, message: &Message, signing: &[Signing], now_unix_ms: u64) -> Ask {
    let body = Bytes::from(webhook(message));
    let seconds = now_unix_ms / 1000;
    let signatures: Vec<String> = signing.iter().map(|one| one.sign(id, seconds, &body)).collect();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (WEBHOOK_ID, id.to_owned()),
        (HeaderName::from_static("webhook-timestamp"), seconds.to_string()),
        (HeaderName::from_static("webhook-signature"), signatures.join(" ")),
    ] {
        // Digits, letters and what base64 has.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    Ask::json(headers, body)
}

fn webhook(message: &Message) -> String {
    json!({
        "type": message.event,
        "timestamp": moment(message.at_ms),
        "data": {
            "standing": message.standing,
            "subject": message.subject,
            "text": message.text,
            "facts": message.facts,
        },
    })
    .to_string()
}

/// As a person reads it in a mail.
pub(super) fn plain(message: &Message) -> String {
    let mut text = format!("{}\n\n", message.text);
    for (name, value) in &message.facts {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text
}

/// As a Slack-compatible webhook takes it. What could be a mention or a link there is written so that it is none.
pub(super) fn slack(message: &Message) -> Bytes {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mark = match message.standing {
        Standing::Once => "",
        Standing::Firing => "[firing] ",
        Standing::Resolved => "[resolved] ",
    };
    let facts: Vec<String> =
        message.facts.iter().map(|(name, value)| format!("• {name}: {}", escape(value))).collect();
    let text =
        format!("*{mark}{}*\n{}\n{}", escape(&message.subject), escape(&message.text), facts.join("\n"));
    Bytes::from(json!({ "text": text }).to_string())
}

/// As Alertmanager's API v2 takes it. What is told once ends by itself after its resolve timeout.
pub(super) fn alertmanager(message: &Message, now_unix_ms: u64) -> Bytes {
    let mut labels = Map::new();
    labels.insert("alertname".to_owned(), Value::from(format!("Bartizan {}", message.event)));
    for (name, value) in message.facts.iter().filter(|(name, _)| IDENTIFYING.contains(&name.as_str())) {
        labels.insert(name.clone(), Value::from(value.as_str()));
    }
    let mut alert = json!({
        "labels": labels,
        "annotations": { "summary": message.subject, "description": message.text },
        "startsAt": moment(message.facts.get("startedAtMs").and_then(|at| at.parse().ok()).unwrap_or(message.at_ms)),
    });
    if message.standing == Standing::Resolved
        && let Some(alert) = alert.as_object_mut()
    {
        alert.insert("endsAt".to_owned(), Value::from(moment(now_unix_ms)));
    }
    Bytes::from(json!([alert]).to_string())
}

fn moment(unix_ms: u64) -> String {
    let mut out = Vec::with_capacity(30);
    Rfc3339::default().write(unix_ms.saturating_mul(1_000_000), &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The facts that are the same from an alert's beginning to its end; labels with others would be other alerts.
const IDENTIFYING: [&str; 5] = ["policy", "signal", "group", "key", "consumer"];
const SECRET_BYTES_MIN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            event: "key.due".into(),
            standing: Standing::Once,
            subject: "<!channel> due".into(),
            text: "a & b".into(),
            facts: [("key".to_owned(), "abc".to_owned())].into(),
            at_ms: 1_700_000_000_000,
            recipient: String::new(),
        }
    }

    #[test]
    fn a_message_is_signed_as_the_specification_says() {
        // The example of the Standard Webhooks specification.
        let secret = SecretValue::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
        let body = br#"{"test": 2432232314}"#;
        let signature =
            Signing::of(&secret).unwrap().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_signing_secret_that_could_be_guessed_is_refused() {
        for weak in ["short", "whsec_AAAA", "whsec_not base64 at all not base64 at all", ""] {
            assert!(Signing::of(&SecretValue::new(weak.as_bytes().to_vec())).is_err(), "{weak}");
        }
        assert!(Signing::of(&SecretValue::new(vec![b'a'; 24])).is_ok());
    }

    #[test]
    fn what_is_sent_to_slack_mentions_nobody() {
        let text = String::from_utf8(slack(&message()).to_vec()).unwrap();
        assert!(text.contains("&lt;!channel&gt;") && !text.contains("<!"), "{text}");
    }

    #[test]
    fn alertmanager_gets_the_same_labels_at_the_beginning_and_at_the_end() {
        let mut over = message();
        over.standing = Standing::Resolved;
        over.facts.insert("count".into(), "7".into());
        let read =
            |message: &Message| -> Value { serde_json::from_slice(&alertmanager(message, 1)).unwrap() };
        let (begun, ended) = (read(&message()), read(&over));
        assert_eq!(begun[0]["labels"], ended[0]["labels"]);
        assert!(begun[0].get("endsAt").is_none() && ended[0].get("endsAt").is_some());
    }
}
