//! What users liked and disliked before, as two more fields of a query (after SVD++, Koren 2008).

use decant_features::{Encoded, Field, Layout};

use crate::dataset::Examples;

/// Each user's rated items. An item never counts as its own history, so that a network which learns from the same
/// examples does not read the answer off its input.
#[derive(Clone, Debug)]
pub struct History {
    items: usize,
    /// By user: items with a label above one half, then the others; each sorted.
    rated: Vec<[Vec<u32>; 2]>,
}

/// The history's fields, in the order of [`History::of`].
const FIELDS: [&str; 2] = ["history.liked", "history.disliked"];

impl History {
    /// The history that these examples are.
    pub fn new(examples: &Examples) -> Self {
        let users = examples
            .users
            .iter()
            .max()
            .map_or(0, |&user| user as usize + 1);
        let mut rated = vec![[Vec::new(), Vec::new()]; users];
        for (pair, label) in examples.pairs.iter().zip(&examples.labels) {
            let user = examples.users[pair.query as usize] as usize;
            rated[user][usize::from(*label <= 0.5)].push(pair.item);
        }
        for items in rated.iter_mut().flatten() {
            items.sort_unstable();
            items.dedup();
        }
        Self {
            items: examples.items.rows,
            rated,
        }
    }

    /// The liked and the disliked items of a user; both empty for one who has rated nothing.
    pub(crate) fn of(&self, user: u32) -> [&[u32]; 2] {
        self.rated
            .get(user as usize)
            .map_or([&[], &[]], |[liked, disliked]| [liked, disliked])
    }

    /// The first embedding row of each field: items have vectors of their own in either role.
    fn first_ids(&self, vocabulary: usize) -> [usize; 2] {
        [vocabulary - 2 * self.items, vocabulary - self.items]
    }

    /// The layout with the history's fields at the end of the query side.
    pub(super) fn extend(&self, layout: &Layout) -> Layout {
        let mut extended = layout.clone();
        extended.vocabulary += 2 * self.items;
        for (side, first_id) in self.first_ids(extended.vocabulary).into_iter().enumerate() {
            let slots = self
                .rated
                .iter()
                .map(|rated| rated[side].len())
                .max()
                .unwrap_or(0)
                .max(1);
            extended.query.fields.push(Field {
                name: FIELDS[side].to_owned(),
                first_slot: extended.query.slots,
                slots,
                first_id,
                ids: self.items,
            });
            extended.query.slots += slots;
        }
        extended
    }

    /// Calls `visit` with the field (0 or 1), embedding row and weight of each item in the history of a user, or of a
    /// pair of a user and an item.
    pub(crate) fn visit(
        &self,
        vocabulary: usize,
        user: u32,
        item: Option<u32>,
        mut visit: impl FnMut(usize, usize, f32),
    ) {
        for (field, (items, first_id)) in self
            .of(user)
            .into_iter()
            .zip(self.first_ids(vocabulary))
            .enumerate()
        {
            let own = item.and_then(|item| items.binary_search(&item).ok());
            let count = items.len() - usize::from(own.is_some());
            let weight = weight(count);
            for (position, &liked) in items.iter().enumerate() {
                if own != Some(position) {
                    visit(field, first_id + liked as usize, weight);
                }
            }
        }
    }

    /// The query table of `extended`: each row with its user's whole history in the slots at its end.
    pub(crate) fn extend_queries(
        &self,
        extended: &Layout,
        queries: &Encoded,
        users: &[u32],
    ) -> Encoded {
        let slots = extended.query.slots;
        let mut rows = Encoded {
            slots,
            ids: Vec::new(),
            weights: Vec::new(),
            ..queries.clone()
        };
        for (row, &user) in users.iter().enumerate().take(queries.rows) {
            rows.ids
                .extend_from_slice(&queries.ids[row * queries.slots..(row + 1) * queries.slots]);
            rows.weights.extend_from_slice(
                &queries.weights[row * queries.slots..(row + 1) * queries.slots],
            );
            for (items, field) in self
                .of(user)
                .into_iter()
                .zip(&extended.query.fields[extended.query.fields.len() - 2..])
            {
                let padding = field.slots - items.len();
                rows.ids.extend(
                    items
                        .iter()
                        .map(|&item| (field.first_id + item as usize) as i32),
                );
                rows.ids
                    .extend(std::iter::repeat_n(field.first_id as i32, padding));
                rows.weights
                    .extend(std::iter::repeat_n(weight(items.len()), items.len()));
                rows.weights.extend(std::iter::repeat_n(0.0, padding));
            }
        }
        rows
    }
}

/// The weight of each of so many items: as in SVD++, a long history counts for more than a short one, but not in
/// proportion.
fn weight(items: usize) -> f32 {
    1.0 / (items.max(1) as f32).sqrt()
}
