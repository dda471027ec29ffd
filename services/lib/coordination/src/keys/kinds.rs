//! The kinds of keys, each with the parts of its path and what it holds.

use decant_model::rollout::RolloutId;
use decant_model::{
    DesiredSlot, Digest, Generation, ModelName, ModelVersion, PrincipalName, ScorerName, SlotName,
};

use super::Record;
use super::records::{
    AccessRecord, AuditHead, AuditRecord, ClusterRecord, DigestRecord, LeaderRecord, ModelRecord,
    ObservedRecord, PlanRecord, ProgressRecord, RefusalRecord, RequestRecord, RolloutRecord,
    ScorerRecord, StateRecord, VersionRecord,
};

/// A part of a key's path. Each value has one spelling.
trait Part: Sized {
    fn write(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

macro_rules! named {
    ($($name:ty),*) => {$(
        impl Part for $name {
            fn write(&self) -> String {
                self.to_string()
            }

            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}
named!(ModelName, SlotName, ScorerName, RolloutId, PrincipalName);

/// So many digits, so that keys sort as numbers do.
fn padded(number: u64, digits: usize) -> String {
    format!("{number:0digits$}")
}

fn unpadded(text: &str, digits: usize) -> Option<u64> {
    let number = text.parse().ok()?;
    (padded(number, digits) == text).then_some(number)
}

const VERSION_DIGITS: usize = 10;
const NUMBER_DIGITS: usize = 20;

impl Part for ModelVersion {
    fn write(&self) -> String {
        padded(self.get(), VERSION_DIGITS)
    }

    fn read(text: &str) -> Option<Self> {
        ModelVersion::new(unpadded(text, VERSION_DIGITS)?)
    }
}

impl Part for Generation {
    fn write(&self) -> String {
        padded(self.0, NUMBER_DIGITS)
    }

    fn read(text: &str) -> Option<Self> {
        unpadded(text, NUMBER_DIGITS).map(Generation)
    }
}

impl Part for u64 {
    fn write(&self) -> String {
        padded(*self, NUMBER_DIGITS)
    }

    fn read(text: &str) -> Option<Self> {
        unpadded(text, NUMBER_DIGITS)
    }
}

impl Part for Digest {
    fn write(&self) -> String {
        self.hex()
    }

    fn read(text: &str) -> Option<Self> {
        format!("sha256:{text}").parse().ok()
    }
}

/// What a caller named its request: any text, kept as the digest of it.
impl Part for RequestId {
    fn write(&self) -> String {
        self.0.hex()
    }

    fn read(text: &str) -> Option<Self> {
        Digest::read(text).map(Self)
    }
}

/// The digest of what a caller named its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub Digest);

macro_rules! kinds {
    ($($(#[$doc:meta])* $key:ident { $($(#[$field_doc:meta])* $field:ident: $part:ty),* } at $kind:literal holds $value:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $key {
            $($(#[$field_doc])* pub $field: $part,)*
        }

        impl Record for $key {
            const KIND: &'static str = $kind;
            type Value = $value;

            fn path(&self) -> String {
                let parts: &[String] = &[$(self.$field.write()),*];
                parts.join("/")
            }

            #[expect(clippy::allow_attributes, reason = "a kind without parts reads none")]
            #[allow(unused_mut, unused_variables)]
            fn parse(path: &str) -> Option<Self> {
                let mut parts = path.split('/');
                $(let $field = <$part>::read(parts.next()?)?;)*
                let is_whole = parts.next().is_none_or(|rest| path.is_empty() && rest.is_empty());
                is_whole.then_some(Self { $($field),* })
            }
        }
    )*};
}

kinds! {
    /// `meta/cluster`.
    ClusterKey {} at "meta/cluster" holds ClusterRecord;

    /// `meta/audit`.
    AuditHeadKey {} at "meta/audit" holds AuditHead;

    /// `access/{principal}`.
    AccessKey {
        /// Who.
        name: PrincipalName
    } at "access" holds AccessRecord;

    /// `leader`.
    LeaderKey {} at "leader" holds LeaderRecord;

    /// `models/{model}`.
    ModelKey {
        /// The model.
        model: ModelName
    } at "models" holds ModelRecord;

    /// `versions/{model}/{version:010}`.
    VersionKey {
        /// The model.
        model: ModelName,
        /// The version.
        version: ModelVersion
    } at "versions" holds VersionRecord;

    /// `digests/{model}/{sha256}`.
    DigestKey {
        /// The model.
        model: ModelName,
        /// The digest of a version's manifest.
        digest: Digest
    } at "digests" holds DigestRecord;

    /// `state/{model}/{version:010}`.
    StateKey {
        /// The model.
        model: ModelName,
        /// The version.
        version: ModelVersion
    } at "state" holds StateRecord;

    /// `desired/{model}/{slot}`.
    DesiredKey {
        /// The model.
        model: ModelName,
        /// The slot.
        slot: SlotName
    } at "desired" holds DesiredSlot;

    /// `history/{model}/{slot}/{generation:020}`.
    HistoryKey {
        /// The model.
        model: ModelName,
        /// The slot.
        slot: SlotName,
        /// The generation.
        generation: Generation
    } at "history" holds DesiredSlot;

    /// `plans/{model}/{plan}`.
    PlanKey {
        /// The model.
        model: ModelName,
        /// The plan's name, which follows the rule of slots' names.
        plan: SlotName
    } at "plans" holds PlanRecord;

    /// `rollouts/{model}/{slot}/{ulid}`.
    RolloutKey {
        /// The model.
        model: ModelName,
        /// The slot.
        slot: SlotName,
        /// Which rollout.
        rollout: RolloutId
    } at "rollouts" holds RolloutRecord;

    /// `progress/{model}/{slot}/{ulid}`.
    ProgressKey {
        /// The model.
        model: ModelName,
        /// The slot.
        slot: SlotName,
        /// Which rollout.
        rollout: RolloutId
    } at "progress" holds ProgressRecord;

    /// `refusals/{model}/{slot}`.
    RefusalKey {
        /// The model.
        model: ModelName,
        /// The slot.
        slot: SlotName
    } at "refusals" holds RefusalRecord;

    /// `scorers/{scorer}`.
    ScorerKey {
        /// The scorer.
        scorer: ScorerName
    } at "scorers" holds ScorerRecord;

    /// `observed/{model}/{slot}/{scorer}`.
    ObservedKey {
        /// The model.
        model: ModelName,
        /// The slot.
        slot: SlotName,
        /// The scorer.
        scorer: ScorerName
    } at "observed" holds ObservedRecord;

    /// `requests/{sha256 of the request's id}`.
    RequestKey {
        /// Which request.
        id: RequestId
    } at "requests" holds RequestRecord;

    /// `audit/{number:020}`.
    AuditKey {
        /// Counts from 1 without a gap.
        number: u64
    } at "audit" holds AuditRecord;
}
