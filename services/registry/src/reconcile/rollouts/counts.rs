//! What live scorers counted of a slot's versions, asked of each over gRPC.

use std::collections::{BTreeMap, BTreeSet};

use decant_chassis::client::{Caller, Channel};
use decant_coordination::keys::RolloutKey;
use decant_model::rollout::evidence::{
    ArmEvidence, Comparison, Evidence, Histogram, Moments, Scores,
};
use decant_model::{Arm, Generation, ModelVersion, ScorerName};
use decant_proto::scorer::v1 as wire;
use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use futures::{StreamExt, stream};
use tokio::time::timeout;
use tonic::Request;

use super::clock::DEADLINE;
use crate::rollout::Fleet;

/// Scorers of one slot that are asked at once.
const AT_ONCE: usize = 32;

type Client = ScorerServiceClient<Channel>;

/// The scorers that were asked, by address; a connection to each is kept.
pub(super) struct Scorers {
    caller: Caller,
    clients: BTreeMap<String, Client>,
}

/// What was counted in one generation of a slot, as far as scorers told.
pub(super) struct Counted {
    pub(super) evidence: Evidence,
    /// Those that did not tell.
    pub(super) silent: Vec<ScorerName>,
}

/// A scorer that is to be asked.
struct Asked {
    name: ScorerName,
    boot_id: String,
    /// None when its address is none.
    client: Option<Client>,
}

impl Scorers {
    pub(super) fn new(caller: Caller) -> Self {
        Self {
            caller,
            clients: BTreeMap::new(),
        }
    }

    /// Gives up the connections to scorers that are gone.
    pub(super) fn keep_only<'a>(&mut self, fleets: impl IntoIterator<Item = &'a Fleet>) {
        let members = fleets.into_iter().flat_map(|fleet| &fleet.members);
        let live: BTreeSet<&str> = members.map(|member| &*member.record.address).collect();
        self.clients
            .retain(|address, _| live.contains(address.as_str()));
    }

    /// Asks all live scorers what they counted in a generation of a rollout's slot.
    pub(super) fn ask(
        &mut self,
        rollout: &RolloutKey,
        fleet: &Fleet,
        generation: Generation,
    ) -> impl Future<Output = Counted> + Send + use<> {
        let asked: Vec<Asked> = fleet
            .members
            .iter()
            .map(|member| Asked {
                name: member.name.clone(),
                boot_id: member.record.boot_id.clone(),
                client: self.client(&member.record.address),
            })
            .collect();
        let request = wire::GetEvidenceRequest {
            model: Some(wire::ModelRef {
                model: rollout.model.to_string(),
                slot: rollout.slot.to_string(),
            }),
        };
        count(asked, request, generation)
    }

    fn client(&mut self, address: &str) -> Option<Client> {
        if let Some(client) = self.clients.get(address) {
            return Some(client.clone());
        }
        let address_of = format!("{}://{address}", self.caller.scheme());
        let channel = self.caller.channel("scorer", &address_of).ok()?;
        let client = ScorerServiceClient::new(channel);
        self.clients.insert(address.to_owned(), client.clone());
        Some(client)
    }
}

async fn count(
    asked: Vec<Asked>,
    request: wire::GetEvidenceRequest,
    generation: Generation,
) -> Counted {
    let answers = stream::iter(asked).map(|asked| asked.told(request.clone()));
    let mut answers = answers.buffer_unordered(AT_ONCE);
    let mut counted = Counted {
        evidence: Evidence {
            generation,
            ..Evidence::default()
        },
        silent: Vec::new(),
    };
    while let Some((name, evidence)) = answers.next().await {
        match evidence {
            // Of another generation nothing is merged: that scorer is on its way here, or was faster than the leader.
            Some(evidence) => counted.evidence.merge(&evidence),
            None => counted.silent.push(name),
        }
    }
    counted.silent.sort();
    counted
}

impl Asked {
    /// What the scorer counted; none when it does not tell in time, or is not the process that it was.
    async fn told(self, request: wire::GetEvidenceRequest) -> (ScorerName, Option<Evidence>) {
        let Some(mut client) = self.client else {
            return (self.name, None);
        };
        let mut request = Request::new(request);
        request.set_timeout(DEADLINE);
        let answer = match timeout(DEADLINE, client.get_evidence(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => {
                tracing::debug!(scorer = %self.name, %status, "could not read a scorer's counts");
                return (self.name, None);
            }
            Err(_) => return (self.name, None),
        };
        if answer.boot_id != self.boot_id {
            return (self.name, None);
        }
        (self.name, evidence(answer))
    }
}

impl Counted {
    /// The share of the requests that the version answered, in basis points, and how many requests there were.
    pub(super) fn share(&self) -> (Option<u32>, u64) {
        let requests = |arm| self.evidence.in_arm(arm).map_or(0, ArmEvidence::requests);
        let (canary, stable) = (requests(Arm::Canary), requests(Arm::Stable));
        let all = canary + stable;
        let share = (u128::from(canary) * 10_000).checked_div(u128::from(all));
        (share.and_then(|share| u32::try_from(share).ok()), all)
    }
}

/// What a scorer told; none when it makes no sense.
fn evidence(told: wire::GetEvidenceResponse) -> Option<Evidence> {
    Some(Evidence {
        generation: Generation(told.generation),
        arms: told.arms.into_iter().map(arm).collect::<Option<_>>()?,
        comparisons: told
            .comparisons
            .into_iter()
            .map(comparison)
            .collect::<Option<_>>()?,
        skipped: told.skipped,
    })
}

fn arm(told: wire::ArmEvidence) -> Option<ArmEvidence> {
    let part = told.arm().part()?;
    let mut latency = Histogram::default();
    for bucket in &told.latency {
        latency.add(bucket.bucket as usize, bucket.count);
    }
    let mut scores = Scores::default();
    scores.moments = moments(told.score);
    for bin in &told.score_bins {
        scores.add_to_bin(bin.bucket as usize, bin.count);
    }
    Some(ArmEvidence {
        digest: told.digest.parse().ok()?,
        version: ModelVersion::new(told.version)?,
        arm: part,
        succeeded: told.succeeded,
        failed: told.failed.into_iter().collect(),
        latency,
        scores,
    })
}

fn comparison(told: wire::Comparison) -> Option<Comparison> {
    Some(Comparison {
        arm: told.arm().part()?,
        candidate: told.candidate.parse().ok()?,
        reference: told.reference.parse().ok()?,
        kl: moments(told.kl),
        top_k: moments(told.top_k),
        spearman: moments(told.spearman),
    })
}

/// What is not sent is nothing.
fn moments(told: Option<wire::Moments>) -> Moments {
    told.map_or_else(Moments::default, |told| Moments {
        count: told.count,
        sum: told.sum,
        squares: told.squares,
    })
}
