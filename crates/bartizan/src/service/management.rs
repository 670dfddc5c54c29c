//! The management listener of the process: its address, its certificate, the link that makes the first user.
//!
//! Loopback in clear text is the default. Another address has to be asked for, and is refused without TLS, without a name
//! or a user: nobody on the network could then be told apart from anybody else.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bartizan_config::Set;
use bartizan_fetch::trusting;
use bartizan_identity::{LifeTerms, oidc::ClientCredentials};
use bartizan_manage::{
    Api, ManagementState, OpenId, OpenIdTerms, Purged, ServedListener, Serving, Tls, api::role::Role,
};
use bartizan_model::Reference;
use bartizan_proxy::{gate::ServedAddress, overload::Overload, runtime::Runtime};
use bartizan_store::{AuditNote, AuditPhase, Error, LinkFor, Store};
use bartizan_telemetry::Metrics;

use super::{keys::Keys, process::Failure, secrets};
use crate::command::{self, users};

/// A certificate chain and its key, as PEM.
type CertAndKey = (Vec<u8>, Vec<u8>);

/// Where management listens, and by what.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Admin {
    /// Address of the management listener: health, metrics, the API and the page. Other addresses than loopback need
    /// --admin-cert, --admin-key, --admin-name and a user.
    #[arg(long = "admin", value_name = "ADDR", default_value = "127.0.0.1:9440")]
    pub(crate) address: SocketAddr,
    /// Certificate chain of the management listener, PEM; it then speaks TLS alone. SIGHUP reads it again.
    #[arg(long = "admin-cert", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long = "admin-key", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Host name under which management is called, beside addresses and `localhost`; may be repeated.
    #[arg(long = "admin-name", value_name = "HOST")]
    names: Vec<String>,
    #[command(flatten)]
    openid: OpenIdArgs,
}

/// By which OpenID provider administrators sign in.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Signing in by an OpenID provider")]
struct OpenIdArgs {
    /// The provider's identifier; administrators then sign in there, by the code flow with PKCE.
    #[arg(long = "admin-openid-issuer", value_name = "URL", requires_all = ["client", "roles"])]
    issuer: Option<String>,
    /// Our client's id there.
    #[arg(long = "admin-openid-client", value_name = "ID", requires = "issuer")]
    client: Option<String>,
    /// Where our client's secret is: `env://NAME` or `file:///PATH`; without it the client is a public one.
    #[arg(long = "admin-openid-secret", value_name = "REFERENCE", requires = "issuer", value_parser = reference)]
    secret: Option<Reference>,
    /// The claim of the ID token that has groups or roles: a word or a list.
    #[arg(long = "admin-openid-claim", value_name = "CLAIM", default_value = "groups")]
    claim: String,
    /// Which role a word of the claim gives, as `platform=operator`; may be repeated. Whoever has none is not let in.
    #[arg(long = "admin-openid-role", value_name = "WORD=ROLE", value_parser = mapped)]
    roles: Vec<(String, Role)>,
    /// What the provider is called on the page.
    #[arg(long = "admin-openid-name", value_name = "NAME", default_value = "your identity provider")]
    name: String,
    /// Authorities that vouch for the provider, PEM [default: those of the system].
    #[arg(long = "admin-openid-ca", value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// Let the provider be on a private network or this machine.
    #[arg(long = "admin-openid-private-network")]
    private_network: bool,
}

fn reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|wrong: bartizan_model::scalar::Wrong| wrong.to_string())
}

fn mapped(text: &str) -> Result<(String, Role), String> {
    let (word, role) = text.rsplit_once('=').ok_or("write WORD=ROLE")?;
    let role = Role::parse(role).ok_or("there is no such role")?;
    Ok((word.to_owned(), role))
}

