//! The tree: the slot, its versions, what judges them, and scorers that lag.

use decant_proto::rollout::v1::{Arm, GateReading, OnFail, ScorerStatus, SlotVersion};

use super::{Qualities, Sight};
use crate::commands::rollout::start::course;
use crate::commands::slot::observed;
use crate::output::names;
use crate::output::table::{Cell, Table};
use crate::output::tone::{Palette, Tone};

/// Something that takes part in a rollout, and what belongs to it.
pub(super) struct Part {
    name: String,
    kind: &'static str,
    state: Cell,
    info: String,
    parts: Vec<Part>,
}

/// The slot and all below it.
pub(super) fn tree(sight: &Sight<'_>, qualities: &Qualities) -> Part {
    let rollout = &sight.rollout;
    let mut parts = Vec::new();
    if let Some(candidate) = &rollout.candidate {
        let unheld = rollout.checks.iter().filter(|check| !check.passed);
        let checks = unheld.map(|check| Part {
            name: check.name.clone(),
            kind: "Check",
            state: course::result(check),
            info: check.found.clone(),
            parts: Vec::new(),
        });
        parts.push(Part {
            parts: sight.gates().iter().map(gate).chain(checks).collect(),
            ..version(sight, candidate, qualities)
        });
    }
    let others = [&rollout.stable, &rollout.teacher].into_iter().flatten();
    parts.extend(others.map(|other| version(sight, other, qualities)));
    parts.extend(sight.lagging().into_iter().map(|one| scorer(sight, one)));
    Part {
        name: names::rollout_slot(rollout),
        kind: "Slot",
        state: names::rollout_phase_cell(rollout.phase),
        info: String::new(),
        parts,
    }
}

/// A version, and what it does in the slot now.
fn version(sight: &Sight<'_>, version: &SlotVersion, qualities: &Qualities) -> Part {
    let number = version.version;
    let quality = qualities.of(number);
    let digest = names::digest(&version.digest);
    let info = [digest.as_str(), quality];
    let info: Vec<&str> = info.into_iter().filter(|words| !words.is_empty()).collect();
    Part {
        name: names::version(number),
        kind: "Version",
        state: doing(sight, number),
        info: info.join(", "),
        parts: Vec::new(),
    }
}

/// The part that a version plays in the slot, painted.
fn doing(sight: &Sight<'_>, version: u64) -> Cell {
    let active = &sight.slot.active;
    let Some(one) = active.iter().find(|one| one.version == version) else {
        let is_prepared = sight.slot.prepare.iter().any(|one| one.version == version);
        return match (is_prepared, sight.is_preparing()) {
            (true, true) => Cell::new("◌ PREPARING", Tone::Busy),
            (true, false) => Cell::from("• KEPT READY"),
            (false, _) => Cell::from("• NOT IN THE SLOT"),
        };
    };
    let arm = names::arm(one.arm);
    let share = names::weight_share(one.weight_basis_points);
    match one.arm() {
        Arm::Stable => Cell::new(format!("✔ {arm} {share}"), Tone::Good),
        Arm::Canary => Cell::new(format!("◌ {arm} {share}"), Tone::Busy),
        Arm::Shadow => Cell::new(format!("◌ {arm}"), Tone::Busy),
        Arm::Teacher | Arm::Unspecified => Cell::from(format!("• {arm}")),
    }
}

/// A gate: its value, its bound, where the true value lies, and from how many requests.
fn gate(reading: &GateReading) -> Part {
    let gate = reading.gate.clone().unwrap_or_default();
    let bound = match (gate.min, gate.max) {
        (Some(min), _) => format!(">= {min}"),
        (None, Some(max)) => format!("<= {max}"),
        (None, None) => String::new(),
    };
    let value = reading.value.map_or("no data".to_owned(), number);
    let mut info = format!("{value} {bound}");
    if let (Some(low), Some(high)) = (reading.low, reading.high) {
        info.push_str(&format!("  [{}, {}]", number(low), number(high)));
    }
    info.push_str(&format!("  n={}", reading.count));
    if reading.count < gate.min_count {
        info.push_str(&format!(" of {}", gate.min_count));
    }
    match gate.on_fail() {
        OnFail::Hold => info.push_str("  holds"),
        OnFail::Warn => info.push_str("  warns"),
        OnFail::Abort | OnFail::Unspecified => {}
    }
    Part {
        name: gate.metric,
        kind: "Gate",
        state: names::gate_verdict_cell(reading),
        info,
        parts: Vec::new(),
    }
}

/// Four digits that count: what gates judge is small, or around one. Counts are whole.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() >= 1.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.4}")
    }
}

/// A scorer that lags, and why.
fn scorer(sight: &Sight<'_>, status: &ScorerStatus) -> Part {
    let mut info = format!(
        "at generation {}, serves {}",
        status.generation, status.serving
    );
    for words in [observed::versions(status), observed::error(status)] {
        if !words.is_empty() {
            info.push_str(&format!("; {words}"));
        }
    }
    Part {
        name: observed::name(status).to_owned(),
        kind: "Scorer",
        state: observed::state(status, &sight.slot),
        info,
        parts: Vec::new(),
    }
}

impl Part {
    /// The part and all below it as a table, whose first column is the tree.
    pub(super) fn render(&self, palette: Palette) -> String {
        let mut table = Table::new(["NAME", "KIND", "STATE", "INFO"]);
        self.row(&mut table, "", "");
        table.render(palette)
    }

    /// Adds the part's row behind this stem, and the rows of those below it behind that one.
    fn row(&self, table: &mut Table, before: &str, below: &str) {
        table.row([
            Cell::from(format!("{before}{}", self.name)),
            Cell::from(self.kind),
            self.state.clone(),
            Cell::from(&self.info),
        ]);
        for (at, part) in self.parts.iter().enumerate() {
            let (branch, stem) = if at + 1 == self.parts.len() {
                ("└── ", "    ")
            } else {
                ("├── ", "│   ")
            };
            part.row(
                table,
                &format!("{below}{branch}"),
                &format!("{below}{stem}"),
            );
        }
    }
}
