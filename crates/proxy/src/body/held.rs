//! Bodies that are held in memory until they are judged, the room there is for them, and the ledger of who holds what.
//!
//! The room is a core's. Of it a connection may have a quarter and a tenant half, so that nobody can take it from all
//! others; a single body may always be as large as its policy says. Where the process runs out of memory the requests that
//! hold the most are ended while they are still read: they are refused as overload and recorded like any other refusal.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bartizan_telemetry::Exit;
use bytes::{Bytes, BytesMut};

use super::{
    RequestBody,
    answer::Streaming,
    request::{Broken, Unjudged},
};

/// 128 MiB of bodies in the memory of one core: a hundred of the largest that are judged by default. Who comes later is
/// refused as overload, before the process is out of memory.
pub(crate) const HELD_BYTES_MAX: usize = 128 << 20;
/// A quarter of the room for one connection: an HTTP/2 client may have a hundred bodies under way.
const CONNECTION_SHARE: usize = 4;
/// Half of the room for one tenant, on however many connections.
const TENANT_SHARE: usize = 2;

/// Whose bodies are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tenant {
    /// A team, or a consumer that is in none.
    Named(Arc<str>),
    /// Nobody who is known by name: a block of addresses.
    Address(u128),
}

/// What one connection's requests hold, kept by whoever knows the connection.
pub(crate) type OfConnection = Rc<Cell<usize>>;

/// The room of a core for bodies that are held.
#[derive(Clone, Debug)]
pub(crate) struct HeldBytes(Rc<Ledger>);

#[derive(Debug)]
struct Ledger {
    most: usize,
    left: Cell<usize>,
    tenants: RefCell<HashMap<Tenant, Weak<Cell<usize>>>>,
    /// Those who hold something; the ended ones are swept out as the list grows.
    accounts: RefCell<Vec<Weak<Account>>>,
}

/// What one request holds.
#[derive(Debug, Default)]
struct Account {
    bytes: Cell<usize>,
    is_ended: Cell<bool>,
    /// Who reads its body. Without one it is read already, and ending it would give nothing back.
    reader: RefCell<Option<Waker>>,
}

impl HeldBytes {
    /// Room for so many bytes.
    pub(crate) fn of(bytes: usize) -> Self {
        HeldBytes(Rc::new(Ledger {
            most: bytes,
            left: Cell::new(bytes),
            tenants: RefCell::default(),
            accounts: RefCell::default(),
        }))
    }

    /// A share of it that takes nothing yet and is nobody's in particular.
    pub(crate) fn nothing(&self) -> Held {
        Held { ledger: Rc::clone(&self.0), account: Rc::default(), connection: None, tenant: None }
    }

    /// A share for a request of `tenant` on a connection.
    pub(crate) fn nothing_of(&self, connection: &OfConnection, tenant: Tenant) -> Held {
        let mut tenants = self.0.tenants.borrow_mut();
        let known = tenants.get(&tenant).and_then(Weak::upgrade);
        let count = known.unwrap_or_else(|| {
            if tenants.len() >= TENANTS_SWEPT && tenants.len().is_multiple_of(TENANTS_SWEPT) {
                tenants.retain(|_, count| count.strong_count() > 0);
            }
            let count = Rc::new(Cell::new(0));
            tenants.insert(tenant, Rc::downgrade(&count));
            count
        });
        Held {
            ledger: Rc::clone(&self.0),
            account: Rc::default(),
            connection: Some(Rc::clone(connection)),
            tenant: Some(count),
        }
    }

    /// Bytes that are held.
    pub(crate) fn bytes(&self) -> usize {
        self.0.most - self.0.left.get()
    }

    /// Ends the requests that hold the most among those whose bodies are still read, until they hold `bytes` together.
    /// Says how many.
    pub(crate) fn end_dearest(&self, bytes: usize) -> u64 {
        let accounts = self.0.accounts.borrow();
        let mut open: Vec<Rc<Account>> = accounts
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|account| account.reader.borrow().is_some() && !account.is_ended.get())
            .collect();
        open.sort_by_key(|account| std::cmp::Reverse(account.bytes.get()));
        let (mut sum, mut ended) = (0_usize, 0);
        for account in open {
            if sum >= bytes || account.bytes.get() == 0 {
                break;
            }
            sum = sum.saturating_add(account.bytes.get());
            ended += 1;
            account.is_ended.set(true);
            if let Some(reader) = account.reader.borrow_mut().take() {
                reader.wake();
            }
        }
        ended
    }
}

