//! From ids to the vectors of fields, and back from their gradients to the rows of the table.

use decant_features::Layout;

use super::{Network, Table};
use crate::dataset::{Examples, Pair};

/// Where each slot's vector goes. A row of the graph's input is the query side's fields and dense columns, then the
/// item side's.
#[derive(Debug)]
pub(super) struct Pooling {
    /// The field of each query slot, then of each item slot; fields count on from one side to the next.
    query: Vec<usize>,
    item: Vec<usize>,
    query_fields: usize,
    vocabulary: usize,
}

/// A batch as the graph takes it.
#[derive(Default)]
pub(super) struct Pooled {
    /// `rows x input width`.
    pub(super) input: Vec<f32>,
    /// Each row's sum of first-order weights; empty where the architecture has none.
    pub(super) first_order: Vec<f32>,
}

/// The gradients of the rows that a batch has touched.
pub(super) struct RowGradients {
    width: usize,
    /// By row of the table: its position in `rows`, or `UNTOUCHED`.
    position: Vec<u32>,
    /// Rows in the order in which they were first touched.
    rows: Vec<u32>,
    values: Vec<f32>,
}

const UNTOUCHED: u32 = u32::MAX;

impl Pooling {
    pub(super) fn new(layout: &Layout) -> Self {
        let slots = |fields: &[decant_features::Field], first: usize| {
            fields
                .iter()
                .enumerate()
                .flat_map(|(field, of)| vec![first + field; of.slots])
                .collect()
        };
        let query_fields = layout.query.fields.len();
        Self {
            query: slots(&layout.query.fields, 0),
            item: slots(&layout.item.fields, query_fields),
            query_fields,
            vocabulary: layout.vocabulary,
        }
    }

    /// Calls `visit` with the field, embedding row and weight of each slot of a pair that counts.
    fn visit(
        &self,
        network: &Network,
        examples: &Examples,
        pair: Pair,
        mut visit: impl FnMut(usize, usize, f32),
    ) {
        let (query, item) = (pair.query as usize, pair.item as usize);
        for (table, row, fields) in [
            (&examples.queries, query, &self.query),
            (&examples.items, item, &self.item),
        ] {
            let slots = row * table.slots..(row + 1) * table.slots;
            let ids_and_weights = table.ids[slots.clone()].iter().zip(&table.weights[slots]);
            for ((&id, &weight), &field) in ids_and_weights.zip(fields) {
                if weight != 0.0 {
                    visit(field, id as usize, weight);
                }
            }
        }
        if let Some(history) = network.history() {
            let first = self.query_fields - 2;
            let visit = |field: usize, id: usize, weight: f32| visit(first + field, id, weight);
            history.visit(
                self.vocabulary,
                examples.users[query],
                Some(pair.item),
                visit,
            );
        }
    }

    /// The first column of a field in the graph's input.
    fn column(&self, network: &Network, field: usize) -> usize {
        match network.architecture.embedding {
            // Without vectors there is no input either.
            0 => 0,
            embedding if field < self.query_fields => field * embedding,
            embedding => field * embedding + network.layout.query.dense.len(),
        }
    }

    /// The input of the examples at these positions.
    pub(super) fn gather(
        &self,
        network: &Network,
        examples: &Examples,
        positions: &[usize],
    ) -> Pooled {
        let width = network.architecture.input_width(&network.layout);
        let embedding = network.architecture.embedding;
        let first_order = network.architecture.first_order;
        let table = &network.table;
        let mut pooled = Pooled {
            input: vec![0.0; positions.len() * width],
            first_order: vec![0.0; if first_order { positions.len() } else { 0 }],
        };
        let query_columns = self.query_fields * embedding;
        for (row, &position) in positions.iter().enumerate() {
            let pair = examples.pairs[position];
            let input = &mut pooled.input[row * width..(row + 1) * width];
            let mut sum = 0.0;
            self.visit(network, examples, pair, |field, id, weight| {
                let vector = &table.values[id * table.width..(id + 1) * table.width];
                let column = self.column(network, field);
                for (out, value) in input[column..column + embedding].iter_mut().zip(vector) {
                    *out += weight * value;
                }
                if first_order {
                    sum += weight * vector[embedding];
                }
            });
            if first_order {
                pooled.first_order[row] = sum;
            }
            if width == 0 {
                continue;
            }
            let query_dense = dense(&examples.queries, pair.query);
            let item_dense = dense(&examples.items, pair.item);
            input[query_columns..query_columns + query_dense.len()].copy_from_slice(query_dense);
            input[width - item_dense.len()..].copy_from_slice(item_dense);
        }
        pooled
    }

    /// The dense columns of these examples, query side first: what the first-order part reads of the input.
    pub(super) fn dense(&self, examples: &Examples, positions: &[usize]) -> Vec<f32> {
        let row = |&position: &usize| {
            let pair = examples.pairs[position];
            dense(&examples.queries, pair.query)
                .iter()
                .chain(dense(&examples.items, pair.item))
                .copied()
        };
        positions.iter().flat_map(row).collect()
    }

    /// Hands the input's gradient on to the table's rows. `slopes` are the gradients of the logits, which are also
    /// those of the first-order sums.
    pub(super) fn scatter(
        &self,
        network: &Network,
        examples: &Examples,
        positions: &[usize],
        input: &[f32],
        slopes: &[f32],
        gradients: &mut RowGradients,
    ) {
        let width = network.architecture.input_width(&network.layout);
        let embedding = network.architecture.embedding;
        for (row, &position) in positions.iter().enumerate() {
            let input = &input[row * width..(row + 1) * width];
            self.visit(
                network,
                examples,
                examples.pairs[position],
                |field, id, weight| {
                    let column = self.column(network, field);
                    let gradient = gradients.row(id);
                    for (sum, value) in gradient.iter_mut().zip(&input[column..column + embedding])
                    {
                        *sum += weight * value;
                    }
                    if let Some(first_order) = gradient.get_mut(embedding) {
                        *first_order += weight * slopes[row];
                    }
                },
            );
        }
    }
}

fn dense(table: &decant_features::Encoded, row: u32) -> &[f32] {
    &table.dense[row as usize * table.dense_width..(row as usize + 1) * table.dense_width]
}

impl RowGradients {
    pub(super) fn new(table: &Table) -> Self {
        let rows = table.values.len().checked_div(table.width).unwrap_or(0);
        Self {
            width: table.width,
            position: vec![UNTOUCHED; rows],
            rows: Vec::new(),
            values: Vec::new(),
        }
    }

    fn row(&mut self, id: usize) -> &mut [f32] {
        if self.position[id] == UNTOUCHED {
            self.position[id] = self.rows.len() as u32;
            self.rows.push(id as u32);
            self.values.resize(self.values.len() + self.width, 0.0);
        }
        let start = self.position[id] as usize * self.width;
        &mut self.values[start..start + self.width]
    }

    /// Each touched row with its gradient; afterwards none is touched.
    pub(super) fn drain(&mut self, mut apply: impl FnMut(usize, &[f32])) {
        for (position, &row) in self.rows.iter().enumerate() {
            apply(
                row as usize,
                &self.values[position * self.width..(position + 1) * self.width],
            );
            self.position[row as usize] = UNTOUCHED;
        }
        self.rows.clear();
        self.values.clear();
    }
}
