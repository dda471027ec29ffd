//! Which version serves where. A slot is one key; scorers watch it, and every change is a compare-and-swap on it.

use std::sync::Arc;

use decant_coordination::keys::{self, DesiredKey, VersionState};
use decant_coordination::{Entry, Expect, Keyspace, MetaStore, StoreError, Txn, follow};
use decant_model::{
    Active, Arm, BASIS_POINTS, DesiredSlot, Generation, ModelName, ModelVersion, SlotName,
};
use futures::{Stream, StreamExt, future};

use crate::catalog::{Catalog, Version, now_millis};
use crate::error::CallError;

/// The longest words about a change, in bytes: a slot's key is to stay small.
const MAX_ISSUED_BY: usize = 256;
const MAX_REASON: usize = 1024;

/// The slots of one cluster.
#[derive(Clone)]
pub(crate) struct Slots {
    store: Arc<dyn MetaStore>,
    keyspace: Keyspace,
    catalog: Catalog,
}

/// A slot that is asked to serve a version.
pub(crate) struct Change {
    pub(crate) model: ModelName,
    pub(crate) slot: SlotName,
    pub(crate) version: ModelVersion,
    /// What the slot's generation must be; 0 when it must never have been set.
    pub(crate) expected: Option<Generation>,
    pub(crate) issued_by: String,
    pub(crate) reason: String,
}

impl Slots {
    pub(crate) fn new(store: Arc<dyn MetaStore>, keyspace: Keyspace, catalog: Catalog) -> Self {
        Self {
            store,
            keyspace,
            catalog,
        }
    }

    /// Points a slot at an approved version. Of several writers at once, one wins.
    pub(crate) async fn set(&self, change: Change) -> Result<DesiredSlot, CallError> {
        check_words("issued_by", &change.issued_by, MAX_ISSUED_BY)?;
        check_words("reason", &change.reason, MAX_REASON)?;
        let version = self
            .catalog
            .version(&change.model, Some(change.version))
            .await?;
        check_approved(&version)?;
        let key = DesiredKey {
            model: change.model.clone(),
            slot: change.slot.clone(),
        };
        let entry = self.store.get(&self.keyspace.key(&key)).await?;
        let current = entry.as_ref().map(keys::value::<DesiredKey>).transpose()?;
        check_generation(&change, current.as_ref())?;

        let generation = current
            .map_or(Generation(0), |current| current.generation)
            .next();
        let desired = DesiredSlot {
            generation,
            active: vec![Active {
                digest: version.record.digest,
                version: version.version,
                arm: Arm::Stable,
                weight_basis_points: BASIS_POINTS,
            }],
            issued_by: change.issued_by.clone(),
            reason: change.reason.clone(),
            issued_at_millis: now_millis(),
            ..DesiredSlot::default()
        };
        self.write(&change, &key, &desired, entry.as_ref(), &version)
            .await?;
        tracing::info!(
            model = %change.model,
            slot = %change.slot,
            generation = generation.0,
            version = change.version.get(),
            issued_by = change.issued_by,
            "set a slot"
        );
        Ok(desired)
    }

    async fn write(
        &self,
        change: &Change,
        key: &DesiredKey,
        desired: &DesiredSlot,
        read: Option<&Entry>,
        version: &Version,
    ) -> Result<(), CallError> {
        let slot = self.keyspace.key(key);
        let txn = Txn::new()
            .expect(slot.clone(), Expect::unchanged(read))
            .expect(
                version.state_entry.key.clone(),
                Expect::unchanged(Some(&version.state_entry)),
            )
            .put(slot.clone(), keys::encode(key, desired)?);
        let conflict = match self.store.commit(txn).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict(conflict)) => conflict,
            Err(error) => return Err(error.into()),
        };
        match conflict.found {
            Some(winner) if conflict.key == slot => {
                let winner = keys::value::<DesiredKey>(&winner)?;
                Err(CallError::SlotConflict {
                    model: change.model.clone(),
                    slot: change.slot.clone(),
                    winner: winner.generation,
                    issued_by: winner.issued_by,
                })
            }
            _ => Err(StoreError::Conflict(conflict).into()),
        }
    }

    pub(crate) async fn get(
        &self,
        model: ModelName,
        slot: SlotName,
    ) -> Result<DesiredSlot, CallError> {
        let entry = self
            .store
            .get(&self.keyspace.key(&DesiredKey {
                model: model.clone(),
                slot: slot.clone(),
            }))
            .await?;
        let entry = entry.ok_or(CallError::UnknownSlot { model, slot })?;
        Ok(keys::value::<DesiredKey>(&entry)?)
    }

    /// A slot now, if it was set, and after each change, without end.
    pub(crate) async fn watch(
        &self,
        model: ModelName,
        slot: SlotName,
    ) -> Result<impl Stream<Item = Result<DesiredSlot, CallError>> + Send + 'static, CallError>
    {
        self.catalog.model(&model).await?;
        let views = follow(
            Arc::clone(&self.store),
            self.keyspace.of_model::<DesiredKey>(&model),
        );
        let key = self.keyspace.key(&DesiredKey { model, slot });
        let mut last_seen = None;
        let changes = views.filter_map(move |view| {
            let entry = view
                .entries
                .get(&key)
                .filter(|entry| last_seen != Some(entry.mod_revision));
            last_seen = entry.map(|entry| entry.mod_revision).or(last_seen);
            future::ready(
                entry.map(|entry| keys::value::<DesiredKey>(entry).map_err(CallError::from)),
            )
        });
        Ok(changes)
    }
}

fn check_words(field: &'static str, words: &str, limit: usize) -> Result<(), CallError> {
    if words.len() > limit {
        return Err(CallError::field(
            field,
            format!(
                "it has {} bytes, but at most {limit} are allowed",
                words.len()
            ),
        ));
    }
    Ok(())
}

fn check_approved(version: &Version) -> Result<(), CallError> {
    if version.state.state == VersionState::Approved {
        return Ok(());
    }
    let failed = version.state.gates.iter().filter(|judged| !judged.passed);
    let failed: Vec<_> = failed
        .map(|judged| match judged.value {
            Some(value) => format!("gate on `{}` does not hold at {value}", judged.gate.metric),
            None => format!("gate on `{}` has no value to judge", judged.gate.metric),
        })
        .collect();
    Err(CallError::NotApproved {
        model: version.model.clone(),
        version: version.version,
        failed_gates: failed.join(", "),
    })
}

fn check_generation(change: &Change, current: Option<&DesiredSlot>) -> Result<(), CallError> {
    let found = current.map_or(Generation(0), |current| current.generation);
    match change.expected {
        Some(expected) if expected != found => Err(CallError::OtherGeneration {
            model: change.model.clone(),
            slot: change.slot.clone(),
            expected,
            found,
            issued_by: current.map(|current| current.issued_by.clone()),
        }),
        _ => Ok(()),
    }
}
