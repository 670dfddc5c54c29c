//! What happens when more is asked than can be done: a figure of pressure, and fixed steps that follow from it.
//!
//! Each core has a [`CoreGauge`]: the greatest of what the process has of memory, how late the core's own timers are, and
//! how full its accept queues are. It is worked out ten times a second beside the requests ([`mod@beat`]); a request reads one
//! number that only its own core writes. The steps and their bounds are in `step`, what bodies hold is in
//! `crate::body`, what everything may take together at worst in [`worst`].

mod beat;
mod gauge;
mod lag;
mod step;
pub mod worst;

pub(crate) use self::{
    beat::{BEAT, beat},
    step::sheds,
};
pub use self::{
    gauge::{CoreGauge, Overload},
    step::{Pressure, Step},
};
