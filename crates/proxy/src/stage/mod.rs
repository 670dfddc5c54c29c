//! The ten stages, one file each, in the order of `pipeline.rs`.
//!
//! A stage is a function from the proof of the one before it to its own proof. Each proof has private fields and is
//! made in its own file only, which compile-fail tests and `cargo xtask tidy` hold in place.

mod admit;
mod authorize;
mod cache;
mod forward;
mod identify;
mod inspect;
mod limit;
mod record;
mod route;
mod screen;

pub use admit::{Admitted, admit};
pub use authorize::{Authorized, authorize};
pub(crate) use cache::{Fill, Filled, Flights, Keeping};
pub use cache::{Looked, Missed, cache, collapse};
pub use forward::{Forwarded, forward};
pub(crate) use forward::{Rest, rehearse};
pub(crate) use identify::{CallerMemo, Found, SessionMemo, find};
pub use identify::{Granted, Identified, identify};
pub(crate) use inspect::JudgePool;
pub use inspect::{Inspected, inspect, operation};
pub use limit::{Limited, Metered, limit, wait};
pub(crate) use record::{Closing, OpenRecord};
pub(crate) use route::desk;
pub use route::{Routed, route};
pub(crate) use screen::ScreenedAnswer;
pub use screen::{Screened, screen};

/// What stages judge by a head and a plan alone. `explain` asks the same functions, so that it cannot differ.
pub mod judge {
    pub use super::{
        admit::judge_address,
        authorize::{Inquiry, judge_consumer, judge_policy, policies, subject},
        forward::target,
        inspect::{described, judge_announced, judge_head, policies as inspections},
        route::{
            headers_allowed, https_redirect, is_allowed, judge_headers, judge_host, location,
            preflight_method,
        },
    };
    pub use crate::share::{block_key, share_on};
}
