//! From a bundle to a servable, step by step. The first step that fails ends it.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use decant_artifact::{Bundle, check_signer};
use decant_features::{Catalog, Encoded, Schema, Side};
use decant_inference::{Golden, Graph, Picked, Plan, Precomputed, Runtime, Session, Widths};
use decant_model::{BundlePath, Digest, Manifest, file};
use thiserror::Error;

use super::bundles::{BundleError, Bundles};
use super::manager::{Load, Manager};
use super::memory::{Room, copied, encoded_beyond, footprint, most_computed};
use super::quarantine::Quarantine;
use super::version::Items;
use super::warm_up::{last_ids, measure_catalog, warm_up};
use super::{LoadTimes, Servable};
use crate::metrics::Meters;
use crate::scoring::{Cost, Costs};

/// Log targets that checks of the order of events read: a version's bytes are verified before a session sees them.
const VERIFIED: &str = "decant::verified";
const OPENED: &str = "decant::opened";

/// Why a version is not served.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// A step failed.
    #[error("{step}: {reason}")]
    Step {
        /// Which.
        step: Step,
        /// Why.
        reason: String,
        /// Whether the same bytes would fail again.
        lasts: bool,
    },
    /// The version is not wanted any more.
    #[error("superseded")]
    Superseded,
    /// A fault of ours, or of a library.
    #[error("a step panicked; the scorer's log says where")]
    Panicked,
}

/// The steps of loading, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Getting the bundle's bytes, and comparing them with the digests.
    Fetch,
    /// Finding room in memory for what the bundle will take.
    Memory,
    /// One of the slot's signers vouches for the bundle.
    Signature,
    /// The bundle is one of this model's.
    Manifest,
    /// Reading `features.json`.
    Features,
    /// Reading `catalog.arrow`, and encoding it.
    Catalog,
    /// Reading `golden.json`.
    Golden,
    /// Opening the graph, once for each worker.
    Open,
    /// The graph takes what the schema encodes.
    Layout,
    /// Replaying the golden vectors.
    Replay,
    /// Scoring rows of the sizes that requests will have.
    WarmUp,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Step::Fetch => "fetching and verifying the bundle",
            Step::Memory => "finding room in memory",
            Step::Signature => "checking the signature",
            Step::Manifest => "checking manifest.json",
            Step::Features => "reading features.json",
            Step::Catalog => "reading catalog.arrow",
            Step::Golden => "reading golden.json",
            Step::Open => "opening model.onnx",
            Step::Layout => "comparing model.onnx with features.json",
            Step::Replay => "replaying golden.json",
            Step::WarmUp => "warming up",
        })
    }
}

impl Step {
    /// Once the bytes are here and right, what fails is up to them and to this machine.
    fn failed(self, reason: impl fmt::Display) -> LoadError {
        LoadError::Step {
            step: self,
            reason: reason.to_string(),
            lasts: true,
        }
    }
}

impl LoadError {
    /// Whether the same will happen at the next try, as far as anybody can tell.
    pub(crate) fn lasts(&self) -> bool {
        match self {
            LoadError::Step { lasts, .. } => *lasts,
            LoadError::Superseded | LoadError::Panicked => false,
        }
    }

    /// There is no room; `lasts` says whether there never will be.
    pub(super) fn no_room(reason: String, lasts: bool) -> Self {
        LoadError::Step {
            step: Step::Memory,
            reason,
            lasts,
        }
    }

    /// A fetch fails for good only where the stored bytes are at fault.
    fn fetch(reason: impl fmt::Display, lasts: bool) -> Self {
        LoadError::Step {
            step: Step::Fetch,
            reason: reason.to_string(),
            lasts,
        }
    }
}

/// What loading needs besides the version's name.
pub(crate) struct Loading {
    pub(crate) runtime: Runtime,
    pub(crate) bundles: Bundles,
    pub(crate) quarantine: Quarantine,
    /// How many sessions to open.
    pub(crate) workers: NonZeroUsize,
    /// How far from its golden scores a version may be here, whatever its bundle allows.
    pub(crate) max_golden_tolerance: f32,
    /// What versions that are loaded count with.
    pub(crate) meters: Meters,
}

