//! A TCP proxy that harms what goes through it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to the server's answers, or to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    None,
    /// Nothing of an answer comes.
    Silent,
    /// So many bytes of a connection's answers come, then nothing more.
    SilentAfter(usize),
    /// So many bytes of a connection's answers come, then it is closed.
    CutAfter(usize),
    /// A bit of each large piece is flipped.
    Flip,
    /// Requests lose their condition, as with a server that does not know it.
    Unconditional,
}

/// The proxy. Threads, as the tests' runtime is busy with the client; they end with their connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    harm: Arc<Mutex<Harm>>,
    over: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            harm: Arc::new(Mutex::new(Harm::None)),
            over: Arc::default(),
        };
        let (harm, over) = (Arc::clone(&proxy.harm), Arc::clone(&proxy.over));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let upstream = TcpStream::connect(server).unwrap();
                for (from, to, answers) in [(&client, &upstream, false), (&upstream, &client, true)]
                {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (harm, over) = (Arc::clone(&harm), Arc::clone(&over));
                    thread::spawn(move || copy(from, to, answers, &harm, &over));
                }
            }
        });
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, harm: Harm) {
        *self.harm.lock().unwrap() = harm;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    answers: bool,
    harm: &Mutex<Harm>,
    over: &AtomicBool,
) {
    from.set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let (mut piece, mut passed) = (vec![0; 64 << 10], 0);
    while !over.load(Ordering::Relaxed) {
        let length = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        let piece = &mut piece[..length];
        let harm = *harm.lock().unwrap();
        let mut allowed = length;
        match harm {
            Harm::Silent if answers => allowed = 0,
            Harm::SilentAfter(limit) | Harm::CutAfter(limit) if answers => {
                allowed = length.min(limit.saturating_sub(passed));
            }
            Harm::Flip if answers && length > 4_096 && !piece.starts_with(b"HTTP/") => {
                piece[1_000] ^= 1
            }
            Harm::Unconditional if !answers => forget_condition(piece),
            _ => {}
        }
        passed += allowed;
        if to.write_all(&piece[..allowed]).is_err() {
            break;
        }
        if allowed < length && matches!(harm, Harm::CutAfter(_)) {
            break;
        }
    }
    // Who is silent does not hang up either, though the server has.
    let is_silent = || matches!(*harm.lock().unwrap(), Harm::Silent | Harm::SilentAfter(_));
    while answers && is_silent() && !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn forget_condition(piece: &mut [u8]) {
    let name = b"if-none-match";
    let found = piece
        .windows(name.len())
        .position(|window| window.eq_ignore_ascii_case(name));
    if let Some(at) = found {
        piece[at..at + name.len()].copy_from_slice(b"x-nobody-asks");
    }
}
