//! One encoder of raw features, used by training and by serving, so that the two cannot drift apart.
//!
//! Reading order: a [`Schema`] says which columns a model reads and how; [`fit`] learns vocabularies and
//! moments from training data; [`encode`](Schema::encode) turns [`Columns`] into the [`Encoded`] arrays that
//! networks and ONNX graphs take; a [`Catalog`] is the item table that travels with a version.

mod column;
mod schema;
mod fit;
mod layout;
mod encode;
mod catalog;

pub use catalog::{Catalog, CatalogError};
pub use column::{Column, ColumnError, Columns, Contradictory, Values, not_finite};
pub use encode::{EncodeError, Encoded, Rows, Violation};
pub use fit::{FeatureSpec, FitError, Kind, fit};
pub use layout::{Field, Layout, SideLayout};
pub use schema::{Feature, Role, Schema, SchemaError, Side, Transform};
