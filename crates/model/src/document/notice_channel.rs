//! `NoticeChannel`: a way on which people and machines are told what has happened.

use crate::{
    read::Spanned,
    scalar::{FetchUrl, HostText, Name, Time},
    secret::Reference,
};

crate::choice! {
    /// How TLS is spoken to a mail server.
    pub enum MailTls {
        /// The connection begins in clear text and is upgraded; without the upgrade nothing is sent.
        StartTls = "StartTls",
        /// From the first byte.
        Implicit = "Implicit",
        /// Not at all: to this machine only, or with `dangerAllowClearText`.
        None = "None",
    }
}

crate::document! {
    /// A way on which people and machines are told what has happened: exactly one of mail, a signed webhook, Slack and
    /// Alertmanager.
    pub struct NoticeChannelSpec {
        /// Mail, by SMTP.
        pub email: Option<Spanned<EmailChannel>>,
        /// A webhook, signed as Standard Webhooks has it.
        pub webhook: Option<Spanned<WebhookChannel>>,
        /// A Slack-compatible incoming webhook.
        pub slack: Option<Spanned<SlackChannel>>,
        /// Alertmanager's API v2.
        pub alertmanager: Option<Spanned<AlertmanagerChannel>>,
        /// How long one attempt may take.
        pub timeout: Spanned<Time> = Time::seconds(10).into(),
        /// How long a notice is tried again and again before it is given up.
        pub give_up_after: Spanned<Time> = Time::seconds(259_200).into(),
    }
}

crate::document! {
    /// A mail server, and from and to whom it is asked to send.
    pub struct EmailChannel {
        /// The mail server's name or address.
        pub host: Spanned<HostText>,
        /// Its port; 587, with `tls: Implicit` 465, with `tls: None` 25.
        pub port: Option<u16>,
        /// How TLS is spoken to it.
        pub tls: Spanned<MailTls> = MailTls::StartTls.into(),
        /// The sender's address.
        pub from: Spanned<String>,
        /// Who is told besides the contacts of consumers: of keys and of alerts.
        pub to: Vec<Spanned<String>> = Vec::new(),
        /// The name to log in with; none: without logging in.
        pub user: Option<Spanned<String>>,
        /// Where the password lies: `env://NAME` or `file:///path`.
        pub password_ref: Option<Reference>,
        /// Instead of `passwordRef`: the Secret with it.
        pub secret_name: Option<Spanned<Name>>,
        /// PEM bundle of the authorities trusted; the system's where absent.
        pub authorities_ref: Option<Reference>,
        /// The server may be on this machine or in a private network.
        pub allow_private_network: bool = false,
        /// `tls: None` may be used to a private network too. Whoever stands between reads every notice and the password.
        pub danger_allow_clear_text: bool = false,
    }
}

crate::document! {
    /// An address that signed messages are sent to.
    pub struct WebhookChannel {
        /// Where to.
        pub url: Spanned<FetchUrl>,
        /// Where the signing secret lies: `whsec_` and base64, or at least 24 characters.
        pub signing_secret_ref: Option<Reference>,
        /// Instead of `signingSecretRef`: the Secret with it.
        pub secret_name: Option<Spanned<Name>>,
        /// The secret before the last change of it; messages carry both signatures meanwhile.
        pub previous_secret_ref: Option<Reference>,
        /// PEM bundle of the authorities trusted; the system's where absent.
        pub authorities_ref: Option<Reference>,
        /// The address may be on this machine or in a private network.
        pub allow_private_network: bool = false,
        /// `http` may be used, to such addresses only. Whoever stands between can then read every notice.
        pub danger_allow_clear_text: bool = false,
    }
}

crate::document! {
    /// An incoming webhook of Slack, or of what understands the same.
    pub struct SlackChannel {
        /// Where its address lies; whoever knows it can post, so it is a secret.
        pub url_ref: Option<Reference>,
        /// Instead of `urlRef`: the Secret with it.
        pub secret_name: Option<Spanned<Name>>,
        /// PEM bundle of the authorities trusted; the system's where absent.
        pub authorities_ref: Option<Reference>,
        /// The address may be on this machine or in a private network.
        pub allow_private_network: bool = false,
        /// `http` may be used, to such addresses only. Whoever stands between can then read every notice.
        pub danger_allow_clear_text: bool = false,
    }
}

crate::document! {
    /// An Alertmanager.
    pub struct AlertmanagerChannel {
        /// Its address, without `/api/v2/alerts`.
        pub url: Spanned<FetchUrl>,
        /// Where a bearer token lies, where it asks for one.
        pub token_ref: Option<Reference>,
        /// PEM bundle of the authorities trusted; the system's where absent.
        pub authorities_ref: Option<Reference>,
        /// The address may be on this machine or in a private network.
        pub allow_private_network: bool = false,
        /// `http` may be used, to such addresses only. Whoever stands between can then read every notice.
        pub danger_allow_clear_text: bool = false,
    }
}
