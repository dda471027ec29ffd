//! Values that arguments hold, parsed.

pub(crate) mod duration;
pub(crate) mod moment;
pub(crate) mod gate;
pub(crate) mod rollout_gate;
pub(crate) mod steps;
pub(crate) mod version;
pub(crate) mod request;
pub(crate) mod signer;
