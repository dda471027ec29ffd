//! Models and versions, as they are kept in the store.

mod settings;

use std::sync::Arc;
use std::time::SystemTime;

use decant_coordination::keys::{
    self, DigestKey, DigestRecord, ModelKey, ModelRecord, Record, StateKey, StateRecord,
    VersionKey, VersionRecord,
};
use decant_coordination::{Entry, Expect, Key, Keyspace, MetaStore, StoreError, Txn};
use decant_model::{Digest, Gate, ModelName, ModelVersion};

use crate::error::CallError;

pub(crate) use settings::Settings;

/// How often a new version is tried again when others of the same model were faster.
const ATTEMPTS: usize = 16;

/// The models and versions of one cluster.
#[derive(Clone)]
pub(crate) struct Catalog {
    store: Arc<dyn MetaStore>,
    keyspace: Keyspace,
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

impl Catalog {
    pub(crate) fn new(store: Arc<dyn MetaStore>, keyspace: Keyspace) -> Self {
        Self { store, keyspace }
    }

    /// Creates a model; the same settings again are fine.
    pub(crate) async fn create_model(
        &self,
        name: ModelName,
        settings: Settings,
    ) -> Result<Model, CallError> {
        let key = ModelKey {
            model: name.clone(),
        };
        let record = ModelRecord {
            description: settings.description,
            gates: settings.gates,
            created_at_millis: now_millis(),
            latest_version: None,
        };
        let value = keys::encode(&key, &record)?;
        let stored = self.keyspace.key(&key);
        let create = Txn::new()
            .expect(stored.clone(), Expect::Absent)
            .put(stored, value);
        let existing = match self.store.commit(create).await {
            Ok(_) => {
                tracing::info!(model = %name, "created a model");
                return Ok(Model { name, record });
            }
            Err(StoreError::Conflict(conflict)) => conflict.found,
            Err(error) => return Err(error.into()),
        };
        let existing = existing.ok_or(CallError::Broken(
            "a key that must be absent is in the way, and absent",
        ))?;
        let existing = keys::value::<ModelKey>(&existing)?;
        let difference = match (
            existing.gates == record.gates,
            existing.description == record.description,
        ) {
            (true, true) => {
                return Ok(Model {
                    name,
                    record: existing,
                });
            }
            (false, true) => "other gates",
            (true, false) => "another description",
            (false, false) => "another description and other gates",
        };
        Err(CallError::ModelDiffers {
            model: name,
            difference,
        })
    }

    pub(crate) async fn model(&self, name: &ModelName) -> Result<Model, CallError> {
        let (_, record) = self.model_entry(name).await?;
        Ok(Model {
            name: name.clone(),
            record,
        })
    }

    /// All models, by name.
    pub(crate) async fn models(&self) -> Result<Vec<Model>, CallError> {
        let listing = self.store.list(&self.keyspace.all::<ModelKey>()).await?;
        let read = |entry: &Entry| {
            let (key, record) = self.keyspace.read::<ModelKey>(entry)?;
            Ok(Model {
                name: key.model,
                record,
            })
        };
        listing.entries.iter().map(read).collect()
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
        let unknown = || CallError::UnknownVersion {
            model: model.clone(),
            version,
        };
        let version_key = VersionKey {
            model: model.clone(),
            version,
        };
        let record = self.get(&version_key).await?.ok_or_else(unknown)?.1;
        let state_key = StateKey {
            model: model.clone(),
            version,
        };
        let (state_entry, state) = self.get(&state_key).await?.ok_or_else(unknown)?;
        Ok(Version {
            model: model.clone(),
            version,
            record,
            state,
            state_entry,
        })
    }

    /// A model's versions, the newest first.
    pub(crate) async fn versions(&self, model: &ModelName) -> Result<Vec<Version>, CallError> {
        self.model_entry(model).await?;
        let records = self
            .store
            .list(&self.keyspace.of_model::<VersionKey>(model))
            .await?
            .entries;
        // Listed second: a version and its state come in one transaction, so each version of the first list has one.
        let states = self
            .store
            .list(&self.keyspace.of_model::<StateKey>(model))
            .await?
            .entries;
        let mut states = states.into_iter().rev().peekable();
        let mut versions = Vec::with_capacity(records.len());
        for entry in records.iter().rev() {
            let (key, record) = self.keyspace.read::<VersionKey>(entry)?;
            let state_key = self.keyspace.key(&StateKey {
                model: model.clone(),
                version: key.version,
            });
            while states.next_if(|state| state.key > state_key).is_some() {}
            let state_entry = states
                .next_if(|state| state.key == state_key)
                .ok_or(CallError::Broken("a version has no state"))?;
            let state = keys::value::<StateKey>(&state_entry)?;
            versions.push(Version {
                model: model.clone(),
                version: key.version,
                record,
                state,
                state_entry,
            });
        }
        Ok(versions)
    }

