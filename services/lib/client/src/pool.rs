//! The scorers with their connections, shared by calls and by the tasks that look after them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout_at;
use tonic::transport::Channel;

use crate::balance::{Balancer, Budget, Change, Failure, Key, Outcome, Picked, ScorerStatus};
use crate::connect::{Address, Connector};

/// A silence shorter than this is the network's or the scheduler's, and no scorer is blamed for it.
const SHORTEST_SILENCE: Duration = Duration::from_millis(5);

/// The scorers of one client.
pub(crate) struct Pool {
    state: Mutex<State>,
    connector: Connector,
    /// Addresses were found, or could not be.
    resolved: Notify,
    /// A scorer was ejected, and so a probe will be due.
    ejected: Notify,
    /// A connection broke, so that the addresses may be old.
    broken: Notify,
}

struct State {
    balancer: Balancer<Channel>,
    budget: Budget,
    /// Why no scorer is known, while that is so.
    unresolved: String,
}

impl Pool {
    pub(crate) fn new(connector: Connector, retry_share: f64) -> Self {
        Self {
            state: Mutex::new(State {
                balancer: Balancer::default(),
                budget: Budget::new(retry_share, Instant::now()),
                unresolved: "their addresses are still being looked up".to_owned(),
            }),
            connector,
            resolved: Notify::new(),
            ejected: Notify::new(),
            broken: Notify::new(),
        }
    }

    /// From now on these are the scorers. Those that were known before keep their connections, and what is known of them.
    pub(crate) fn replace(&self, addresses: &[Address]) {
        let now = Instant::now();
        let mut state = self.state();
        state
            .balancer
            .retain(|known| addresses.iter().any(|address| *address.name == *known));
        for address in addresses {
            if !state.balancer.knows(&address.name) {
                let channel = self.connector.channel(address);
                state.balancer.add(Arc::clone(&address.name), channel, now);
            }
        }
        drop(state);
        self.resolved.notify_waiters();
    }

    /// Notes that addresses could not be found; those that are known stay.
    pub(crate) fn unresolved(&self, reason: String) {
        self.state().unresolved = reason;
    }

    /// Waits until a scorer is known.
    ///
    /// # Errors
    /// Why none is, when the deadline comes first.
    pub(crate) async fn known(&self, deadline: Instant) -> Result<(), String> {
        loop {
            let resolved = self.resolved.notified();
            if !self.state().balancer.is_empty() {
                return Ok(());
            }
            if timeout_at(deadline.into(), resolved).await.is_err() {
                return Err(self.state().unresolved.clone());
            }
        }
    }

    /// Notes a new call in the budget of retries.
    pub(crate) fn begin_call(&self) {
        self.state().budget.call(Instant::now());
    }

    /// Picks a scorer for a call that has tried some; its silence is noticed after `patience`.
    pub(crate) fn pick(self: &Arc<Self>, tried: &[Key], patience: Duration) -> Option<InFlight> {
        let now = Instant::now();
        let picked = self.state().balancer.pick(tried, now, &mut rand::rng())?;
        Some(self.in_flight(picked, now, patience))
    }

    /// Picks a scorer for one more attempt of a call, if the budget allows one. `ready` wants one that is in rotation and
    /// not busy.
    pub(crate) fn pick_again(
        self: &Arc<Self>,
        tried: &[Key],
        patience: Duration,
        ready: bool,
    ) -> Again {
        let now = Instant::now();
        let mut state = self.state();
        if !state.budget.allows(now) {
            return Again::Forbidden;
        }
        let random = &mut rand::rng();
        let picked = if ready {
            state.balancer.pick_ready(tried, now, random)
        } else {
            state.balancer.pick(tried, now, random)
        };
        let Some(picked) = picked else {
            return Again::NobodyLeft;
        };
        state.budget.withdraw();
        Again::Ask(self.in_flight(picked, now, patience))
    }

    /// All scorers as they are seen now.
    pub(crate) fn statuses(&self) -> Vec<ScorerStatus> {
        self.state().balancer.statuses()
    }

    /// Waits for a scorer to be ejected.
    pub(crate) async fn ejection(&self) {
        self.ejected.notified().await;
    }

    /// Waits for a connection to break.
    pub(crate) async fn breakage(&self) {
        self.broken.notified().await;
    }

    /// When the next probe is due.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        self.state().balancer.probe_at()
    }

    /// The scorers that are to be probed now.
    pub(crate) fn begin_probes(&self) -> Vec<(Key, Channel)> {
        self.state().balancer.begin_probes(Instant::now())
    }

    /// Notes what a probe found.
    pub(crate) fn probed(&self, key: Key, passed: bool) {
        let (now, random) = (Instant::now(), &mut rand::rng());
        let change = self.state().balancer.probed(key, passed, now, random);
        self.tell(change);
    }

    fn finish(&self, key: Key, began: Instant, outcome: Outcome) {
        let (now, random) = (Instant::now(), &mut rand::rng());
        let change = self
            .state()
            .balancer
            .finish(key, began, outcome, now, random);
        self.tell(change);
    }

    fn tell(&self, change: Option<Change>) {
        match change {
            None => {}
            Some(Change::Readmitted { address }) => {
                tracing::info!(scorer = %address, "scorer is back in rotation");
            }
            Some(Change::Ejected {
                address,
                failure,
                length,
            }) => {
                tracing::warn!(scorer = %address, ?failure, ?length, "scorer is out of rotation");
                self.ejected.notify_one();
                if failure == Failure::Broken {
                    self.broken.notify_one();
                }
            }
        }
    }

    fn in_flight(
        self: &Arc<Self>,
        picked: Picked<Channel>,
        began: Instant,
        patience: Duration,
    ) -> InFlight {
        InFlight {
            pool: Arc::clone(self),
            picked,
            began,
            patience: patience.max(SHORTEST_SILENCE),
            told: false,
        }
    }

    /// Nothing is left half-changed where a panic could come from, so a panic elsewhere does not spoil the state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is to be one more attempt.
pub(crate) enum Again {
    /// With this scorer.
    Ask(InFlight),
    /// Every scorer has been tried.
    NobodyLeft,
    /// There were too many retries of late.
    Forbidden,
}

/// A call in flight at a scorer. However it ends, also when its future is dropped, the scorer's account is settled.
pub(crate) struct InFlight {
    pool: Arc<Pool>,
    picked: Picked<Channel>,
    began: Instant,
    patience: Duration,
    told: bool,
}

impl InFlight {
    pub(crate) fn key(&self) -> Key {
        self.picked.key
    }

    pub(crate) fn address(&self) -> &Arc<str> {
        &self.picked.address
    }

    pub(crate) fn channel(&self) -> Channel {
        self.picked.connection.clone()
    }

    /// Tells what came of it.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    /// It ends without an answer. That is held against the scorer if it had the time for one, whoever gave up: the
    /// deadline, a caller with a shorter one of its own, or a call that another scorer has answered meanwhile.
    fn give_up(&mut self) {
        let outcome = if self.began.elapsed() >= self.patience {
            Outcome::Failed(Failure::Silent)
        } else {
            Outcome::Abandoned
        };
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        self.told = true;
        self.pool.finish(self.picked.key, self.began, outcome);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.told {
            self.give_up();
        }
    }
}
