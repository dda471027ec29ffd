//! A name server's part, for clients that find scorers by a name.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decant_client::{Resolver, Scorers};

use crate::tiny::MODEL;

/// Where the scorers are, as a name server is told.
#[derive(Clone)]
pub struct Names(Arc<Mutex<Vec<SocketAddr>>>);

impl Names {
    /// Knows these.
    pub fn of(scorers: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Mutex::new(scorers)))
    }

    /// Knows these from now on.
    pub fn tell(&self, scorers: Vec<SocketAddr>) {
        *self.0.lock().unwrap() = scorers;
    }

    /// A client of the tiny model that asks for the name ten times a second, with so much time for a call.
    pub fn client(&self, deadline: Duration) -> Scorers {
        Scorers::builder()
            .model(MODEL)
            .resolver("scorers:7430", self.clone())
            .refresh_every(Duration::from_millis(100))
            .deadline(deadline)
            .build()
            .unwrap()
    }
}

#[tonic::async_trait]
impl Resolver for Names {
    async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.lock().unwrap().clone())
    }
}
