//! Versions that are released step by step: what a test asks for, and how it waits for what becomes of it.

use std::time::Duration;

use decant_model::rollout::{Metric, Step};
use decant_proto::rollout::v1 as rollout;
use rollout::start_rollout_request::How;
use rollout::step::Kind;
use rollout::{RolloutPhase, Steer};
use tonic::Status;

use crate::operated::Operated;
use crate::tiny::MODEL;
use crate::wait::eventually;

/// Before so many requests of a version, no gate of a test decides.
const MIN_COUNT: u64 = 20;
/// Longer than any scorer needs in a test, and shorter than a test waits.
const PREPARE_WITHIN: Duration = Duration::from_secs(30);

/// A plan of these steps, as operators write them, and gates. Nothing is compared unless a test says so.
pub fn plan(steps: &[&str], gates: Vec<rollout::RolloutGate>) -> rollout::Plan {
    let steps = steps.iter().map(|step| wire(step.parse().unwrap()));
    rollout::Plan {
        steps: steps.collect(),
        gates,
        min_ready_percent: 100,
        prepare_within: Some(PREPARE_WITHIN.try_into().unwrap()),
        compare_basis_points: 0,
        false_alarm: 0.01,
    }
}

/// The same plan, with the answers to all requests compared.
pub fn comparing(plan: rollout::Plan) -> rollout::Plan {
    rollout::Plan {
        compare_basis_points: 10_000,
        ..plan
    }
}

/// A gate on a metric: at least so much where more is better, else at most so much.
pub fn gate(metric: Metric, bound: f64) -> rollout::RolloutGate {
    let (min, max) = match metric.takes_min() {
        true => (Some(bound), None),
        false => (None, Some(bound)),
    };
    rollout::RolloutGate {
        metric: metric.to_string(),
        min,
        max,
        min_count: MIN_COUNT,
        on_fail: rollout::OnFail::Abort.into(),
    }
}

/// Asks to release a version so.
pub fn release(version: u64, plan: rollout::Plan) -> rollout::StartRolloutRequest {
    rollout::StartRolloutRequest {
        model: MODEL.to_owned(),
        version,
        how: Some(How::Plan(plan)),
        issued_by: "starter".to_owned(),
        ..rollout::StartRolloutRequest::default()
    }
}

fn wire(step: Step) -> rollout::Step {
    let kind = match step {
        Step::Shadow => Kind::Shadow(rollout::ShadowStep {}),
        Step::Weight(share) => Kind::WeightBasisPoints(share.basis_points()),
        Step::Pause(span) => Kind::Pause(rollout::PauseStep {
            span: span.map(|span| span.duration().try_into().unwrap()),
        }),
        Step::Analysis(limit) => Kind::Analysis(limit.duration().try_into().unwrap()),
    };
    rollout::Step { kind: Some(kind) }
}

/// A Decant that releases versions in its slot `main`.
#[expect(async_fn_in_trait, reason = "tests name the types that they use")]
pub trait Releases: Operated {
    /// Asks one registry to begin.
    async fn begin(
        &self,
        place: usize,
        request: rollout::StartRolloutRequest,
    ) -> Result<rollout::Rollout, Status> {
        let answer = self.rollout(place).start_rollout(request).await?;
        Ok(answer.into_inner().rollout.unwrap())
    }

    /// Tells the newest rollout something by way of one registry, in the name of somebody, if the slot's generation is what
    /// they believe.
    async fn steer(
        &self,
        place: usize,
        steer: Steer,
        expected: Option<u64>,
        by: &str,
    ) -> Result<rollout::SteerRolloutResponse, Status> {
        let request = rollout::SteerRolloutRequest {
            model: MODEL.to_owned(),
            steer: steer.into(),
            expected_generation: expected,
            issued_by: by.to_owned(),
            reason: "a test says so".to_owned(),
            ..rollout::SteerRolloutRequest::default()
        };
        let answer = self.rollout(place).steer_rollout(request).await?;
        Ok(answer.into_inner())
    }

    /// Takes the slot back to a version by way of one registry; 0 is the one of before.
    async fn roll_back(
        &self,
        place: usize,
        version: u64,
    ) -> Result<rollout::RollbackResponse, Status> {
        let request = rollout::RollbackRequest {
            model: MODEL.to_owned(),
            version,
            issued_by: "rescuer".to_owned(),
            reason: "a test says so".to_owned(),
            ..rollout::RollbackRequest::default()
        };
        let answer = self.rollout(place).rollback(request).await?;
        Ok(answer.into_inner())
    }

    /// The newest rollout and what is measured of it, as one registry sees it.
    async fn release_status(&self, place: usize) -> Result<rollout::RolloutStatus, Status> {
        let request = rollout::GetRolloutRequest {
            model: MODEL.to_owned(),
            ..rollout::GetRolloutRequest::default()
        };
        let answer = self.rollout(place).get_rollout(request).await?;
        Ok(answer.into_inner().status.unwrap())
    }

    /// Waits until the newest rollout is in a phase, and panics as soon as it is over without having come there.
    async fn reaches(&self, place: usize, phase: RolloutPhase) -> rollout::RolloutStatus {
        self.reaches_step(place, phase, None).await
    }

    /// Waits until the newest rollout is in a phase at a step, or at any, if none is named.
    async fn reaches_step(
        &self,
        place: usize,
        phase: RolloutPhase,
        step: Option<u32>,
    ) -> rollout::RolloutStatus {
        eventually("the rollout comes there", || async {
            let status = self.release_status(place).await;
            let status = status.map_err(|status| status.to_string())?;
            let release = status.rollout.clone().unwrap_or_default();
            let is_at_step = step.is_none_or(|step| release.step == step);
            if release.phase() == phase && is_at_step {
                return Ok(status);
            }
            let is_over = matches!(
                release.phase(),
                RolloutPhase::Promoted | RolloutPhase::Aborted | RolloutPhase::RolledBack
            );
            let seen = format!("{status:#?}");
            assert!(!is_over, "instead of being {phase:?}, it is over: {seen}");
            Err(seen)
        })
        .await
    }
}

impl<T: Operated> Releases for T {}