/// Names of tenants without a request are looked for each time so many more are known.
const TENANTS_SWEPT: usize = 1_024;
/// The same for accounts.
const ACCOUNTS_SWEPT: usize = 1_024;

/// A share of a core's room, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    ledger: Rc<Ledger>,
    account: Rc<Account>,
    connection: Option<OfConnection>,
    tenant: Option<Rc<Cell<usize>>>,
}

impl Held {
    /// Takes room for more bytes; false when there is none.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let Some(left) = self.ledger.left.get().checked_sub(bytes) else { return false };
        let own = self.account.bytes.get();
        for (count, share) in [(&self.connection, CONNECTION_SHARE), (&self.tenant, TENANT_SHARE)] {
            let Some(count) = count else { continue };
            // One body alone may be larger than the share.
            let has_others = count.get() > own;
            if has_others && count.get().saturating_add(bytes) > self.ledger.most / share {
                return false;
            }
        }
        self.ledger.left.set(left);
        if own == 0 && bytes > 0 {
            self.ledger.open(&self.account);
        }
        self.account.bytes.set(own + bytes);
        for count in [&self.connection, &self.tenant].into_iter().flatten() {
            count.set(count.get() + bytes);
        }
        true
    }

    /// Bytes that it has.
    pub(crate) fn bytes(&self) -> usize {
        self.account.bytes.get()
    }

    /// Whether it was ended; whoever reads the body is woken when it is.
    fn is_ended(&self, cx: &Context<'_>) -> bool {
        let mut reader = self.account.reader.borrow_mut();
        if !self.account.is_ended.get() && !reader.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        self.account.is_ended.get()
    }

    /// Nobody reads any more: what is there is on its way to be judged and sent.
    pub(crate) fn is_read(&self) {
        drop(self.account.reader.borrow_mut().take());
    }
}

impl Ledger {
    fn open(&self, account: &Rc<Account>) {
        let mut accounts = self.accounts.borrow_mut();
        if accounts.len() >= ACCOUNTS_SWEPT && accounts.len().is_multiple_of(ACCOUNTS_SWEPT) {
            accounts.retain(|account| account.strong_count() > 0);
        }
        accounts.push(Rc::downgrade(account));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.account.bytes.replace(0);
        self.ledger.left.set(self.ledger.left.get() + bytes);
        for count in [&self.connection, &self.tenant].into_iter().flatten() {
            count.set(count.get().saturating_sub(bytes));
        }
    }
}

