//! From time to time all is listed, beside the watch that goes on. The watch may be behind the listing: only when it has
//! come as far, or had the time to, is a difference one that it would never have told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use crate::{Entry, Key, Listing, MetaStore, Prefix, Revision, StoreError, StoreIdentity};

/// How long a watch may take to come as far as a listing.
const GRACE: Duration = Duration::from_secs(2);

/// What is to be done.
pub(super) enum Step {
    /// Compare this. It was begun when the watch had told what happened up to `since`, and so is not older.
    Listed {
        since: Revision,
        listing: Listing,
        identity: StoreIdentity,
    },
    /// Nothing: it will be tried again.
    Failed(StoreError),
    /// The watch has had its time.
    Settle,
}

pub(super) struct Audit {
    every: Duration,
    stage: Stage,
    /// The last revision that the watch told.
    pub(super) seen: Revision,
}

enum Stage {
    Waiting {
        until: Instant,
    },
    Listing {
        since: Revision,
        list: BoxFuture<'static, Result<(Listing, StoreIdentity), StoreError>>,
    },
    Settling {
        until: Instant,
        revision: Revision,
        entries: BTreeMap<Key, Entry>,
    },
}

impl Audit {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            stage: Stage::waiting(every),
            seen: Revision::default(),
        }
    }

    /// A watch has just begun behind this revision.
    pub(super) fn restart(&mut self, seen: Revision) {
        self.seen = seen;
        self.stage = Stage::waiting(self.every);
    }

    /// The next step. Nothing is lost when it is dropped half-way.
    pub(super) async fn next(&mut self, store: &Arc<dyn MetaStore>, prefix: &Prefix) -> Step {
        loop {
            match &mut self.stage {
                Stage::Waiting { until } => {
                    sleep_until(*until).await;
                    let (store, prefix) = (Arc::clone(store), prefix.clone());
                    let list = async move {
                        let listing = store.list(&prefix).await?;
                        Ok((listing, store.identity().await?))
                    };
                    self.stage = Stage::Listing {
                        since: self.seen,
                        list: list.boxed(),
                    };
                }
                Stage::Listing { since, list } => {
                    let (since, listed) = (*since, list.await);
                    self.stage = Stage::waiting(self.every);
                    return match listed {
                        Ok((listing, identity)) => Step::Listed {
                            since,
                            listing,
                            identity,
                        },
                        Err(error) => Step::Failed(error),
                    };
                }
                Stage::Settling { until, .. } => {
                    sleep_until(*until).await;
                    return Step::Settle;
                }
            }
        }
    }

    /// The watch has some time to come as far as this.
    pub(super) fn settle_later(&mut self, revision: Revision, entries: BTreeMap<Key, Entry>) {
        self.stage = Stage::Settling {
            until: Instant::now() + GRACE,
            revision,
            entries,
        };
    }

    /// Whether a change at this revision is the first behind the listing that waits.
    pub(super) fn is_passed_by(&self, change: Revision) -> bool {
        matches!(&self.stage, Stage::Settling { revision, .. } if *revision < change)
    }

    /// The listing that waits.
    pub(super) fn take(&mut self) -> Option<(Revision, BTreeMap<Key, Entry>)> {
        match std::mem::replace(&mut self.stage, Stage::waiting(self.every)) {
            Stage::Settling {
                revision, entries, ..
            } => Some((revision, entries)),
            Stage::Waiting { .. } | Stage::Listing { .. } => None,
        }
    }
}

impl Stage {
    /// Not all readers of a store are to list at the same time.
    fn waiting(every: Duration) -> Self {
        let wait = every.mul_f64(rand::random_range(2.0 / 3.0..4.0 / 3.0));
        Self::Waiting {
            until: Instant::now() + wait,
        }
    }
}
