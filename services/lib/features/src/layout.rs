//! Where each feature lies in an encoded row.

use serde::{Deserialize, Serialize};

use crate::schema::Side;

/// The shape of encoded rows: one embedding table shared by both sides, and the slots of each side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Rows of the one embedding table; every id of either side is below it.
    pub vocabulary: usize,
    /// User and context features: one row for a whole request.
    pub query: SideLayout,
    /// Item features: one row for each candidate.
    pub item: SideLayout,
}

impl Layout {
    /// The shape of one side's rows.
    pub fn side(&self, side: Side) -> &SideLayout {
        match side {
            Side::Query => &self.query,
            Side::Item => &self.item,
        }
    }
}

/// The slots and dense columns of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideLayout {
    /// Features that become ids, in the order of their slots.
    pub fields: Vec<Field>,
    /// Id slots in a row: the sum of the fields' slots.
    pub slots: usize,
    /// Names of what stays numbers, in the order of the columns: features, or the places of a vector such as `title[3]`.
    pub dense: Vec<String>,
}

/// A feature that becomes one or several ids.
///
/// A field with several slots is pooled: its vector is the sum of its slots' embedding rows, each times the slot's
/// weight. Weights of the slots in use are `1 / count`, those of the others 0, so the sum is a mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The feature's name.
    pub name: String,
    /// Its first slot in the side's row.
    pub first_slot: usize,
    /// How many slots it has: 1, or the maximum length of a multi-valued feature or sequence.
    pub slots: usize,
    /// Its first id in the shared embedding table.
    pub first_id: usize,
    /// How many ids it has.
    pub ids: usize,
}
