//! Bundles: the files of a version, each at the address that its content gives it. What an address holds never changes, and
//! nothing is handed out before its digest was compared.

mod layout;
mod limits;
mod error;
mod store;
mod writer;
mod bundle;
#[cfg(test)]
mod fixture;

pub use bundle::{Bundle, CHUNK_BYTES};
pub use error::{ReadError, Rejection, StorageError, WriteError};
pub use limits::{Limits, MAX_MANIFEST_BYTES};
pub use store::BundleStore;
pub use writer::BundleWriter;
