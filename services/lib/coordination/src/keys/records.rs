//! The values behind the keys, as they are stored. `desired/` and `history/` hold [`decant_model::DesiredSlot`].

use decant_model::access::{Principal, Role};
use decant_model::rollout::{Judgement, Phase, Plan, Rollout};
use decant_model::{
    Digest, Gate, GateResult, Generation, Manifest, ModelName, ModelVersion, Prepared,
    PrincipalName, PublicKey, Signature,
};
use serde::{Deserialize, Serialize};

/// The value of `meta/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Drawn when the cluster's metadata was first written; a wiped and rebuilt store has another.
    pub uuid: String,
    /// Grows by one each time an operator says that a restored store is the truth from now on.
    pub incarnation: u64,
    /// When the cluster was made, in milliseconds since 1970.
    pub created_at_millis: u64,
}

/// The value of `meta/audit`: the newest audit entry, which every mutation compares and moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Its number; 0 while there is none.
    pub number: u64,
    /// Its hash.
    pub hash: Option<Digest>,
}

/// The value of `access/{principal}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// What they are.
    pub role: Role,
    /// The models that the role is for; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelName>,
    /// The digest of their token, which itself is nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<Digest>,
    /// Identities of their certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<String>,
    /// When their credentials end, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_millis: Option<u64>,
    /// When they were added, in milliseconds since 1970.
    pub created_at_millis: u64,
    /// Who added them.
    pub issued_by: String,
}

impl AccessRecord {
    /// The principal of this name and record.
    pub fn principal(&self, name: &PrincipalName) -> Principal {
        Principal::new(name.as_str(), self.role, self.models.clone()).until(self.expires_at_millis)
    }
}

/// The value of `leader`. Its create revision is the leader's epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// The process that leads, drawn anew at each start.
    pub boot_id: String,
    /// Where it can be reached.
    pub address: String,
}

/// The value of `models/{model}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Free text for people.
    pub description: String,
    /// What a version's metrics must reach.
    pub gates: Vec<Gate>,
    /// The keys that may sign versions; when there are none, versions need no signature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<PublicKey>,
    /// When the model was created, in milliseconds since 1970.
    pub created_at_millis: u64,
    /// The newest version. Each new version moves it, and so any two that come at once are told apart.
    pub latest_version: Option<ModelVersion>,
}

/// The value of `versions/{model}/{version:010}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Digest of the manifest's bytes: the version's identity, and its bundle's address.
    pub digest: Digest,
    /// What the manifest says. Its bytes, which the digest is of, lie in the bundle.
    pub manifest: Manifest,
    /// Who vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// When the version was pushed, in milliseconds since 1970.
    pub created_at_millis: u64,
}

/// The value of `digests/{model}/{sha256}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestRecord {
    /// The version that has the digest.
    pub version: ModelVersion,
}

/// The value of `state/{model}/{version:010}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateRecord {
    /// Where the version stands.
    pub state: VersionState,
    /// How the gates of its model judged it; empty before they did.
    pub gates: Vec<GateResult>,
    /// Why it is where it is, if that needs words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When it came there, in milliseconds since 1970.
    #[serde(default)]
    pub changed_at_millis: u64,
}

/// The life of a version. It only moves forward: staged, validated, approved, retired; or rejected from any of the first
/// two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// Its bundle is stored; nothing has been checked since.
    Staged,
    /// Every byte was read back and matches, and the signature is by a key of the model's.
    Validated,
    /// Every gate holds: it may be served.
    Approved,
    /// Taken out of use by an operator: never put into a slot again.
    Retired,
    /// A check or a gate does not hold: kept for inspection, never served.
    Rejected,
}

/// The value of `plans/{model}/{plan}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The plan.
    pub plan: Plan,
    /// Who wrote it last.
    pub issued_by: String,
    /// When, in milliseconds since 1970.
    pub issued_at_millis: u64,
}

