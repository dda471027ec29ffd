//! The protocol's enums in words, and what the words mean to the reader.

mod rollouts;

pub(crate) use rollouts::{
    gate_verdict, gate_verdict_cell, on_fail, paused_by, rollout_phase, rollout_phase_cell,
    rollout_slot, rollout_step, rollout_version,
};

use decant_proto::access::v1::Role;
use decant_proto::registry::v1::{Version, VersionState};
use decant_proto::rollout::v1::{Arm, ObservedState, Slot, SlotVersion};
use decant_proto::scorer::v1::{Servable, ServableState, ServedBy};
use decant_proto::trainer::v1::JobState;

use crate::output::table::Cell;
use crate::output::tone::{Palette, Tone};

/// A job's state, such as `RUNNING`.
pub(crate) fn job_state(raw: i32) -> String {
    short(
        JobState::try_from(raw).map(|state| state.as_str_name()),
        "JOB_STATE_",
        raw,
    )
}

/// A version's state, such as `APPROVED`.
pub(crate) fn version_state(raw: i32) -> String {
    short(
        VersionState::try_from(raw).map(|state| state.as_str_name()),
        "VERSION_STATE_",
        raw,
    )
}

/// An arm, such as `STABLE`.
pub(crate) fn arm(raw: i32) -> String {
    short(Arm::try_from(raw).map(|arm| arm.as_str_name()), "ARM_", raw)
}

/// A servable's state, such as `AVAILABLE`.
pub(crate) fn servable_state(raw: i32) -> String {
    short(
        ServableState::try_from(raw).map(|state| state.as_str_name()),
        "SERVABLE_STATE_",
        raw,
    )
}

/// Where a version stands in a scorer, such as `READY`.
pub(crate) fn observed_state(raw: i32) -> String {
    short(
        ObservedState::try_from(raw).map(|state| state.as_str_name()),
        "OBSERVED_STATE_",
        raw,
    )
}

/// A role as it is typed, such as `publisher`.
pub(crate) fn role(raw: i32) -> String {
    match Role::try_from(raw).ok().and_then(Role::role) {
        Some(role) => role.name().to_owned(),
        None => format!("UNKNOWN_{raw}"),
    }
}

/// The protocol's name without its prefix. A value from a newer protocol is shown by number.
fn short<E>(name: Result<&'static str, E>, prefix: &str, raw: i32) -> String {
    match name {
        Ok(name) => name.strip_prefix(prefix).unwrap_or(name).to_owned(),
        Err(_) => format!("UNKNOWN_{raw}"),
    }
}

/// A job's state, painted.
pub(crate) fn job_state_cell(raw: i32) -> Cell {
    let tone = match JobState::try_from(raw) {
        Ok(JobState::Succeeded) => Tone::Good,
        Ok(JobState::Running | JobState::Queued) => Tone::Busy,
        Ok(JobState::Failed | JobState::Cancelled) => Tone::Bad,
        _ => Tone::Plain,
    };
    Cell::new(job_state(raw), tone)
}

/// A version's state, painted.
pub(crate) fn version_state_cell(raw: i32) -> Cell {
    let tone = match VersionState::try_from(raw) {
        Ok(VersionState::Approved) => Tone::Good,
        Ok(VersionState::Staged | VersionState::Validated) => Tone::Busy,
        Ok(VersionState::Rejected) => Tone::Bad,
        _ => Tone::Plain,
    };
    Cell::new(version_state(raw), tone)
}

/// A servable's state, painted.
pub(crate) fn servable_state_cell(servable: &Servable) -> Cell {
    let tone = match servable.state() {
        ServableState::Available => Tone::Good,
        ServableState::Start | ServableState::Loading | ServableState::Unloading => Tone::Busy,
        ServableState::End if !servable.error.is_empty() => Tone::Bad,
        ServableState::End | ServableState::Unspecified => Tone::Plain,
    };
    Cell::new(servable_state(servable.state), tone)
}

/// A digest's first 12 hex digits; what is no digest is shown as it is.
pub(crate) fn digest(text: &str) -> String {
    text.parse::<decant_model::Digest>()
        .map_or_else(|_| text.to_owned(), |digest| digest.short())
}

