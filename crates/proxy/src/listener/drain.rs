//! The end of connections: of all of them when the process drains, of some when a listener changes or goes.
//!
//! Always in the same order: no new connections, then every connection finishes its requests (`Connection: close`,
//! GOAWAY), and what is left when the grace is over is closed. A second order to stop ends the wait at once.

use std::{rc::Rc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Ended, Serve,
    accept::is_allowed,
    balance::HandedOver,
    core::{Command, Core, Setting, take},
    watch::{Order, Watch},
};

/// Drains a core to its end.
pub(crate) async fn drain<S: Serve>(
    core: &Rc<Core<S>>,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    handed: &mut mpsc::Receiver<HandedOver>,
    grace: Duration,
) {
    let deadline = Instant::now() + grace;
    for listening in core.listeners.borrow().values() {
        listening.close();
    }
    core.table.close();
    // Lets the accept loops empty their queues before the first count.
    sleep(LOOK).await;
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => if let Some(Command::Stop) | None = command { break },
            Some(socket) = handed.recv() => take(core, socket),
            () = sleep_until(deadline) => break,
            () = sleep(LOOK) => if core.table.forget_closed() == 0 { break },
        }
    }
    core.table.abort(Ended::Drained, |_| true);
    // One more turn, so that what was aborted says goodbye and is counted.
    sleep(LOOK).await;
}

/// A listener was replaced: connections that the new one would not have accepted like this finish and close.
pub(crate) fn changed<S: Serve>(core: &Rc<Core<S>>, before: &Setting, after: &Setting, grace: Duration) {
    let trust = |setting: &Setting| setting.tls.as_ref().map(|tls| tls.trust());
    let other_facts =
        trust(before) != trust(after) || before.plan.proxy_protocol_from != after.plan.proxy_protocol_from;
    let (listener, admission) = (after.shared.id, after.plan.admission.clone());
    end(core, grace, move |watch| {
        let denied = || watch.client.get().is_some_and(|client| !is_allowed(&admission, client));
        watch.listener == listener && (other_facts || denied())
    });
}

/// A listener was removed.
pub(crate) fn removed<S: Serve>(core: &Rc<Core<S>>, listener: u64, grace: Duration) {
    end(core, grace, move |watch| watch.listener == listener);
}

fn end<S: Serve>(core: &Rc<Core<S>>, grace: Duration, which: impl Fn(&Watch) -> bool + 'static) {
    core.table.finish(Ended::ListenerChanged, which);
    let table = Rc::clone(&core.table);
    tokio::task::spawn_local(async move {
        sleep(grace).await;
        table.abort(Ended::ListenerChanged, |watch| {
            watch.order() == Order::Finish(Ended::ListenerChanged)
                || watch.one_request.get() == Some(Ended::ListenerChanged)
        });
    });
}

/// How often a draining core looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);
