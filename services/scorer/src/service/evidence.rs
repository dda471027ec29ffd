//! What was counted of a release, as messages.

use decant_model::rollout::evidence::{ArmEvidence, Comparison, Moments};
use decant_proto::scorer::v1 as wire;

use super::answer::wire_arm;
use crate::servable::Entry;

/// The counts of a slot's generation; without a release there are none.
pub(super) fn told(entry: &Entry, boot_id: &str) -> wire::GetEvidenceResponse {
    let generation = entry.generation().unwrap_or_default().0;
    let Some(release) = entry.release() else {
        return wire::GetEvidenceResponse {
            generation,
            boot_id: boot_id.to_owned(),
            ..wire::GetEvidenceResponse::default()
        };
    };
    let counted = release.tally().evidence();
    wire::GetEvidenceResponse {
        generation,
        boot_id: boot_id.to_owned(),
        arms: counted.arms.into_iter().map(arm).collect(),
        comparisons: counted.comparisons.into_iter().map(comparison).collect(),
        skipped: counted.skipped,
    }
}

fn arm(counted: ArmEvidence) -> wire::ArmEvidence {
    let bins = counted.scores.bins().iter().copied().enumerate();
    wire::ArmEvidence {
        version: counted.version.get(),
        digest: counted.digest.to_string(),
        arm: wire_arm(counted.arm).into(),
        succeeded: counted.succeeded,
        failed: counted.failed.into_iter().collect(),
        latency: buckets(counted.latency.buckets()),
        score: Some(moments(counted.scores.moments)),
        score_bins: buckets(bins.filter(|(_, count)| *count > 0)),
    }
}

fn buckets(counted: impl Iterator<Item = (usize, u64)>) -> Vec<wire::BucketCount> {
    let bucket = |(bucket, count)| wire::BucketCount {
        bucket: u32::try_from(bucket).unwrap_or(u32::MAX),
        count,
    };
    counted.map(bucket).collect()
}

fn comparison(counted: Comparison) -> wire::Comparison {
    wire::Comparison {
        candidate: counted.candidate.to_string(),
        reference: counted.reference.to_string(),
        arm: wire_arm(counted.arm).into(),
        kl: Some(moments(counted.kl)),
        top_k: Some(moments(counted.top_k)),
        spearman: Some(moments(counted.spearman)),
    }
}

fn moments(counted: Moments) -> wire::Moments {
    wire::Moments {
        count: counted.count,
        sum: counted.sum,
        squares: counted.squares,
    }
}
