//! A channel with its secrets read: what it takes to send one message.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bartizan_config::snapshot::{ChannelPlan, ChannelReach, ChannelWay};
use bartizan_fetch::{Access, Ask, Destination, Fetcher, Mail, MailServer, trusting};
use bartizan_model::{Reference, SecretValue, scalar::FetchUrl};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    hook::{self, Signing},
    message::Message,
};

/// The channels of a set of documents, ready to be used.
#[derive(Debug, Default)]
pub struct Channels(BTreeMap<Arc<str>, Channel>);

/// One channel.
pub struct Channel {
    way: Way,
    timeout: Duration,
    give_up_after: Duration,
}

enum Way {
    Alertmanager { at: Box<Destination>, token: Option<HeaderValue> },
    Email { server: Arc<MailServer>, from: String },
    Slack { at: Box<Destination> },
    Webhook { at: Box<Destination>, signing: Vec<Signing> },
}

/// Why a message did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// For the operator.
    pub why: String,
    /// Whether another attempt cannot help.
    pub is_final: bool,
}

impl Failed {
    fn again(why: impl fmt::Display) -> Self {
        Failed { why: why.to_string(), is_final: false }
    }
}

impl Channels {
    /// Reads the secrets of all channels; every one that cannot be used is told, by the document's name.
    ///
    /// # Errors
    /// What is wrong with which channel.
    pub fn prepare<'p>(
        plans: impl IntoIterator<Item = &'p Arc<ChannelPlan>>,
        read: impl Fn(&Reference) -> Result<SecretValue, String>,
    ) -> Result<Self, Vec<(Arc<str>, String)>> {
        let (mut channels, mut wrong) = (BTreeMap::new(), Vec::new());
        for plan in plans {
            match Channel::prepare(plan, &read) {
                Ok(channel) => {
                    channels.insert(Arc::clone(&plan.name), channel);
                }
                Err(why) => wrong.push((Arc::clone(&plan.name), why)),
            }
        }
        if wrong.is_empty() { Ok(Channels(channels)) } else { Err(wrong) }
    }

    /// A channel by its name.
    pub fn get(&self, name: &str) -> Option<&Channel> {
        self.0.get(name)
    }
}

impl Channel {
    fn prepare(
        plan: &ChannelPlan,
        read: &impl Fn(&Reference) -> Result<SecretValue, String>,
    ) -> Result<Self, String> {
        let way = match &plan.way {
            ChannelWay::Alertmanager { url, token, reach } => {
                let url = under(url, "/api/v2/alerts")?;
                let token = token.as_ref().map(|token| bearer(&read(token)?)).transpose()?;
                Way::Alertmanager { at: Box::new(destination(url, reach, read)?), token }
            }
            ChannelWay::Email(mail) => {
                let authorities = mail.reach.authorities.as_ref().map(read).transpose()?;
                let login = mail
                    .login
                    .as_ref()
                    .map(|(user, password)| Ok::<_, String>((user.to_string(), read(password)?)));
                let server = MailServer {
                    host: mail.host.to_string(),
                    port: mail.port,
                    tls: mail.tls,
                    access: access(&mail.reach),
                    authorities: authorities.map(|pem| pem.expose().to_vec()),
                    login: login.transpose()?,
                };
                Way::Email { server: Arc::new(server), from: mail.from.to_string() }
            }
            ChannelWay::Slack { url, reach } => {
                let text = read(url)?;
                let text = std::str::from_utf8(text.expose()).map_err(|_| NO_URL)?;
                // What is wrong with it is not said: the address is a secret.
                let url: FetchUrl = text.trim().parse().map_err(|_| NO_URL)?;
                if !url.is_https() && !reach.clear_text {
                    return Err("the secret is no https address".to_owned());
                }
                Way::Slack { at: Box::new(destination(url, reach, read)?) }
            }
            ChannelWay::Webhook { url, secrets, reach } => {
                let signing = secrets.iter().map(|secret| Signing::of(&read(secret)?));
                let signing = signing.collect::<Result<Vec<_>, String>>()?;
                Way::Webhook { at: Box::new(destination(url.clone(), reach, read)?), signing }
            }
        };
        Ok(Channel { way, timeout: plan.timeout, give_up_after: plan.give_up_after })
    }

    /// How long a notice is tried.
    pub const fn give_up_after(&self) -> Duration {
        self.give_up_after
    }

    /// Sends one message. `id` is the idempotency key, the same at each attempt.
    ///
    /// # Errors
    /// Why it did not arrive, and whether that is final.
    pub async fn send(
        &self,
        fetcher: &Fetcher,
        id: &str,
        message: &Message,
        now_unix_ms: u64,
    ) -> Result<(), Failed> {
        let (at, ask) = match &self.way {
            Way::Email { server, from } => {
                let mail = Mail {
                    from: from.clone(),
                    to: message.recipient.clone(),
                    subject: message.subject.clone(),
                    text: hook::plain(message),
                    id: id.to_owned(),
                };
                let sent = fetcher.mail(server, mail, self.timeout).await;
                return sent.map_err(|error| Failed { why: error.text, is_final: error.is_final });
            }
            Way::Webhook { at, signing } => (at, hook::signed(id, message, signing, now_unix_ms)),
            Way::Slack { at } => (at, Ask::json(HeaderMap::new(), hook::slack(message))),
            Way::Alertmanager { at, token } => {
                let mut headers = HeaderMap::new();
                if let Some(token) = token {
                    headers.insert(header::AUTHORIZATION, token.clone());
                }
                (at, Ask::json(headers, hook::alertmanager(message, now_unix_ms)))
            }
        };
        let answer = fetcher.ask(at, ask, self.timeout).await.map_err(Failed::again)?;
        // 410 says that nobody is there any more (Standard Webhooks); every other refusal may be mended.
        match answer.status.as_u16() {
            200..=299 => Ok(()),
            410 => Err(Failed { why: "the receiver answered 410".to_owned(), is_final: true }),
            status => Err(Failed::again(format!("the receiver answered {status}"))),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match &self.way {
            Way::Alertmanager { .. } => "alertmanager",
            Way::Email { .. } => "email",
            Way::Slack { .. } => "slack",
            Way::Webhook { .. } => "webhook",
        };
        write!(f, "Channel({way})")
    }
}

fn destination(
    url: FetchUrl,
    reach: &ChannelReach,
    read: &impl Fn(&Reference) -> Result<SecretValue, String>,
) -> Result<Destination, String> {
    let tls = match &reach.authorities {
        None => None,
        Some(reference) => {
            Some(trusting(read(reference)?.expose()).map_err(|error| format!("{reference}: {error}"))?)
        }
    };
    Ok(Destination { url, access: access(reach), tls })
}

const fn access(reach: &ChannelReach) -> Access {
    Access { private_network: reach.private_network, clear_text: reach.clear_text }
}

/// An address below another one.
fn under(url: &FetchUrl, path: &str) -> Result<FetchUrl, String> {
    format!("{}{path}", url.to_string().trim_end_matches('/'))
        .parse()
        .map_err(|_| format!("{url} is too long"))
}

fn bearer(token: &SecretValue) -> Result<HeaderValue, String> {
    let mut text = b"Bearer ".to_vec();
    text.extend_from_slice(token.expose());
    let mut value =
        HeaderValue::from_bytes(&text).map_err(|_| "the token cannot stand in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The header of a webhook's id.
pub(super) const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const NO_URL: &str = "the secret is no address to send to";
