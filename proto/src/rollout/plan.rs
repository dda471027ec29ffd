//! Plans of rollouts, from the domain to the wire and back.

use std::error::Error;
use std::fmt;

use decant_model::rollout::{Gate, Metric, OnFail, Plan, Share, Span, Step};
use prost_types::Duration;

use super::v1 as wire;
use super::v1::step::Kind;

/// A field of a plan that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field, from the plan down.
    pub field: String,
    /// Its value, and what is wrong with it.
    pub reason: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.reason)
    }
}

impl Error for FieldError {}

/// A plan as it is sent.
pub fn to_wire(plan: &Plan) -> wire::Plan {
    wire::Plan {
        steps: plan.steps.iter().copied().map(step_to_wire).collect(),
        gates: plan.gates.iter().map(gate_to_wire).collect(),
        min_ready_percent: plan.min_ready_percent.into(),
        prepare_within: Some(duration(plan.prepare_within)),
        compare_basis_points: plan.compare.basis_points(),
        false_alarm: plan.false_alarm,
    }
}

/// A plan as it was sent. Whether its parts make sense together, [`Plan::check`] says.
///
/// # Errors
/// The first field that cannot be read.
pub fn from_wire(plan: wire::Plan) -> Result<Plan, FieldError> {
    let steps = plan.steps.into_iter().enumerate();
    let gates = plan.gates.into_iter().enumerate();
    let percent = plan.min_ready_percent;
    let prepare_within = plan
        .prepare_within
        .ok_or_else(|| wrong("prepare_within", "not given"))?;
    Ok(Plan {
        steps: steps
            .map(|(at, step)| step_from_wire(at, step))
            .collect::<Result<_, _>>()?,
        gates: gates
            .map(|(at, gate)| gate_from_wire(&format!("gates[{at}]"), gate))
            .collect::<Result<_, _>>()?,
        min_ready_percent: u8::try_from(percent)
            .map_err(|_| wrong("min_ready_percent", format!("{percent} is more than 100")))?,
        prepare_within: span("prepare_within", prepare_within)?,
        compare: share("compare_basis_points", plan.compare_basis_points)?,
        false_alarm: plan.false_alarm,
    })
}

/// A gate as it is sent.
pub fn gate_to_wire(gate: &Gate) -> wire::RolloutGate {
    let on_fail = match gate.on_fail {
        OnFail::Abort => wire::OnFail::Abort,
        OnFail::Hold => wire::OnFail::Hold,
        OnFail::Warn => wire::OnFail::Warn,
    };
    wire::RolloutGate {
        metric: gate.metric.to_string(),
        min: gate.min,
        max: gate.max,
        min_count: gate.min_count,
        on_fail: on_fail.into(),
    }
}

fn gate_from_wire(field: &str, gate: wire::RolloutGate) -> Result<Gate, FieldError> {
    let mut metrics = Metric::ALL.into_iter();
    let metric = metrics.find(|metric| metric.as_str() == gate.metric);
    let metric = metric.ok_or_else(|| {
        let known: Vec<&str> = Metric::ALL.into_iter().map(Metric::as_str).collect();
        let reason = format!(
            "`{}` is no metric; there are {}",
            gate.metric,
            known.join(", ")
        );
        wrong(format!("{field}.metric"), reason)
    })?;
    let on_fail = match wire::OnFail::try_from(gate.on_fail) {
        Ok(wire::OnFail::Unspecified | wire::OnFail::Abort) => OnFail::Abort,
        Ok(wire::OnFail::Hold) => OnFail::Hold,
        Ok(wire::OnFail::Warn) => OnFail::Warn,
        Err(_) => {
            let reason = format!("{} is none that this build knows", gate.on_fail);
            return Err(wrong(format!("{field}.on_fail"), reason));
        }
    };
    Ok(Gate {
        metric,
        min: gate.min,
        max: gate.max,
        min_count: gate.min_count,
        on_fail,
    })
}

fn step_to_wire(step: Step) -> wire::Step {
    let kind = match step {
        Step::Shadow => Kind::Shadow(wire::ShadowStep {}),
        Step::Weight(share) => Kind::WeightBasisPoints(share.basis_points()),
        Step::Pause(span) => Kind::Pause(wire::PauseStep {
            span: span.map(duration),
        }),
        Step::Analysis(limit) => Kind::Analysis(duration(limit)),
    };
    wire::Step { kind: Some(kind) }
}

