//! A TCP proxy that a test puts between two processes, to make the network between them slow or bad.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What the proxy does to bytes, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Hands them on.
    Sound,
    /// Hands them on, but each piece this late.
    Slow(Duration),
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
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener).unwrap()
        };
        let network = watch::Sender::new(Network::Sound);
        runtime.spawn(accept(listener, upstream, network.subscribe()));
        Self {
            address,
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
    while let Ok((client, _)) = listener.accept().await {
        if *network.borrow() != Network::Cut {
            connections.spawn(connect(client, upstream, network.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(client: TcpStream, upstream: SocketAddr, mut network: watch::Receiver<Network>) {
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
        () = hand_on(client_in, server_out, there) => {}
        () = hand_on(server_in, client_out, back) => {}
    }
}

async fn hand_on(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut network: watch::Receiver<Network>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let now = *network.borrow_and_update();
        match now {
            Network::Slow(late) => tokio::time::sleep(late).await,
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
