use super::super::gate::{Gate, OnFail, Verdict};
use super::super::testing;
use super::*;

mod storms;
mod walks;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn plan(steps: &[&str]) -> Plan {
    let plan = Plan {
        steps: steps.iter().map(|step| step.parse().unwrap()).collect(),
        gates: vec![
            gate(Metric::StableTopK, OnFail::Abort),
            gate(Metric::StableKl, OnFail::Hold),
        ],
        ..Plan::default()
    };
    assert_eq!(plan.check(), Ok(()));
    plan
}

fn gate(metric: Metric, on_fail: OnFail) -> Gate {
    Gate {
        metric,
        min: metric.takes_min().then_some(0.5),
        max: (!metric.takes_min()).then_some(0.5),
        min_count: 100,
        on_fail,
    }
}

/// What the gates of a plan say, in its order.
fn judgement(plan: &Plan, verdicts: &[Verdict]) -> Judgement {
    let read = |(gate, verdict): (&Gate, &Verdict)| Reading {
        gate: gate.clone(),
        verdict: *verdict,
        value: Some(0.25),
        interval: None,
        count: 1_000,
    };
    Judgement {
        readings: plan.gates.iter().zip(verdicts).map(read).collect(),
    }
}

/// Nothing is ready, nobody has taken anything in, nothing was measured.
fn waiting(elapsed: Duration) -> Sight {
    Sight {
        elapsed,
        ..Sight::default()
    }
}

/// Enough scorers have the version ready.
fn ready() -> Sight {
    Sight {
        preparation: Preparation::Ready,
        ..waiting(SECOND)
    }
}

/// All scorers answer with the newest generation, and the gates say this.
fn converged(judgement: Judgement) -> Sight {
    Sight {
        converged: true,
        judgement,
        ..ready()
    }
}

impl Rollout {
    /// What a look makes of it, which must be something.
    fn after_look(&self, sight: &Sight) -> (Self, Option<Intent>) {
        let changed = self.look(sight).expect("a look changes it");
        (changed.rollout, changed.intent)
    }

    fn after(&self, verb: Verb) -> (Self, Option<Intent>) {
        let changed = self.told(verb, "because").unwrap();
        (changed.rollout, changed.intent)
    }

    /// Has its version ready with enough scorers, and in its first step.
    fn begun(steps: &[&str]) -> Self {
        let (preparing, _) = Self::new(plan(steps)).after_look(&waiting(SECOND));
        preparing.after_look(&ready()).0
    }

    fn verdicts(&self, verdicts: [Verdict; 2]) -> Judgement {
        judgement(&self.plan, &verdicts)
    }
}
