//! Promoted: the version is the stable one. All that can follow is a rollback.

use super::{Changed, NotNow, Phase, Rollout, Verb};

pub(super) fn told(rollout: &Rollout, verb: Verb, why: &str) -> Result<Changed, NotNow> {
    match verb {
        Verb::RollBack => Ok(rollout.given_back(Phase::RolledBack, why)),
        Verb::Abort => Err(rollout.cannot(
            verb,
            ": `decant rollback` brings back the version of before",
        )),
        Verb::Pause | Verb::Resume | Verb::Promote | Verb::PromoteFully => {
            Err(rollout.cannot(verb, ": it is over"))
        }
    }
}
