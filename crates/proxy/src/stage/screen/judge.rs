//! Answers before policies that bite: the head, then the body, held back as far as it is judged.

use bartizan_config::snapshot::{BodyPlan, Oversize};
use bartizan_model::{Denial, Reason, Stage};
use bartizan_telemetry::Exit;
use bytes::Bytes;
use http::{StatusCode, response::Parts};
use http_body::Body as _;

use super::ScreenedBody;
use crate::{
    body::{
        AnswerBody, BodyWatch, Flow, LeakScreen, Origin, Read, RequestBody, ScreenedFlow, Streaming, Unread,
        read_answer,
    },
    exchange::Shared,
    stage::{
        Rest,
        inspect::{
            AnswerCopy, Bench, Half, Judge, Piece, Refused, count, deny, is_encoded, look, nothing, screen,
            weigh, weigh_trouble,
        },
    },
    upstream::UpstreamBody,
};

type Judged<T> = Result<T, (Stage, Refused)>;

/// Judges an answer; gives what of it may leave.
pub(super) async fn judge(
    shared: &mut Shared,
    mut bench: Box<Bench>,
    parts: &Parts,
    body: UpstreamBody<RequestBody>,
    rest: &mut Rest,
) -> Judged<ScreenedBody> {
    let of_screen = |refused| (Stage::Screen, refused);
    let head = AnswerCopy::of(parts.status, parts.version, &parts.headers);
    for judge in bench.judges() {
        let ran = judge.run_answer(&head).await;
        weigh(shared, judge, ran.err(), Half::Response).map_err(of_screen)?;
    }
    let is_bodiless = shared.dress.is_head
        || body.is_end_stream()
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || parts.status.is_informational();
    let most = if is_bodiless {
        None
    } else {
        most(shared, bench.judges(), parts, (head.is_text(), head.is_stream())).map_err(of_screen)?
    };
    let Some(most) = most else {
        end(shared, bench.judges(), None).await.map_err(of_screen)?;
        let screens = if is_bodiless || !head.is_stream() || is_encoded(&parts.headers) {
            Vec::new()
        } else {
            screens(bench.judges(), true)
        };
        if screens.is_empty() {
            return Ok(ScreenedBody::Flowing(body));
        }
        let screened = ScreenedFlow::new(stream(body, rest), screens, Bytes::new());
        return Ok(ScreenedBody::Judged(Box::new(AnswerBody::flowing(Flow::Screened(screened)))));
    };
    let streaming = stream(body, rest);
    let mut held = bench.held(shared);
    let read = match read_answer(streaming, most, &mut held).await {
        Ok(read) => read,
        Err(unread) => return Err((Stage::Forward, Refused::Denied(broken(&unread, &rest.watch)))),
    };
    let (bytes, goes_on) = match read {
        Read::Whole(bytes) => (bytes, None),
        Read::Start(bytes, goes_on) => (bytes, Some(goes_on)),
    };
    let body = Some((&bytes, goes_on.is_some()));
    end(shared, bench.judges(), body).await.map_err(of_screen)?;
    let bytes = if head.is_text() {
        leaks(shared, bench.judges(), bytes.clone(), goes_on.is_some()).await.map_err(of_screen)?
    } else {
        bytes
    };
    Ok(ScreenedBody::Judged(match goes_on {
        None => Box::new(AnswerBody::whole(bytes)),
        Some(streaming) => {
            let screens = if head.is_text() && !is_encoded(&parts.headers) {
                screens(bench.judges(), false)
            } else {
                Vec::new()
            };
            Box::new(AnswerBody::flowing(match screens.is_empty() {
                true => Flow::Started(bytes, streaming),
                false => Flow::Screened(ScreenedFlow::new(streaming, screens, bytes)),
            }))
        }
    }))
}

/// What looks through an answer while it passes: of a stream all of it, of another answer what is judged by its start.
fn screens(judges: &[Judge], is_stream: bool) -> Vec<LeakScreen> {
    let wanted = judges
        .iter()
        .filter(|judge| scans(judge).is_some_and(|plan| is_stream || plan.oversize == Oversize::JudgeStart));
    let screened = |judge: &Judge| Some(screen(&judge.plan.label, judge.plan.leaks.as_ref()?, is_stream));
    wanted.filter_map(screened).collect()
}

/// The body under its time limits. What the rest knows of it is known of the stream from now on.
fn stream(body: UpstreamBody<RequestBody>, rest: &Rest) -> Box<Streaming> {
    let origin = Origin { upstream: rest.origin.upstream.clone(), endpoint: rest.origin.endpoint };
    Streaming::new(body, origin, rest.deadlines, rest.watch.clone())
}

