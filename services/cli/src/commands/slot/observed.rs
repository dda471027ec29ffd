//! What a scorer makes of a slot, in a word.

use decant_proto::rollout::v1::{ObservedState, ObservedVersion, ScorerStatus, Slot};

use crate::output::names;
use crate::output::table::Cell;
use crate::output::tone::Tone;

/// The scorer's name.
pub(in crate::commands) fn name(status: &ScorerStatus) -> &str {
    status
        .scorer
        .as_ref()
        .map_or("?", |scorer| scorer.name.as_str())
}

/// What the scorer has of a version.
pub(in crate::commands) fn version(status: &ScorerStatus, number: u64) -> Option<&ObservedVersion> {
    status.versions.iter().find(|one| one.version == number)
}

/// Whether the scorer answers with a version, or can at once.
pub(in crate::commands) fn is_ready(status: &ScorerStatus, number: u64) -> bool {
    version(status, number).is_some_and(|one| one.state() == ObservedState::Ready)
}

/// Where the scorer stands, painted.
pub(in crate::commands) fn state(status: &ScorerStatus, slot: &Slot) -> Cell {
    let is_pending = |one: &&ObservedVersion| {
        slot.pending
            .iter()
            .chain(&slot.prepare)
            .any(|wanted| wanted.version == one.version)
    };
    let pending = || status.versions.iter().filter(is_pending);
    if !status.frozen.is_empty() {
        Cell::new("FROZEN", Tone::Bad)
    } else if first_error(status).is_some() {
        Cell::new("FAILED", Tone::Bad)
    } else if status.generation < slot.generation {
        Cell::new("BEHIND", Tone::Busy)
    } else if pending().any(|one| one.state() == ObservedState::Loading) {
        Cell::new("PREPARING", Tone::Busy)
    } else if status.serving >= slot.generation {
        Cell::new("SERVING", Tone::Good)
    } else if status.serving == 0 {
        Cell::new("NOT SERVING", Tone::Bad)
    } else {
        Cell::new("SWITCHING", Tone::Busy)
    }
}

/// The scorer's versions and their states.
pub(in crate::commands) fn versions(status: &ScorerStatus) -> String {
    let one = |one: &ObservedVersion| {
        format!(
            "{} {}",
            names::version(one.version),
            names::observed_state(one.state)
        )
    };
    status
        .versions
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What keeps the scorer back, if it said.
pub(in crate::commands) fn error(status: &ScorerStatus) -> String {
    if !status.frozen.is_empty() {
        return status.frozen.clone();
    }
    first_error(status).map_or_else(String::new, |one| {
        format!("{}: {}", names::version(one.version), one.error)
    })
}

fn first_error(status: &ScorerStatus) -> Option<&ObservedVersion> {
    status
        .versions
        .iter()
        .find(|one| one.state() == ObservedState::Failed)
}