    /// Refuses a digest that one of the model's versions has.
    pub(crate) async fn check_new(
        &self,
        model: &ModelName,
        digest: Digest,
    ) -> Result<(), CallError> {
        let key = DigestKey {
            model: model.clone(),
            digest,
        };
        match self.get(&key).await? {
            Some((_, DigestRecord { version })) => Err(CallError::DuplicateVersion {
                model: model.clone(),
                version,
                digest,
            }),
            None => Ok(()),
        }
    }

    /// Makes a bundle the model's next version. `judge` decides its state by the model's gates.
    pub(crate) async fn add_version(
        &self,
        model: &ModelName,
        record: VersionRecord,
        judge: impl Fn(&[Gate]) -> StateRecord,
    ) -> Result<Version, CallError> {
        for _ in 0..ATTEMPTS {
            let (model_entry, mut model_record) = self.model_entry(model).await?;
            let version = model_record
                .latest_version
                .map_or(ModelVersion::FIRST, ModelVersion::next);
            model_record.latest_version = Some(version);
            let state = judge(&model_record.gates);

            let model_key = ModelKey {
                model: model.clone(),
            };
            let version_key = VersionKey {
                model: model.clone(),
                version,
            };
            let state_key = StateKey {
                model: model.clone(),
                version,
            };
            let digest_key = DigestKey {
                model: model.clone(),
                digest: record.digest,
            };
            let txn = Txn::new()
                .expect(self.keyspace.key(&digest_key), Expect::Absent)
                .expect(
                    model_entry.key.clone(),
                    Expect::unchanged(Some(&model_entry)),
                )
                .expect(self.keyspace.key(&version_key), Expect::Absent)
                .expect(self.keyspace.key(&state_key), Expect::Absent)
                .put(
                    self.keyspace.key(&digest_key),
                    keys::encode(&digest_key, &DigestRecord { version })?,
                )
                .put(model_entry.key, keys::encode(&model_key, &model_record)?)
                .put(
                    self.keyspace.key(&version_key),
                    keys::encode(&version_key, &record)?,
                )
                .put(
                    self.keyspace.key(&state_key),
                    keys::encode(&state_key, &state)?,
                );
            match self.store.commit(txn).await {
                Ok(_) => return self.version(model, Some(version)).await,
                Err(StoreError::Conflict(conflict))
                    if conflict.key == self.keyspace.key(&digest_key) =>
                {
                    return Err(self.duplicate(model, record.digest, conflict.found.as_ref())?);
                }
                // Another version of the model was first: take the number after it.
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CallError::Contended {
            model: model.clone(),
            attempts: ATTEMPTS,
        })
    }

    fn duplicate(
        &self,
        model: &ModelName,
        digest: Digest,
        found: Option<&Entry>,
    ) -> Result<CallError, CallError> {
        let found = found.ok_or(CallError::Broken(
            "a key that must be absent is in the way, and absent",
        ))?;
        let DigestRecord { version } = keys::value::<DigestKey>(found)?;
        Ok(CallError::DuplicateVersion {
            model: model.clone(),
            version,
            digest,
        })
    }

    async fn model_entry(&self, name: &ModelName) -> Result<(Entry, ModelRecord), CallError> {
        let key = ModelKey {
            model: name.clone(),
        };
        self.get(&key)
            .await?
            .ok_or_else(|| CallError::UnknownModel(name.clone()))
    }

    async fn get<R: Record>(&self, record: &R) -> Result<Option<(Entry, R::Value)>, CallError> {
        let key: Key = self.keyspace.key(record);
        let Some(entry) = self.store.get(&key).await? else {
            return Ok(None);
        };
        let value = keys::value::<R>(&entry)?;
        Ok(Some((entry, value)))
    }
}

/// The time, for people: nothing is decided by it.
pub(crate) fn now_millis() -> u64 {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
