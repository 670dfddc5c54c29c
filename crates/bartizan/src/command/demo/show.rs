//! What the demo prints when it is ready: for people, or one line for programs.

use std::{net::SocketAddr, path::Path};

use serde_json::json;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Addresses, files and calls to try.
    Text,
    /// One line of JSON.
    Json,
}

/// A demo that serves.
pub(super) struct Ready<'r> {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) key: &'r str,
    pub(super) data_dir: &'r Path,
    pub(super) documents: &'r Path,
    pub(super) access_log: &'r Path,
    pub(super) certificate: &'r Path,
}

impl Ready<'_> {
    /// The text to print.
    pub(super) fn render(&self, format: Format) -> String {
        match format {
            Format::Json => self.json(),
            Format::Text => self.text(),
        }
    }

    fn json(&self) -> String {
        json!({
            "event": "ready",
            "http": format!("http://{}", self.http),
            "https": format!("https://{}", self.https),
            "admin": format!("http://{}", self.admin),
            "key": self.key,
            "dataDir": self.data_dir,
            "caCert": self.certificate,
            "try": format!("https://{}/orders", self.https),
        })
        .to_string()
    }

    fn text(&self) -> String {
        let Ready { http, https, admin, key, data_dir, documents, access_log, certificate } = self;
        let (data_dir, documents, access_log, certificate) =
            (data_dir.display(), documents.display(), access_log.display(), certificate.display());
        format!(
            "
Bartizan stands in front of a sample API.

  https       https://{https}
  http        http://{http}   (redirects to https)
  management  http://{admin}   (/healthz /readyz /metrics)
  API key     {key}
  data        {data_dir}
  documents   {documents}   (edit one and watch it go live)
  access log  {access_log}

Its certificate is signed by an authority of this machine. To trust it:

  curl    --cacert {certificate}
  Python  export SSL_CERT_FILE={certificate}
  Node    export NODE_EXTRA_CA_CERTS={certificate}

Try:

  # an allowed call
  curl --cacert {certificate} -H 'X-API-Key: {key}' https://{https}/orders

  # without a key: 401
  curl --cacert {certificate} https://{https}/orders

  # a method that is not published: 405
  curl --cacert {certificate} -H 'X-API-Key: {key}' -X DELETE https://{https}/users

  # an SQL injection: 403; the access log names the rule, the place and what would let it pass
  curl --cacert {certificate} -H 'X-API-Key: {key}' -G --data-urlencode \"q=1' OR '1'='1\" https://{https}/orders

  # too many calls: the fourth is 429 and says when to come back
  for i in 1 2 3 4; do curl -s -o /dev/null -D - --cacert {certificate} -H 'X-API-Key: {key}' https://{https}/users; done

Ctrl-C ends it.
"
        )
    }
}
