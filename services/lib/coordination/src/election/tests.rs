use tokio::time::timeout;

use super::*;
use crate::flaky::{Faults, Flaky, flaky};

const TTL: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

fn candidate(store: &Arc<Flaky>, name: &str) -> Election {
    let record = LeaderRecord {
        boot_id: name.to_owned(),
        address: format!("{name}:7000"),
    };
    let store = Arc::clone(store) as Arc<dyn MetaStore>;
    Election::new(store, &Keyspace::default(), &record, TTL).unwrap()
}

async fn leads(epoch: &mut watch::Receiver<Option<Epoch>>) -> Epoch {
    let leads = timeout(PATIENCE, epoch.wait_for(Option::is_some)).await;
    leads.unwrap().unwrap().clone().unwrap()
}

async fn steps_down(epoch: &mut watch::Receiver<Option<Epoch>>) {
    let follows = timeout(PATIENCE, epoch.wait_for(Option::is_none)).await;
    follows.unwrap().unwrap();
}

/// Whether a transaction of this epoch is made.
async fn may_write(store: &Flaky, epoch: &Epoch) -> bool {
    let txn = epoch.fence(Txn::new()).put(Key::new("/fenced"), "1");
    match store.commit(txn).await {
        Ok(_) => true,
        Err(StoreError::Conflict(conflict)) => {
            assert_eq!(conflict.key, Keyspace::default().key(&LeaderKey {}));
            false
        }
        Err(error) => panic!("{error}"),
    }
}

async fn leader(store: &Flaky) -> Option<LeaderRecord> {
    let key = Keyspace::default().key(&LeaderKey {});
    let entry = store.get(&key).await.unwrap()?;
    Some(keys::value::<LeaderKey>(&entry).unwrap())
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_other_takes_over_when_it_stops() {
    let (_folder, store) = flaky(Faults::default());
    let (one, other) = (candidate(&store, "one"), candidate(&store, "other"));
    let (mut one_leads, mut other_leads) = (one.epoch(), other.epoch());
    let mut somebody_leads = one.epoch();
    let (stop_one, stop_other) = (CancellationToken::new(), CancellationToken::new());
    let test = async {
        let first = leads(&mut one_leads).await;
        assert_eq!(leader(&store).await.unwrap().boot_id, "one");
        sleep(TTL * 5).await;
        assert_eq!(*other_leads.borrow(), None);
        assert_eq!(one_leads.borrow().as_ref(), Some(&first));
        assert!(may_write(&store, &first).await);

        let begin = tokio::time::Instant::now();
        stop_one.cancel();
        let second = leads(&mut other_leads).await;
        assert!(begin.elapsed() < TTL / 4, "the key went at once");
        assert!(second.revision() > first.revision());
        assert_eq!(*one_leads.borrow(), None);
        assert!(!may_write(&store, &first).await);
        assert!(may_write(&store, &second).await);
        stop_other.cancel();
    };
    let other = async {
        leads(&mut somebody_leads).await;
        other.run(stop_other.clone()).await;
    };
    tokio::join!(test, one.run(stop_one.clone()), other);
    assert_eq!(leader(&store).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_loses_its_lease_steps_down() {
    let (_folder, store) = flaky(Faults::default());
    let one = candidate(&store, "one");
    let mut epoch = one.epoch();
    let lease = one.keeper.lease();
    let stop = CancellationToken::new();
    let test = async {
        let first = leads(&mut epoch).await;
        let id = lease.borrow().unwrap();
        store.revoke(id).await.unwrap();
        let is_another =
            |epoch: &Option<Epoch>| epoch.as_ref().is_some_and(|epoch| *epoch != first);
        let second = timeout(PATIENCE, epoch.wait_for(is_another)).await.unwrap();
        let second = second.unwrap().clone().unwrap();
        assert!(second.revision() > first.revision());
        assert!(!may_write(&store, &first).await);
        assert!(may_write(&store, &second).await);
        stop.cancel();
    };
    tokio::join!(test, one.run(stop.clone()));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_steps_down_before_another_can_lead() {
    let (_folder, store) = flaky(Faults::default());
    let one = candidate(&store, "one");
    let mut epoch = one.epoch();
    let stop = CancellationToken::new();
    let test = async {
        let first = leads(&mut epoch).await;
        let embedded = store.store.lock().unwrap().clone();
        let key = Keyspace::default().key(&LeaderKey {});
        store.faults().unreachable = true;
        steps_down(&mut epoch).await;
        assert!(embedded.get(&key).await.unwrap().is_some());

        // It comes back before the store has noticed: nobody led meanwhile, so the epoch goes on.
        store.faults().unreachable = false;
        assert_eq!(leads(&mut epoch).await, first);
        assert!(may_write(&store, &first).await);
        stop.cancel();
    };
    tokio::join!(test, one.run(stop.clone()));
}

#[tokio::test(start_paused = true)]
async fn nobody_leads_by_an_older_copy_of_the_store() {
    let (folder, store) = flaky(Faults::default());
    let one = candidate(&store, "one");
    let mut epoch = one.epoch();
    let stop = CancellationToken::new();
    let test = async {
        leads(&mut epoch).await;
        *store.store.lock().unwrap() = crate::flaky::open(&folder, "another.redb");
        steps_down(&mut epoch).await;
        sleep(TTL * 10).await;
        assert_eq!(*epoch.borrow(), None);
        stop.cancel();
    };
    tokio::join!(test, one.run(stop.clone()));
}
