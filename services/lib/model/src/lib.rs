//! The vocabulary of Decant as types: names, versions, digests, manifests and slots. No I/O, no async, nothing of ours
//! below it.

mod name;
mod version;
mod digest;
mod manifest;
mod signature;
mod slot;
mod gate;
mod short;
mod texts;
pub mod access;
pub mod rollout;
pub mod split;

pub use digest::{Digest, DigestError, Hasher};
pub use gate::{Gate, GateResult};
pub use manifest::{
    BundlePath, FileEntry, Lineage, LineageRole, Manifest, ManifestError, TeacherRef, file,
};
pub use name::{ClusterName, ModelName, NameError, PrincipalName, ScorerName, SlotName};
pub use short::ShortText;
pub use signature::{PublicKey, Signature, SignatureError};
pub use slot::{Active, Arm, BASIS_POINTS, DesiredSlot, Freeze, Generation, Pending, Prepared};
pub use texts::{Text, Texts};
pub use version::ModelVersion;
