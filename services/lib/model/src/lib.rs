//! The vocabulary of Decant as types: names, versions, digests, manifests and slots. No I/O, no async, nothing of ours
//! below it.

mod name;
mod version;
mod digest;
mod manifest;
mod slot;
mod gate;

pub use digest::{Digest, DigestError, Hasher};
pub use gate::{Gate, GateResult};
pub use manifest::{BundlePath, FileEntry, Lineage, Manifest, ManifestError, TeacherRef, file};
pub use name::{ClusterName, ModelName, NameError, SlotName};
pub use slot::{Active, Arm, BASIS_POINTS, DesiredSlot, Generation};
pub use version::ModelVersion;
