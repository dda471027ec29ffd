//! Versions from wish to service, in TensorFlow Serving's words.
//!
//! Reading order: the [`source`] watches what is wanted, and [`trust`] says whether to believe it; the [`Manager`] compares
//! it with what is there and says what to do next, as far as there is [`memory`]; the [`loader`] does it, on a thread of its
//! own, with [`bundles`] that are kept at hand, and leaves alone what is in [`quarantine`]; a [`Servable`] is a loaded version;
//! [`statistics`] count what it was asked; a [`Handle`] pins one for a request; the [`reaper`] frees those that nobody pins
//! any more; a [`snapshot`] is where the next start begins.

pub(crate) mod source;
pub(crate) mod trust;
pub(crate) mod snapshot;
mod manager;
mod place;
pub(crate) mod loader;
pub(crate) mod bundles;
mod load;
mod warm_up;
pub(crate) mod quarantine;
pub(crate) mod memory;
mod version;
pub(crate) mod statistics;
mod handle;
pub(crate) mod reaper;

use std::fmt;

use decant_model::{ModelName, SlotName};
use serde::{Deserialize, Serialize};

pub(crate) use handle::{Handle, Table};
pub(crate) use manager::{Manager, Observed, ObservedPlace, Readiness, State, Status};
pub(crate) use version::{LoadTimes, Servable};

/// A place in which a model's versions are served.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) model: ModelName,
    pub(crate) slot: SlotName,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.model, self.slot)
    }
}
