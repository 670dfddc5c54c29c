//! Bodies on their way: the request's toward the upstream, the answer's toward the caller.

mod answer;
mod copy;
mod held;
mod inbound;
mod model;
mod request;
mod screened;

pub use answer::AnswerBody;
pub(crate) use answer::{Deadlines, Flow, Origin, Streaming};
pub(crate) use copy::{BodyCopy, Copy};
pub(crate) use held::{
    HELD_BYTES_MAX, Held, HeldBytes, OfConnection, Read, Tenant, Unread, Whole, read_answer, read_request,
    unless_ended,
};
pub(crate) use inbound::Inbound;
pub(crate) use model::{Meter, ModelBody, Passing, Translation, Turn};
pub(crate) use request::{BodyWatch, Broken, RequestBody, Unjudged};
pub(crate) use screened::{LeakScreen, ScreenedFlow};
