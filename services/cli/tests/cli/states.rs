//! Rollouts in every state that there is, as the registry tells of them.

use std::time::Duration;

use decant_model::rollout::{Gate, Metric, OnFail as ModelOnFail, Plan};
use decant_proto::rollout::plan::to_wire;
use decant_proto::rollout::v1::{
    Arm, GateReading, GateVerdict, ObservedState, ObservedVersion, OnFail, PausedBy, Rollout,
    RolloutCheck, RolloutPhase, RolloutStatus, Scorer, ScorerStatus, Slot, SlotStatus, SlotVersion,
};

use crate::fakes::noon;

pub(crate) const ID: &str = "01jtv8z3k5m7n9p1q3r5s7t9w1";

/// A hundredth, an analysis and a tenth; one gate aborts and one pauses.
pub(crate) fn plan() -> Plan {
    let gate = |metric, max, on_fail| Gate {
        metric,
        min: None,
        max: Some(max),
        min_count: 100,
        on_fail,
    };
    Plan {
        steps: ["1%", "analysis 10m", "10%"]
            .map(|step| step.parse().unwrap())
            .to_vec(),
        gates: vec![
            gate(Metric::ErrorRate, 0.005, ModelOnFail::Abort),
            gate(Metric::LatencyP99, 2.0, ModelOnFail::Hold),
        ],
        ..Plan::default()
    }
}

pub(crate) fn version(version: u64, arm: Arm, weight_basis_points: u32) -> SlotVersion {
    let digit = match version {
        1 => "ab",
        2 => "cd",
        _ => "ef",
    };
    SlotVersion {
        version,
        digest: format!("sha256:{}", digit.repeat(32)),
        arm: arm.into(),
        weight_basis_points,
    }
}

pub(crate) fn slot(generation: u64, active: Vec<SlotVersion>, prepare: Vec<SlotVersion>) -> Slot {
    Slot {
        model: "movies".into(),
        slot: "main".into(),
        generation,
        active,
        prepare,
        ..Slot::default()
    }
}

/// A hundredth of the traffic goes to the second version.
pub(crate) fn split() -> Slot {
    let active = vec![version(1, Arm::Stable, 9_900), version(2, Arm::Canary, 100)];
    slot(42, active, Vec::new())
}

/// All of it goes to the first, and the second is kept ready.
pub(crate) fn restored() -> Slot {
    let kept = version(2, Arm::Unspecified, 0);
    slot(43, vec![version(1, Arm::Stable, 10_000)], vec![kept])
}

pub(crate) fn rollout(phase: RolloutPhase, step: u32) -> Rollout {
    Rollout {
        id: ID.into(),
        model: "movies".into(),
        slot: "main".into(),
        plan: Some(to_wire(&plan())),
        phase: phase.into(),
        step,
        candidate: Some(version(2, Arm::Canary, 100)),
        stable: Some(version(1, Arm::Stable, 9_900)),
        generation: 42,
        issued_by: "ada".into(),
        reason: "better recall".into(),
        start_time: noon(-3600),
        move_time: noon(0),
        moved_by: "registry-1".into(),
        ..Rollout::default()
    }
}

/// A scorer that serves a generation and has these versions ready.
pub(crate) fn scorer(name: &str, serving: u64, ready: &[u64]) -> ScorerStatus {
    let version = |&version: &u64| ObservedVersion {
        version,
        state: ObservedState::Ready.into(),
        ..ObservedVersion::default()
    };
    ScorerStatus {
        scorer: Some(Scorer {
            name: name.into(),
            ..Scorer::default()
        }),
        generation: serving,
        serving,
        versions: ready.iter().map(version).collect(),
        frozen: String::new(),
    }
}

fn reading(
    at: usize,
    verdict: GateVerdict,
    value: f64,
    interval: Option<(f64, f64)>,
    count: u64,
) -> GateReading {
    GateReading {
        gate: Some(to_wire(&plan()).gates[at].clone()),
        verdict: verdict.into(),
        value: Some(value),
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        count,
    }
}

fn errors_pass() -> GateReading {
    reading(0, GateVerdict::Pass, -0.0002, Some((-0.0011, 0.0008)), 412)
}

