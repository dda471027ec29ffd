use super::*;
use crate::flaky::{Faults, Flaky, flaky};
use crate::{Key, Txn};

const TTL: Duration = Duration::from_secs(15);

fn keeper(store: &Arc<Flaky>) -> LeaseKeeper {
    LeaseKeeper::new(Arc::clone(store) as Arc<dyn MetaStore>, TTL)
}

/// Runs something beside a keeper, then stops it.
async fn beside<T>(
    keeper: LeaseKeeper,
    work: impl AsyncFnOnce(watch::Receiver<Option<LeaseId>>) -> T,
) -> T {
    let lease = keeper.lease();
    let stop = CancellationToken::new();
    let work = async {
        let done = work(lease).await;
        stop.cancel();
        done
    };
    tokio::join!(work, keeper.run(stop.clone())).0
}

async fn granted(lease: &mut watch::Receiver<Option<LeaseId>>) -> LeaseId {
    let granted = tokio::time::timeout(TTL * 4, lease.wait_for(Option::is_some)).await;
    granted.unwrap().unwrap().unwrap()
}

async fn doubted(lease: &mut watch::Receiver<Option<LeaseId>>) {
    let doubted = tokio::time::timeout(TTL * 4, lease.wait_for(Option::is_none)).await;
    doubted.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_lives_as_long_as_its_keeper_and_not_longer() {
    let (_folder, store) = flaky(Faults::default());
    let key = Key::new("/registration");
    beside(keeper(&store), async |mut lease| {
        let id = granted(&mut lease).await;
        let txn = Txn::new().put_leased(key.clone(), "1", id);
        store.commit(txn).await.unwrap();
        sleep(TTL * 10).await;
        assert_eq!(*lease.borrow(), Some(id));
        assert!(store.get(&key).await.unwrap().is_some());
    })
    .await;
    assert_eq!(store.get(&key).await.unwrap(), None, "it was revoked");
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_followed_by_another() {
    let (_folder, store) = flaky(Faults::default());
    beside(keeper(&store), async |mut lease| {
        let first = granted(&mut lease).await;
        store.revoke(first).await.unwrap();
        let second = lease.wait_for(|lease| lease.is_some_and(|id| id != first));
        let second = tokio::time::timeout(TTL, second).await.unwrap();
        assert!(second.is_ok());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_in_doubt_before_the_store_ends_it() {
    let (_folder, store) = flaky(Faults::default());
    beside(keeper(&store), async |mut lease| {
        let id = granted(&mut lease).await;
        let key = Key::new("/registration");
        let txn = Txn::new().put_leased(key.clone(), "1", id);
        store.commit(txn).await.unwrap();
        let embedded = store.store.lock().unwrap().clone();
        store.faults().unreachable = true;
        doubted(&mut lease).await;
        assert!(embedded.get(&key).await.unwrap().is_some());

        // It comes back in time: the same one is certain again.
        store.faults().unreachable = false;
        assert_eq!(granted(&mut lease).await, id);
        assert!(embedded.get(&key).await.unwrap().is_some());

        store.faults().unreachable = true;
        doubted(&mut lease).await;
        sleep(TTL).await;
        assert_eq!(embedded.get(&key).await.unwrap(), None, "it has expired");
        assert_eq!(*lease.borrow(), None);
        store.faults().unreachable = false;
        assert_ne!(granted(&mut lease).await, id);
    })
    .await;
}
