//! One background thread that drives all sockets of a test process.
//!
//! A thread per origin or client would do as well; one keeps a test with forty origins cheap and a debugger's list
//! of threads short.

use std::{
    future::Future,
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    task::JoinHandle,
};

/// The shared runtime; started at first use, never ended.
pub(crate) fn handle() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("testkit".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .expect("a thread can be made");
        handle
    })
}

/// Runs `work` on the shared runtime and waits for its result.
///
/// # Panics
/// When it takes longer than `within`: a test that hangs tells nothing.
pub(crate) fn wait<T: Send + 'static>(within: Duration, work: impl Future<Output = T> + Send + 'static) -> T {
    let (done, result) = mpsc::sync_channel(1);
    let task = handle().spawn(async move {
        let _ = done.send(work.await);
    });
    result.recv_timeout(within).unwrap_or_else(|error| {
        task.abort();
        panic!("no result within {within:?}: {error}")
    })
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    /// Starts `work` on the shared runtime.
    pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(handle().spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
