//! What must hold of answers while a slot's traffic is split, the invariant WeightWithin.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use decant_model::{BASIS_POINTS, split};
use decant_proto::rollout::v1 as rollout;

use crate::history::{Answer, History, Violation, hold};

/// How many standard deviations a share drawn by chance may be off, and how many more where a share is of few. That the split
/// keeps within the usual 3.29 is tested with keys and salts that stay the same, in `decant_model::split`; here salts are drawn
/// anew in each run, and one run in some hundreds would fail.
const DEVIATIONS: f64 = 5.0;
const FEW: f64 = 2.0;

/// A generation in which the traffic was split, and who had the canary.
struct Cohort {
    weight: u32,
    /// When the first of its answers came.
    seen: SystemTime,
    canary: BTreeSet<String>,
    stable: BTreeSet<String>,
}

impl History {
    /// WeightWithin: while a rollout had the slot, every routing key was answered by the version that its hash with the
    /// rollout's id says, in all scorers; the canary's share of the keys is its weight; and who had the canary kept it as
    /// the weight grew. Returns the weights that were seen, in their order.
    pub fn check_split(&self, slots: &[rollout::Slot], rollout_id: &str) -> Vec<u32> {
        hold(self.splits(slots, rollout_id))
    }

    pub(crate) fn splits(
        &self,
        slots: &[rollout::Slot],
        rollout_id: &str,
    ) -> Result<Vec<u32>, Violation> {
        let cohorts = self.cohorts(slots, rollout_id);
        let mut before = BTreeSet::new();
        for (generation, cohort) in &cohorts {
            let holds = |is_so: bool, what: &dyn Fn() -> String| match is_so {
                true => Ok(()),
                false => Err(Violation {
                    at: Some(cohort.seen),
                    what: format!("in generation {generation}, {}", what()),
                }),
            };
            let both = cohort.canary.intersection(&cohort.stable).next();
            holds(both.is_none(), &|| format!("{both:?} changed sides"))?;
            for (keys, is_canary) in [(&cohort.canary, true), (&cohort.stable, false)] {
                let wrong = keys.iter().find(|key| {
                    let bucket = split::bucket(rollout_id, key.as_bytes());
                    (bucket < cohort.weight) != is_canary
                });
                holds(wrong.is_none(), &|| {
                    format!("{wrong:?} was on the wrong side")
                })?;
            }
            let keys = cohort.canary.len() + cohort.stable.len();
            let (least, most) = band(cohort.weight, keys);
            let counted = cohort.canary.len() as f64;
            holds((least..=most).contains(&counted), &|| {
                let weight = cohort.weight;
                format!(
                    "{counted} of {keys} keys had the canary, at a weight of {weight} basis points"
                )
            })?;
            let lost = cohort.stable.intersection(&before).next();
            holds(lost.is_none(), &|| format!("{lost:?} lost the canary"))?;
            before.extend(cohort.canary.iter().cloned());
        }
        Ok(cohorts.values().map(|cohort| cohort.weight).collect())
    }

    /// The same of requests without a routing key, which are drawn: of each generation, the canary's share is its weight.
    pub fn check_drawn(&self, slots: &[rollout::Slot], rollout_id: &str) {
        let weights = weights(slots, rollout_id);
        let mut counts: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for answer in &self.0 {
            if let (None, Ok((served_by, _))) = (&answer.question.key, &answer.outcome) {
                let (canary, all) = counts.entry(served_by.generation).or_default();
                *canary += usize::from(served_by.arm() == rollout::Arm::Canary);
                *all += 1;
            }
        }
        for (generation, weight) in weights {
            let (canary, all) = counts.get(&generation).copied().unwrap_or_default();
            let (least, most) = band(weight, all);
            assert!(
                (least..=most).contains(&(canary as f64)),
                "the canary had {canary} of {all} requests in generation {generation}, at a weight of {weight} basis points"
            );
        }
    }

    fn cohorts(&self, slots: &[rollout::Slot], rollout_id: &str) -> BTreeMap<u64, Cohort> {
        let weights = weights(slots, rollout_id);
        let mut cohorts = BTreeMap::new();
        for answer in &self.0 {
            let (Some(key), Ok((served_by, _))) = (&answer.question.key, &answer.outcome) else {
                continue;
            };
            let Some(&weight) = weights.get(&served_by.generation) else {
                continue;
            };
            let cohort = cohorts.entry(served_by.generation).or_insert(Cohort {
                weight,
                seen: answer.answered,
                canary: BTreeSet::new(),
                stable: BTreeSet::new(),
            });
            let side = match served_by.arm() {
                rollout::Arm::Canary => &mut cohort.canary,
                _ => &mut cohort.stable,
            };
            side.insert(key.clone());
        }
        cohorts
    }

    /// A version was given no more than so large a share of all requests, but for chance. A request that failed counts as
    /// its.
    pub fn check_at_most(&self, version: u64, weight: u32) {
        let had = |answer: &&Answer| match &answer.outcome {
            Ok((served_by, _)) => served_by.version == version,
            Err(_) => true,
        };
        let counted = self.0.iter().filter(had).count();
        let (_, most) = band(weight, self.0.len());
        assert!(
            counted as f64 <= most,
            "version {version} had {counted} of {} requests, at a weight of {weight} basis points",
            self.0.len()
        );
    }
}

/// The canary's weight in each generation of a rollout in which it had one.
fn weights(slots: &[rollout::Slot], rollout_id: &str) -> BTreeMap<u64, u32> {
    let weight = |slot: &rollout::Slot| {
        let mut active = slot.active.iter();
        let canary = active.find(|active| active.arm() == rollout::Arm::Canary)?;
        (slot.rollout == rollout_id).then_some((slot.generation, canary.weight_basis_points))
    };
    slots.iter().filter_map(weight).collect()
}

/// How many of so many a share may be by chance.
fn band(weight: u32, of: usize) -> (f64, f64) {
    let share = f64::from(weight) / f64::from(BASIS_POINTS);
    let expected = of as f64 * share;
    let off = DEVIATIONS * (expected * (1.0 - share)).sqrt() + FEW;
    (expected - off, expected + off)
}
