//! One member keeps the contract. Each promise has its own, since one test of nextest is one process.

use std::sync::Arc;

use decant_coordination::testing::Etcd;
use decant_coordination::{EtcdStore, MetaStore, Prefix, contract};

fn scratch() -> Prefix {
    Prefix::new("/decant/test/")
}

macro_rules! keeps_the_contract {
    ($($promise:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let etcd = Etcd::single().await;
            let store = EtcdStore::connect(&etcd.config()).await.unwrap();
            contract::$promise(&store, &scratch()).await;
        }
    )*};
}

keeps_the_contract!(
    revisions_grow,
    lists_are_exact,
    transactions_are_atomic,
    nothing_done_takes_no_revision,
    one_racer_wins,
    limits_hold,
    epochs_fence,
    pages_are_whole,
    identity_is_stable,
    leases_expire,
    leases_are_kept_alive,
    a_lease_can_be_revoked,
    a_lost_lease_is_refused,
    the_last_put_binds_a_key,
    watches_miss_nothing,
    watches_resume,
    watchers_agree,
);

#[tokio::test]
async fn compaction_is_reported() {
    let etcd = Etcd::single().await;
    let store = EtcdStore::connect(&etcd.config()).await.unwrap();
    let compact = async || {
        let head = store.identity().await.unwrap().revision;
        let noise = decant_coordination::Txn::new()
            .put(decant_coordination::Key::new("/decant/noise"), "1");
        store.commit(noise).await.unwrap();
        etcd.compact(head.next()).await;
    };
    contract::compaction_is_reported(&store, &scratch(), compact).await;
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let etcd = tokio::sync::Mutex::new(Etcd::single().await);
    let open = async || {
        let mut etcd = etcd.lock().await;
        etcd.kill(0);
        etcd.restart(0);
        etcd.healthy().await;
        let store = EtcdStore::connect(&etcd.config()).await.unwrap();
        Arc::new(store) as Arc<dyn MetaStore>
    };
    contract::reopening_keeps_everything(&scratch(), open).await;
}
