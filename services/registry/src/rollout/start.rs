//! Beginning a rollout: what is asked for is made out, everything that holds before any traffic is checked, and the rollout is
//! written together with the slot's generation that gives it the slot. The leader does the rest.

use decant_coordination::Conflict;
use decant_coordination::keys::{DesiredKey, ModelKey, RolloutKey, RolloutRecord, VersionState};
use decant_model::rollout::{
    Event, Plan as RolloutPlan, Preparation, Rollout, RolloutId, Sight, Verb,
};
use decant_model::{Arm, DesiredSlot, Digest, Generation, ModelVersion, Prepared, SlotName};
use ulid::Ulid;

use super::change::write;
use super::checks::{self, Subject};
use super::guard::{YieldsTo, check_free, check_generation, check_lost};
use super::intent;
use super::rollouts::{Kept, Moved, Rollouts};
use super::transition::{log, told, with_slot};
use crate::catalog::Version;
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::{Ask, Planned, summary};
use crate::records::Found;

/// What a rollout is to release, and how.
pub(crate) struct Start {
    pub(crate) place: DesiredKey,
    pub(crate) what: What,
    /// What the slot's generation must be.
    pub(crate) expected: Option<Generation>,
    /// Whether nothing is to be done but to say what would be.
    pub(crate) dry_run: bool,
    pub(crate) ask: Ask,
}

/// What is released.
pub(crate) enum What {
    /// A version.
    Version {
        version: ModelVersion,
        how: How,
        /// The version to compare with; none for the one that the version's lineage names.
        teacher: Option<ModelVersion>,
        /// Checks that need not hold.
        overrides: Vec<String>,
    },
    /// What an earlier rollout was to release, in the same way.
    Again(RolloutId),
}

/// Which plan is followed.
pub(crate) enum How {
    /// This one.
    Given(Box<RolloutPlan>),
    /// The stored one of this name.
    Named(SlotName),
    /// The model's usual one.
    Usual,
}

/// A rollout that began, or would.
pub(crate) struct Started {
    pub(crate) moved: Moved,
    /// What scorers are to serve: while the version is prepared, at each step that changes it, and in the end.
    pub(crate) course: Vec<DesiredSlot>,
}

/// What is asked for, made out.
struct Wanted {
    version: ModelVersion,
    plan: RolloutPlan,
    teacher: Option<ModelVersion>,
    overrides: Vec<String>,
    retry_of: String,
    /// Why checks need not hold.
    reason: String,
}

/// A slot that a rollout may have, and what it serves.
struct Free {
    found: Found<DesiredKey>,
    stable: Prepared,
}

impl Rollouts {
    /// Begins a rollout, or says what would be done.
    pub(crate) async fn start(&self, start: &Start) -> Result<Started, CallError> {
        let moved = if start.dry_run {
            self.plan_start(start, None).await?.answer()
        } else {
            let moved = self
                .ledger
                .mutate(&start.ask, |lost_to| self.plan_start(start, lost_to))
                .await?;
            log("began a rollout", &key(&start.place, &moved.id), &moved);
            moved
        };
        Ok(Started {
            course: course(&moved.id, &moved.record, &moved.slot),
            moved,
        })
    }