pub(crate) fn status(rollout: Rollout, slot: Slot, scorers: Vec<ScorerStatus>) -> RolloutStatus {
    RolloutStatus {
        rollout: Some(rollout),
        slot: Some(SlotStatus {
            slot: Some(slot),
            scorers,
            ..SlotStatus::default()
        }),
        ..RolloutStatus::default()
    }
}

pub(crate) fn two_scorers(generation: u64) -> Vec<ScorerStatus> {
    ["scorer-1", "scorer-2"]
        .map(|name| scorer(name, generation, &[1, 2, 7]))
        .to_vec()
}

pub(crate) fn elapsed(seconds: u64) -> Option<prost_types::Duration> {
    Duration::from_secs(seconds).try_into().ok()
}

/// The second step waits for one of its gates; the teacher is compared with, though a check did not hold.
pub(crate) fn progressing() -> RolloutStatus {
    let teacher = version(7, Arm::Teacher, 0);
    let rollout = Rollout {
        teacher: Some(teacher.clone()),
        checks: vec![
            RolloutCheck {
                name: "approved".into(),
                passed: true,
                found: "v2 is approved".into(),
                overridden: false,
            },
            RolloutCheck {
                name: "teacher".into(),
                passed: false,
                found: "v7 is not signed".into(),
                overridden: true,
            },
        ],
        ..rollout(RolloutPhase::Progressing, 1)
    };
    let mut slot = split();
    slot.active.push(teacher);
    let latency = reading(1, GateVerdict::Inconclusive, 1.02, Some((0.8, 2.3)), 40);
    RolloutStatus {
        gates: vec![errors_pass(), latency],
        elapsed: elapsed(192),
        actual_basis_points: Some(97),
        requests: 41_230,
        waits_for: "latency-p99".into(),
        ..status(rollout, slot, two_scorers(42))
    }
}

pub(crate) fn paused() -> RolloutStatus {
    let rollout = Rollout {
        paused_by: PausedBy::Gate.into(),
        reason_in_phase: "latency-p99 fails".into(),
        ..rollout(RolloutPhase::Paused, 1)
    };
    let latency = reading(1, GateVerdict::Fail, 2.5, Some((2.1, 2.9)), 412);
    RolloutStatus {
        gates: vec![errors_pass(), latency],
        elapsed: elapsed(42),
        ..status(rollout, split(), two_scorers(42))
    }
}

/// One scorer cannot load the version, and one lags behind.
pub(crate) fn preparing() -> RolloutStatus {
    let rollout = Rollout {
        candidate: Some(version(2, Arm::Unspecified, 0)),
        ..rollout(RolloutPhase::Preparing, 0)
    };
    let mut fails = scorer("scorer-1", 42, &[1, 2]);
    fails.versions[1].state = ObservedState::Failed.into();
    fails.versions[1].error = "golden vector 3 differs".into();
    let slot = Slot {
        generation: 42,
        ..restored()
    };
    RolloutStatus {
        elapsed: elapsed(4),
        silent_scorers: vec!["scorer-9".into()],
        ..status(rollout, slot, vec![fails, scorer("scorer-2", 41, &[1])])
    }
}

pub(crate) fn aborted() -> RolloutStatus {
    let rollout = Rollout {
        reason_in_phase: "error-rate fails".into(),
        candidate: Some(version(2, Arm::Unspecified, 0)),
        ..rollout(RolloutPhase::Aborted, 1)
    };
    let mut latency = reading(1, GateVerdict::Fail, 2.5, None, 412);
    if let Some(gate) = &mut latency.gate {
        gate.on_fail = OnFail::Warn.into();
    }
    let errors = reading(0, GateVerdict::Fail, 0.02, Some((0.01, 0.03)), 412);
    RolloutStatus {
        gates: vec![errors, latency],
        elapsed: elapsed(9),
        ..status(rollout, restored(), two_scorers(43))
    }
}

pub(crate) fn promoted() -> RolloutStatus {
    let stable = version(2, Arm::Stable, 10_000);
    let rollout = Rollout {
        candidate: Some(stable.clone()),
        ..rollout(RolloutPhase::Promoted, 3)
    };
    let kept = version(1, Arm::Unspecified, 0);
    let latency = reading(1, GateVerdict::Pass, 1.02, None, 412);
    RolloutStatus {
        gates: vec![errors_pass(), latency],
        ..status(rollout, slot(44, vec![stable], vec![kept]), Vec::new())
    }
}
