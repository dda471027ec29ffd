//! A rollout, beside what the leader sees of it and what scorers make of its slot.

use decant_coordination::View;
use decant_coordination::keys::{
    self, DesiredKey, ProgressKey, ProgressRecord, RolloutKey, RolloutRecord,
};
use decant_model::rollout::RolloutId;
use futures::stream::select_all;
use futures::{Stream, StreamExt, future};

use super::SlotStatus;
use super::rollouts::Rollouts;
use super::status::is_news;
use crate::cluster;
use crate::error::CallError;
use crate::records::Records;

/// A rollout, and what is measured of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RolloutStatus {
    pub(crate) place: DesiredKey,
    pub(crate) id: RolloutId,
    pub(crate) record: RolloutRecord,
    pub(crate) slot: SlotStatus,
    /// None before a leader has looked.
    pub(crate) progress: Option<ProgressRecord>,
}

impl RolloutStatus {
    /// Whether what the leader said last is about where the rollout is now.
    pub(crate) fn is_current(&self) -> bool {
        let rollout = &self.record.rollout;
        self.progress.as_ref().is_some_and(|progress| {
            progress.phase == rollout.phase && progress.step == rollout.step
        })
    }
}

/// A part of what a status is made of, as it is now.
enum Part {
    Slot(Box<Result<SlotStatus, CallError>>),
    Rollouts(View),
    Progress(View),
}

/// The newest of each; none before the first.
#[derive(Default)]
struct Parts {
    slot: Option<SlotStatus>,
    rollouts: Option<View>,
    progress: Option<View>,
}

impl Rollouts {
    /// A rollout and what is measured of it; the newest, if none is named.
    pub(crate) async fn status(
        &self,
        place: &DesiredKey,
        named: Option<&RolloutId>,
    ) -> Result<RolloutStatus, CallError> {
        let slot = self.slots.status(&place.model, &place.slot).await;
        // After the slot: what it says of itself then is at least as new. But that there is no rollout is told first.
        let kept = self.kept(place, named).await?;
        let key = progress_key(place, kept.id());
        let progress = self.records.get(&key).await?;
        Ok(RolloutStatus {
            place: place.clone(),
            id: kept.id().clone(),
            record: kept.found.value,
            slot: slot?,
            progress: progress.map(|found| found.value),
        })
    }

    /// A rollout's status now and after each change, without end; the newest rollout at any time, if none is named.
    pub(crate) async fn watch_rollout(
        &self,
        place: DesiredKey,
        named: Option<RolloutId>,
    ) -> Result<impl Stream<Item = Result<RolloutStatus, CallError>> + Send + 'static, CallError>
    {
        match &named {
            Some(id) => self.kept(&place, Some(id)).await.map(drop)?,
            None => self.catalog.model(&place.model).await.map(drop)?,
        }
        let DesiredKey { model, slot } = &place;
        let keyspace = &self.records.keyspace;
        let rollouts = keyspace.of_slot::<RolloutKey>(model, slot);
        let progress = keyspace.of_slot::<ProgressKey>(model, slot);
        let statuses = self.slots.watch_status(model.clone(), slot.clone()).await?;
        let parts = [
            statuses.map(|status| Part::Slot(Box::new(status))).boxed(),
            self.records.follow(rollouts).map(Part::Rollouts).boxed(),
            self.records.follow(progress).map(Part::Progress).boxed(),
        ];
        let records = self.records.clone();
        let statuses = select_all(parts).scan((Parts::default(), None), move |state, part| {
            let (parts, last) = state;
            let status = parts
                .take(part)
                .and_then(|()| parts.status(&records, &place, named.as_ref()))
                .transpose();
            future::ready(Some(status.filter(|status| is_news(status, last))))
        });
        Ok(statuses.filter_map(future::ready))
    }
}

impl Parts {
    fn take(&mut self, part: Part) -> Result<(), CallError> {
        match part {
            Part::Slot(status) => self.slot = Some((*status)?),
            Part::Rollouts(view) => self.rollouts = Some(view),
            Part::Progress(view) => self.progress = Some(view),
        }
        Ok(())
    }

    /// The status, once all parts were seen and there is a rollout.
    fn status(
        &self,
        records: &Records,
        place: &DesiredKey,
        named: Option<&RolloutId>,
    ) -> Result<Option<RolloutStatus>, CallError> {
        let (Some(slot), Some(rollouts), Some(progress)) =
            (&self.slot, &self.rollouts, &self.progress)
        else {
            return Ok(None);
        };
        let replaced = [rollouts, progress]
            .into_iter()
            .find_map(|view| view.replaced.as_ref());
        if let Some(with) = replaced {
            return Err(cluster::replaced(with));
        }
        let entry = match named {
            None => rollouts.entries.values().next_back(),
            Some(id) => rollouts.entries.get(&records.key(&RolloutKey {
                model: place.model.clone(),
                slot: place.slot.clone(),
                rollout: id.clone(),
            })),
        };
        let Some(entry) = entry else {
            return Ok(None);
        };
        let (key, record) = records.keyspace.read::<RolloutKey>(entry)?;
        let progress = progress
            .entries
            .get(&records.key(&progress_key(place, &key.rollout)));
        Ok(Some(RolloutStatus {
            place: place.clone(),
            id: key.rollout,
            record,
            slot: slot.clone(),
            progress: progress.map(keys::value::<ProgressKey>).transpose()?,
        }))
    }
}

pub(crate) fn progress_key(place: &DesiredKey, rollout: &RolloutId) -> ProgressKey {
    ProgressKey {
        model: place.model.clone(),
        slot: place.slot.clone(),
        rollout: rollout.clone(),
    }
}