    async fn plan_start(
        &self,
        start: &Start,
        lost_to: Option<Box<Conflict>>,
    ) -> Result<Planned<Moved>, CallError> {
        let place = &start.place;
        check_lost(&self.records, place, lost_to, YieldsTo::Anybody)?;
        let model = self.catalog.model_found(&place.model).await?;
        let wanted = self.wanted(start).await?;
        let Free { found, stable } = self.free(start).await?;
        let candidate = self.version(place, wanted.version).await?;
        if candidate.record.digest == stable.digest {
            return Err(CallError::StableAlready {
                model: place.model.clone(),
                slot: place.slot.clone(),
                version: stable.version,
            });
        }
        let stable_version = self.version(place, stable.version).await?;
        let about = Subject {
            candidate: &candidate,
            stable: &stable_version,
            gates: &model.value.gates,
            signers: &model.value.signers,
            plan: &wanted.plan,
        };
        let checks = checks::run(&about, &self.bundles, &wanted.overrides).await?;
        checks::require(&candidate, &checks)?;
        let teacher = self.teacher(&wanted, &candidate, stable, &model).await?;
        let id = self.next_id(place).await?;
        let (ask, now) = (&start.ask, now_millis());
        let slot = DesiredSlot {
            generation: found.value.generation.next(),
            epoch: ask.epoch(),
            rollout: Some(id.clone()),
            issued_by: ask.actor.clone(),
            reason: ask.reason.clone(),
            issued_at_millis: now,
            trace: ask.trace(),
            ..found.value.clone()
        };
        let record = RolloutRecord {
            rollout: Rollout::new(wanted.plan),
            candidate: prepared(&candidate),
            stable,
            teacher: teacher.as_ref().map(prepared),
            generation: slot.generation,
            checks,
            retry_of: wanted.retry_of,
            issued_by: ask.actor.clone(),
            reason: wanted.reason,
            started_at_millis: now,
            moved_at_millis: now,
            moved_by: ask.actor.clone(),
            epoch: ask.epoch(),
            trace: ask.trace(),
        };
        let key = key(place, &id);
        let moved = Moved {
            id: id.clone(),
            record: record.clone(),
            before: found.value.clone(),
            slot: slot.clone(),
        };
        let mut after = with_slot(told(&id, &record.rollout), &slot);
        after["record"] = summary(&record);
        let plan = write(
            &self.records,
            "rollout.start",
            (&place.model, &place.slot),
            Some(&found),
            slot,
        )?
        .after(after)
        .create(&self.records, &key, &record)?
        // What was found of the version, and what the model asks for, must still be so.
        .unchanged(&candidate.state_entry)
        .unchanged(&model.entry);
        let plan = teacher
            .iter()
            .fold(plan, |plan, teacher| plan.unchanged(&teacher.state_entry));
        Ok(Planned::Do(plan.map_answer(|_| moved)))
    }

    /// Makes out what is asked for, and refuses what makes no sense.
    async fn wanted(&self, start: &Start) -> Result<Wanted, CallError> {
        let wanted = match &start.what {
            What::Version {
                version,
                how,
                teacher,
                overrides,
            } => Wanted {
                version: *version,
                plan: self.plan_of(&start.place, how).await?,
                teacher: *teacher,
                overrides: overrides.clone(),
                retry_of: String::new(),
                reason: start.ask.reason.clone(),
            },
            What::Again(id) => {
                let earlier = self.kept(&start.place, Some(id)).await?;
                again(earlier, &start.ask)
            }
        };
        checks::check_overrides(&wanted.overrides, &wanted.reason)?;
        let senseless = |error| CallError::field("plan", error);
        wanted.plan.check().map_err(senseless)?;
        Ok(wanted)
    }

    async fn plan_of(&self, place: &DesiredKey, how: &How) -> Result<RolloutPlan, CallError> {
        match how {
            How::Given(plan) => Ok((**plan).clone()),
            How::Named(name) => Ok(self.plan(&place.model, Some(name)).await?.plan),
            How::Usual => Ok(self.plan(&place.model, None).await?.plan),
        }
    }

    /// The slot, if a rollout may begin in it.
    async fn free(&self, start: &Start) -> Result<Free, CallError> {
        let DesiredKey { model, slot } = &start.place;
        // Before the slot itself: read the other way round, a change in between would look like scorers that are ahead.
        let fleet = self.slots.fleet(model, slot).await?;
        let nothing_to_begin_from = || CallError::NoStable {
            model: model.clone(),
            slot: slot.clone(),
        };
        let found = self.slots.find(model, slot).await?;
        check_generation(
            &start.place,
            start.expected,
            found.as_ref().map(|found| &found.value),
        )?;
        let found = found.ok_or_else(nothing_to_begin_from)?;
        let current = &found.value;
        check_free(&start.place, current)?;
        if current.pending.is_some() {
            return Err(CallError::ChangePending {
                model: model.clone(),
                slot: slot.clone(),
                generation: current.generation,
                issued_by: current.issued_by.clone(),
            });
        }
        self.cluster.check().await?;
        if let Some((scorer, seen)) = fleet.ahead_of(current.generation) {
            return Err(CallError::ScorerAhead {
                model: model.clone(),
                slot: slot.clone(),
                scorer: scorer.name.clone(),
                seen,
                found: current.generation,
            });
        }
        let stable = stable_of(current).ok_or_else(nothing_to_begin_from)?;
        Ok(Free { found, stable })
    }

