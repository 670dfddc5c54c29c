//! Listening sockets: taken exclusively first, then once per core.
//!
//! A port that someone else holds must be an error, not a silent share, and `SO_REUSEPORT` alone would share it with
//! any process of the same user. So each address is first bound without it and guarded by a lock file for the time in
//! between and afterwards; only then one socket per core is bound with it. Nothing is accepted here: the sockets listen,
//! and the kernel queues, until the cores take them over. An address that stays the same across a reload keeps its
//! sockets, so no connection in their queues is lost.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use socket2::{Domain, Protocol, Socket, Type};

/// The listening sockets of one listener.
#[derive(Clone, Debug)]
pub struct Bound {
    groups: Vec<Arc<Group>>,
    cores: usize,
}

/// The sockets of one address, one per core, and the lock that keeps other processes off it.
#[derive(Debug)]
pub(crate) struct Group {
    requested: SocketAddr,
    local: SocketAddr,
    sockets: Vec<TcpListener>,
    _lock: Option<File>,
}

/// Why a listener could not be bound. The message names the address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another socket listens there.
    #[error("{address} is already in use")]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Another gateway with the same data directory claimed the address.
    #[error("{address} is locked by another process ({})", path.display())]
    Locked {
        /// The address asked for.
        address: SocketAddr,
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file cannot be opened.
    #[error("cannot lock {} for {address}: {source}", path.display())]
    LockFile {
        /// The address asked for.
        address: SocketAddr,
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no address to listen on, or no core to listen with.
    #[error("a listener needs at least one address and one core")]
    Nothing,
    /// The system refused for another reason (no such address, no permission).
    #[error("cannot listen on {address}: {source}")]
    System {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Bound {
    /// Binds every address, once per core. `lock_dir` is the data directory; without one no lock file is taken.
    ///
    /// Fails when an address is taken, locked or not available; then nothing stays bound.
    pub fn bind(addresses: &[SocketAddr], cores: usize, lock_dir: Option<&Path>) -> Result<Bound, BindError> {
        Bound::bind_keeping(None, addresses, cores, lock_dir)
    }

    /// Like [`Bound::bind`], but takes over the sockets of `before` for addresses that are still asked for.
    pub fn bind_keeping(
        before: Option<&Bound>,
        addresses: &[SocketAddr],
        cores: usize,
        lock_dir: Option<&Path>,
    ) -> Result<Bound, BindError> {
        if addresses.is_empty() || cores == 0 {
            return Err(BindError::Nothing);
        }
        let mut kept: Vec<Arc<Group>> = match before {
            Some(before) if before.cores == cores => before.groups.clone(),
            _ => Vec::new(),
        };
        let mut groups = Vec::with_capacity(addresses.len());
        for &address in addresses {
            let group = match kept.iter().position(|group| group.requested == address) {
                Some(index) => kept.swap_remove(index),
                None => Arc::new(Group::bind(address, cores, lock_dir)?),
            };
            groups.push(group);
        }
        Ok(Bound { groups, cores })
    }

    /// The addresses as they are, with the ports the system chose for port 0.
    pub fn local_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.groups.iter().map(|group| group.local)
    }

    pub(crate) fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }
}

impl Group {
    /// A second handle to the socket of `core`, for its runtime; `None` where that core does not accept by itself.
    pub(crate) fn socket(&self, core: usize) -> io::Result<Option<TcpListener>> {
        self.sockets.get(core).map(TcpListener::try_clone).transpose()
    }

    fn bind(requested: SocketAddr, cores: usize, lock_dir: Option<&Path>) -> Result<Group, BindError> {
        let error = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::AddressInUse { address: requested },
            _ => BindError::System { address: requested, source },
        };
        let lock = match lock_dir {
            Some(folder) if requested.port() != 0 => Some(lock(requested, folder)?),
            _ => None,
        };
        if requested.port() != 0 {
            // Exclusive and short: the kernel refuses it when any socket listens there, sharing or not.
            drop(open(requested, false).map_err(error)?);
        }
        let first = open(requested, SHARED).map_err(error)?;
        // With port 0 the first socket's number is the one that the other cores share.
        let local = first.local_addr().and_then(local_address).map_err(error)?;
        let mut sockets = vec![first];
        while SHARED && sockets.len() < cores {
            sockets.push(open(local, true).map_err(error)?);
        }
        let sockets = sockets
            .into_iter()
            .map(|socket| socket.listen(BACKLOG).map(|()| TcpListener::from(socket)))
            .collect::<io::Result<Vec<_>>>()
            .map_err(error)?;
        Ok(Group { requested, local, sockets, _lock: lock })
    }
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` means IPv6 and nothing else, whatever the system's default is; `0.0.0.0` is a second address.
        socket.set_only_v6(true)?;
    }
    // Only so that connections in TIME_WAIT do not block a restart; a listening socket still conflicts.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    // Inherited by accepted sockets: responses are written whole, so Nagle's algorithm could only delay them.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local_address(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::other("the bound socket has no internet address"))
}

fn lock(address: SocketAddr, folder: &Path) -> Result<File, BindError> {
    let name: String = address.to_string().chars().map(|c| if c == ':' { '_' } else { c }).collect();
    let path = folder.join(format!("listen-{name}.lock"));
    let failed = |source: io::Error| BindError::LockFile { address, path: path.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    // The file stays behind on purpose: removing a lock file races with the next process that opens it.
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BindError::Locked { address, path }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Connections the kernel completes before they are accepted; it lowers this to its own maximum.
pub(super) const BACKLOG: i32 = 4096;

/// Whether the kernel spreads connections over the sockets of one port. Elsewhere one core accepts and hands over.
const SHARED: bool = cfg!(target_os = "linux");

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_the_address() {
        let other = TcpListener::bind(loopback()).unwrap();
        let taken = other.local_addr().unwrap();
        let error = Bound::bind(&[taken], 2, None).unwrap_err();
        assert!(matches!(error, BindError::AddressInUse { address } if address == taken), "{error}");
        assert!(error.to_string().contains(&taken.to_string()));
    }

    #[test]
    fn a_port_shared_by_another_bound_is_taken_too() {
        let first = Bound::bind(&[loopback()], 2, None).unwrap();
        let local = first.local_addresses().next().unwrap();
        assert!(matches!(Bound::bind(&[local], 2, None), Err(BindError::AddressInUse { .. })));
        drop(first);
        Bound::bind(&[local], 2, None).unwrap();
    }

    #[test]
    fn with_port_0_every_core_shares_the_number_of_the_first() {
        let bound = Bound::bind(&[loopback()], 3, None).unwrap();
        let group = &bound.groups()[0];
        assert_eq!(group.sockets.len(), if SHARED { 3 } else { 1 });
        assert_ne!(group.local.port(), 0);
        assert!(group.sockets.iter().all(|socket| socket.local_addr().unwrap() == group.local));
    }

    #[test]
    fn an_address_that_stays_keeps_its_sockets_and_one_that_goes_is_free() {
        let before = Bound::bind(&[loopback(), loopback()], 1, None).unwrap();
        let local: Vec<_> = before.local_addresses().collect();
        let after = Bound::bind_keeping(Some(&before), &[loopback()], 1, None).unwrap();
        assert_eq!(after.local_addresses().next().unwrap(), local[0]);
        drop(before);
        Bound::bind(&[local[1]], 1, None).unwrap();
        assert!(Bound::bind(&[local[0]], 1, None).is_err());
    }

    #[test]
    fn a_locked_address_is_refused_and_free_again_afterwards() {
        let folder = std::env::temp_dir().join(format!("bartizan-bind-{}", std::process::id()));
        let port = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
        fs::create_dir_all(&folder).unwrap();
        let held = lock(port, &folder).unwrap();
        assert!(matches!(Bound::bind(&[port], 1, Some(&folder)), Err(BindError::Locked { .. })));
        drop(held);
        Bound::bind(&[port], 1, Some(&folder)).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn ipv6_wildcard_and_ipv4_wildcard_are_two_addresses() {
        let Ok(six) = Bound::bind(&["[::]:0".parse().unwrap()], 1, None) else {
            return; // a machine without IPv6
        };
        let port = six.local_addresses().next().unwrap().port();
        Bound::bind(&[SocketAddr::from(([0, 0, 0, 0], port))], 1, None).unwrap();
    }

    #[test]
    fn nothing_to_bind_is_an_error() {
        assert!(matches!(Bound::bind(&[], 1, None), Err(BindError::Nothing)));
        assert!(matches!(Bound::bind(&[loopback()], 0, None), Err(BindError::Nothing)));
    }
}
