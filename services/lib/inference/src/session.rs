//! One graph, ready to score.

use std::fmt;
use std::num::NonZeroUsize;

use decant_features::Encoded;
use ort::ep;
use ort::session::SessionInputValue;
use ort::value::TensorRef;

use crate::contract::{self, Input, Widths};
use crate::{Error, Runtime};

/// An open graph. Scoring takes it mutably: a worker has its own, and never waits for another's.
pub struct Session {
    inner: ort::session::Session,
    /// In the graph's order, so that values need no names.
    inputs: Vec<Input>,
    widths: Widths,
}

impl Session {
    /// Opens a graph and holds it to the contract.
    ///
    /// With one thread the graph runs on the caller's; each further one is a thread of this session, asleep
    /// between calls.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the bytes, or inputs and outputs are not as agreed.
    pub fn open(runtime: &Runtime, onnx: &[u8], threads: NonZeroUsize) -> Result<Self, Error> {
        let inner = open(runtime, onnx, threads).map_err(|error| Error::Open(error.to_string()))?;
        let (inputs, widths) = contract::check(&inner)?;
        Ok(Self {
            inner,
            inputs,
            widths,
        })
    }

    /// How wide the rows are that this graph takes.
    pub fn widths(&self) -> Widths {
        self.widths
    }

    /// Scores each item row against the query row of the same number, or against the only one. `scores` is cleared
    /// first, and left empty after an error.
    ///
    /// # Errors
    /// When the rows do not fit the graph or each other, when ONNX Runtime fails, or when a score is not finite.
    pub fn score(
        &mut self,
        query: &Encoded,
        item: &Encoded,
        scores: &mut Vec<f32>,
    ) -> Result<(), Error> {
        scores.clear();
        self.check(query, item)?;
        let mut values: Vec<SessionInputValue<'_>> = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            values.push(value(*input, query, item).map_err(|error| Error::Run(error.to_string()))?);
        }
        let outputs = self
            .inner
            .run(&values[..])
            .map_err(|error| Error::Run(error.to_string()))?;
        let (_, computed) = outputs[0]
            .try_extract_tensor::<f32>()
            .map_err(|error| Error::Run(error.to_string()))?;
        if computed.len() != item.rows {
            return Err(Error::Run(format!(
                "{} scores came back for {} rows",
                computed.len(),
                item.rows
            )));
        }
        if let Some(row) = computed.iter().position(|score| !score.is_finite()) {
            return Err(Error::NotFinite {
                row,
                value: computed[row],
            });
        }
        scores.extend_from_slice(computed);
        Ok(())
    }

    /// Scores so many empty rows, so that what ONNX Runtime does once is done before the first request.
    ///
    /// # Errors
    /// As [`Session::score`].
    pub fn warm_up(&mut self, rows: usize) -> Result<(), Error> {
        let empty = |rows: usize, slots: usize, dense_width: usize| Encoded {
            rows,
            slots,
            dense_width,
            ids: vec![0; rows * slots],
            weights: vec![0.0; rows * slots],
            dense: vec![0.0; rows * dense_width],
        };
        let query = empty(1, self.widths.query_slots, self.widths.query_dense);
        let item = empty(rows, self.widths.item_slots, self.widths.item_dense);
        self.score(&query, &item, &mut Vec::with_capacity(rows))
    }

    fn check(&self, query: &Encoded, item: &Encoded) -> Result<(), Error> {
        let widths = &self.widths;
        check_side(
            query,
            (Input::QueryIds, widths.query_slots),
            (Input::QueryDense, widths.query_dense),
        )?;
        check_side(
            item,
            (Input::ItemIds, widths.item_slots),
            (Input::ItemDense, widths.item_dense),
        )?;
        if item.rows == 0 {
            return Err(Error::Rows {
                input: Input::ItemIds.name(),
                reason: "there is no row to score".into(),
            });
        }
        if query.rows != 1 && query.rows != item.rows {
            let reason = format!(
                "{} query rows for {} item rows; 1 or as many are expected",
                query.rows, item.rows
            );
            return Err(Error::Rows {
                input: Input::QueryIds.name(),
                reason,
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("widths", &self.widths)
            .finish_non_exhaustive()
    }
}

fn open(
    runtime: &Runtime,
    onnx: &[u8],
    threads: NonZeroUsize,
) -> ort::Result<ort::session::Session> {
    // Arenas and memory patterns keep what the largest batch took until the session goes, and give it back late
    // even then; the allocator beneath does not.
    ort::session::Session::builder(runtime.environment())?
        .with_execution_providers([ep::CPU::default().with_arena_allocator(false).build()])?
        .with_memory_pattern(false)?
        .with_intra_threads(threads.get())?
        .with_intra_op_spinning(false)?
        .with_inter_threads(1)?
        .with_inter_op_spinning(false)?
        .commit_from_memory(onnx)
}

fn check_side(
    rows: &Encoded,
    (ids, slots): (Input, usize),
    (dense, dense_width): (Input, usize),
) -> Result<(), Error> {
    let refuse = |input: Input, reason: String| {
        Err(Error::Rows {
            input: input.name(),
            reason,
        })
    };
    if rows.slots != slots {
        return refuse(
            ids,
            format!(
                "rows have {} slots, but the graph takes {slots}",
                rows.slots
            ),
        );
    }
    if rows.dense_width != dense_width {
        return refuse(
            dense,
            format!(
                "rows have {} columns, but the graph takes {dense_width}",
                rows.dense_width
            ),
        );
    }
    // These come from files too, not only from the encoder.
    let (expected_ids, expected_dense) = (
        rows.rows.checked_mul(slots),
        rows.rows.checked_mul(dense_width),
    );
    if Some(rows.ids.len()) != expected_ids || rows.ids.len() != rows.weights.len() {
        let (ids_found, weights_found) = (rows.ids.len(), rows.weights.len());
        let reason = format!(
            "{} rows of {slots} slots, but {ids_found} ids and {weights_found} weights",
            rows.rows
        );
        return refuse(ids, reason);
    }
    if Some(rows.dense.len()) != expected_dense {
        let found = rows.dense.len();
        return refuse(
            dense,
            format!(
                "{} rows of {dense_width} columns, but {found} values",
                rows.rows
            ),
        );
    }
    Ok(())
}

fn value<'v>(
    input: Input,
    query: &'v Encoded,
    item: &'v Encoded,
) -> ort::Result<SessionInputValue<'v>> {
    let value = match input {
        Input::QueryIds => {
            TensorRef::from_array_view(([query.rows, query.slots], &query.ids[..]))?.into()
        }
        Input::QueryWeights => {
            TensorRef::from_array_view(([query.rows, query.slots], &query.weights[..]))?.into()
        }
        Input::QueryDense => {
            TensorRef::from_array_view(([query.rows, query.dense_width], &query.dense[..]))?.into()
        }
        Input::ItemIds => {
            TensorRef::from_array_view(([item.rows, item.slots], &item.ids[..]))?.into()
        }
        Input::ItemWeights => {
            TensorRef::from_array_view(([item.rows, item.slots], &item.weights[..]))?.into()
        }
        Input::ItemDense => {
            TensorRef::from_array_view(([item.rows, item.dense_width], &item.dense[..]))?.into()
        }
    };
    Ok(value)
}

#[cfg(test)]
mod tests;