    async fn version(
        &self,
        place: &DesiredKey,
        version: ModelVersion,
    ) -> Result<Version, CallError> {
        self.catalog.version(&place.model, Some(version)).await
    }

    /// The version to compare with: the one that was named; or the first of those that the candidate learnt from, the most
    /// important one first, that is a version here.
    async fn teacher(
        &self,
        wanted: &Wanted,
        candidate: &Version,
        stable: Prepared,
        model: &Found<ModelKey>,
    ) -> Result<Option<Version>, CallError> {
        let sees = |digest: Digest| digest == stable.digest || digest == candidate.record.digest;
        let may_serve = |teacher: &Version| {
            if teacher.state.state != VersionState::Approved {
                return Err(CallError::not_approved(teacher));
            }
            CallError::check_signed(teacher, &model.value.signers)
        };
        if let Some(version) = wanted.teacher {
            let teacher = self
                .catalog
                .version(&candidate.model, Some(version))
                .await?;
            if sees(teacher.record.digest) {
                let words =
                    format!("{version} is in the slot already, as what it is compared with");
                return Err(CallError::field("teacher_version", words));
            }
            may_serve(&teacher)?;
            return Ok(Some(teacher));
        }
        let mut named = candidate.record.manifest.lineage.teachers.clone();
        named.sort_by(|one, other| other.weight.total_cmp(&one.weight));
        let mut why_not = "its lineage names none".to_owned();
        for teacher in &named {
            let known = self
                .catalog
                .version_of(&candidate.model, teacher.digest)
                .await?;
            let Some(version) = known else {
                why_not = format!("its teacher `{}` is no version here", teacher.name);
                continue;
            };
            if sees(teacher.digest) {
                why_not = format!("its teacher {version} is the stable version: compare with that");
                continue;
            }
            let teacher = self
                .catalog
                .version(&candidate.model, Some(version))
                .await?;
            match may_serve(&teacher) {
                Ok(()) => return Ok(Some(teacher)),
                Err(error) => why_not = error.to_string(),
            }
        }
        let mut metrics = wanted.plan.gates.iter().map(|gate| gate.metric);
        match metrics.find(|metric| metric.needs_teacher()) {
            None => Ok(None),
            Some(metric) => Err(CallError::NoTeacher {
                model: candidate.model.clone(),
                version: candidate.version,
                metric: metric.as_str(),
                reason: why_not,
            }),
        }
    }

    /// An id after all those of the slot, whatever the clocks of registries say.
    async fn next_id(&self, place: &DesiredKey) -> Result<RolloutId, CallError> {
        let drawn = Ulid::generate();
        let newest = self.newest(place).await?;
        let newest = newest.and_then(|newest| Ulid::from_string(newest.id().as_str()).ok());
        let id = match newest {
            // What overflows is the first id of the next millisecond, and so after it too.
            Some(newest) if newest >= drawn => newest.increment().unwrap_or_else(|next| next),
            _ => drawn,
        };
        id.to_string()
            .to_lowercase()
            .parse()
            .map_err(|_| CallError::Broken("a rollout's id was drawn that is none"))
    }
}

/// What an earlier rollout was to release, as it was asked for then: what was overridden then need not hold now.
fn again(earlier: Kept, ask: &Ask) -> Wanted {
    let id = earlier.id().to_string();
    let record = earlier.found.value;
    let overridden = record.checks.into_iter().filter(|check| check.overridden);
    Wanted {
        version: record.candidate.version,
        plan: record.rollout.plan,
        teacher: record.teacher.map(|teacher| teacher.version),
        overrides: overridden.map(|check| check.name).collect(),
        retry_of: id,
        reason: match &*ask.reason {
            "" => record.reason,
            given => given.to_owned(),
        },
    }
}

