//! What the registry does by itself, so that what was begun is brought to its end whoever died meanwhile. Every replica
//! stands for election; the one that leads runs the reconcilers, and each of their transactions is fenced by its epoch.
//!
//! A reconciler takes no input: it looks at the store, does what is to be done, and doing it twice does no harm. It runs
//! when what it looks at changes, and every so often.

mod activate;
mod refusals;
mod rollouts;
mod finish;

use decant_chassis::client::Caller;
use decant_coordination::Epoch;
use tokio::sync::watch;
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::records::Records;
use crate::rollout::{Rollouts, Slots};

use activate::Activation;
use finish::Finishing;
use rollouts::Rolling;

/// What the reconcilers work with.
#[derive(Clone)]
pub(crate) struct Reconcilers {
    pub(crate) records: Records,
    pub(crate) slots: Slots,
    pub(crate) rollouts: Rollouts,
    pub(crate) admission: Admission,
    pub(crate) cluster: Cluster,
    pub(crate) metrics: Metrics,
    /// By whom scorers are asked.
    pub(crate) caller: Caller,
    /// How the leader names itself.
    pub(crate) actor: String,
    /// How often they run if nothing changes.
    pub(crate) interval: Duration,
    /// How often rollouts are looked at if nothing changes.
    pub(crate) rollout_interval: Duration,
    /// How long a version may stay where it is before it is thought abandoned.
    pub(crate) abandoned_after: Duration,
}

impl Reconcilers {
    /// Runs the reconcilers whenever this replica leads.
    pub(crate) async fn run(
        self,
        mut epochs: watch::Receiver<Option<Epoch>>,
        stop: CancellationToken,
    ) {
        loop {
            let epoch = epochs.borrow_and_update().clone();
            let term = async {
                match &epoch {
                    Some(epoch) => self.term(epoch).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = epochs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = term => {}
            }
        }
    }

    /// One term of leading. It ends by being dropped; what is under way then is kept from being done by its fence.
    async fn term(&self, epoch: &Epoch) {
        let _leading = self.metrics.lead();
        let finishing = Finishing::new(self.clone(), epoch.clone());
        let activation = Activation::new(self.clone(), epoch.clone());
        let rolling = Rolling::new(self.clone(), epoch.clone());
        tokio::join!(finishing.run(), activation.run(), Box::pin(rolling.run()));
    }
}