/// A digest in a table: in full where all is shown.
pub(crate) fn digest_cell(text: &str, palette: Palette) -> Cell {
    if palette.is_wide() {
        Cell::from(text)
    } else {
        Cell::from(digest(text))
    }
}

/// A version's number, such as `v3`.
pub(crate) fn version(number: u64) -> String {
    format!("v{number}")
}

/// A slot's name, such as `movies/main`.
pub(crate) fn slot(slot: &Slot) -> String {
    slot_name(&slot.model, &slot.slot)
}

/// The same, of its parts.
pub(crate) fn slot_name(model: &str, slot: &str) -> String {
    format!("{model}/{slot}")
}

/// Versions of a slot on one line, such as `v3`, `v3 90.00 %, v4 10.00 %` or `v3, v4 shadow`.
pub(crate) fn slot_versions(versions: &[SlotVersion]) -> String {
    let name = |one: &SlotVersion| match (one.arm(), one.weight_basis_points) {
        (Arm::Shadow, _) => format!("{} shadow", version(one.version)),
        (Arm::Teacher, _) => format!("{} teacher", version(one.version)),
        (_, 0 | 10_000) => version(one.version),
        (_, weight) => format!("{} {}", version(one.version), weight_share(weight)),
    };
    versions.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// A share of the traffic, given in basis points, such as `10.00 %`.
pub(crate) fn weight_share(basis_points: u32) -> String {
    format!("{:.2} %", f64::from(basis_points) / 100.0)
}

/// A version's name among those of all models, such as `movies/3`.
pub(crate) fn qualified(version: &Version) -> String {
    format!("{}/{}", version.model, version.version)
}

/// Who signed: the first digits of the key; empty when nobody did, and what is no signature is shown as it is.
pub(crate) fn signer(signature: &str) -> String {
    signature
        .parse::<decant_model::Signature>()
        .map_or_else(|_| signature.to_owned(), |signature| signature.key.short())
}

/// Who answered, on one line.
pub(crate) fn served_by(served_by: Option<&ServedBy>) -> String {
    match served_by {
        None => "the scorer did not say which version answered".to_owned(),
        Some(by) => format!(
            "answered by {}/{} {} ({}, generation {}, {})",
            by.model,
            by.slot,
            version(by.version),
            arm(by.arm),
            by.generation,
            digest(&by.digest)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_protocols_without_prefix() {
        assert_eq!(job_state(JobState::Running.into()), "RUNNING");
        assert_eq!(version_state(VersionState::Rejected.into()), "REJECTED");
        assert_eq!(arm(Arm::Canary.into()), "CANARY");
        assert_eq!(servable_state(0), "UNSPECIFIED");
        assert_eq!(servable_state(99), "UNKNOWN_99");
    }

    #[test]
    fn versions_that_answer_nothing_say_what_they_are_for() {
        let one = |version, arm: Arm, weight_basis_points| SlotVersion {
            version,
            arm: arm.into(),
            weight_basis_points,
            ..SlotVersion::default()
        };
        let all = [
            one(1, Arm::Stable, 9_000),
            one(2, Arm::Canary, 1_000),
            one(7, Arm::Teacher, 0),
        ];
        assert_eq!(slot_versions(&all), "v1 90.00 %, v2 10.00 %, v7 teacher");
        let shadowed = [one(1, Arm::Stable, 10_000), one(2, Arm::Shadow, 0)];
        assert_eq!(slot_versions(&shadowed), "v1, v2 shadow");
    }

    #[test]
    fn digests_are_short_and_other_text_is_kept() {
        let text = decant_model::Digest::of(b"abc").to_string();
        assert_eq!(digest(&text), "ba7816bf8f01");
        assert_eq!(digest("?"), "?");
        let palette = Palette::new(false);
        assert_eq!(digest_cell(&text, palette), Cell::from("ba7816bf8f01"));
        assert_eq!(digest_cell(&text, palette.wide()), Cell::from(&text));
    }
}