impl Loading {
    /// Loads a version. Between any two steps it looks whether the version is still wanted. Before anything is fetched, and again
    /// before anything is read into memory, the manager is asked for room.
    ///
    /// A session is opened only after the digest of every byte was compared and the signature was checked. Both are told to
    /// the log under the target `decant::verified`, and the opening under `decant::opened`, in the order in which they happen.
    ///
    /// # Errors
    /// Names the step that failed, or says that the version is not wanted any more.
    pub(crate) async fn load(&self, load: &Load, manager: &Manager) -> Result<Servable, LoadError> {
        let digest = load.prepared.digest;
        let mut room = Room::new(manager, load);
        let mut times = LoadTimes::default();
        let mut clock = Clock::start(load);

        let files = tokio::select! {
            files = self.fetch(load, manager.pinned(), &mut room) => files?,
            () = load.superseded.wait() => return Err(LoadError::Superseded),
        };
        let opening = self.quarantine.enter(digest, SystemTime::now());
        let _opening = opening.map_err(|reason| Step::Open.failed(reason))?;
        if files.manifest.model != load.place.model {
            let (found, wanted) = (&files.manifest.model, &load.place.model);
            return Err(Step::Manifest.failed(format!(
                "it is a version of model `{found}`, not of `{wanted}`"
            )));
        }
        let schema =
            Schema::from_json(&files.features).map_err(|error| Step::Features.failed(error))?;
        let mut golden =
            Golden::from_json(&files.golden).map_err(|error| Step::Golden.failed(error))?;
        golden.tolerance = golden.tolerance.min(self.max_golden_tolerance);
        let items = files
            .catalog
            .as_deref()
            .map(|bytes| {
                let catalog = read_catalog(bytes)?;
                let layout = &schema.layout().item;
                room.take(encoded_beyond(&files.manifest, layout, catalog.len()))?;
                encode_catalog(catalog, &schema)
            })
            .transpose()?;
        times.fetch = clock.lap()?;

        tracing::info!(target: OPENED, %digest, sessions = self.workers, "opening");
        let graph = Graph::read(&self.runtime, files.model.clone());
        let graph = graph.map_err(|error| Step::Open.failed(error))?;
        room.take(copied(&graph, self.workers))?;
        let mut sessions = Vec::with_capacity(self.workers.get());
        for _ in 0..self.workers.get() {
            let session = graph.open();
            sessions.push(session.map_err(|error| Step::Open.failed(error))?);
            clock.check()?;
        }
        times.open = clock.lap()?;

        for session in &mut sessions {
            check_layout(&schema, session)?;
            golden
                .replay(session)
                .map_err(|error| Step::Replay.failed(error))?;
            clock.check()?;
        }
        plan(&graph, &mut sessions, &golden);
        times.replay = clock.lap()?;

        let query = last_ids(&schema.layout().query);
        let mut costs = None;
        for session in &mut sessions {
            let warm = warm_up(session, &query, items.as_ref());
            costs = Some(warm.map_err(|error| Step::WarmUp.failed(error))?);
            clock.check()?;
        }
        let items = items.map(|items| {
            let most_bytes = most_computed(&files.manifest);
            precompute(
                items,
                &graph,
                &mut sessions,
                &query,
                most_bytes,
                golden.tolerance,
            )
        });
        times.warm_up = clock.lap()?;
        let costs = costs.unwrap_or_else(|| Costs::alike(Cost::measured(1, times.warm_up)));
        let version = load.prepared.version;
        let meter = self.meters.version(&load.place, version);
        let servable = Servable::new(digest, schema, items, sessions, costs, times, meter);
        measure_catalog(&servable, &query).map_err(|error| Step::WarmUp.failed(error))?;
        Ok(servable)
    }

    /// Every byte has been compared with its digest, and somebody who may has vouched for them, when this returns.
    async fn fetch(
        &self,
        load: &Load,
        pinned: BTreeSet<Digest>,
        room: &mut Room<'_>,
    ) -> Result<Files, LoadError> {
        let digest = load.prepared.digest;
        let failed = |error: BundleError| LoadError::fetch(&error, error.is_corruption());
        let found = self.bundles.find(digest, pinned).await.map_err(failed)?;
        let bytes = footprint(found.bundle().manifest(), self.workers);
        room.check(bytes)?;
        let bundle = self.bundles.bring(found).await.map_err(failed)?;
        room.take(bytes)?;
        let files = Files::read(&bundle).await?;
        check_signer(&bundle, &load.signers).map_err(|error| Step::Signature.failed(error))?;
        let signer = bundle.signature().map(|signature| signature.key);
        tracing::info!(target: VERIFIED, %digest, ?signer, required = !load.signers.is_empty(), "verified");
        Ok(files)
    }
}

/// A bundle's files, read and verified.
struct Files {
    manifest: Manifest,
    model: Bytes,
    features: Bytes,
    golden: Bytes,
    catalog: Option<Bytes>,
}

/// Measures steps, and ends the load of a version that nobody wants any more.
struct Clock<'a> {
    load: &'a Load,
    step_began: Instant,
}

