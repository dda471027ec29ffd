//! Versions from wish to service, in TensorFlow Serving's words.
//!
//! Reading order: the [`source`] watches what is wanted; the [`Manager`] compares it with what is there and says what to
//! do next; the [`loader`] does it, on a thread of its own; a [`Servable`] is a loaded version; a [`Handle`] pins one for
//! a request; the [`reaper`] frees those that nobody pins any more.

pub(crate) mod source;
mod manager;
mod place;
pub(crate) mod loader;
mod load;
mod version;
mod handle;
pub(crate) mod reaper;

use std::fmt;

use decant_model::{ModelName, SlotName};

pub(crate) use handle::{Handle, Table};
pub(crate) use manager::{Manager, Readiness, State, Status};
pub(crate) use version::{LoadTimes, Servable};

/// A place in which a model's versions are served.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) model: ModelName,
    pub(crate) slot: SlotName,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.model, self.slot)
    }
}