fn step_from_wire(at: usize, step: wire::Step) -> Result<Step, FieldError> {
    let field = |name: &str| format!("steps[{at}].{name}");
    match step.kind {
        None => Err(wrong(format!("steps[{at}]"), "it says nothing to do")),
        Some(Kind::Shadow(wire::ShadowStep {})) => Ok(Step::Shadow),
        Some(Kind::WeightBasisPoints(points)) => {
            share(&field("weight_basis_points"), points).map(Step::Weight)
        }
        Some(Kind::Pause(wire::PauseStep { span: given })) => {
            let given = given.map(|given| span(&field("pause.span"), given));
            given.transpose().map(Step::Pause)
        }
        Some(Kind::Analysis(limit)) => span(&field("analysis"), limit).map(Step::Analysis),
    }
}

fn share(field: &str, points: u32) -> Result<Share, FieldError> {
    Share::from_basis_points(points)
        .ok_or_else(|| wrong(field, format!("{points} basis points are more than 10000")))
}

fn duration(span: Span) -> Duration {
    let millis = span.millis();
    Duration {
        // A year has some 31 million seconds.
        seconds: (millis / 1_000) as i64,
        nanos: (millis % 1_000) as i32 * 1_000_000,
    }
}

fn span(field: &str, given: Duration) -> Result<Span, FieldError> {
    let length = std::time::Duration::try_from(given).ok();
    let millis = length.and_then(|length| u64::try_from(length.as_millis()).ok());
    millis.and_then(Span::from_millis).ok_or_else(|| {
        let reason = format!("{given} must be at least a millisecond and at most 365 days");
        wrong(field, reason)
    })
}

fn wrong(field: impl Into<String>, reason: impl Into<String>) -> FieldError {
    FieldError {
        field: field.into(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let steps = [
            "shadow",
            "analysis 10m",
            "0.5%",
            "pause",
            "10%",
            "pause 1500ms",
        ];
        let holding = Gate {
            metric: Metric::StableTopK,
            min: Some(0.9),
            max: None,
            min_count: 7,
            on_fail: OnFail::Hold,
        };
        let mut plan = Plan {
            steps: steps.map(|step| step.parse().unwrap()).into(),
            min_ready_percent: 80,
            ..Plan::default()
        };
        plan.gates.push(holding);
        plan
    }

    #[test]
    fn plans_go_round() {
        for plan in [plan(), Plan::default(), Plan::blue_green()] {
            assert_eq!(from_wire(to_wire(&plan)), Ok(plan));
        }
    }

    #[test]
    fn a_field_that_cannot_be_read_is_named_with_its_value() {
        let refused = |tamper: fn(&mut wire::Plan)| {
            let mut wrong = to_wire(&plan());
            tamper(&mut wrong);
            from_wire(wrong).unwrap_err()
        };
        let weight = refused(|plan| plan.steps[2].kind = Some(Kind::WeightBasisPoints(10_001)));
        assert_eq!(weight.field, "steps[2].weight_basis_points");
        assert!(weight.reason.contains("10001"), "{weight}");
        let empty = refused(|plan| plan.steps[1].kind = None);
        assert_eq!(empty.field, "steps[1]");
        let metric = refused(|plan| plan.gates[0].metric = "beauty".into());
        assert_eq!(metric.field, "gates[0].metric");
        assert!(metric.reason.contains("`beauty`") && metric.reason.contains("error-rate"));
        let on_fail = refused(|plan| plan.gates[1].on_fail = 9);
        assert_eq!(on_fail.field, "gates[1].on_fail");
        let percent = refused(|plan| plan.min_ready_percent = 256);
        assert_eq!(percent.field, "min_ready_percent");
        let missing = refused(|plan| plan.prepare_within = None);
        assert_eq!(missing.field, "prepare_within");
        let negative = Duration {
            seconds: -1,
            nanos: 0,
        };
        let mut wrong = to_wire(&plan());
        wrong.steps[1].kind = Some(Kind::Analysis(negative));
        assert_eq!(from_wire(wrong).unwrap_err().field, "steps[1].analysis");
    }
}
