//! Scores of encoded rows. ONNX Runtime computes them, and no other crate sees `ort`.
//!
//! Reading order: a [`Runtime`] is the shared library, loaded once a process; a [`Graph`] holds the weights once for all
//! who compute with it; a [`Session`] is the graph opened for one of them, and held to the [contract](Widths) between
//! trainer and scorer; a [`Golden`] is the proof that a graph computes here what it computed where it was trained; a
//! [`Plan`] computes a few rows without ONNX Runtime; what a graph computes of a catalog's items alone can be
//! [`Precomputed`].

mod error;
mod runtime;
mod contract;
mod onnx;
mod weights;
mod session;
mod golden;
mod plan;
mod cut;
mod precomputed;
#[cfg(test)]
mod handmade;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use contract::Widths;
pub use error::Error;
pub use golden::Golden;
pub use plan::Plan;
pub use precomputed::{CatalogSession, Picked, Precomputed};
pub use runtime::Runtime;
pub use session::{Graph, Session, check_finite};
