//! One policy judging one exchange: a session of the engine, stepped so that no other request of the core waits long.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::InspectionPlan;
use bartizan_inspect::{
    EngineMode, Exchange as Asked, RequestHead as JudgedHead, ResponseHead, Session, Step, body::Processor,
};
use bartizan_message::{Framing, RequestHead};
use http::{HeaderMap, StatusCode, Version};

use super::{
    leak,
    pool::{Half, JudgePool, LARGE_BYTES, Piece, Trouble, guarded},
};

/// After half a millisecond other requests of the core get their turn.
const TURN: Duration = Duration::from_micros(500);
/// 64 KiB of work between two looks at the clock: tens of microseconds.
const SLICE_WORK: u64 = 64 << 10;

/// What of a request's head is judged, taken out of it so that a policy that only watches can judge it later.
pub(crate) struct HeadCopy {
    method: Vec<u8>,
    target: Vec<u8>,
    version: Version,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    client: IpAddr,
    client_port: u16,
    id: String,
    now_seconds: u64,
    /// Whether the body is prose for a model.
    is_prose: bool,
}

impl HeadCopy {
    /// The head as the upstream will see it. How the body is framed is said as it came: rules ask for it.
    pub(crate) fn of(head: &RequestHead, id: &str, now_seconds: u64) -> Self {
        let mut headers = pairs(head.headers());
        if head.framing() == Framing::Chunked && head.version() != Version::HTTP_2 {
            headers.push((b"transfer-encoding".to_vec(), b"chunked".to_vec()));
        }
        if !head.headers().contains_key(http::header::HOST) {
            headers.insert(0, (b"host".to_vec(), head.authority().to_string().into_bytes()));
        }
        HeadCopy {
            method: head.method().as_str().as_bytes().to_vec(),
            target: head.path().target().as_str().as_bytes().to_vec(),
            version: head.version(),
            headers,
            client: head.client(),
            client_port: head.peer().port(),
            id: id.to_owned(),
            now_seconds,
            is_prose: false,
        }
    }

    /// The same for a request whose body is prose for a model, if it is: only how it is built is judged of it.
    pub(crate) fn with_prose(self, is_prose: bool) -> Self {
        HeadCopy { is_prose, ..self }
    }

    /// A session of a policy that has been given the head.
    pub(crate) fn session(&self, plan: &InspectionPlan, mode: EngineMode) -> Box<Session> {
        let overlay = if mode == EngineMode::Enforce { &plan.enforced } else { &plan.watching };
        let asked = Asked {
            id: self.id.clone(),
            client: Some(self.client),
            client_port: self.client_port,
            now_seconds: self.now_seconds,
            ..Asked::default()
        };
        let mut session = Box::new(Session::new(plan.rules.clone(), Some(overlay.clone()), asked));
        session.request_head(&JudgedHead {
            method: &self.method,
            target: &self.target,
            protocol: protocol(self.version),
            headers: &slices(&self.headers),
        });
        if self.is_prose {
            session.body_is_prose();
        }
        session
    }
}

impl HeadCopy {
    /// Whether the body is JSON by its type.
    pub(crate) fn is_json(&self) -> bool {
        let kind = self.headers.iter().find(|(name, _)| name == b"content-type");
        kind.and_then(|(_, kind)| Processor::for_content_type(kind)) == Some(Processor::Json)
    }
}

/// The head of an answer, taken out of it.
pub(crate) struct AnswerCopy {
    status: u16,
    version: Version,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl AnswerCopy {
    /// The head as it came.
    pub(crate) fn of(status: StatusCode, version: Version, headers: &HeaderMap) -> Self {
        AnswerCopy { status: status.as_u16(), version, headers: pairs(headers) }
    }

    /// Whether the body is text by its type.
    pub(crate) fn is_text(&self) -> bool {
        let kind = self.headers.iter().find(|(name, _)| name == b"content-type");
        leak::is_text(kind.map(|(_, kind)| &kind[..]))
    }

    /// Whether the body comes event by event or line by line.
    pub(crate) fn is_stream(&self) -> bool {
        let kind = self.headers.iter().find(|(name, _)| name == b"content-type");
        leak::is_stream(kind.map(|(_, kind)| &kind[..]))
    }

    /// Gives it to a session.
    pub(crate) fn feed(&self, session: &mut Session) {
        session.response_head(&ResponseHead {
            status: self.status,
            protocol: protocol(self.version),
            headers: &slices(&self.headers),
        });
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn slices(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (&name[..], &value[..])).collect()
}

const fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        _ => b"HTTP/1.1",
    }
}

/// A policy that bites, and how far it has come with this exchange.
pub(crate) struct Judge {
    pub(crate) plan: Arc<InspectionPlan>,
    /// `None` only while it judges elsewhere.
    session: Option<Box<Session>>,
    /// How many of its matches are in the record.
    pub(crate) told: usize,
    /// How much of what it could not judge its policy has let pass.
    pub(crate) forgiven: usize,
}

impl Judge {
    /// A judge that has been given the head of a request.
    pub(crate) fn new(plan: Arc<InspectionPlan>, head: &HeadCopy) -> Self {
        let session = Some(head.session(&plan, EngineMode::Enforce));
        Judge { plan, session, told: 0, forgiven: 0 }
    }

    /// What it has found so far is not its policy's subject.
    pub(crate) fn skip_told(&mut self) {
        self.told = self.session.as_ref().map_or(0, |session| session.verdict().matches.len());
    }

    /// Its session.
    pub(crate) fn session(&self) -> Result<&Session, Trouble> {
        self.session.as_deref().ok_or(Trouble::Broken)
    }

    /// Judges what was fed.
    pub(crate) async fn run(&mut self) -> Result<(), Trouble> {
        let session = self.session.as_deref_mut().ok_or(Trouble::Broken)?;
        let ended = run(session).await;
        if ended.is_err() {
            self.session = None;
        }
        ended
    }

    /// Judges the head of an answer.
    pub(crate) async fn run_answer(&mut self, answer: &AnswerCopy) -> Result<(), Trouble> {
        answer.feed(self.session.as_deref_mut().ok_or(Trouble::Broken)?);
        self.run().await
    }

    /// Judges a body, or that there is none.
    pub(crate) async fn run_body(&mut self, pool: &JudgePool, piece: Piece) -> Result<(), Trouble> {
        let session = self.session.take().ok_or(Trouble::Broken)?;
        self.session = Some(run_body(session, pool, piece).await?);
        Ok(())
    }
}

/// Judges what a session was fed, with turns for others.
pub(crate) async fn run(session: &mut Session) -> Result<(), Trouble> {
    let mut since = Instant::now();
    while guarded(|| session.step(SLICE_WORK))? == Step::More {
        if since.elapsed() >= TURN {
            tokio::task::yield_now().await;
            since = Instant::now();
        }
    }
    Ok(())
}

/// Judges a body: a small one here, a large one on the pool.
pub(crate) async fn run_body(
    mut session: Box<Session>,
    pool: &JudgePool,
    piece: Piece,
) -> Result<Box<Session>, Trouble> {
    if piece.bytes.len() > LARGE_BYTES {
        return pool.judge(session, piece).await;
    }
    guarded(|| piece.feed(&mut session))?;
    run(&mut session).await?;
    Ok(session)
}

/// What a session is given of a half that has no body.
pub(crate) fn nothing(half: Half) -> Piece {
    Piece { half, bytes: bytes::Bytes::new(), is_cut: false }
}
