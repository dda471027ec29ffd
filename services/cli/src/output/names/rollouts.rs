//! The enums of rollouts in words.

use decant_proto::rollout::v1::{
    GateReading, GateVerdict, OnFail, PausedBy, Rollout, RolloutPhase, SlotVersion,
};

use super::{short, slot_name};
use crate::output::table::Cell;
use crate::output::tone::Tone;

/// A rollout's phase, such as `PROGRESSING`.
pub(crate) fn rollout_phase(raw: i32) -> String {
    short(
        RolloutPhase::try_from(raw).map(|phase| phase.as_str_name()),
        "ROLLOUT_PHASE_",
        raw,
    )
}

/// How a rollout was paused, such as `GATE`.
pub(crate) fn paused_by(raw: i32) -> String {
    short(
        PausedBy::try_from(raw).map(|by| by.as_str_name()),
        "PAUSED_BY_",
        raw,
    )
}

/// What a gate says, such as `PASS`.
pub(crate) fn gate_verdict(raw: i32) -> String {
    short(
        GateVerdict::try_from(raw).map(|verdict| verdict.as_str_name()),
        "GATE_VERDICT_",
        raw,
    )
}

/// What follows when a gate fails, such as `HOLD`.
pub(crate) fn on_fail(raw: i32) -> String {
    short(
        OnFail::try_from(raw).map(|on_fail| on_fail.as_str_name()),
        "ON_FAIL_",
        raw,
    )
}

/// A rollout's phase with a sign, painted.
pub(crate) fn rollout_phase_cell(raw: i32) -> Cell {
    use RolloutPhase::{Aborted, Aborting, Degraded, Paused, Promoted, RolledBack};
    let (sign, tone) = match RolloutPhase::try_from(raw) {
        Ok(Promoted) => ("✔", Tone::Good),
        Ok(Paused) => ("॥", Tone::Busy),
        Ok(Aborting | Aborted | RolledBack) => ("✖", Tone::Bad),
        Ok(Degraded) => ("⚠", Tone::Bad),
        Ok(RolloutPhase::Unspecified) | Err(_) => ("?", Tone::Plain),
        Ok(_) => ("◌", Tone::Busy),
    };
    Cell::new(format!("{sign} {}", rollout_phase(raw)), tone)
}

/// What a gate says with a sign, painted. One that has said nothing yet waits.
pub(crate) fn gate_verdict_cell(reading: &GateReading) -> Cell {
    let on_fail = reading
        .gate
        .as_ref()
        .map_or(OnFail::Abort, |gate| gate.on_fail());
    let (sign, tone) = match GateVerdict::try_from(reading.verdict) {
        Ok(GateVerdict::Pass) => ("✔", Tone::Good),
        Ok(GateVerdict::Fail) if on_fail == OnFail::Warn => ("⚠", Tone::Busy),
        Ok(GateVerdict::Fail) => ("✖", Tone::Bad),
        Ok(GateVerdict::Inconclusive) => ("?", Tone::Busy),
        Ok(GateVerdict::Unspecified) => return Cell::from("• WAITING"),
        Err(_) => ("?", Tone::Plain),
    };
    Cell::new(format!("{sign} {}", gate_verdict(reading.verdict)), tone)
}

/// The name of the slot that a rollout is of, such as `movies/main`.
pub(crate) fn rollout_slot(rollout: &Rollout) -> String {
    slot_name(&rollout.model, &rollout.slot)
}

/// The version that a rollout is about, such as `v3`; `?` when the registry did not say.
pub(crate) fn rollout_version(version: Option<&SlotVersion>) -> String {
    version.map_or_else(|| "?".to_owned(), |one| super::version(one.version))
}

/// How far a rollout is, such as `3/6`; 0 before the first step.
pub(crate) fn rollout_step(rollout: &Rollout) -> String {
    let steps = rollout.plan.as_ref().map_or(0, |plan| plan.steps.len());
    let has_begun = !matches!(
        rollout.phase(),
        RolloutPhase::Unspecified | RolloutPhase::Pending | RolloutPhase::Preparing
    );
    let at = rollout.step as usize + usize::from(has_begun);
    format!("{}/{steps}", at.min(steps))
}

#[cfg(test)]
mod tests {
    use decant_proto::rollout::v1::{Plan, Step};

    use super::*;

    #[test]
    fn names_are_the_protocols_without_prefix() {
        assert_eq!(
            rollout_phase(RolloutPhase::RolledBack.into()),
            "ROLLED_BACK"
        );
        assert_eq!(paused_by(PausedBy::Gate.into()), "GATE");
        assert_eq!(
            gate_verdict(GateVerdict::Inconclusive.into()),
            "INCONCLUSIVE"
        );
        assert_eq!(on_fail(OnFail::Hold.into()), "HOLD");
        assert_eq!(rollout_phase(99), "UNKNOWN_99");
    }

    #[test]
    fn steps_are_counted_from_the_first_that_has_begun() {
        let step = |phase: RolloutPhase, step| {
            let rollout = Rollout {
                phase: phase.into(),
                step,
                plan: Some(Plan {
                    steps: vec![Step::default(); 2],
                    ..Plan::default()
                }),
                ..Rollout::default()
            };
            rollout_step(&rollout)
        };
        assert_eq!(step(RolloutPhase::Preparing, 0), "0/2");
        assert_eq!(step(RolloutPhase::Progressing, 0), "1/2");
        assert_eq!(step(RolloutPhase::Paused, 1), "2/2");
        assert_eq!(step(RolloutPhase::Promoted, 2), "2/2");
    }
}
