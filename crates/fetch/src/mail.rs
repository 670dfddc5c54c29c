//! One mail by SMTP: resolve, judge, connect, speak TLS, log in, hand over.
//!
//! The same rules about addresses as for everything else that is asked, and TLS as the document says: an upgrade that the
//! server does not offer is a failure, never a reason to go on in clear text. A connection of its own for each mail:
//! notices are rare. The talk itself is lettre's; see docs/decisions/0057.

use std::fmt;

use bartizan_model::{SecretValue, document::notice_channel::MailTls};
use lettre::{
    Address, Message,
    address::Envelope,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsVersion},
        extension::ClientId,
    },
};

use super::{Access, FetchError, client};

/// A mail server, and how it is spoken to.
pub struct MailServer {
    /// Its name or address; what its certificate must say.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How TLS is spoken.
    pub tls: MailTls,
    /// Which addresses it may have, and whether without TLS.
    pub access: Access,
    /// PEM bundle of the authorities trusted; `None`: the system's.
    pub authorities: Option<Vec<u8>>,
    /// Name and password.
    pub login: Option<(String, SecretValue)>,
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A mail of plain text.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The sender's address.
    pub from: String,
    /// The recipient's address.
    pub to: String,
    /// The subject; one line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// What `Message-ID` begins with: a repeat carries the same, so that a mailbox can drop it.
    pub id: String,
}

/// Why a mail was not taken. Says nothing of the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct MailError {
    /// What happened.
    pub text: String,
    /// Whether the server said that it will never take it.
    pub is_final: bool,
}

impl MailError {
    fn new(text: impl Into<String>) -> Self {
        MailError { text: text.into(), is_final: false }
    }

    pub(super) fn timed_out() -> Self {
        MailError::new("no answer in time")
    }

    pub(super) fn ended() -> Self {
        MailError::new("the gateway is stopping")
    }
}

impl From<FetchError> for MailError {
    fn from(error: FetchError) -> Self {
        MailError::new(error.to_string())
    }
}

impl From<lettre::transport::smtp::Error> for MailError {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        // RFC 5321 §4.2.1: 5yz is a permanent refusal, 4yz asks for another attempt.
        let source =
            std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        MailError { text: format!("{error}{source}"), is_final: error.is_permanent() }
    }
}

/// Sends one mail.
pub(super) async fn send(server: &MailServer, mail: &Mail) -> Result<(), MailError> {
    let (envelope, bytes) = written(mail)?;
    let mut connection = open(server).await?;
    if let Some((user, password)) = &server.login {
        let password = String::from_utf8_lossy(password.expose()).into_owned();
        let credentials = Credentials::new(user.clone(), password);
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(|error| {
            // A wrong password is mended in the documents; the notice waits for that.
            MailError { is_final: false, ..MailError::from(error) }
        })?;
    }
    connection.send(&envelope, &bytes).await?;
    // It has the mail; whether it says goodbye is its own matter.
    let _ = connection.quit().await;
    Ok(())
}

async fn open(server: &MailServer) -> Result<AsyncSmtpConnection, MailError> {
    let is_tls = server.tls != MailTls::None;
    let addresses = client::resolved(&server.host, server.port, server.access, is_tls).await?;
    let hello = ClientId::default();
    match server.tls {
        MailTls::None => {
            let stream = client::connect(&addresses).await?;
            Ok(AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await?)
        }
        MailTls::StartTls => {
            let stream = client::connect(&addresses).await?;
            let mut connection =
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await?;
            if !connection.can_starttls() {
                connection.abort().await;
                return Err(MailError::new(
                    "the server does not offer STARTTLS, and nothing is sent in clear text",
                ));
            }
            connection.starttls(trust(server)?, &hello).await?;
            Ok(connection)
        }
        MailTls::Implicit => {
            let mut last = MailError::new("no address");
            for address in addresses {
                let parameters = Some(trust(server)?);
                let opened = AsyncSmtpConnection::connect_tokio1(address, None, &hello, parameters, None);
                match opened.await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => last = error.into(),
                }
            }
            Err(last)
        }
    }
}

fn trust(server: &MailServer) -> Result<TlsParameters, MailError> {
    let builder = TlsParameters::builder(server.host.clone()).set_min_tls_version(TlsVersion::Tlsv12);
    let builder = match &server.authorities {
        None => builder,
        Some(pem) => {
            let only = builder.certificate_store(CertificateStore::None);
            only.add_root_certificate(Certificate::from_pem(pem)?)
        }
    };
    Ok(builder.build_rustls()?)
}

/// The mail as it goes over the line, and who it is from and to.
fn written(mail: &Mail) -> Result<(Envelope, Vec<u8>), MailError> {
    let lasting = |text: String| MailError { text, is_final: true };
    let address = |text: &str| {
        text.parse::<Address>().map_err(|_| lasting("an address that is no e-mail address".to_owned()))
    };
    let (from, to) = (address(&mail.from)?, address(&mail.to)?);
    let domain = from.domain().to_owned();
    let message = Message::builder()
        .from(Mailbox::new(Some("Bartizan".to_owned()), from.clone()))
        .to(Mailbox::new(None, to.clone()))
        .subject(mail.subject.clone())
        .message_id(Some(format!("<{}@{domain}>", mail.id)))
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN)
        .body(mail.text.clone())
        .map_err(|error| lasting(error.to_string()))?;
    let envelope = Envelope::new(Some(from), vec![to]).map_err(|error| lasting(error.to_string()))?;
    Ok((envelope, message.formatted()))
}

/// RFC 3834 §5: no mailbox shall answer with "out of office".
#[derive(Clone)]
struct AutoSubmitted;

impl lettre::message::header::Header for AutoSubmitted {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(to: &str, subject: &str) -> Mail {
        let text = "a line\n.\nMAIL FROM:<x@y>\n".to_owned();
        Mail {
            from: "gate@example.com".into(),
            to: to.into(),
            subject: subject.into(),
            text,
            id: "msg_1".into(),
        }
    }

    #[test]
    fn nothing_in_a_mail_becomes_a_header_or_a_recipient_of_its_own() {
        let (_, bytes) = written(&mail("ann@example.com", "one\r\nBcc: eve@example.com")).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(
            head.contains("Message-ID: <msg_1@example.com>") && head.contains("Auto-Submitted"),
            "{head}"
        );
        for wrong in ["", "ann", "ann@example.com>, <eve@example.com", "a\r\nb@example.com"] {
            assert!(written(&mail(wrong, "one")).unwrap_err().is_final, "{wrong}");
        }
    }
}
