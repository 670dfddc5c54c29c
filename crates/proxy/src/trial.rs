//! A candidate beside the active set: which of the two serves a request, and what came of it.
//!
//! The share is chosen once, when the head is complete and before anything is judged, by a hash of who seems to call: it
//! chooses a snapshot and grants nothing, so nothing needs to be verified. One salt per rollout: shares only grow, a
//! caller stays on its side, and nobody can choose it. Without a trial a request pays one branch. What came of each
//! request is counted per core, in a table that one other thread looks at once a second.
//!
//! In the shadow the active set serves everybody; what was asked goes, with what a genuine token says instead of credentials
//! and with a bounded copy of the body (`trial/asked.rs`), to whoever judges it again by both sets, off the request's way.
//! What comes faster than that is missed, and counted.

mod asked;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
    mpsc::SyncSender,
};

use bartizan_config::{
    rehearsal::GivenToken,
    replay::{Caller, Recording},
    rollout::{Example, Outcome, Tally, plan::BasisPoints},
};
use bartizan_identity::KeyId;
use bartizan_telemetry::{
    Exit, RequestRecord,
    capture::{BodyTap, HeldCopies},
    record::Why,
};
use http::{HeaderMap, HeaderName, header};

use self::asked::Asked;

use crate::{
    listener::ConnectionFacts,
    live::Live,
    share::{block_key, hash_from},
};

/// What a trial is made of.
pub struct TrialOptions {
    /// The rollout it belongs to.
    pub rollout: u64,
    /// The share of callers that the candidate serves.
    pub share: BasisPoints,
    /// What shares are drawn with.
    pub salt: [u8; 16],
    /// Where requests go that both sets are to judge again; nothing: they are not.
    pub watched: Option<SyncSender<Box<Recording>>>,
}

/// A candidate beside the active set.
pub struct Trial {
    options: TrialOptions,
    candidate: Arc<Live>,
    /// The counts of each core that has served a request meanwhile.
    counts: Mutex<Vec<Arc<Mutex<Tally>>>>,
    missed: AtomicU64,
    /// What copies of bodies hold.
    copies: HeldCopies,
}

/// The side of a request, and what is needed to count it.
pub(crate) struct Assigned {
    trial: Arc<Trial>,
    is_candidate: bool,
    group: u8,
    /// The API key that was shown, verified or not: a call may be refused before anybody is identified.
    key: Option<KeyId>,
    asked: Option<Box<Asked>>,
}

impl Trial {
    pub(crate) fn new(candidate: Arc<Live>, options: TrialOptions) -> Arc<Self> {
        Arc::new(Trial {
            options,
            candidate,
            counts: Mutex::default(),
            missed: AtomicU64::new(0),
            copies: HeldCopies::default(),
        })
    }

    /// The candidate.
    pub(crate) fn candidate(&self) -> &Arc<Live> {
        &self.candidate
    }

    /// Which rollout it belongs to.
    pub fn rollout(&self) -> u64 {
        self.options.rollout
    }

    /// The share of callers that the candidate serves.
    pub fn share(&self) -> BasisPoints {
        self.options.share
    }

    /// What all cores counted until now.
    pub fn tally(&self) -> Tally {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = Tally::default();
        for one in counts {
            all.add(&one.lock().unwrap_or_else(PoisonError::into_inner));
        }
        all.shadow.missed = self.missed.load(Ordering::Relaxed);
        all
    }

    /// A table of a core's own.
    pub(crate) fn counts_of_a_core(&self) -> Arc<Mutex<Tally>> {
        let own = Arc::<Mutex<Tally>>::default();
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).push(own.clone());
        own
    }

    /// Chooses the side of a request.
    pub(crate) fn assign<B: http_body::Body>(
        self: &Arc<Self>,
        active: &Live,
        connection: &ConnectionFacts,
        request: &http::Request<B>,
    ) -> Box<Assigned> {
        let key = active.credential_headers().iter().find_map(|name| key_in(request.headers(), name));
        let hash = self.caller(key, connection, request.headers());
        let is_candidate =
            hash % u64::from(bartizan_config::rollout::plan::ALL) < u64::from(self.options.share);
        let asked = self.options.watched.is_some().then(|| {
            let (method, headers) = (request.method(), request.headers());
            let has_body = !request.body().is_end_stream();
            let named = active.credential_headers();
            Box::new(Asked::of((method, headers, request.version()), has_body, connection, named))
        });
        #[expect(clippy::cast_possible_truncation, reason = "below 64")]
        let group = ((hash >> 32) % u64::from(bartizan_config::rollout::GROUPS)) as u8;
        Box::new(Assigned { trial: Arc::clone(self), is_candidate, group, key, asked })
    }

    /// Who seems to call: by API key, else by issuer and subject of a token, else by certificate, else by address.
    fn caller(&self, key: Option<KeyId>, connection: &ConnectionFacts, headers: &HeaderMap) -> u64 {
        let seed = hash_from(0, &self.options.salt);
        if let Some(key) = key {
            return hash_from(seed, key.as_str().as_bytes());
        }
        if let Some(subject) = subject(headers) {
            return hash_from(seed, subject.as_bytes());
        }
        if let Some(certificate) = connection.tls.as_ref().and_then(|tls| tls.client.as_ref()) {
            return hash_from(seed, certificate.der());
        }
        let peer = connection.client_address();
        let trust = &connection.listener.trust;
        let client = match trust.believes(peer) {
            true => bartizan_message::Forwarding::read(headers, peer, trust)
                .map_or(peer, |forwarding| forwarding.client()),
            false => peer,
        };
        hash_from(seed, &block_key(client).to_be_bytes())
    }
}

