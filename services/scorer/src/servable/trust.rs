//! Whether to believe a store. One that was wiped, or put back to an older copy, says things that were overtaken or never
//! meant: acting on them would take good versions out of service all over the cluster. So a scorer remembers how far its
//! store had come, and when the store looks older than that, it freezes: what is in service goes on, nothing new is taken in.
//!
//! It goes on when the store has caught up by itself, or when an operator said that the store is the truth as it is now
//! (the cluster's incarnation grew).

use std::collections::BTreeMap;

use decant_coordination::Revision;
use decant_coordination::keys::ClusterRecord;
use decant_model::Generation;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Place;

/// What a store was seen to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The store's own id.
    pub(crate) store: u64,
    /// None in a cluster whose metadata has not been written yet.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) revision: Revision,
    pub(crate) generations: BTreeMap<Place, Generation>,
}

/// Which cluster it is, and how often an operator said that its store is the truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) uuid: String,
    pub(crate) incarnation: u64,
}

impl From<ClusterRecord> for Cluster {
    fn from(record: ClusterRecord) -> Self {
        Self {
            uuid: record.uuid,
            incarnation: record.incarnation,
        }
    }
}

/// Why a store is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Doubt {
    #[error("the store does not say any more which cluster it is of; it was {known}")]
    NoCluster { known: String },
    #[error("the store is of cluster {found}, not of {known}")]
    OtherCluster { known: String, found: String },
    #[error("another store answers: {found:x}, not {known:x}")]
    OtherStore { known: u64, found: u64 },
    #[error("the store's revision went back from {known} to {found}")]
    RevisionBack { known: Revision, found: Revision },
    #[error("the generation of {place} went back from {} to {}", .known.0, .found.0)]
    GenerationBack {
        place: Place,
        known: Generation,
        found: Generation,
    },
    #[error("{place} is gone, as from another store or an older copy")]
    SlotGone { place: Place },
}

/// What becomes of what a store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on from what is known.
    Believed,
    /// An operator said that it is the truth, whatever was known.
    Adopted,
    /// Nothing of it is taken in.
    Doubted,
}

/// What is remembered of the store, and whether it is believed now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    known: Option<Seen>,
    doubt: Option<Doubt>,
    /// The cluster that the doubted store said it was of when it was doubted first.
    doubted: Option<Cluster>,
}

impl Trust {
    /// Goes on from what an earlier process remembered.
    pub(crate) fn remembering(known: Option<Seen>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// What was believed last.
    pub(crate) fn known(&self) -> Option<&Seen> {
        self.known.as_ref()
    }

    /// Why the store is not believed, if it is not.
    pub(crate) fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }

    /// Takes in what the watch shows, if it plainly goes on from what is known. If not, the store is to be read again, and
    /// [judged](Self::judge): a watch of slots says nothing of the cluster.
    pub(crate) fn follows(
        &mut self,
        store: u64,
        revision: Revision,
        generations: &BTreeMap<Place, Generation>,
    ) -> bool {
        let (None, Some(known)) = (&self.doubt, &mut self.known) else {
            return false;
        };
        let goes_on = store == known.store
            && revision >= known.revision
            && first_lost(&known.generations, generations).is_none();
        if goes_on {
            known.revision = revision;
            known.generations.clone_from(generations);
        }
        goes_on
    }

    /// Takes in what the store holds, all of it read after the cluster's record.
    pub(crate) fn judge(&mut self, found: Seen) -> Verdict {
        let (adopted, doubt) = match &self.known {
            None => (false, None),
            Some(known) if self.is_adopted(known, &found) => (true, None),
            Some(known) => (false, self.doubt_of(known, &found)),
        };
        match &doubt {
            None => (self.known, self.doubted) = (Some(found), None),
            Some(_) => {
                let same = |doubted: &Cluster| {
                    found
                        .cluster
                        .as_ref()
                        .is_some_and(|found| found.uuid == doubted.uuid)
                };
                if !self.doubted.as_ref().is_some_and(same) {
                    self.doubted = found.cluster;
                }
            }
        }
        self.doubt = doubt;
        match &self.doubt {
            Some(_) => Verdict::Doubted,
            None if adopted => Verdict::Adopted,
            None => Verdict::Believed,
        }
    }

    /// Whether an operator said, after what is known, that the store is the truth: the incarnation is above the one that is
    /// known; or it grew while the store was doubted, as that of a copy does which is older than the last time that an
    /// operator said so.
    fn is_adopted(&self, known: &Seen, found: &Seen) -> bool {
        let Some(found) = &found.cluster else {
            return false;
        };
        // Of another cluster, the incarnation says nothing about this one.
        let grew =
            |before: &Cluster| before.uuid == found.uuid && found.incarnation > before.incarnation;
        known.cluster.as_ref().is_some_and(grew) || self.doubted.as_ref().is_some_and(grew)
    }

    fn doubt_of(&self, known: &Seen, found: &Seen) -> Option<Doubt> {
        match (&known.cluster, &found.cluster) {
            (Some(known), None) => {
                return Some(Doubt::NoCluster {
                    known: known.uuid.clone(),
                });
            }
            (Some(known), Some(found)) if known.uuid != found.uuid => {
                return Some(Doubt::OtherCluster {
                    known: known.uuid.clone(),
                    found: found.uuid.clone(),
                });
            }
            // Nothing but the store's own id says whether it is the same.
            (None, _) if known.store != found.store => {
                return Some(Doubt::OtherStore {
                    known: known.store,
                    found: found.store,
                });
            }
            _ => {}
        }
        if found.revision < known.revision {
            return Some(Doubt::RevisionBack {
                known: known.revision,
                found: found.revision,
            });
        }
        // Nobody takes a slot away: it is emptied. One that is gone is missing from an older copy, even if that copy's
        // revision has passed the one that is known.
        first_lost(&known.generations, &found.generations).map(|(place, known, found)| {
            let place = place.clone();
            match found {
                Some(found) => Doubt::GenerationBack {
                    place,
                    known,
                    found,
                },
                None => Doubt::SlotGone { place },
            }
        })
    }
}

/// A slot that went back, or else one that is gone.
fn first_lost<'a>(
    known: &'a BTreeMap<Place, Generation>,
    found: &BTreeMap<Place, Generation>,
) -> Option<(&'a Place, Generation, Option<Generation>)> {
    let mut lost: Vec<_> = known
        .iter()
        .map(|(place, known)| (place, *known, found.get(place).copied()))
        .filter(|(_, known, found)| found.is_none_or(|found| found < *known))
        .collect();
    // A generation that went back is the clearer sign.
    lost.sort_by_key(|(_, _, found)| found.is_none());
    lost.into_iter().next()
}

#[cfg(test)]
mod tests;
