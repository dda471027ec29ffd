//! Models and versions, as they are kept in the store.

mod lineage;
mod models;
mod settings;
mod versions;

use decant_coordination::Order;
use decant_coordination::keys::{
    DigestKey, ModelKey, ModelRecord, StateKey, StateRecord, VersionKey, VersionRecord,
};
use decant_coordination::{Entry, keys};
use decant_model::{Digest, ModelName, ModelVersion};

use crate::error::CallError;
use crate::ledger::Ledger;
use crate::paging::Paging;
use crate::records::{Found, PageOf, Records};

pub(crate) use lineage::Ancestor;
pub(crate) use settings::{Settings, Update};

/// The models and versions of one cluster.
#[derive(Clone)]
pub(crate) struct Catalog {
    records: Records,
    ledger: Ledger,
}

/// A model and its name.
pub(crate) struct Model {
    pub(crate) name: ModelName,
    pub(crate) record: ModelRecord,
}

/// A version, and where it stands.
pub(crate) struct Version {
    pub(crate) model: ModelName,
    pub(crate) version: ModelVersion,
    pub(crate) record: VersionRecord,
    pub(crate) state: StateRecord,
    /// The state as it was read, for transactions that depend on it.
    pub(crate) state_entry: Entry,
}

impl Version {
    /// The version in an audit entry.
    pub(crate) fn subject(model: &ModelName, version: ModelVersion) -> String {
        format!("{model}/{version}")
    }

    pub(crate) fn state_key(&self) -> StateKey {
        StateKey {
            model: self.model.clone(),
            version: self.version,
        }
    }
}

impl Catalog {
    pub(crate) fn new(records: Records, ledger: Ledger) -> Self {
        Self { records, ledger }
    }

    pub(crate) async fn model(&self, name: &ModelName) -> Result<Model, CallError> {
        let record = self.model_found(name).await?.value;
        Ok(Model {
            name: name.clone(),
            record,
        })
    }

    /// Models by name.
    pub(crate) async fn models(&self, size: u32, token: &str) -> Result<PageOf<Model>, CallError> {
        let prefix = self.records.keyspace.all::<ModelKey>();
        let paging = Paging::of(&prefix, size, token)?;
        let page = self
            .records
            .page::<ModelKey>(&prefix, Order::Ascending, &paging)
            .await?;
        let model = |(key, found): (ModelKey, Found<ModelKey>)| Model {
            name: key.model,
            record: found.value,
        };
        Ok(PageOf {
            items: page.items.into_iter().map(model).collect(),
            next_page_token: page.next_page_token,
        })
    }

    /// A version; the newest when none is named.
    pub(crate) async fn version(
        &self,
        model: &ModelName,
        version: Option<ModelVersion>,
    ) -> Result<Version, CallError> {
        let latest = self.model(model).await?.record.latest_version;
        let version = match version {
            Some(version) => version,
            None => latest.ok_or_else(|| CallError::NoVersion(model.clone()))?,
        };
        self.known_version(model, version).await
    }

    /// A version of a model that is known to exist.
    async fn known_version(
        &self,
        model: &ModelName,
        version: ModelVersion,
    ) -> Result<Version, CallError> {
        let unknown = || CallError::UnknownVersion {
            model: model.clone(),
            version,
        };
        let version_key = VersionKey {
            model: model.clone(),
            version,
        };
        let record = self.records.get(&version_key).await?.ok_or_else(unknown)?;
        let state_key = StateKey {
            model: model.clone(),
            version,
        };
        let state = self.records.get(&state_key).await?.ok_or_else(unknown)?;
        Ok(Version {
            model: model.clone(),
            version,
            record: record.value,
            state: state.value,
            state_entry: state.entry,
        })
    }

    /// A model's versions, the newest first.
    pub(crate) async fn versions(
        &self,
        model: &ModelName,
        size: u32,
        token: &str,
    ) -> Result<PageOf<Version>, CallError> {
        self.model_found(model).await?;
        let prefix = self.records.keyspace.of_model::<VersionKey>(model);
        let paging = Paging::of(&prefix, size, token)?;
        let page = self
            .records
            .page::<VersionKey>(&prefix, Order::Descending, &paging)
            .await?;
        let Some((newest, _)) = page.items.first() else {
            return Ok(PageOf {
                items: Vec::new(),
                next_page_token: String::new(),
            });
        };
        // Read second, and from the same version down: a version and its state come in one transaction, so each version
        // of the first page has one in the second.
        let above = self.records.key(&StateKey {
            model: model.clone(),
            version: newest.version.next(),
        });
        let states = Paging {
            size: page.items.len(),
            after: Some(above),
        };
        let states = self
            .records
            .page::<StateKey>(
                &self.records.keyspace.of_model::<StateKey>(model),
                Order::Descending,
                &states,
            )
            .await?;
        let mut states = states.items.into_iter().peekable();
        let mut versions = Vec::with_capacity(page.items.len());
        for (key, record) in page.items {
            let (_, state) = states
                .next_if(|(state, _)| state.version == key.version)
                .ok_or(CallError::Broken("a version has no state"))?;
            versions.push(Version {
                model: key.model,
                version: key.version,
                record: record.value,
                state: state.value,
                state_entry: state.entry,
            });
        }
        Ok(PageOf {
            items: versions,
            next_page_token: page.next_page_token,
        })
    }

    /// The version of a model that has this digest.
    pub(crate) async fn version_of(
        &self,
        model: &ModelName,
        digest: Digest,
    ) -> Result<Option<ModelVersion>, CallError> {
        let key = DigestKey {
            model: model.clone(),
            digest,
        };
        let found = self.records.get(&key).await?;
        Ok(found.map(|found| found.value.version))
    }

    /// Refuses a digest that one of the model's versions has.
    pub(crate) async fn check_new(
        &self,
        model: &ModelName,
        digest: Digest,
    ) -> Result<(), CallError> {
        match self.version_of(model, digest).await? {
            Some(version) => Err(CallError::DuplicateVersion {
                model: model.clone(),
                version,
                digest,
            }),
            None => Ok(()),
        }
    }

    pub(crate) async fn model_found(&self, name: &ModelName) -> Result<Found<ModelKey>, CallError> {
        let key = ModelKey {
            model: name.clone(),
        };
        self.records
            .get(&key)
            .await?
            .ok_or_else(|| CallError::UnknownModel(name.clone()))
    }

    /// Every digest that a version has, of all models, for as long as `each` wants to hear of them.
    pub(crate) async fn digests(&self, mut each: impl FnMut(Digest)) -> Result<(), CallError> {
        /// Entries read at once.
        const BATCH: usize = 512;
        let prefix = self.records.keyspace.all::<VersionKey>();
        let mut after = None;
        loop {
            let page = self
                .records
                .store
                .page(&prefix, after.as_ref(), Order::Ascending, BATCH)
                .await?;
            for entry in &page.entries {
                each(keys::value::<VersionKey>(entry)?.digest);
            }
            after = page.entries.last().map(|last| last.key.clone());
            if !page.more {
                return Ok(());
            }
        }
    }
}