/// A body that was read to be judged.
#[derive(Debug)]
pub(crate) enum Read<R> {
    /// All of it.
    Whole(Bytes),
    /// Its start, and the rest that has not come.
    Start(Bytes, R),
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread<E> {
    /// It broke off.
    Broken(E),
    /// It was ended, because it held so much of a memory that ran out.
    Ended(usize),
    /// There is no room for it.
    NoRoom,
}

impl<E> Unread<E> {
    /// What the record says where the gateway itself is why.
    pub(crate) fn overload(&self) -> Option<String> {
        match self {
            Unread::Broken(_) => None,
            Unread::Ended(bytes) => {
                Some(format!("memory runs out, and the request held {bytes} bytes of it"))
            }
            Unread::NoRoom => Some("no room is left for bodies that are judged".to_owned()),
        }
    }
}

/// Reads a request's body until it ends or is longer than `bytes_max`. Its trailers are dropped: they are not judged,
/// and what is forwarded is what was judged.
pub(crate) async fn read_request(
    mut body: Box<Unjudged>,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Read<Box<Unjudged>>, Unread<Broken>> {
    let mut read = BytesMut::new();
    loop {
        let next = poll_fn(|cx| unless_ended(held, cx, |cx| Pin::new(&mut *body).poll(cx))).await;
        let frame = match next {
            Err(bytes) => return Err(Unread::Ended(bytes)),
            Ok(None) => break,
            Ok(Some(frame)) => frame,
        };
        let Ok(frame) = frame else { return Err(Unread::Broken(body.broken())) };
        let Ok(data) = frame.into_data() else { continue };
        if !held.take(data.len()) {
            return Err(Unread::NoRoom);
        }
        read.extend_from_slice(&data);
        if read.len() > bytes_max {
            held.is_read();
            return Ok(Read::Start(read.freeze(), body));
        }
    }
    held.is_read();
    Ok(Read::Whole(read.freeze()))
}

/// Reads an answer's body the same way.
pub(crate) async fn read_answer(
    mut flow: Box<Streaming>,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Read<Box<Streaming>>, Unread<Exit>> {
    let mut read = BytesMut::new();
    loop {
        let next = poll_fn(|cx| unless_ended(held, cx, |cx| flow.poll(cx))).await;
        let frame = match next {
            Err(bytes) => return Err(Unread::Ended(bytes)),
            Ok(None) => break,
            Ok(Some(Err((exit, _)))) => return Err(Unread::Broken(exit)),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if !held.take(data.len()) {
            return Err(Unread::NoRoom);
        }
        read.extend_from_slice(&data);
        if read.len() > bytes_max {
            held.is_read();
            return Ok(Read::Start(read.freeze(), flow));
        }
    }
    held.is_read();
    Ok(Read::Whole(read.freeze()))
}

/// Polls, unless the request was ended; then says what it held.
pub(crate) fn unless_ended<T>(
    held: &Held,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<Result<T, usize>> {
    if held.is_ended(cx) {
        return Poll::Ready(Err(held.bytes()));
    }
    poll(cx).map(Ok)
}

/// A body that was judged, and what of the ledger it takes until it is handed on. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    bytes: Bytes,
    /// Read by nobody: it lives as long as the bytes.
    _held: Option<Rc<Held>>,
}

impl Whole {
    /// Bytes for which `held` has room.
    pub(crate) fn of(bytes: Bytes, held: Held) -> Self {
        Whole { bytes, _held: Some(Rc::new(held)) }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes, handed on.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl From<Bytes> for Whole {
    /// Bytes that are counted elsewhere.
    fn from(bytes: Bytes) -> Self {
        Whole { bytes, _held: None }
    }
}

impl RequestBody {
    /// A judged body.
    pub(crate) fn whole(body: Whole) -> Self {
        if body.bytes.is_empty() { RequestBody::Empty } else { RequestBody::Whole(body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::Named(name.into())
    }

    #[test]
    fn room_that_was_taken_is_given_back() {
        let room = HeldBytes::of(10);
        let mut first = room.nothing();
        assert!(first.take(8));
        let mut second = room.nothing();
        assert!(!second.take(3));
        drop(first);
        assert!(second.take(3));
        assert_eq!(room.bytes(), 3);
        drop(second);
        assert_eq!(room.bytes(), 0, "the ledger returns to zero");
    }

    #[test]
    fn a_connection_has_a_quarter_and_a_tenant_half_but_one_body_may_be_larger() {
        let room = HeldBytes::of(80);
        let connections = [OfConnection::default(), OfConnection::default(), OfConnection::default()];
        let [one, two, three] = &connections;
        let mut first = room.nothing_of(one, tenant("a"));
        assert!(first.take(15));
        let mut second = room.nothing_of(one, tenant("a"));
        assert!(!second.take(6), "more than a quarter on one connection");
        assert!(second.take(5));
        let mut third = room.nothing_of(two, tenant("a"));
        assert!(third.take(20));
        let mut fourth = room.nothing_of(three, tenant("a"));
        assert!(!fourth.take(1), "more than half for one tenant");
        let mut other = room.nothing_of(three, tenant("b"));
        assert!(other.take(30), "one body alone may be larger than its connection's share");
        drop((first, second, third, other));
        assert_eq!(connections.each_ref().map(|count| count.get()), [0, 0, 0]);
        assert!(fourth.take(1), "what was held is not given back to the tenant");
    }

    #[test]
    fn those_who_hold_the_most_and_are_still_read_are_ended() {
        let room = HeldBytes::of(100);
        let cx = Context::from_waker(Waker::noop());
        let mut all: Vec<Held> = (0..4).map(|_| room.nothing()).collect();
        for (held, bytes) in all.iter_mut().zip([10, 40, 20, 30]) {
            assert!(held.take(bytes) && !held.is_ended(&cx));
        }
        all[1].is_read();
        assert_eq!(room.end_dearest(25), 1);
        let ended: Vec<bool> = all.iter().map(|held| held.account.is_ended.get()).collect();
        assert_eq!(ended, [false, false, false, true], "the largest that is still read");
        assert_eq!(room.end_dearest(25), 2, "ended ones are not ended again");
        assert_eq!(room.end_dearest(25), 0);
    }

    #[test]
    fn tenants_and_accounts_that_are_gone_are_forgotten() {
        let room = HeldBytes::of(1 << 20);
        let connection = OfConnection::default();
        for n in 0..10_000 {
            assert!(room.nothing_of(&connection, Tenant::Address(n)).take(1));
        }
        assert!(room.0.tenants.borrow().len() <= TENANTS_SWEPT, "{}", room.0.tenants.borrow().len());
        assert!(room.0.accounts.borrow().len() <= ACCOUNTS_SWEPT, "{}", room.0.accounts.borrow().len());
    }
}
