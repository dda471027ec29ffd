//! What was counted, as messages.

use decant_model::rollout::evidence::{ArmEvidence, Comparison, Evidence, Moments};
use decant_proto::rollout::v1::Arm as WireArm;
use decant_proto::scorer::v1 as wire;

pub(super) fn response(evidence: Evidence, boot_id: String) -> wire::GetEvidenceResponse {
    wire::GetEvidenceResponse {
        generation: evidence.generation.0,
        boot_id,
        arms: evidence.arms.into_iter().map(arm).collect(),
        comparisons: evidence.comparisons.into_iter().map(comparison).collect(),
        skipped: evidence.skipped,
    }
}

fn arm(arm: ArmEvidence) -> wire::ArmEvidence {
    let bins = arm.scores.bins().iter().copied().enumerate();
    wire::ArmEvidence {
        version: arm.version.get(),
        digest: arm.digest.to_string(),
        arm: WireArm::from(arm.arm).into(),
        succeeded: arm.succeeded,
        latency: arm.latency.buckets().map(bucket).collect(),
        score: Some(moments(arm.scores.moments)),
        score_bins: bins.filter(|(_, count)| *count > 0).map(bucket).collect(),
        failed: arm.failed.into_iter().collect(),
    }
}

fn comparison(comparison: Comparison) -> wire::Comparison {
    wire::Comparison {
        candidate: comparison.candidate.to_string(),
        reference: comparison.reference.to_string(),
        arm: WireArm::from(comparison.arm).into(),
        kl: Some(moments(comparison.kl)),
        top_k: Some(moments(comparison.top_k)),
        spearman: Some(moments(comparison.spearman)),
    }
}

fn bucket((bucket, count): (usize, u64)) -> wire::BucketCount {
    wire::BucketCount {
        // There are a few hundred.
        bucket: u32::try_from(bucket).unwrap_or(u32::MAX),
        count,
    }
}

fn moments(moments: Moments) -> wire::Moments {
    wire::Moments {
        count: moments.count,
        sum: moments.sum,
        squares: moments.squares,
    }
}
