//! Watches what is wanted.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use decant_coordination::keys::DesiredKey;
use decant_coordination::{Keyspace, MetaStore, Revision, View, follow};
use decant_model::DesiredSlot;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{Manager, Place};

/// Tells the manager what is wanted, now and after each change, until it is told to stop. While the store is away, what
/// was wanted last stands.
pub(crate) async fn run(
    store: Arc<dyn MetaStore>,
    keyspace: Keyspace,
    manager: Arc<Manager>,
    stop: CancellationToken,
) -> Result<(), String> {
    let mut views = pin!(follow(store, keyspace.all::<DesiredKey>()));
    let mut wanted = Wanted {
        keyspace,
        revision: Revision::default(),
        slots: BTreeMap::new(),
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            view = views.next() => {
                let view = view.ok_or("the store's view ended")?;
                if wanted.update(&view) {
                    manager.aspire(wanted.slots.clone());
                }
            }
        }
    }
}

/// What is wanted, as far as it could be read.
struct Wanted {
    keyspace: Keyspace,
    revision: Revision,
    slots: BTreeMap<Place, DesiredSlot>,
}

impl Wanted {
    /// Takes in a view; false when it is not to be believed.
    fn update(&mut self, view: &View) -> bool {
        if view.revision < self.revision {
            // An older copy of the store was put in place: what it wants was overtaken, or is of another cluster.
            let (found, known) = (view.revision.0, self.revision.0);
            tracing::error!(
                found,
                known,
                "the store's revision went backwards; nothing is changed until it has caught up"
            );
            return false;
        }
        self.revision = view.revision;
        let mut slots = BTreeMap::new();
        for entry in view.entries.values() {
            let DesiredKey { model, slot } = match self.keyspace.parse(&entry.key) {
                Ok(key) => key,
                Err(error) => {
                    tracing::error!(%error, "not a slot; ignored");
                    continue;
                }
            };
            let place = Place { model, slot };
            match self.keyspace.read::<DesiredKey>(entry) {
                Ok((_, desired)) => {
                    slots.insert(place, desired);
                }
                // Leaving it out would take the slot out of service.
                Err(error) => {
                    tracing::error!(%place, %error, "what is wanted cannot be read; what was wanted before stands");
                    if let Some(before) = self.slots.remove(&place) {
                        slots.insert(place, before);
                    }
                }
            }
        }
        self.slots = slots;
        true
    }
}

#[cfg(test)]
mod tests;
