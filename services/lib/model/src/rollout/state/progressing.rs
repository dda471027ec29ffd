//! Progressing: the version answers a share of the traffic. A failed gate ends or holds it; else its step decides.

use super::{Changed, NotNow, Rollout, Sight, Verb};

pub(super) fn look(rollout: &Rollout, sight: &Sight) -> Option<Changed> {
    rollout.judged(sight).or_else(|| rollout.advance(sight))
}

pub(super) fn told(rollout: &Rollout, verb: Verb, why: &str) -> Result<Changed, NotNow> {
    rollout.told_at_work(verb, why)
}
