//! Compiled `NoticeChannel` and `AlertPolicy`: whom the gateway tells what.

use std::{sync::Arc, time::Duration};

use bartizan_model::{
    Reason, Reference,
    document::{
        alert_policy::{AlertGroup, AlertSignal},
        notice_channel::MailTls,
    },
    scalar::FetchUrl,
};

/// A compiled `NoticeChannel`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelPlan {
    /// The document's name.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub way: ChannelWay,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long a notice is tried.
    pub give_up_after: Duration,
}

/// What a channel speaks.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelWay {
    /// Alertmanager's API v2.
    Alertmanager {
        /// Its address, without a path of the API.
        url: FetchUrl,
        /// The bearer token it asks for.
        token: Option<Reference>,
        /// How far the connection may lead.
        reach: ChannelReach,
    },
    /// SMTP.
    Email(Box<EmailPlan>),
    /// A Slack-compatible webhook.
    Slack {
        /// Where its address lies.
        url: Reference,
        /// How far the connection may lead.
        reach: ChannelReach,
    },
    /// A webhook signed as by Standard Webhooks.
    Webhook {
        /// Where to.
        url: FetchUrl,
        /// The signing secret, and the one before it.
        secrets: Vec<Reference>,
        /// How far the connection may lead.
        reach: ChannelReach,
    },
}

/// How far a channel's connections may lead, and whom they trust.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelReach {
    /// Also to this machine and private networks.
    pub private_network: bool,
    /// Also without TLS, there.
    pub clear_text: bool,
    /// The authorities; none: the system's.
    pub authorities: Option<Reference>,
}

/// Mail.
#[derive(Clone, Debug, PartialEq)]
pub struct EmailPlan {
    /// The server.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// How TLS is spoken to it.
    pub tls: MailTls,
    /// The sender.
    pub from: Arc<str>,
    /// Who is always told.
    pub to: Vec<Arc<str>>,
    /// Name and password to log in with.
    pub login: Option<(Arc<str>, Reference)>,
    /// How far the connection may lead.
    pub reach: ChannelReach,
}

impl ChannelPlan {
    /// Whether it tells people one by one, by their addresses.
    pub const fn is_email(&self) -> bool {
        matches!(self.way, ChannelWay::Email(_))
    }

    /// Whom it always tells: its own recipients where it is mail, else whoever is at its one end.
    pub fn recipients(&self) -> Vec<String> {
        match &self.way {
            ChannelWay::Email(mail) => mail.to.iter().map(|address| address.to_string()).collect(),
            _ => vec![String::new()],
        }
    }

    /// What it is read from beside the documents.
    pub fn references(&self) -> Vec<&Reference> {
        let (mut all, reach): (Vec<&Reference>, _) = match &self.way {
            ChannelWay::Alertmanager { token, reach, .. } => (token.iter().collect(), reach),
            ChannelWay::Email(mail) => (mail.login.iter().map(|(_, word)| word).collect(), &mail.reach),
            ChannelWay::Slack { url, reach } => (vec![url], reach),
            ChannelWay::Webhook { secrets, reach, .. } => (secrets.iter().collect(), reach),
        };
        all.extend(&reach.authorities);
        all
    }
}

/// A person or machine that belongs to a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactPlan {
    /// An address for mail.
    pub email: Option<Arc<str>>,
    /// By which channel it is told; none: by those of the KeyRotationPolicy.
    pub channel: Option<Arc<str>>,
}

/// A compiled `AlertPolicy`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertPlan {
    /// The document's name.
    pub name: Arc<str>,
    /// What is watched.
    pub rules: Vec<AlertRulePlan>,
    /// By which channels it is told.
    pub channels: Vec<Arc<str>>,
    /// How long an alert that goes on is not told again.
    pub repeat_after: Duration,
    /// How long it must be quiet to be over.
    pub recover_after: Duration,
}

/// One thing that is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRulePlan {
    /// What.
    pub signal: AlertSignal,
    /// From how many on.
    pub count: u64,
    /// Within which time.
    pub window: Duration,
    /// By what they are counted apart.
    pub group_by: AlertGroup,
    /// Which refusals; none: all but failed credentials.
    pub reasons: Vec<Reason>,
    /// How long before an end.
    pub before: Duration,
}
