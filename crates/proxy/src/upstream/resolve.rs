//! Names to addresses: the system's resolver behind a small cache per core.
//!
//! One lookup at a time per name; the others wait for its result. When a refresh fails the last good answer is used
//! for a while, so that a resolver's hiccup is not an outage. Discovery that follows records' lifetimes is separate.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

/// How long an answer is used without asking again.
const FRESH: Duration = Duration::from_secs(30);
/// How long an answer may serve in place of one that could not be had.
const STALE_MAX: Duration = Duration::from_secs(300);
/// Most addresses tried for one name.
const ADDRESSES_MAX: usize = 8;

/// A core's cache of names.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    names: RefCell<HashMap<(Arc<str>, u16), Known>>,
}

/// What is known of a name; locked while it is looked up.
type Known = Rc<Mutex<Option<Answer>>>;

#[derive(Debug)]
struct Answer {
    addresses: Rc<[SocketAddr]>,
    at: Instant,
}

impl Resolver {
    /// The addresses of `host`, at least one. Fails when the name has none and none are remembered.
    pub(super) async fn resolve(&self, host: &Arc<str>, port: u16) -> io::Result<Rc<[SocketAddr]>> {
        let cell = Rc::clone(self.names.borrow_mut().entry((Arc::clone(host), port)).or_default());
        let mut answer = cell.lock().await;
        if let Some(known) = answer.as_ref().filter(|known| known.at.elapsed() < FRESH) {
            return Ok(Rc::clone(&known.addresses));
        }
        match lookup(host, port).await {
            Ok(addresses) => {
                *answer = Some(Answer { addresses: Rc::clone(&addresses), at: Instant::now() });
                Ok(addresses)
            }
            Err(error) => match answer.as_ref().filter(|known| known.at.elapsed() < STALE_MAX) {
                Some(known) => Ok(Rc::clone(&known.addresses)),
                None => Err(error),
            },
        }
    }

    /// Forgets names that have not been asked for since they went stale.
    pub(super) fn sweep(&self) {
        self.names.borrow_mut().retain(|_, cell| match cell.try_lock() {
            Ok(answer) => answer.as_ref().is_some_and(|known| known.at.elapsed() < STALE_MAX),
            Err(_) => true,
        });
    }
}

async fn lookup(host: &str, port: u16) -> io::Result<Rc<[SocketAddr]>> {
    let found: Rc<[SocketAddr]> = tokio::net::lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_once_and_then_remembered() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let resolver = Resolver::default();
            let first = resolver.resolve(&"localhost".into(), 80).await.unwrap();
            let second = resolver.resolve(&"localhost".into(), 80).await.unwrap();
            assert!(Rc::ptr_eq(&first, &second));
            resolver.sweep();
            assert_eq!(resolver.names.borrow().len(), 1);
        });
    }
}