impl OpenIdArgs {
    fn terms(&self, origin: String) -> Result<Option<OpenIdTerms>, String> {
        let (Some(issuer), Some(client)) = (&self.issuer, &self.client) else { return Ok(None) };
        let secret = self.secret.as_ref().map(secrets::read).transpose()?;
        let secret = secret.map(|secret| String::from_utf8(secret.expose().to_vec())).transpose();
        let secret = secret.map_err(|_| "the client's secret is not UTF-8".to_owned())?;
        let tls = match &self.authorities {
            Some(path) => {
                let pem = secrets::read(&Reference::File(path.clone()))?;
                Some(trusting(pem.expose()).map_err(|error| error.to_string())?)
            }
            None => None,
        };
        Ok(Some(OpenIdTerms {
            name: self.name.clone(),
            issuer: issuer.clone(),
            client: ClientCredentials::new(client.clone(), secret),
            origin,
            claim: self.claim.clone(),
            roles: self.roles.clone(),
            tls,
            private_network: self.private_network,
        }))
    }
}

impl Admin {
    /// Refuses what would be open to strangers, as far as the flags tell.
    pub(crate) fn refuse_unsafe(&self) -> Result<(), Failure> {
        let address = self.address;
        if address.ip().is_loopback() || (self.cert.is_some() && !self.names.is_empty()) {
            return Ok(());
        }
        Err(Failure::Process(format!(
            "management on {address} would be open to the network in clear text: {address} is refused; choose a loopback \
             address, or give --admin-cert, --admin-key and --admin-name"
        )))
    }

    /// Reads the certificate, if there is one.
    pub(super) fn tls(&self) -> Result<Option<Arc<Tls>>, Failure> {
        let Some((chain, key)) = self.read()? else { return Ok(None) };
        Tls::new(&chain, &key).map(|tls| Some(Arc::new(tls))).map_err(|error| self.failure(&error))
    }

    /// Reads the certificate again.
    pub(super) fn renew(&self, tls: &Tls) -> Result<(), Failure> {
        let Some((chain, key)) = self.read()? else { return Ok(()) };
        tls.renew(&chain, &key).map_err(|error| self.failure(&error))
    }

    /// The provider by which administrators sign in, for a listener at `bound`.
    pub(super) fn openid(
        &self,
        bound: SocketAddr,
        metrics: &Metrics,
    ) -> Result<Option<Arc<OpenId>>, Failure> {
        let openid = |terms| OpenId::new(terms, Arc::clone(metrics.fetches()));
        let made = self.openid.terms(self.url(bound)).and_then(|terms| terms.map(openid).transpose());
        made.map(|made| made.map(Arc::new))
            .map_err(|error| Failure::Process(format!("--admin-openid-issuer: {error}")))
    }

    fn read(&self) -> Result<Option<CertAndKey>, Failure> {
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else { return Ok(None) };
        let read = |path: &PathBuf| {
            secrets::read(&Reference::File(path.clone()))
                .map(|value| value.expose().to_vec())
                .map_err(Failure::Process)
        };
        Ok(Some((read(cert)?, read(key)?)))
    }

    fn failure(&self, error: &str) -> Failure {
        let shown = |path: &Option<PathBuf>| path.as_deref().map(Path::display).map(|path| path.to_string());
        let (cert, key) = (shown(&self.cert).unwrap_or_default(), shown(&self.key).unwrap_or_default());
        Failure::Process(format!("--admin-cert {cert}, --admin-key {key}: {error}"))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Where a browser finds management that listens at `bound`.
    pub(super) fn url(&self, bound: SocketAddr) -> String {
        let scheme = if self.cert.is_some() { "https" } else { "http" };
        match self.names.first() {
            Some(name) => format!("{scheme}://{name}:{}", bound.port()),
            None => format!("{scheme}://{bound}"),
        }
    }
}

/// Binds the management address.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        Failure::Process(format!("the management address {address} cannot be bound: {error}"))
    })
}