impl Assigned {
    /// Whether the candidate serves.
    pub(crate) fn is_candidate(&self) -> bool {
        self.is_candidate
    }

    /// The trial.
    pub(crate) fn trial(&self) -> &Arc<Trial> {
        &self.trial
    }

    /// The copy of the request's body that is wanted: the one that is taken anyhow, or one of its own.
    pub(crate) fn body(&mut self, taken: Option<BodyTap>) -> Option<BodyTap> {
        let asked = self.asked.as_mut().filter(|asked| asked.has_body)?;
        asked.body = Some(taken.unwrap_or_else(|| BodyTap::new(BODY_BYTES_MAX, &self.trial.copies)));
        asked.body.clone()
    }

    /// Whether what a token says is wanted.
    pub(crate) fn wants_token(&self) -> bool {
        self.asked.is_some()
    }

    /// Takes what a genuine token says.
    pub(crate) fn note_token(&mut self, token: Option<Arc<GivenToken>>) {
        if let Some(asked) = &mut self.asked {
            asked.token = token;
        }
    }

    /// Counts what came of the request.
    pub(crate) fn settle(self, record: &RequestRecord, counts: &Mutex<Tally>) {
        let outcome = Outcome {
            refused: record.refusal.is_some(),
            failed: record.status >= 500
                || matches!(record.exit, Exit::UpstreamReset | Exit::Timeout | Exit::Error),
            took: record.total.saturating_sub(record.waited),
        };
        // A caller who left, and a gateway that stops, say nothing about a set.
        if matches!(record.exit, Exit::ClientGone | Exit::Shutdown) && record.status == 0 {
            return;
        }
        if let Some(asked) = self.asked {
            if let (Some(watched), Some(recording)) = (&self.trial.options.watched, asked.recording(record))
                && watched.try_send(recording).is_err()
            {
                self.trial.missed.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_candidate {
            counts.active.note(self.group, outcome);
            return;
        }
        counts.candidate.note(self.group, outcome);
        counts.feel(&who(record, self.key), outcome);
        if let Some(refusal) = &record.refusal {
            counts.show(|| Example {
                id: lossy(record.id()),
                request: format!("{} {}{}", record.method, lossy(record.host()), lossy(record.path())),
                consumer: record.consumer.as_deref().map(str::to_owned),
                before: String::new(),
                after: refused(refusal),
            });
        }
    }
}

fn refused(refusal: &bartizan_telemetry::Refusal) -> String {
    match &refusal.why {
        Why::Denied(denial) => match &denial.policy {
            Some(policy) => format!("{} by {policy}", denial.reason.as_str()),
            None => denial.reason.as_str().to_owned(),
        },
        Why::Faulted { policy, .. } => match policy {
            Some(policy) => format!("{policy} could not decide"),
            None => format!("{} could not decide", refusal.stage.as_str()),
        },
    }
}

/// How a caller is named to whoever reads about the rollout: by consumer, else by how little is known.
fn who(record: &RequestRecord, key: Option<KeyId>) -> String {
    match (&record.consumer, record.credential_id(), key) {
        (Some(consumer), ..) => consumer.to_string(),
        (None, Some(credential), _) => format!("credential {}", lossy(Some(credential))),
        (None, None, Some(key)) => format!("key {key}, not verified"),
        (None, None, None) => "callers without a known credential".to_owned(),
    }
}

fn key_in(headers: &HeaderMap, name: &HeaderName) -> Option<KeyId> {
    KeyId::recognise(headers.get(name)?.to_str().ok()?)
}

fn lossy(text: Option<&[u8]>) -> String {
    text.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

/// Issuer and subject of a bearer token, not verified.
fn subject(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let payload = token.split('.').nth(1)?;
    let claims: serde_json::Value =
        serde_json::from_slice(&bartizan_identity::base64url::decode(payload.as_bytes())?).ok()?;
    let text = |name| claims.get(name).and_then(serde_json::Value::as_str);
    Some(format!("{}\n{}", text("iss").unwrap_or_default(), text("sub")?))
}

/// 16 KiB: longer tokens do not fit into a head.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// 64 KiB of a body: what judges read of nearly all of them. A longer one is not judged again.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The group of callers that a recorded request belongs to.
pub fn group_of(asked: &Recording) -> u8 {
    let hash = match (&asked.caller, asked.client) {
        (Caller::Key { key, .. }, _) => hash_from(0, key.as_str().as_bytes()),
        (
            Caller::Other(Some(consumer))
            | Caller::Token(_, Some(consumer))
            | Caller::Certificate(Some(consumer))
            | Caller::User(consumer),
            _,
        ) => hash_from(0, consumer.as_bytes()),
        (_, Some(client)) => hash_from(0, &block_key(client).to_be_bytes()),
        (_, None) => 0,
    };
    #[expect(clippy::cast_possible_truncation, reason = "below 64")]
    let group = ((hash >> 32) % u64::from(bartizan_config::rollout::GROUPS)) as u8;
    group
}
