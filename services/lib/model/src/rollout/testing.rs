//! Plans and their parts, drawn at random, for tests.

use proptest::prelude::*;

use super::{Gate, Metric, OnFail, Plan, Share, Span, Step};

/// All lengths of time that there are, and those of round numbers more often.
pub(super) fn spans() -> impl Strategy<Value = Span> {
    const DAY: u64 = 86_400_000;
    let millis = prop_oneof![
        1..=365 * DAY,
        (1..=365_u64).prop_map(|days| days * DAY),
        (1..=100_000_u64).prop_map(|seconds| seconds * 1_000),
        1..=2_000_u64,
    ];
    millis.prop_map(|millis| Span::from_millis(millis).unwrap())
}

pub(super) fn shares() -> impl Strategy<Value = Share> {
    (0..=10_000_u32).prop_map(|points| Share::from_basis_points(points).unwrap())
}

pub(super) fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Shadow),
        shares().prop_map(Step::Weight),
        prop::option::of(spans()).prop_map(Step::Pause),
        spans().prop_map(Step::Analysis),
    ]
}

/// Gates that pass their check.
pub(super) fn gates() -> impl Strategy<Value = Gate> {
    let metric = prop::sample::select(Metric::ALL.to_vec());
    let on_fail = prop::sample::select(vec![OnFail::Abort, OnFail::Hold, OnFail::Warn]);
    let parts = (metric, 0.0..1.0_f64, 0..1_000_u64, on_fail);
    parts.prop_map(|(metric, above, min_count, on_fail)| {
        let bound = match metric {
            Metric::Requests | Metric::LatencyP50 | Metric::LatencyP99 => 1.0 + above,
            _ => above,
        };
        Gate {
            metric,
            min: metric.takes_min().then_some(bound),
            max: (!metric.takes_min()).then_some(bound),
            min_count,
            on_fail,
        }
    })
}

/// Plans that pass their check: of steps drawn at random, with growing weights, those that may follow.
pub(super) fn plans() -> impl Strategy<Value = Plan> {
    let parts = (
        prop::collection::vec(steps(), 0..12),
        prop::collection::vec(gates(), 0..4),
        1..=100_u8,
        spans(),
        1..=10_000_u32,
        0.001..0.4_f64,
    );
    parts.prop_map(
        |(steps, gates, percent, prepare_within, compare, false_alarm)| {
            let mut plan = Plan {
                steps: Vec::new(),
                gates,
                min_ready_percent: percent,
                prepare_within,
                compare: Share::from_basis_points(compare).unwrap(),
                false_alarm,
            };
            let weight = |step: &Step| match step {
                Step::Weight(share) => Some(*share),
                _ => None,
            };
            let mut weights: Vec<Share> = steps.iter().filter_map(weight).collect();
            weights.sort_unstable();
            let mut weights = weights.into_iter();
            for step in steps {
                plan.steps.push(match step {
                    Step::Weight(share) => Step::Weight(weights.next().unwrap_or(share)),
                    other => other,
                });
                if plan.check().is_err() {
                    plan.steps.pop();
                }
            }
            plan
        },
    )
}