impl<'a> Clock<'a> {
    fn start(load: &'a Load) -> Self {
        Self {
            load,
            step_began: Instant::now(),
        }
    }

    fn lap(&mut self) -> Result<Duration, LoadError> {
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.step_began, now);
        self.check().map(|()| took)
    }

    fn check(&self) -> Result<(), LoadError> {
        if self.load.superseded.is_set() {
            Err(LoadError::Superseded)
        } else {
            Ok(())
        }
    }
}

fn read_catalog(bytes: &[u8]) -> Result<Catalog, LoadError> {
    let catalog = Catalog::from_arrow(bytes).map_err(|error| Step::Catalog.failed(error))?;
    if catalog.is_empty() {
        return Err(Step::Catalog.failed("it has no item"));
    }
    Ok(catalog)
}

fn encode_catalog(catalog: Catalog, schema: &Schema) -> Result<Items, LoadError> {
    let encoded = schema
        .encode(Side::Item, catalog.columns())
        .map_err(|error| Step::Catalog.failed(error))?;
    Ok(Items::new(catalog, encoded))
}

/// The graph must take rows as wide as the schema makes them, and know every id that the schema gives out: an id beyond
/// its table would fail in the middle of a request.
fn check_layout(schema: &Schema, session: &mut Session) -> Result<(), LoadError> {
    let layout = schema.layout();
    let expected = Widths {
        query_slots: layout.query.slots,
        query_dense: layout.query.dense.len(),
        item_slots: layout.item.slots,
        item_dense: layout.item.dense.len(),
    };
    let found = session.widths();
    if found != expected {
        return Err(Step::Layout.failed(format!(
            "the schema encodes {expected:?}, but the graph takes {found:?}"
        )));
    }
    let (query, item) = (last_ids(&layout.query), last_ids(&layout.item));
    let scored = session.score(&query, &item, &mut Vec::new());
    scored.map_err(|error| {
        Step::Layout.failed(format!("the graph fails on the schema's last ids: {error}"))
    })
}

/// Has a few rows computed without ONNX Runtime, where that is known to come to the same.
fn plan(graph: &Graph, sessions: &mut [Session], golden: &Golden) {
    let Some(session) = sessions.first_mut() else {
        return;
    };
    match Plan::find(graph, session, golden) {
        Ok(Some(plan)) => {
            tracing::info!(?plan, "a few rows are computed by a plan");
            sessions.iter_mut().for_each(|session| session.plan(&plan));
        }
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, "a few rows are computed by ONNX Runtime, as many are");
        }
    }
}

/// Computes once what the graph computes of each item alone, if it has such a part; the rest is then all that a request which
/// names items takes. A version of which that cannot be had is served without.
fn precompute(
    items: Items,
    graph: &Graph,
    sessions: &mut [Session],
    query: &Encoded,
    most_bytes: u64,
    tolerance: f32,
) -> Items {
    let Some(session) = sessions.first_mut() else {
        return items;
    };
    let encoded = items.encoded();
    let computed =
        Precomputed::compute(graph, session, query.into(), encoded, most_bytes, tolerance);
    let opened = computed.and_then(|computed| {
        let Some(computed) = computed else {
            return Ok(Vec::new());
        };
        let mut opened = Vec::with_capacity(sessions.len());
        for _ in 0..sessions.len() {
            let mut session = computed.open()?;
            let all = Picked::Range(0..encoded.rows);
            session.compute(query.into(), all, &mut Vec::new())?;
            opened.push(session);
        }
        tracing::info!(
            bytes = computed.bytes(),
            "the items' part of the graph is computed"
        );
        Ok(opened)
    });
    match opened {
        Ok(opened) => items.with_sessions(opened),
        Err(error) => {
            tracing::warn!(%error, "the items' part of the graph is computed with each request");
            items
        }
    }
}

impl Files {
    /// Every byte has been compared with its digest when this returns.
    async fn read(bundle: &Bundle) -> Result<Self, LoadError> {
        Ok(Self {
            model: read(bundle, file::MODEL).await?,
            features: read(bundle, file::FEATURES).await?,
            golden: read(bundle, file::GOLDEN).await?,
            catalog: match bundle.manifest().file(file::CATALOG) {
                Some(_) => Some(read(bundle, file::CATALOG).await?),
                None => None,
            },
            manifest: bundle.manifest().clone(),
        })
    }
}

async fn read(bundle: &Bundle, name: &str) -> Result<Bytes, LoadError> {
    let path: BundlePath = name.parse().map_err(|error| Step::Fetch.failed(error))?;
    let read = bundle.read_file(&path).await;
    read.map_err(|error| LoadError::fetch(&error, error.is_corruption()))
}

#[cfg(test)]
mod tests;
