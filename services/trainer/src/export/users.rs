//! Whose history it is: requests name a user, and carry nothing of what it liked before.
//!
//! A network that reads histories takes them as inputs where it is fitted and measured. In a graph that is to answer
//! requests they are constants instead: for each id of the feature that names users, what that user's history comes to.

use std::sync::Arc;

use decant_features::{Field, Layout, SideLayout};
use thiserror::Error;

use super::graph::Graph;
use super::lower::slice;
use crate::dataset::Examples;
use crate::network::{History, Network};

/// The user behind each id of the feature that names users.
#[derive(Clone, Debug)]
pub struct Users {
    /// Of rows as requests are encoded, without histories.
    layout: Arc<Layout>,
    field: Field,
    by_id: Vec<Option<u32>>,
}

/// Ids that do not say whose history it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UsersError {
    /// No feature names users.
    #[error(
        "publish.teacher = true: a teacher of kind `history` reads what a user has rated, and no feature of role `user` with one value names the user"
    )]
    NoFeature,
    /// One id stands for several users.
    #[error(
        "publish.teacher = true: a teacher of kind `history` reads what a user has rated, but feature `{feature}` gives several users the id {id}; as a `category` without `min_count` and `max_size` it would tell all of them apart"
    )]
    Shared {
        /// The feature.
        feature: String,
        /// The id, counted from the feature's first.
        id: usize,
    },
}

/// The history's fields of a query in one network's part of a graph.
pub(super) struct Past<'a> {
    /// The query side without them.
    pub(super) layout: &'a SideLayout,
    /// Their vectors: rows x (2 * embedding).
    pub(super) fields: Option<String>,
    /// The sum of their first-order weights: rows x 1.
    pub(super) first_order: Option<String>,
}

/// What the history of each id's user comes to in one network.
struct Sums {
    /// Liked, then disliked items: `ids x 2 x embedding`; empty for a network without vectors.
    vectors: Vec<f32>,
    /// Of first-order weights, one for each id; empty for a network without any.
    first_order: Vec<f32>,
}

impl Users {
    /// Finds the users by the query feature of this name. All examples share the query rows, so the training examples
    /// know every user; their histories are these examples.
    ///
    /// # Errors
    /// When there is no such feature, or users with different histories have the same id.
    pub fn new(feature: Option<&str>, train: &Examples) -> Result<Self, UsersError> {
        let query = &train.layout.query;
        let field = query
            .fields
            .iter()
            .find(|field| Some(field.name.as_str()) == feature && field.slots == 1)
            .ok_or(UsersError::NoFeature)?;
        let history = History::new(train);
        let rated_nothing = |user: u32| history.of(user).iter().all(|items| items.is_empty());
        let mut by_id: Vec<Option<u32>> = vec![None; field.ids];
        let rows = train.queries.ids.chunks_exact(query.slots);
        for (row, &user) in rows.zip(train.users.iter()) {
            // The encoder gives a field no other ids than its own.
            let id = row[field.first_slot] as usize - field.first_id;
            let earlier = by_id[id];
            match earlier {
                Some(other) if other == user || rated_nothing(other) && rated_nothing(user) => {}
                Some(_) => {
                    let feature = field.name.clone();
                    return Err(UsersError::Shared { feature, id });
                }
                None => by_id[id] = Some(user),
            }
        }
        Ok(Self {
            layout: Arc::clone(&train.layout),
            field: field.clone(),
            by_id,
        })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Adds the history's fields by the ids of the query; none for a network that reads no histories.
    pub(super) fn past(&self, graph: &mut Graph, ids: &str, network: &Network) -> Option<Past<'_>> {
        let sums = self.sums(network, network.history()?);
        let count = self.by_id.len();
        let embedding = network.architecture().embedding;
        let (slot, first_id) = (self.field.first_slot, self.field.first_id);
        let id = slice(graph, ids, slot, slot + 1);
        let first_id = graph.id("first_id", first_id as i32);
        let row = graph.node("Sub", &[&id, &first_id]);
        let fields = (embedding > 0).then(|| {
            let table = graph.floats("history", &[count, 2 * embedding], &sums.vectors);
            let gathered = graph.node("Gather", &[&table, &row]);
            let shape = graph.integers("flat", &[0, (2 * embedding) as i64]);
            graph.node("Reshape", &[&gathered, &shape])
        });
        let first_order = network.architecture().first_order.then(|| {
            let table = graph.floats("history_first_order", &[count], &sums.first_order);
            graph.node("Gather", &[&table, &row])
        });
        Some(Past {
            layout: &self.layout.query,
            fields,
            first_order,
        })
    }

    /// The constants of one network. An id that no user of the examples has, as that of unknown users, has no history.
    fn sums(&self, network: &Network, history: &History) -> Sums {
        let (table, embedding) = (network.table(), network.architecture().embedding);
        let first_order = network.architecture().first_order;
        let mut sums = Sums {
            vectors: vec![0.0; self.by_id.len() * 2 * embedding],
            first_order: vec![0.0; if first_order { self.by_id.len() } else { 0 }],
        };
        let users = self.by_id.iter().enumerate();
        for (id, user) in users.filter_map(|(id, user)| Some((id, (*user)?))) {
            let vocabulary = network.layout().vocabulary;
            history.visit(vocabulary, user, None, |field, row, weight| {
                let row = &table.values[row * table.width..(row + 1) * table.width];
                let start = (2 * id + field) * embedding;
                let vector = &mut sums.vectors[start..start + embedding];
                for (sum, value) in vector.iter_mut().zip(row) {
                    *sum += weight * value;
                }
                if let Some(sum) = sums.first_order.get_mut(id) {
                    *sum += weight * row[embedding];
                }
            });
        }
        sums
    }
}
