//! A slot as intended, beside what each live scorer makes of it.

use decant_coordination::View;
use decant_coordination::keys::{
    self, DesiredKey, ObservedKey, RefusalKey, RefusalRecord, ScorerKey,
};
use decant_model::{DesiredSlot, ModelName, SlotName};
use futures::stream::select_all;
use futures::{Stream, StreamExt};

use super::{Fleet, Slots};
use crate::cluster;
use crate::error::CallError;
use crate::records::Records;

/// A slot as intended, and as it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SlotStatus {
    pub(crate) desired: DesiredSlot,
    pub(crate) fleet: Fleet,
    pub(crate) converged: bool,
    /// What stands in the way; empty when nothing does.
    pub(crate) blocked: String,
}

impl SlotStatus {
    /// What the leader says of another generation, or of nothing pending, does not count.
    pub(crate) fn new(desired: DesiredSlot, fleet: Fleet, refusal: Option<RefusalRecord>) -> Self {
        let refusal = refusal
            .filter(|refusal| refusal.generation == desired.generation)
            .filter(|_| desired.pending.is_some())
            .map(|refusal| refusal.reason);
        let by_scorers = Some(fleet.blocked(&desired)).filter(|words| !words.is_empty());
        let blocked: Vec<String> = refusal.into_iter().chain(by_scorers).collect();
        Self {
            converged: fleet.converged(&desired),
            blocked: blocked.join("; "),
            desired,
            fleet,
        }
    }

    /// Whether a scorer has seen more than is intended here.
    fn is_ahead(&self) -> bool {
        self.fleet.ahead_of(self.desired.generation).is_some()
    }
}

/// The parts of the store that a status is made of.
#[derive(Clone, Copy)]
enum Part {
    Desired,
    Scorers,
    Observed,
    Refusals,
}

/// The newest views of them; none before the first.
#[derive(Default)]
struct Views {
    desired: Option<View>,
    scorers: Option<View>,
    observed: Option<View>,
    refusals: Option<View>,
}

impl Slots {
    pub(crate) async fn status(
        &self,
        model: &ModelName,
        slot: &SlotName,
    ) -> Result<SlotStatus, CallError> {
        // First what scorers have seen, then what is intended: read the other way round, a change in between would look
        // like scorers that are ahead of the store.
        let fleet = self.fleet(model, slot).await?;
        let desired = self.get(model, slot).await?;
        let refusal = self.refusal(model, slot).await?;
        Ok(SlotStatus::new(desired, fleet, refusal))
    }

    /// A slot's status now, if it was set, and after each change, without end.
    pub(crate) async fn watch_status(
        &self,
        model: ModelName,
        slot: SlotName,
    ) -> Result<impl Stream<Item = Result<SlotStatus, CallError>> + Send + 'static, CallError> {
        self.catalog.model(&model).await?;
        let keyspace = &self.records.keyspace;
        let parts = [
            (Part::Desired, keyspace.of_model::<DesiredKey>(&model)),
            (Part::Scorers, keyspace.all::<ScorerKey>()),
            (
                Part::Observed,
                keyspace.of_slot::<ObservedKey>(&model, &slot),
            ),
            (Part::Refusals, keyspace.of_model::<RefusalKey>(&model)),
        ];
        let views = parts.map(|(part, prefix)| {
            self.records
                .follow(prefix)
                .map(move |view| (part, view))
                .boxed()
        });
        let records = self.records.clone();
        let key = DesiredKey { model, slot };
        let (slots, of) = (self.clone(), key.clone());
        let statuses = select_all(views).scan(
            (Views::default(), None),
            move |(views, last), (part, view)| {
                views.put(part, view);
                let status = views.status(&records, &key).transpose();
                let news = status.filter(|status| is_news(status, last));
                futures::future::ready(Some(news))
            },
        );
        Ok(statuses.filter_map(move |status| {
            let (slots, of) = (slots.clone(), of.clone());
            async move {
                match status? {
                    // The views come one after the other, so one of them may only be late.
                    Ok(status) if status.is_ahead() => {
                        Some(slots.status(&of.model, &of.slot).await)
                    }
                    status => Some(status),
                }
            }
        }))
    }
}

/// Whether a status says something else than the last one that did.
pub(super) fn is_news<T: Clone + PartialEq>(
    status: &Result<T, CallError>,
    last: &mut Option<T>,
) -> bool {
    let Ok(status) = status else {
        return true;
    };
    let is_news = last.as_ref() != Some(status);
    if is_news {
        *last = Some(status.clone());
    }
    is_news
}

impl Views {
    fn put(&mut self, part: Part, view: View) {
        let place = match part {
            Part::Desired => &mut self.desired,
            Part::Scorers => &mut self.scorers,
            Part::Observed => &mut self.observed,
            Part::Refusals => &mut self.refusals,
        };
        *place = Some(view);
    }

    /// The status, once all parts were seen and the slot was set.
    fn status(&self, records: &Records, key: &DesiredKey) -> Result<Option<SlotStatus>, CallError> {
        let (Some(desired), Some(scorers), Some(observed), Some(refusals)) =
            (&self.desired, &self.scorers, &self.observed, &self.refusals)
        else {
            return Ok(None);
        };
        let parts = [desired, scorers, observed, refusals];
        if let Some(with) = parts.into_iter().find_map(|view| view.replaced.as_ref()) {
            return Err(cluster::replaced(with));
        }
        let Some(entry) = desired.entries.get(&records.key(key)) else {
            return Ok(None);
        };
        let desired = keys::value::<DesiredKey>(entry)?;
        let (keyspace, of_slot) = (
            &records.keyspace,
            records
                .keyspace
                .of_slot::<ObservedKey>(&key.model, &key.slot),
        );
        let fleet = Fleet::read(keyspace, scorers, observed, &of_slot)?;
        let refusal = refusals.entries.get(&records.key(&RefusalKey {
            model: key.model.clone(),
            slot: key.slot.clone(),
        }));
        let refusal = refusal.map(keys::value::<RefusalKey>).transpose()?;
        Ok(Some(SlotStatus::new(desired, fleet, refusal)))
    }
}
