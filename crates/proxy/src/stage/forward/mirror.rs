//! A copy of a request for a second upstream: without credentials, and nobody reads its answer.
//!
//! It is sent beside the request and cannot slow it down. A body that only passes by has no copy, so such requests are not
//! mirrored.

use std::{rc::Rc, time::Duration};

use bartizan_config::snapshot::MirrorPlan;
use http::{HeaderName, header};

use super::{Asking, again::Copied};
use crate::upstream::{self, Pick};

/// 64 copies at once on a core: a slow second upstream must not hold the memory of the first one's requests.
const COPIES_MAX: usize = 64;
/// 10 s: nobody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What proves who calls is for the upstream that was asked.
const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("client-cert"),
];

/// Sends a copy, if the draw and the core's room say so.
pub(super) fn begin(asking: &Asking, mirror: &MirrorPlan) {
    let core = &asking.shared.core;
    if core.draw() % 100 >= u64::from(mirror.percent) || Rc::strong_count(&core.mirroring) > COPIES_MAX {
        return;
    }
    let Some(second) = asking.shared.live.upstreams.get(&mirror.upstream).cloned() else { return };
    let Some(mut copied) = Copied::of(asking) else { return };
    for name in CREDENTIALS {
        copied.headers_mut().remove(name);
    }
    // Whatever the first upstream is shown by its documents is not for the second one either.
    for name in asking.shared.live.credential_headers() {
        copied.headers_mut().remove(name);
    }
    let (pools, counted) = (Rc::clone(&core.pools), Rc::clone(&core.mirroring));
    tokio::task::spawn_local(async move {
        let _counted = counted;
        let mut slot = Some(copied.request());
        let pick = Pick::default();
        let sending = upstream::send(&pools, &second, &pick, &mut slot);
        // The answer is dropped with its head, and its connection with it unless it has ended.
        let _ = tokio::time::timeout(PATIENCE, sending).await;
    });
}
