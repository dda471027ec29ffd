use decant_model::rollout::{Judgement, Metric, Phase, Plan, Reading, Verdict};
use decant_model::{Active, Arm, DesiredSlot, Digest, ModelVersion};

use super::board::Place;
use super::{Board, Ended, RolloutSeen};

fn slot(canary: u32) -> DesiredSlot {
    let part = |(number, arm, weight): (u64, Arm, u32)| Active {
        digest: Digest::of(&number.to_be_bytes()),
        version: ModelVersion::new(number).unwrap(),
        arm,
        weight_basis_points: weight,
    };
    let parts = [(1, Arm::Stable, 10_000 - canary), (2, Arm::Canary, canary)];
    DesiredSlot {
        active: parts.map(part).into(),
        ..DesiredSlot::default()
    }
}

fn judgement(verdicts: &[(Metric, Verdict)]) -> Judgement {
    let gate = Plan::default().gates.remove(0);
    let reading = |(metric, verdict): &(Metric, Verdict)| {
        let mut gate = gate.clone();
        gate.metric = *metric;
        Reading {
            gate,
            verdict: *verdict,
            value: None,
            interval: None,
            count: 0,
        }
    };
    Judgement {
        readings: verdicts.iter().map(reading).collect(),
    }
}

#[test]
fn of_two_gates_on_one_metric_the_worse_is_told() {
    let judged = judgement(&[
        (Metric::ErrorRate, Verdict::Pass),
        (Metric::LatencyP99, Verdict::Fail),
        (Metric::LatencyP99, Verdict::Pass),
        (Metric::Requests, Verdict::Inconclusive),
    ]);
    let seen = RolloutSeen::new((Phase::Progressing, 0), &slot(1_250), Some(&judged));
    assert_eq!((seen.step, seen.share), (1, 0.125));
    let gates: Vec<_> = seen.gates.into_iter().collect();
    assert_eq!(
        gates,
        [("error-rate", 1), ("latency-p99", -1), ("requests", 0)]
    );
    let unjudged = RolloutSeen::new((Phase::Preparing, 0), &slot(0), None);
    assert!(unjudged.gates.is_empty(), "no data is no verdict");
}

#[test]
fn only_what_is_over_has_an_end() {
    let mut board = Board::default();
    let place: Place = ("movies".parse().unwrap(), Default::default());
    for phase in [
        Phase::Promoted,
        Phase::Aborting,
        Phase::Aborted,
        Phase::RolledBack,
    ] {
        match Ended::of(phase) {
            Some(ended) => board.ended(place.clone(), ended),
            None => assert_eq!(phase, Phase::Aborting),
        }
    }
    let ended: Vec<_> = board.ended.into_iter().collect();
    let once = [Ended::Promoted, Ended::Aborted, Ended::RolledBack]
        .map(|ended| ((place.clone(), ended), 1));
    assert_eq!(ended, once);
}