/// How much of the body must be held; `None` when nobody reads it.
fn most(
    shared: &mut Shared,
    judges: &[Judge],
    parts: &Parts,
    (is_text, is_stream): (bool, bool),
) -> Result<Option<usize>, Refused> {
    let announced = parts.headers.get(http::header::CONTENT_LENGTH);
    let announced: Option<u64> = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let encoded = is_encoded(&parts.headers);
    let (mut most, mut least): (Option<usize>, usize) = (None, usize::MAX);
    for judge in judges {
        if is_stream && encoded && scans(judge).is_some_and(|plan| !plan.encoded_passes) {
            let denial = Denial::new(Reason::ResponseRefused);
            return Err(deny(
                shared,
                judge,
                denial.because("its body is in a content coding, which is not read"),
            ));
        }
        let Some(plan) = reads(judge).or(scans(judge).filter(|_| is_text)) else { continue };
        if encoded && !plan.encoded_passes {
            let denial = Denial::new(Reason::ResponseRefused);
            return Err(deny(
                shared,
                judge,
                denial.because("its body is in a content coding, which is not read"),
            ));
        }
        if encoded {
            continue;
        }
        let is_over = announced.is_some_and(|bytes| bytes > plan.bytes_max as u64);
        match plan.oversize {
            Oversize::Deny if is_over => return Err(deny(shared, judge, too_large(plan))),
            Oversize::Deny => least = least.min(plan.bytes_max),
            Oversize::Pass if is_over => continue,
            Oversize::Pass | Oversize::JudgeStart => {}
        }
        most = Some(most.map_or(plan.bytes_max, |most: usize| most.max(plan.bytes_max)));
    }
    Ok(most.map(|most| most.min(least)))
}

/// Judges the body, or that none is judged.
async fn end(shared: &mut Shared, judges: &mut [Judge], body: Option<(&Bytes, bool)>) -> Result<(), Refused> {
    for judge in judges {
        let piece = match (reads(judge), body) {
            (Some(plan), Some((bytes, goes_on))) => {
                let is_cut = goes_on || bytes.len() > plan.bytes_max;
                match plan.oversize {
                    Oversize::Deny if is_cut => return Err(deny(shared, judge, too_large(plan))),
                    Oversize::Pass if is_cut => nothing(Half::Response),
                    _ => {
                        let bytes = bytes.slice(..bytes.len().min(plan.bytes_max));
                        Piece { half: Half::Response, bytes, is_cut }
                    }
                }
            }
            _ => nothing(Half::Response),
        };
        let ran = judge.run_body(shared.core.runtime.judges(), piece).await;
        weigh(shared, judge, ran.err(), Half::Response)?;
        count(shared, judge);
    }
    Ok(())
}

/// How a policy reads the body of this answer, if it does.
fn reads(judge: &Judge) -> Option<BodyPlan> {
    judge.plan.response.filter(|_| judge.session().is_ok_and(bartizan_inspect::Session::wants_response_body))
}

/// How much of the body a policy looks through for secrets, if it does.
fn scans(judge: &Judge) -> Option<BodyPlan> {
    judge.plan.response.filter(|_| judge.plan.leaks.is_some())
}

/// Looks for secrets; gives the body with those masked that are to be.
async fn leaks(
    shared: &mut Shared,
    judges: &[Judge],
    mut bytes: Bytes,
    goes_on: bool,
) -> Result<Bytes, Refused> {
    for judge in judges {
        let (Some(leaks), Some(plan)) = (&judge.plan.leaks, scans(judge)) else { continue };
        match plan.oversize {
            Oversize::Deny if goes_on || bytes.len() > plan.bytes_max => {
                return Err(deny(shared, judge, too_large(plan)));
            }
            Oversize::Pass if goes_on || bytes.len() > plan.bytes_max => continue,
            // It is masked while it passes, its start with the rest.
            Oversize::JudgeStart if goes_on && leaks.masks => continue,
            // All that is held is looked through, also beyond what rules of this policy judge.
            Oversize::Deny | Oversize::Pass | Oversize::JudgeStart => {}
        }
        let label = &judge.plan.label;
        let found = match look(shared.core.runtime.judges(), leaks, &bytes).await {
            Ok(found) => found,
            Err(trouble) => {
                weigh_trouble(shared, judge, trouble, Half::Response)?;
                continue;
            }
        };
        if found.counts.is_empty() {
            continue;
        }
        shared.record.leaks.extend(found.told(label, if leaks.masks { "masked" } else { "blocked" }));
        if !leaks.masks {
            return Err(deny(shared, judge, Denial::new(Reason::ResponseRefused).because(found.describe())));
        }
        bytes = found.masked.unwrap_or(bytes);
    }
    Ok(bytes)
}

fn too_large(plan: BodyPlan) -> Denial {
    let detail = format!("its body is longer than the {} bytes that are judged", plan.bytes_max);
    Denial::new(Reason::ResponseRefused).because(detail)
}

/// Why an answer's body did not come.
fn broken(unread: &Unread<Exit>, watch: &BodyWatch) -> Denial {
    match (unread, watch.broken()) {
        (Unread::NoRoom | Unread::Ended(_), _) => {
            Denial::new(Reason::Overloaded).because(unread.overload().unwrap_or_default())
        }
        (_, Some(crate::body::Broken::Refused(reason))) => Denial::new(reason),
        (_, Some(crate::body::Broken::Gone)) => {
            Denial::new(Reason::MalformedRequest).because("the body broke off")
        }
        (Unread::Broken(Exit::Timeout), None) => {
            Denial::new(Reason::UpstreamTimeout).because("the answer did not go on in time")
        }
        (Unread::Broken(_), None) => Denial::new(Reason::UpstreamMisbehaved).because("the answer broke off"),
    }
}