fn key(place: &DesiredKey, rollout: &RolloutId) -> RolloutKey {
    RolloutKey {
        model: place.model.clone(),
        slot: place.slot.clone(),
        rollout: rollout.clone(),
    }
}

fn prepared(version: &Version) -> Prepared {
    Prepared {
        digest: version.record.digest,
        version: version.version,
    }
}

/// The version that answers by default.
pub(super) fn stable_of(slot: &DesiredSlot) -> Option<Prepared> {
    let stable = slot.active.iter().find(|active| active.arm == Arm::Stable);
    stable.map(super::change::prepared)
}

/// What scorers are to serve, if all goes well: the rollout itself says it, to a leader who sees nothing but success.
fn course(id: &RolloutId, record: &RolloutRecord, slot: &DesiredSlot) -> Vec<DesiredSlot> {
    let (mut rollout, mut slot) = (record.rollout.clone(), slot.clone());
    let mut course = Vec::new();
    let begin = Event::Look(Sight::default());
    let go_on = Event::Told(Verb::Promote, String::new());
    let ready = Event::Look(Sight {
        preparation: Preparation::Ready,
        ..Sight::default()
    });
    // Taken in, prepared, and then one step after the other.
    let events = [&begin, &ready]
        .into_iter()
        .chain(std::iter::repeat(&go_on));
    for event in events {
        let Ok(Some(changed)) = rollout.on(event) else {
            return course;
        };
        rollout = changed.rollout;
        if let Some(intent) = changed.intent {
            slot = intent::next(intent, id, record, &slot);
            course.push(slot.clone());
        }
    }
    course
}

#[cfg(test)]
mod tests {
    use decant_model::BASIS_POINTS;

    use super::*;

    fn version(number: u64) -> Prepared {
        Prepared {
            digest: Digest::of(&number.to_be_bytes()),
            version: ModelVersion::new(number).unwrap(),
        }
    }

    fn course_of(steps: &[&str]) -> Vec<Vec<u32>> {
        let plan = RolloutPlan {
            steps: steps.iter().map(|step| step.parse().unwrap()).collect(),
            ..RolloutPlan::default()
        };
        let record = RolloutRecord {
            rollout: Rollout::new(plan),
            candidate: version(2),
            stable: version(1),
            teacher: None,
            generation: Generation(5),
            checks: Vec::new(),
            retry_of: String::new(),
            issued_by: "ana".into(),
            reason: String::new(),
            started_at_millis: 0,
            moved_at_millis: 0,
            moved_by: "ana".into(),
            epoch: 0,
            trace: None,
        };
        let id: RolloutId = "01hv0000000000000000000000".parse().unwrap();
        let slot = DesiredSlot {
            generation: Generation(5),
            active: vec![intent::active(version(1), Arm::Stable, BASIS_POINTS)],
            rollout: Some(id.clone()),
            ..DesiredSlot::default()
        };
        let course = course(&id, &record, &slot);
        let generations: Vec<u64> = course.iter().map(|slot| slot.generation.0).collect();
        let expected: Vec<u64> = (6..6 + course.len() as u64).collect();
        assert_eq!(generations, expected);
        let last = course.last().unwrap();
        assert_eq!((last.active[0].version.get(), &last.rollout), (2, &None));
        let weights = |slot: &DesiredSlot| {
            let weights = slot.active.iter().map(|active| active.weight_basis_points);
            weights.collect()
        };
        course.iter().map(weights).collect()
    }

    #[test]
    fn the_course_has_one_slot_for_each_change_that_scorers_see() {
        assert_eq!(course_of(&[]), [vec![10_000], vec![10_000]]);
        let steps = ["shadow", "analysis 10m", "1%", "pause", "pause 5m", "50%"];
        let expected = [
            vec![10_000],
            vec![10_000, 0],
            vec![9_900, 100],
            vec![5_000, 5_000],
            vec![10_000],
        ];
        assert_eq!(course_of(&steps), expected);
    }
}
