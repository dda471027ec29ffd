//! Standing for election, and doing what a leader does while this replica leads.

use std::sync::Arc;

use decant_coordination::Election;
use decant_coordination::keys::LeaderRecord;
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::reconcile::Reconcilers;
use crate::records::Records;

/// A replica that wants to lead.
pub(crate) struct Standing {
    pub(crate) records: Records,
    pub(crate) cluster: Cluster,
    pub(crate) reconcilers: Reconcilers,
    pub(crate) record: LeaderRecord,
    /// How long the lease lives.
    pub(crate) ttl: Duration,
}

impl Standing {
    /// Stands until it is told to stop. When another store was taken for the truth, it stands anew: an election, like all
    /// that follows a store, ends when that store goes.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), String> {
        let mut adoptions = self.cluster.adoptions();
        while !stop.is_cancelled() {
            adoptions.borrow_and_update();
            let election = Election::new(
                Arc::clone(&self.records.store),
                &self.records.keyspace,
                &self.record,
                self.ttl,
            )
            .map_err(|error| error.to_string())?;
            let until = stop.child_token();
            let reconciling = self
                .reconcilers
                .clone()
                .run(election.epoch(), until.clone());
            let adoption = async {
                // Cancelled from above, or by the adoption.
                until.run_until_cancelled(adoptions.changed()).await;
                until.cancel();
            };
            tokio::join!(election.run(until.clone()), reconciling, adoption);
        }
        Ok(())
    }
}
