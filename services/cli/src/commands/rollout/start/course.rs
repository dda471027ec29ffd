//! What a rollout would do: the checks before any traffic, and what scorers would serve, generation by generation.

use decant_proto::rollout::v1::{Rollout, RolloutCheck, SlotVersion};

use crate::commands::rollout::status::unpromoted;
use crate::failure::{Exit, Failure};
use crate::output::names;
use crate::output::table::{Cell, Table};
use crate::output::tone::{Palette, Tone};
use crate::remote::Started;

/// The checks and the course, each where there are any.
pub(super) fn render(started: &Started, palette: Palette) -> String {
    let mut checks = Table::new(["CHECK", "RESULT", "FOUND"]);
    for check in &started.rollout.checks {
        checks.row([
            Cell::from(&check.name),
            result(check),
            Cell::from(&check.found),
        ]);
    }
    let mut course = Table::new([">GENERATION", "ACTIVE", "PREPARED"]);
    for slot in &started.course {
        course.row([
            Cell::from(slot.generation.to_string()),
            Cell::from(arms(&slot.active)),
            Cell::from(names::slot_versions(&slot.prepare)),
        ]);
    }
    let tables = [checks, course];
    let sections = tables.iter().filter(|table| !table.is_empty());
    sections
        .map(|table| format!("\n{}", table.render(palette)))
        .collect()
}

/// Whether the rollout would begin at all.
pub(super) fn judge(rollout: &Rollout) -> Result<Exit, Failure> {
    let stands_in_the_way = |check: &&RolloutCheck| !check.passed && !check.overridden;
    let failed = rollout.checks.iter().filter(stands_in_the_way);
    let failed: Vec<String> = failed
        .map(|check| format!("{}: {}", check.name, check.found))
        .collect();
    if failed.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(
        unpromoted("the rollout would not begin: some checks do not hold")
            .after(failed)
            .hint("--override CHECK with --reason goes on all the same"),
    )
}

/// How a check went, painted.
pub(in crate::commands::rollout) fn result(check: &RolloutCheck) -> Cell {
    match (check.passed, check.overridden) {
        (true, _) => Cell::new("✔ HOLDS", Tone::Good),
        (false, true) => Cell::new("⚠ OVERRIDDEN", Tone::Busy),
        (false, false) => Cell::new("✖ FAILS", Tone::Bad),
    }
}

/// Versions with their parts and shares, on one line.
fn arms(versions: &[SlotVersion]) -> String {
    let one = |one: &SlotVersion| {
        let (version, arm) = (names::version(one.version), names::arm(one.arm));
        match one.weight_basis_points {
            0 => format!("{version} {arm}"),
            weight => format!("{version} {arm} {}", names::weight_share(weight)),
        }
    };
    versions.iter().map(one).collect::<Vec<_>>().join(", ")
}
