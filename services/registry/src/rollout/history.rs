//! What was intended, and when.

use decant_coordination::Order;
use decant_coordination::keys::HistoryKey;
use decant_model::{DesiredSlot, ModelName, SlotName};

use super::Slots;
use crate::error::CallError;
use crate::paging::Paging;
use crate::records::PageOf;

/// Generations read at once when looking for one.
const BATCH: usize = 100;

/// A time, in milliseconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Moment(pub(crate) u64);

impl Slots {
    /// The slot at each generation, the newest first.
    pub(crate) async fn history(
        &self,
        model: &ModelName,
        slot: &SlotName,
        size: u32,
        token: &str,
    ) -> Result<PageOf<DesiredSlot>, CallError> {
        self.catalog.model(model).await?;
        let prefix = self.records.keyspace.of_slot::<HistoryKey>(model, slot);
        let paging = Paging::of(&prefix, size, token)?;
        let page = self
            .records
            .page::<HistoryKey>(&prefix, Order::Descending, &paging)
            .await?;
        let slots = page.items.into_iter().map(|(_, found)| found.value);
        Ok(PageOf {
            items: slots.collect(),
            next_page_token: page.next_page_token,
        })
    }

    /// What was intended at a time; none when the slot was set later.
    pub(crate) async fn at(
        &self,
        model: &ModelName,
        slot: &SlotName,
        moment: Moment,
    ) -> Result<Option<DesiredSlot>, CallError> {
        self.catalog.model(model).await?;
        let until_then = |slot: DesiredSlot| (slot.issued_at_millis <= moment.0).then_some(slot);
        self.newest(model, slot, until_then).await
    }

    /// What is found in the newest generation in which there is something to be found.
    pub(super) async fn newest<T>(
        &self,
        model: &ModelName,
        slot: &SlotName,
        find: impl Fn(DesiredSlot) -> Option<T>,
    ) -> Result<Option<T>, CallError> {
        let prefix = self.records.keyspace.of_slot::<HistoryKey>(model, slot);
        let mut paging = Paging {
            size: BATCH,
            after: None,
        };
        loop {
            let page = self
                .records
                .page::<HistoryKey>(&prefix, Order::Descending, &paging)
                .await?;
            paging.after = page.items.last().map(|(_, found)| found.entry.key.clone());
            let mut slots = page.items.into_iter().map(|(_, found)| found.value);
            if let Some(found) = slots.find_map(&find) {
                return Ok(Some(found));
            }
            if page.next_page_token.is_empty() {
                return Ok(None);
            }
        }
    }
}
