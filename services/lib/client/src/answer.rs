//! What is answered, and by which version.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use decant_proto::rollout::v1::Arm as WireArm;
use decant_proto::scorer::{BestItems, v1 as wire};

/// Scores of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Which version answered.
    pub served_by: ServedBy,
    /// What the scorer took for it.
    pub times: Times,
    /// One a row, in the order of the rows: the probability of the label, in 0..1.
    pub scores: Vec<f32>,
}

/// The best candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Which version answered.
    pub served_by: ServedBy,
    /// What the scorer took for it.
    pub times: Times,
    /// Best first; equal scores in the order of the candidates.
    pub items: Vec<RankedItem>,
}

/// A candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedItem {
    /// Its id; empty when the candidate was given by columns.
    pub id: String,
    /// Its position among the candidates, always less than their number.
    pub position: usize,
    /// The probability of the label, in 0..1.
    pub score: f32,
}

/// The best items of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommended {
    /// Which version answered.
    pub served_by: ServedBy,
    /// What the scorer took for it.
    pub times: Times,
    /// Best first; equal scores in the catalog's order.
    pub items: Vec<RecommendedItem>,
}

/// An item of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct RecommendedItem {
    /// Its id.
    pub id: String,
    /// The probability of the label, in 0..1.
    pub score: f32,
    /// The columns that were asked for, as text.
    pub columns: HashMap<String, String>,
}

/// Which version answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServedBy {
    /// The model's name.
    pub model: String,
    /// The slot's name.
    pub slot: String,
    /// The version's number.
    pub version: u64,
    /// Its manifest digest: `sha256:` and hex.
    pub digest: String,
    /// The part that it plays in the slot.
    pub arm: Arm,
    /// The slot's generation that put it into service.
    pub generation: u64,
}

/// The part that a version plays in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arm {
    /// What all traffic gets when nothing is being rolled out.
    Stable,
    /// What a share of the traffic gets.
    Canary,
    /// What is compared, and answers nobody.
    Shadow,
    /// What a version that is released was taught by; it is compared with, and answers nobody.
    Teacher,
    /// One that this client does not know.
    Unknown,
}

impl fmt::Display for Arm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
            Self::Teacher => "teacher",
            Self::Unknown => "unknown",
        })
    }
}

/// What the scorer took for an answer; the rest of a call's time went to the network and to further attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How long the request waited before work began.
    pub queue: Duration,
    /// How long the batch that it was part of took to compute.
    pub compute: Duration,
}

/// A message that says who answered.
pub(crate) trait Answer {
    fn served_by(&self) -> Option<&wire::ServedBy>;
}

impl Answer for wire::ScoreResponse {
    fn served_by(&self) -> Option<&wire::ServedBy> {
        self.served_by.as_ref()
    }
}

impl Answer for BestItems {
    fn served_by(&self) -> Option<&wire::ServedBy> {
        self.served_by.as_ref()
    }
}

/// The scores of so many rows.
///
/// # Errors
/// What makes no sense about the answer.
pub(crate) fn scores(response: wire::ScoreResponse, rows: usize) -> Result<Scores, String> {
    if response.scores.len() != rows {
        return Err(format!("{} scores for {rows} rows", response.scores.len()));
    }
    let (served_by, times) = served_by(response.served_by)?;
    Ok(Scores {
        served_by,
        times,
        scores: response.scores,
    })
}

/// The best of so many candidates.
///
/// # Errors
/// What makes no sense about the answer.
pub(crate) fn ranked(response: wire::RankResponse, candidates: usize) -> Result<Ranked, String> {
    let (served_by, times) = served_by(response.served_by)?;
    let item = |item: wire::ScoredItem<'_>| {
        let position = item.position as usize;
        if position >= candidates {
            return Err(format!("candidate {position} of {candidates}"));
        }
        Ok(RankedItem {
            id: item.id.to_owned(),
            position,
            score: item.score,
        })
    };
    Ok(Ranked {
        served_by,
        times,
        items: response.items.iter().map(item).collect::<Result<_, _>>()?,
    })
}

/// The best of the catalog.
///
/// # Errors
/// What makes no sense about the answer.
pub(crate) fn recommended(response: wire::RecommendResponse) -> Result<Recommended, String> {
    let (served_by, times) = served_by(response.served_by)?;
    let item = |item: wire::ScoredItem<'_>| RecommendedItem {
        id: item.id.to_owned(),
        score: item.score,
        columns: item.attributes.cloned().unwrap_or_default(),
    };
    Ok(Recommended {
        served_by,
        times,
        items: response.items.iter().map(item).collect(),
    })
}

fn served_by(served_by: Option<wire::ServedBy>) -> Result<(ServedBy, Times), String> {
    let served_by = served_by.ok_or("the answer does not say which version it is from")?;
    let arm = match served_by.arm() {
        WireArm::Stable => Arm::Stable,
        WireArm::Canary => Arm::Canary,
        WireArm::Shadow => Arm::Shadow,
        WireArm::Teacher => Arm::Teacher,
        WireArm::Unspecified => Arm::Unknown,
    };
    let times = Times {
        queue: Duration::from_micros(served_by.queue_micros.into()),
        compute: Duration::from_micros(served_by.compute_micros.into()),
    };
    let served_by = ServedBy {
        model: served_by.model,
        slot: served_by.slot,
        version: served_by.version,
        digest: served_by.digest,
        arm,
        generation: served_by.generation,
    };
    Ok((served_by, times))
}
