//! Aborted and rolled back: over for good. A retry is a new rollout.

use super::{NotNow, Rollout, Verb};

pub(super) fn told(rollout: &Rollout, verb: Verb) -> Result<super::Changed, NotNow> {
    Err(rollout.cannot(verb, ": it is over; `decant rollout retry` begins it anew"))
}
