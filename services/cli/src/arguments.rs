//! Values that arguments hold, parsed.

pub(crate) mod duration;
pub(crate) mod gate;
pub(crate) mod version;
