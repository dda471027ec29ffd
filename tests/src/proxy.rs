//! A TCP proxy that a test puts between two processes, to make the network between them slow or bad.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// As late as TCP is with what was lost on its way: the shortest time after which Linux sends it again.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// Of so many pieces that are lost on a lossy network, one is lost for good, and its connection with it.
const LOST_FOR_GOOD: u64 = 8;

/// What the proxy does to bytes, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Hands them on.
    Sound,
    /// Hands them on, but each piece this late.
    Slow(Duration),
    /// Loses one piece in so many. TCP sends it again, and so it comes late; now and then it is lost for good, and the
    /// connection breaks.
    Lossy(u64),
    /// Takes them and hands nothing on; connections stay open. What a stalled host or a lost route looks like.
    Swallows,
    /// Ends every connection, and refuses new ones.
    Cut,
}

/// A running proxy. Its connections end when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    /// Its own, so that it works while the test's is busy; taken when it is dropped.
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Starts in front of an address.
    pub fn start(upstream: SocketAddr) -> Self {
        let mut builder = Builder::new_multi_thread();
        Self::listen(
            &mut builder,
            SocketAddr::from(([127, 0, 0, 1], 0)),
            upstream,
        )
    }

    /// The same in the network namespace of this file, at an address of its own there.
    pub(crate) fn start_in(namespace: &Path, listen: SocketAddr, upstream: SocketAddr) -> Self {
        let namespace = File::open(namespace).unwrap();
        let mut builder = Builder::new_multi_thread();
        // A socket belongs to the namespace of the thread that makes it.
        builder.on_thread_start(move || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).unwrap();
        });
        Self::listen(&mut builder, listen, upstream)
    }

    fn listen(builder: &mut Builder, listen: SocketAddr, upstream: SocketAddr) -> Self {
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let network = watch::Sender::new(Network::Sound);
        let (seen, (told, listens)) = (network.subscribe(), std::sync::mpsc::channel());
        runtime.spawn(async move {
            let listener = TcpListener::bind(listen).await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            accept(listener, upstream, seen).await;
        });
        Self {
            address: listens.recv().unwrap(),
            network,
            runtime: Some(runtime),
        }
    }

    /// Where to connect instead of upstream.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what is done to bytes from now on.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, network: watch::Receiver<Network>) {
    let mut connections = tokio::task::JoinSet::new();
    let pieces = Arc::new(AtomicU64::new(0));
    while let Ok((client, _)) = listener.accept().await {
        if *network.borrow() != Network::Cut {
            let pieces = Arc::clone(&pieces);
            connections.spawn(connect(client, upstream, network.clone(), pieces));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(
    client: TcpStream,
    upstream: SocketAddr,
    mut network: watch::Receiver<Network>,
    pieces: Arc<AtomicU64>,
) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    // Neither matters to correctness.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let (there, back) = (network.clone(), network.clone());
    let cut = async {
        // An error means that the proxy is gone.
        let _ = network.wait_for(|network| *network == Network::Cut).await;
    };
    tokio::select! {
        () = cut => {}
        () = hand_on(client_in, server_out, there, &pieces) => {}
        () = hand_on(server_in, client_out, back, &pieces) => {}
    }
}

async fn hand_on(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut network: watch::Receiver<Network>,
    pieces: &AtomicU64,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let now = *network.borrow_and_update();
        match now {
            Network::Slow(late) => tokio::time::sleep(late).await,
            Network::Lossy(one_in) => {
                // Counted over all connections, so that the same traffic loses the same.
                let piece = pieces.fetch_add(1, Ordering::Relaxed) + 1;
                if piece.is_multiple_of(one_in * LOST_FOR_GOOD) {
                    return;
                }
                if piece.is_multiple_of(one_in) {
                    tokio::time::sleep(RETRANSMISSION).await;
                }
            }
            Network::Swallows => {
                // TCP loses nothing within a connection, so what was swallowed comes when the network is sound again.
                if network
                    .wait_for(|network| *network != Network::Swallows)
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Network::Sound | Network::Cut => {}
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
