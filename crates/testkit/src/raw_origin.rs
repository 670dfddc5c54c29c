//! An origin that answers any bytes, for what no HTTP library would send: broken heads, half bodies, resets.
//!
//! It runs on plain threads, so that a pause or a reset is exactly where the script has it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// One step of a connection's script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Read until the end of a head (an empty line).
    ReadHead,
    /// Read this many bytes.
    Read(usize),
    /// Send these bytes.
    Send(Vec<u8>),
    /// Do nothing for a while.
    Wait(Duration),
    /// Say that no more will be sent, and go on reading.
    Finish,
}

/// A running raw origin. Every connection plays the script once and is closed at its end.
#[derive(Debug)]
pub struct RawOrigin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    script: Vec<Step>,
    ended: AtomicBool,
    received: Mutex<Vec<Vec<u8>>>,
}

impl RawOrigin {
    /// Reads one head, sends `bytes`, closes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> RawOrigin {
        RawOrigin::playing(vec![Step::ReadHead, Step::Send(bytes.into())])
    }

    /// Closes every connection at once, which the peer sees as an end or a reset.
    pub fn closing() -> RawOrigin {
        RawOrigin::playing(Vec::new())
    }

    /// Plays `script` on every connection.
    pub fn playing(script: Vec<Step>) -> RawOrigin {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { script, ended: AtomicBool::new(false), received: Mutex::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.ended.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(stream) = stream {
                    let shared = Arc::clone(&accepting);
                    thread::spawn(move || shared.play(stream));
                }
            }
        });
        RawOrigin { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What each connection sent so far, in the order in which they were opened.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.shared.lock().clone()
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // Wakes the accepting thread, which then sees that it has ended.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn play(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
        let number = {
            let mut received = self.lock();
            received.push(Vec::new());
            received.len() - 1
        };
        for step in &self.script {
            let going_on = match step {
                Step::ReadHead => self.read(&mut stream, number, |seen| seen.ends_with(b"\r\n\r\n")),
                Step::Read(count) => self.read(&mut stream, number, |seen| seen.len() >= *count),
                Step::Send(bytes) => stream.write_all(bytes).is_ok(),
                Step::Wait(pause) => {
                    thread::sleep(*pause);
                    true
                }
                Step::Finish => stream.shutdown(Shutdown::Write).is_ok(),
            };
            if !going_on {
                return;
            }
        }
    }

    /// Reads bytes until `enough` of them were seen in this step; false when the peer ended before.
    fn read(&self, stream: &mut TcpStream, number: usize, enough: impl Fn(&[u8]) -> bool) -> bool {
        let mut seen = Vec::new();
        let mut byte = [0_u8];
        while !enough(&seen) {
            match stream.read(&mut byte) {
                Ok(1) => {
                    seen.extend(byte);
                    if let Some(all) = self.lock().get_mut(number) {
                        all.extend(byte);
                    }
                }
                _ => return false,
            }
        }
        true
    }
}