/// What the listener tells.
pub(super) fn state(
    metrics: Arc<Metrics>,
    (data_plane, overload): (Arc<OnceLock<Arc<Runtime>>>, Arc<Overload>),
    api: Api,
    names: Vec<String>,
    records: Option<PathBuf>,
) -> ManagementState {
    let mut state = ManagementState::new(metrics);
    state.api = Some(Arc::new(api));
    state.names = names;
    state.refusals = records.map(|folder| -> bartizan_manage::Refusals {
        Arc::new(move |most| command::why::refusals(&folder, most))
    });
    let cache = data_plane.clone();
    state.purge = Some(Box::new(move |what| {
        let runtime = cache.get()?;
        match what {
            Purged::Url(url) => runtime.purge_url(url),
            Purged::Prefix(prefix) => runtime.purge_prefix(prefix),
            Purged::Tag(tag) => Some(runtime.purge_tag(tag)),
            Purged::All => Some(runtime.purge_all()),
        }
    }));
    let of_keys = data_plane.clone();
    state.key_rules = Some(Box::new(move |consumer| {
        let live = of_keys.get()?.live();
        let plan = live.snapshot.consumers.get(consumer)?.rotation.clone()?;
        Some((LifeTerms::clone(&plan.terms), plan.claim_url.as_ref().map(ToString::to_string)))
    }));
    state.before_scrape = Some(Box::new(move |metrics| {
        metrics.set_overload(overload.figures());
        let Some(runtime) = data_plane.get() else { return };
        let cells = runtime.cells();
        metrics.set_limit(cells.cells() as u64, u64::from(cells.waiters()), cells.overflowed());
        let (entries, bytes) = runtime.cache_size();
        metrics.set_cache(entries as u64, bytes as u64);
        runtime.live().report_health(metrics);
    }));
    state
}

/// What serves now, for the listener to tell.
pub(super) fn serving(set: Option<Arc<Set>>, addresses: &[ServedAddress]) -> Serving {
    let listener = |served: &ServedAddress| ServedListener {
        name: served.listener.to_string(),
        address: served.address,
        tls: served.tls,
    };
    Serving { set, listeners: addresses.iter().map(listener).collect() }
}

/// Notes where management is and, where there is nobody yet, makes the link for the first user. An address of the network
/// without anybody who could sign in is refused: whoever came first would be the master.
pub(super) fn settle(
    admin: &Admin,
    bound: SocketAddr,
    keys: Option<&Keys>,
) -> Result<Option<String>, Failure> {
    let url = admin.url(bound);
    let is_public = !bound.ip().is_loopback();
    let nobody = || {
        Failure::Process(format!(
            "management on {bound} is refused as long as there is no user: add one with `bartizan users add NAME --role \
             admin`, or begin on loopback"
        ))
    };
    let Some(keys) = keys else { return if is_public { Err(nobody()) } else { Ok(None) } };
    let made = keys.with(async |store| {
        store.note_management_url(&url).await?;
        if !store.users().is_empty().await? {
            return Ok(Some(None));
        }
        // Where a provider says who may come in, nobody has to be here first.
        if admin.openid.issuer.is_some() && is_public {
            return Ok(Some(None));
        }
        if is_public { Ok(None) } else { first_link(store, &url).await.map(|link| Some(Some(link))) }
    });
    made.map_err(|error| Failure::of(&error))?.ok_or_else(nobody)
}

async fn first_link(store: &Store, url: &str) -> Result<String, Error> {
    let now = command::now_ms();
    let note = AuditNote {
        actor: "gateway",
        source: "local",
        action: "user.setup-link",
        target: "first user",
        phase: AuditPhase::Done,
        before: "",
        after: "",
        reason: "the first start",
    };
    store.audit().add(note, now).await?;
    let link = store.users().link(LinkFor::First, users::SETUP_LIFE_MS, now).await?;
    Ok(format!("{url}{}{}", users::LINK_PATH, link.expose()))
}

/// Shows the link to whoever started the gateway; not in the log, which others keep.
pub(crate) fn show_link(link: &str) {
    use std::io::Write as _;
    // Without a standard error nobody could be told; `bartizan users setup-link` shows another one.
    let _ = writeln!(
        std::io::stderr(),
        "\n  There is no user yet. This link makes the first one, once, within an hour, in a browser on this machine:\n\n  {link}\n"
    );
}
