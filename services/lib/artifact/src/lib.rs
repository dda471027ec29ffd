//! Bundles: the files of a version, each at the address that its content gives it. What an address holds never changes, and
//! nothing is handed out before its digest was compared.

mod layout;
mod limits;
mod error;
mod storage_error;
mod signature;
mod store;
mod list;
mod upload;
mod writer;
mod bundle;
mod cache;
#[cfg(test)]
mod harmed;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use bundle::{Bundle, CHUNK_BYTES};
pub use cache::{BundleCache, CacheError};
pub use error::{ReadError, Rejection, WriteError};
pub use limits::{Limits, MAX_MANIFEST_BYTES};
pub use list::Stored;
pub use signature::{KeyError, SignatureRejection, SigningKey, check_signer, verify};
pub use storage_error::StorageError;
pub use store::{BundleStore, ConnectError, StoreConfig, Sweep, SweepError, Swept};
pub use writer::BundleWriter;
