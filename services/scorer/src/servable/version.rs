//! A loaded version.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decant_features::{Catalog, Encoded, Rows, Schema};
use decant_inference::{CatalogSession, Error, Picked, Plan, Session};
use decant_model::{Arm, Digest, ModelName};

use super::statistics::{ComputeTimes, Statistics};
use crate::metrics::{ArmMeter, VersionMeter};
use crate::scoring::Costs;

/// A version that has been verified, replayed and warmed up. It never changes.
pub(crate) struct Servable {
    digest: Digest,
    schema: Schema,
    items: Option<Items>,
    /// One for each worker, so that no lock is ever waited for.
    sessions: Box<[Mutex<Session>]>,
    /// What these have a few rows computed by.
    plan: Option<Arc<Plan>>,
    /// What its rows cost, as far as was seen.
    costs: Costs,
    load_times: LoadTimes,
    /// Of its model, whatever its slot and version.
    model: u64,
    /// Unlike that of any other in this process, the same version loaded again included.
    id: u64,
    statistics: Statistics,
    meter: VersionMeter,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The catalog, encoded once.
pub(crate) struct Items {
    catalog: Catalog,
    encoded: Encoded,
    /// One for each worker, where what the graph computes of items alone was computed once; else none.
    sessions: Box<[Mutex<CatalogSession>]>,
}

/// How long each step of loading took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoadTimes {
    /// Fetching the bundle, verifying its digests, reading its files.
    pub(crate) fetch: Duration,
    /// Building the sessions.
    pub(crate) open: Duration,
    /// Replaying the golden vectors.
    pub(crate) replay: Duration,
    /// Encoding the catalog and warming up.
    pub(crate) warm_up: Duration,
}

impl Items {
    pub(super) fn new(catalog: Catalog, encoded: Encoded) -> Self {
        Self {
            catalog,
            encoded,
            sessions: Box::default(),
        }
    }

    /// The same with sessions, one for each worker, on what the graph computes of these items and a query.
    pub(super) fn with_sessions(self, sessions: Vec<CatalogSession>) -> Self {
        let sessions = sessions.into_iter().map(Mutex::new).collect();
        Self { sessions, ..self }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(crate) fn encoded(&self) -> &Encoded {
        &self.encoded
    }
}

impl Servable {
    pub(super) fn new(
        digest: Digest,
        schema: Schema,
        items: Option<Items>,
        sessions: Vec<Session>,
        costs: Costs,
        load_times: LoadTimes,
        meter: VersionMeter,
    ) -> Self {
        let plan = sessions.first().and_then(Session::planned).cloned();
        let sessions = sessions.into_iter().map(Mutex::new).collect();
        Self {
            plan,
            digest,
            schema,
            items,
            sessions,
            costs,
            load_times,
            model: number(&meter.place().model),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            statistics: Statistics::default(),
            meter,
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The catalog; `None` when the version came without one.
    pub(crate) fn items(&self) -> Option<&Items> {
        self.items.as_ref()
    }

    pub(crate) fn load_times(&self) -> LoadTimes {
        self.load_times
    }

    /// What its requests share with those of other versions of its model.
    pub(crate) fn model(&self) -> u64 {
        self.model
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether it computes so many rows in less time than it takes to have a worker do it.
    pub(crate) fn is_quick(&self, query_rows: usize, item_rows: usize) -> bool {
        let plan = self.plan.as_ref();
        plan.is_some_and(|plan| plan.is_quick(query_rows, item_rows))
    }

    /// Computes on a worker's own session; see [`Session::compute`].
    pub(crate) fn compute(
        &self,
        worker: usize,
        query: Rows<'_>,
        item: Rows<'_>,
        scores: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let session = &self.sessions[worker % self.sessions.len()];
        // A session keeps nothing of ours between calls that a panic could have left half-done.
        session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .compute(query, item, scores)
    }

    /// Scores items of the catalog against the query's only row, on what a worker has of its own. Where nothing of the items was
    /// computed beforehand, `rows` is room for what is known of them.
    pub(crate) fn compute_items(
        &self,
        worker: usize,
        query: Rows<'_>,
        items: &Items,
        picked: Picked<'_>,
        rows: &mut Encoded,
        scores: &mut Vec<f32>,
    ) -> Result<(), Error> {
        if let Some(session) = items.sessions.get(worker % items.sessions.len().max(1)) {
            // As with the other sessions.
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            return session.compute(query, picked, scores);
        }
        match picked {
            Picked::Range(range) => self.compute(worker, query, items.encoded.range(range), scores),
            Picked::Rows(picked) => {
                rows.extend(&items.encoded, picked.iter().copied());
                self.compute(worker, query, Rows::from(&*rows), scores)
            }
        }
    }

    /// What its rows cost lately.
    pub(crate) fn costs(&self) -> &Costs {
        &self.costs
    }

    /// What it was asked; calls are counted when they end.
    pub(crate) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// What it measures in this part.
    pub(crate) fn meter(&self, arm: Arm) -> &ArmMeter {
        self.meter.arm(arm)
    }

    /// A batch of it was computed, whatever becomes of the batch's requests.
    pub(crate) fn record_batch(&self, rows: usize, times: ComputeTimes) {
        self.statistics.record_batch(rows, times);
        self.meter.batch(rows);
    }

    pub(crate) fn answered(&self) -> u64 {
        self.statistics.answered()
    }
}

/// A model, as short as a version's number.
fn number(model: &ModelName) -> u64 {
    let mut hasher = DefaultHasher::new();
    model.hash(&mut hasher);
    hasher.finish()
}
