//! What the registry sees of this scorer: that it lives, and what it makes of each slot. All of it is bound to a lease, and
//! so goes when the scorer does. Serving never depends on any of it.

mod identity;
mod ledger;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use decant_coordination::keys::{
    self, ObservedKey, ObservedRecord, RecordError, ScorerKey, ScorerRecord,
};
use decant_coordination::{
    Expect, Key, Keyspace, LeaseId, LeaseKeeper, MetaStore, Revision, StoreError, Txn,
};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use self::identity::Identity;
use self::ledger::Ledger;
use crate::servable::Observed;

/// How long to wait before what failed is tried again, and before a name that is taken is asked for again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How long giving the lease back may take; it expires by itself.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// Keeps a lease until it is told to stop, and then gives it back, so that the scorer's keys go at once.
pub(crate) async fn keep_lease(keeper: LeaseKeeper, stop: CancellationToken) -> Result<(), String> {
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(GIVE_BACK).await;
    };
    tokio::select! {
        () = keeper.run(stop.clone()) => {}
        () = too_late => tracing::warn!("the lease was not given back in time; it expires by itself"),
    }
    Ok(())
}

/// Keeps the scorer's keys as they should be.
pub(crate) struct Membership {
    store: Arc<dyn MetaStore>,
    keyspace: Keyspace,
    identity: Identity,
    /// Under which lease the scorer's own key was written, and when.
    registered: Option<(LeaseId, Revision)>,
    /// Whether this process has been registered at all.
    was_registered: bool,
    ledger: Ledger,
    /// The last trouble, so that it is logged once.
    trouble: Option<String>,
}

/// Why the registry does not see this scorer as it is.
#[derive(Debug, Error)]
enum Trouble {
    #[error(
        "the name {name} is taken by the live process {boot_id} at `{address}`: this scorer serves, but is not seen before that one's lease ends"
    )]
    NameTaken {
        name: String,
        boot_id: String,
        address: String,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Membership {
    pub(crate) fn new(store: Arc<dyn MetaStore>, keyspace: Keyspace, identity: Identity) -> Self {
        Self {
            store,
            keyspace,
            identity,
            registered: None,
            was_registered: false,
            ledger: Ledger::default(),
            trouble: None,
        }
    }

    /// Writes what differs from what was written, under the lease of the time, until it is told to stop. While there is no
    /// lease or no store, it waits for them.
    pub(crate) async fn run(
        mut self,
        mut leases: watch::Receiver<Option<LeaseId>>,
        mut observed: watch::Receiver<Observed>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        loop {
            let lease = *leases.borrow_and_update();
            let now = observed.borrow_and_update().clone();
            let done = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                done = self.bring_up_to_date(lease, &now) => done,
            };
            let try_again = self.note(done);
            let gone = |_| "the lease's keeper or the manager is gone".to_owned();
            tokio::select! {
                // First, as the keeper goes at the same time.
                biased;
                () = stop.cancelled() => return Ok(()),
                changed = leases.changed() => changed.map_err(gone)?,
                changed = observed.changed() => changed.map_err(gone)?,
                () = tokio::time::sleep(TRY_AGAIN), if try_again => {}
            }
        }
    }

    /// Logs what is new; true when there is something left to do.
    fn note(&mut self, done: Result<(), Trouble>) -> bool {
        let trouble = done.err().map(|error| error.to_string());
        if trouble != self.trouble {
            match &trouble {
                Some(trouble) => {
                    tracing::warn!(%trouble, "the registry does not see this scorer as it is")
                }
                None => tracing::info!("the registry sees this scorer as it is"),
            }
            self.trouble = trouble;
        }
        self.trouble.is_some()
    }

    async fn bring_up_to_date(
        &mut self,
        lease: Option<LeaseId>,
        observed: &Observed,
    ) -> Result<(), Trouble> {
        // Without a lease nobody can be told anything; the next one, or the same after a time of doubt, begins anew.
        let Some(lease) = lease else {
            self.registered = None;
            return Ok(());
        };
        let wanted = self.records(observed)?;
        let revision = match self.registered {
            Some((under, revision)) if under == lease => revision,
            _ => self.register(lease).await?,
        };
        let written = self.write(lease, revision, &wanted).await;
        if written.is_err() {
            // Somebody else's hand, a lost lease, or no answer: begin from what the store says.
            self.registered = None;
        }
        Ok(written?)
    }

    /// Writes the scorer's own key, unless a live process has it.
    async fn register(&mut self, lease: LeaseId) -> Result<Revision, Trouble> {
        self.registered = None;
        self.ledger = Ledger::default();
        let scorer = self.scorer();
        let key = self.keyspace.key(&scorer);
        let found = self.store.get(&key).await?;
        if let Some(entry) = &found {
            let (_, record) = self.keyspace.read::<ScorerKey>(entry)?;
            if !self.may_replace(&record) {
                return Err(Trouble::NameTaken {
                    name: self.identity.name.to_string(),
                    boot_id: record.boot_id,
                    address: record.address,
                });
            }
        }
        let value = keys::encode(&scorer, &self.identity.record)?;
        let txn = Txn::new()
            .expect(key.clone(), Expect::unchanged(found.as_ref()))
            .put_leased(key, value, lease);
        let revision = self.store.commit(txn).await?;
        tracing::info!(scorer = %self.identity.name, lease = format!("{:x}", lease.0), "registered");
        self.registered = Some((lease, revision));
        self.was_registered = true;
        Ok(revision)
    }

    /// Whether a record under this scorer's name is its own, or one that a process left which is gone for sure: two cannot
    /// have one address. If they say so all the same, the later one wins once, and not each in turn.
    fn may_replace(&self, found: &ScorerRecord) -> bool {
        let own = &self.identity.record;
        let is_predecessor = !own.address.is_empty() && found.address == own.address;
        found.boot_id == own.boot_id || (is_predecessor && !self.was_registered)
    }

    /// Writes what differs, as long as the scorer's own key is the one that was written.
    async fn write(
        &mut self,
        lease: LeaseId,
        registered: Revision,
        wanted: &BTreeMap<Key, Bytes>,
    ) -> Result<(), StoreError> {
        let own = self.keyspace.key(&self.scorer());
        for part in self.ledger.changes(wanted) {
            let txn = Txn::new().expect(own.clone(), Expect::WrittenAt(registered));
            self.store.commit(part.add_to(txn, lease)).await?;
            self.ledger.note(part);
        }
        Ok(())
    }

    fn scorer(&self) -> ScorerKey {
        ScorerKey {
            scorer: self.identity.name.clone(),
        }
    }

    fn records(&self, observed: &Observed) -> Result<BTreeMap<Key, Bytes>, RecordError> {
        let record =
            |(place, state): (&crate::servable::Place, &crate::servable::ObservedPlace)| {
                let key = ObservedKey {
                    model: place.model.clone(),
                    slot: place.slot.clone(),
                    scorer: self.identity.name.clone(),
                };
                let record = ObservedRecord {
                    boot_id: self.identity.record.boot_id.clone(),
                    generation: state.generation,
                    serving: state.serving,
                    versions: state.versions.clone(),
                    frozen: observed.frozen.clone(),
                };
                Ok((self.keyspace.key(&key), keys::encode(&key, &record)?))
            };
        observed.places.iter().map(record).collect()
    }
}
