//! What the demo prints when it is ready: for people, or one line for programs.

use std::{net::SocketAddr, path::Path};

use bartizan_ai::Provider;
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
    /// Where the page is: the one-time link as long as there is no user.
    pub(super) console: String,
    pub(super) is_first: bool,
    pub(super) plain: Option<SocketAddr>,
    pub(super) providers: &'r [Provider],
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
            "console": self.console,
            "plain": self.plain.map(|plain| format!("http://{plain}")),
            "models": self.models(),
            "key": self.key,
            "dataDir": self.data_dir,
            "caCert": self.certificate,
            "try": format!("https://{}/orders", self.https),
        })
        .to_string()
    }

    fn text(&self) -> String {
        let models = self.calls();
        let Ready { http, https, admin, console, key, data_dir, documents, access_log, certificate, .. } =
            self;
        let (data_dir, documents, access_log, certificate) =
            (data_dir.display(), documents.display(), access_log.display(), certificate.display());
        let once = match self.is_first {
            true => {
                "\n              (makes you the first user; holds once, for an hour: `bartizan users setup-link` shows another)"
            }
            false => "",
        };
        format!(
            "
Bartizan stands in front of a sample API.

  https       https://{https}
  http        http://{http}   (redirects to https)
  management  http://{admin}   (/healthz /readyz /metrics)
  page        {console}{once}
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

{models}
Ctrl-C ends it.
"
        )
    }

    /// One model of each provider, the sample first.
    fn models(&self) -> Vec<&'static str> {
        let first = self.providers.iter().filter_map(|provider| provider.usual_models().first().copied());
        std::iter::once("sample").chain(first).collect()
    }

    /// A call of each provider's first model, with curl and with Python.
    fn calls(&self) -> String {
        let (key, certificate) = (self.key, self.certificate.display());
        let base = match self.plain {
            Some(plain) => format!("http://{plain}/v1"),
            None => format!("https://{}/v1", self.https),
        };
        let ca = if self.plain.is_some() { String::new() } else { format!(" --cacert {certificate}") };
        let mut out = String::from("Models (the sample answers without any provider):\n");
        for model in self.models() {
            out.push_str(&format!(
                "
  curl{ca} -H 'Authorization: Bearer {key}' {base}/chat/completions -H 'Content-Type: application/json' -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'
  python3 -c \"from openai import OpenAI; print(OpenAI(base_url='{base}', api_key='{key}').chat.completions.create(model='{model}', messages=[dict(role='user', content='Hello')]).choices[0].message.content)\"
"
            ));
        }
        if self.providers.is_empty() {
            out.push_str(
                "\n  # with OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, MISTRAL_API_KEY or DASHSCOPE_API_KEY in the\n  # environment of `bartizan demo`, that provider's models are published too\n",
            );
        }
        out
    }
}
