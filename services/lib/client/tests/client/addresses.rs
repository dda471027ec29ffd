//! Scorers behind a name.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decant_client::{Builder, Error, Resolver, Scorers};

use crate::running::{LONG, Running, answering, page, repeat_until, until};

/// What is found, or why nothing is.
type Found = Result<Vec<SocketAddr>, &'static str>;

/// Finds what a test wants.
#[derive(Clone)]
struct Names(Arc<Mutex<(Found, usize)>>);

impl Names {
    fn new(found: Found) -> Self {
        Self(Arc::new(Mutex::new((found, 0))))
    }

    /// What is found from now on; returns when the client has heard of it.
    async fn change(&self, found: Found) {
        let asked = {
            let mut names = self.0.lock().unwrap();
            names.0 = found;
            names.1
        };
        // By the second look-up, what the first one found has been taken over.
        until("it is looked up", || self.0.lock().unwrap().1 >= asked + 2).await;
    }
}

#[tonic::async_trait]
impl Resolver for Names {
    async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let mut names = self.0.lock().unwrap();
        names.1 += 1;
        names.0.clone().map_err(io::Error::other)
    }
}

fn behind(names: &Names) -> Builder {
    Scorers::builder()
        .model("movielens")
        .deadline(LONG)
        .resolver("scorers:7430", names.clone())
        .refresh_every(Duration::from_millis(10))
}

#[tokio::test]
async fn calls_go_where_the_name_points_now() {
    let (old, new) = (Running::start(1).await, Running::start(2).await);
    let names = Names::new(Ok(vec![old.address, old.address]));
    let scorers = behind(&names).build().unwrap();
    assert_eq!(answering(&scorers).await, 1);
    assert_eq!(scorers.statuses().len(), 1);

    names.change(Ok(vec![old.address, new.address])).await;
    let call = async || assert!([1, 2].contains(&answering(&scorers).await));
    repeat_until("the new one is asked", || !new.asked().is_empty(), call).await;

    names.change(Ok(vec![new.address])).await;
    let asked = old.asked().len();
    for _ in 0..20 {
        assert_eq!(answering(&scorers).await, 2);
    }
    assert_eq!(old.asked().len(), asked);
    assert_eq!(scorers.statuses().len(), 1);
}

#[tokio::test]
async fn a_name_that_is_lost_changes_nothing() {
    let server = Running::start(1).await;
    let names = Names::new(Ok(vec![server.address]));
    let scorers = behind(&names).build().unwrap();
    assert_eq!(answering(&scorers).await, 1);
    for lost in [Err("server failure"), Ok(Vec::new())] {
        names.change(lost).await;
        assert_eq!(answering(&scorers).await, 1);
    }
}

#[tokio::test]
async fn calls_wait_for_the_first_address() {
    let server = Running::start(1).await;
    let names = Names::new(Err("server failure"));
    let scorers = behind(&names).build().unwrap();
    let hurried = scorers.with_deadline(Duration::from_millis(200));
    let error = hurried.rank(&page()).await.unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }));
    assert_eq!(
        error.to_string(),
        "no scorer is ready: looking up `scorers:7430`: server failure (no scorer was asked)"
    );
    let call = page();
    let (ranked, ()) = tokio::join!(scorers.rank(&call), names.change(Ok(vec![server.address])));
    assert_eq!(ranked.unwrap().served_by.version, 1);
}

#[tokio::test]
async fn the_system_looks_names_up() {
    let server = Running::start(1).await;
    let scorers = Scorers::builder()
        .model("movielens")
        .deadline(LONG)
        .dns(format!("localhost:{}", server.address.port()))
        .build()
        .unwrap();
    assert_eq!(answering(&scorers).await, 1);
}

#[tokio::test]
async fn the_last_clone_that_is_dropped_ends_the_tasks() {
    let server = Running::start(1).await;
    let names = Names::new(Ok(vec![server.address]));
    let scorers = behind(&names).build().unwrap();
    let clone = scorers.with_deadline(Duration::from_secs(1));
    drop(scorers);
    answering(&clone).await;
    assert_eq!(Arc::strong_count(&names.0), 2);
    drop(clone);
    until("the resolver is dropped", || {
        Arc::strong_count(&names.0) == 1
    })
    .await;
}