/// The value of `rollouts/{model}/{slot}/{ulid}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutRecord {
    /// What is asked for and where it stands.
    pub rollout: Rollout,
    /// The version that is released.
    pub candidate: Prepared,
    /// What answered when it began: what an abort brings back, to the bit.
    pub stable: Prepared,
    /// The version that a sample of the requests is scored by, to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Prepared>,
    /// The slot's generation that belongs to where the rollout stands: the one that it wrote last. Its first gives it the slot
    /// and changes nothing else.
    pub generation: Generation,
    /// What was checked before it began.
    pub checks: Vec<CheckRecord>,
    /// The rollout that this one begins anew.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub retry_of: String,
    /// Who began it.
    pub issued_by: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub started_at_millis: u64,
    /// When it came into its phase and step, in milliseconds since 1970; for people, nothing is decided by it.
    pub moved_at_millis: u64,
    /// Who moved it there: an operator, or the leader.
    pub moved_by: String,
    /// The epoch of the leader that moved it there; 0 when an operator did.
    #[serde(default)]
    pub epoch: u64,
    /// The trace in which it began, as a W3C `traceparent`: its steps continue there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// A condition on a version that holds or not before any traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// What was checked, such as `signature`.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was found, in words.
    pub found: String,
    /// Whether an operator went on although it does not hold, with the rollout's reason.
    #[serde(default)]
    pub overridden: bool,
}

/// The value of `progress/{model}/{slot}/{ulid}`, written by the leader as it looks; not audited, since nothing changes by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgressRecord {
    /// The phase that it is about; of another phase or step it says nothing.
    pub phase: Phase,
    /// The step.
    pub step: usize,
    /// For how long a leader has looked at the rollout in this phase and step, in milliseconds: the next leader goes on
    /// from here.
    pub elapsed_millis: u64,
    /// What the gates say.
    #[serde(default)]
    pub judgement: Judgement,
    /// The share of the requests that the version answered, in basis points; none before there were any.
    #[serde(default)]
    pub actual_basis_points: Option<u32>,
    /// How many requests that is of.
    #[serde(default)]
    pub requests: u64,
    /// What keeps it from going on, in words; empty when nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub waits_for: String,
    /// The scorers whose counts could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
}

/// The value of `refusals/{model}/{slot}`: the leader could activate what is pending, and does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// The slot's generation that it says so of; of another one it says nothing.
    pub generation: Generation,
    /// Why, in words for operators.
    pub reason: String,
}

/// The value of `scorers/{scorer}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScorerRecord {
    /// Where it serves, as `host:port`.
    pub address: String,
    /// Where it stands; empty when nobody said.
    #[serde(default)]
    pub zone: String,
    /// The process, drawn anew at each start.
    pub boot_id: String,
    /// Which Decant it runs.
    pub build: String,
    /// When the process started, in milliseconds since 1970.
    pub started_at_millis: u64,
}

/// The value of `observed/{model}/{slot}/{scorer}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedRecord {
    /// The process that says so: of an earlier one, nothing counts.
    pub boot_id: String,
    /// The newest generation that it has taken in.
    pub generation: Generation,
    /// The generation whose active versions answer requests; 0 while none does.
    pub serving: Generation,
    /// Every version that it has, wants or failed to load.
    pub versions: Vec<ObservedVersion>,
    /// Why it takes in nothing new, if it does not: the store looks like an older copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
}

/// A version as one scorer has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedVersion {
    /// Its manifest digest.
    pub digest: Digest,
    /// Its number.
    pub version: ModelVersion,
    /// Where it stands.
    pub state: ObservedState,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// Where a version stands in a scorer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObservedState {
    /// Being fetched, verified, replayed and warmed up.
    Loading,
    /// Answers requests, or can at once.
    Ready,
    /// Could not be loaded; it is tried again.
    Failed,
}

/// The value of `requests/{id}`, kept for a day: what became of a mutation, for those who did not hear the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Digest of what was asked for: the same id with another request is refused.
    pub asked: Digest,
    /// The answer that was given.
    pub answer: serde_json::Value,
}

/// The value of `audit/{number}`. The hash of an entry is the SHA-256 of its stored bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The hash of the entry before; none for the first.
    pub previous: Option<Digest>,
    /// When, in milliseconds since 1970.
    pub at_millis: u64,
    /// Who asked for it; a registry's leader names itself.
    pub actor: String,
    /// What was done, such as `slot.set`.
    pub action: String,
    /// What it was done to, such as `movies/main`.
    pub subject: String,
    /// What was there before.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub before: serde_json::Value,
    /// What is there now.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub after: serde_json::Value,
    /// Why, in the words of who asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The request's id, if it had one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}
