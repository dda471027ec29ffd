//! A graph, and sessions on it that are ready to score.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use decant_features::{Encoded, Rows, not_finite};
use ort::ep;
use ort::session::SessionInputValue;
use ort::value::{DynValue, TensorRef};

use crate::contract::{self, Input, Widths};
use crate::plan::{Desk, Plan};
use crate::weights::Weights;
use crate::{Error, Runtime};

/// A graph's bytes, with its weights held once for all sessions.
pub struct Graph {
    runtime: Runtime,
    onnx: Bytes,
    weights: Weights,
}

/// Where a graph finds files that its weights are said to lie in. ONNX Runtime would look for them where the process was
/// started, and make weights of whatever is there; beneath this nothing can be.
const NO_FOLDER: &str = "/dev/null";

impl Graph {
    /// Reads a graph. What ONNX Runtime thinks of it, the first session says.
    ///
    /// # Errors
    /// When the bytes are no ONNX model.
    pub fn read(runtime: &Runtime, onnx: Bytes) -> Result<Self, Error> {
        Ok(Self {
            runtime: runtime.clone(),
            weights: Weights::read(&onnx)?,
            onnx,
        })
    }

    /// A part of this graph, which shares its weights.
    pub(crate) fn part(&self, onnx: Bytes) -> Result<Self, Error> {
        Ok(Self {
            runtime: self.runtime.clone(),
            weights: self.weights.of_part(&onnx)?,
            onnx,
        })
    }

    /// The weights that its sessions share, by their names.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &(String, Arc<DynValue>)> {
        self.weights.named.iter()
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.onnx
    }

    /// Bytes of the weights that its sessions share.
    pub fn shared_bytes(&self) -> usize {
        self.weights.bytes
    }

    /// Bytes of the graph that each session has of its own.
    pub fn unshared_bytes(&self) -> usize {
        self.onnx.len().saturating_sub(self.weights.bytes)
    }

    /// Opens a session and holds the graph to the contract. It computes on the thread that calls it.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the graph, or inputs and outputs are not as agreed.
    pub fn open(&self) -> Result<Session, Error> {
        let inner = self.commit()?;
        let (inputs, widths) = contract::check(&inner)?;
        Ok(Session {
            inner,
            inputs,
            widths,
            few: None,
        })
    }

    /// Opens a session that need not keep to the contract.
    pub(crate) fn commit(&self) -> Result<ort::session::Session, Error> {
        let opened = self.try_commit();
        opened.map_err(|error| Error::Open(error.to_string()))
    }

    fn try_commit(&self) -> ort::Result<ort::session::Session> {
        // Arenas and memory patterns keep what the largest batch took until the session goes, and give it back late
        // even then; the allocator beneath does not.
        let mut builder = ort::session::Session::builder(self.runtime.environment())?
            .with_execution_providers([ep::CPU::default().with_arena_allocator(false).build()])?
            .with_memory_pattern(false)?
            .with_prepacked_weights(&self.weights.packed)?
            .with_config_entry("session.load_model_format", "ONNX")?
            .with_config_entry(
                "session.model_external_initializers_file_folder_path",
                NO_FOLDER,
            )?;
        for (name, value) in &self.weights.named {
            builder = builder.with_initializer(name, value.clone())?;
        }
        builder.commit_from_memory(&self.onnx)
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Graph")
            .field("bytes", &self.onnx.len())
            .finish_non_exhaustive()
    }
}

/// An open graph. Scoring takes it mutably: a worker has its own, and never waits for another's.
pub struct Session {
    inner: ort::session::Session,
    /// In the graph's order, so that values need no names.
    inputs: Vec<Input>,
    widths: Widths,
    /// What computes a few rows.
    few: Option<Desk>,
}

impl Session {
    /// Opens the only session on a graph.
    ///
    /// # Errors
    /// As [`Graph::read`] and [`Graph::open`].
    pub fn open(runtime: &Runtime, onnx: impl Into<Bytes>) -> Result<Self, Error> {
        Graph::read(runtime, onnx.into())?.open()
    }

    /// Has a few rows computed by a plan of this graph.
    pub fn plan(&mut self, plan: &Arc<Plan>) {
        self.few = Some(Desk::new(Arc::clone(plan)));
    }

    /// What computes a few rows.
    pub fn planned(&self) -> Option<&Arc<Plan>> {
        self.few.as_ref().map(Desk::plan)
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
    pub fn score<'a>(
        &mut self,
        query: impl Into<Rows<'a>>,
        item: impl Into<Rows<'a>>,
        scores: &mut Vec<f32>,
    ) -> Result<(), Error> {
        self.compute(query, item, scores)?;
        check_finite(scores).inspect_err(|_| scores.clear())
    }

    /// The same, without a look at the scores: in a batch of several requests one may have a score that is not finite,
    /// and the others have not ([`check_finite`]).
    ///
    /// # Errors
    /// When the rows do not fit the graph or each other, or when ONNX Runtime fails.
    pub fn compute<'a>(
        &mut self,
        query: impl Into<Rows<'a>>,
        item: impl Into<Rows<'a>>,
        scores: &mut Vec<f32>,
    ) -> Result<(), Error> {
        scores.clear();
        let (query, item) = (query.into(), item.into());
        self.check(query, item)?;
        if let Some(few) = &mut self.few
            && few.takes(query.rows, item.rows)
            && few.compute(query, item, scores)
        {
            return Ok(());
        }
        let values = self.inputs.iter().map(|input| value(*input, query, item));
        run(&mut self.inner, values, item.rows, scores)
    }

    /// Scores so many empty item rows with one empty query row or with as many, so that what ONNX Runtime does once is done
    /// before the first request.
    ///
    /// # Errors
    /// As [`Session::score`].
    pub fn warm_up(&mut self, query_rows: usize, item_rows: usize) -> Result<(), Error> {
        let empty = |rows: usize, slots: usize, dense_width: usize| Encoded {
            rows,
            slots,
            dense_width,
            ids: vec![0; rows * slots],
            weights: vec![0.0; rows * slots],
            dense: vec![0.0; rows * dense_width],
        };
        let query = empty(query_rows, self.widths.query_slots, self.widths.query_dense);
        let item = empty(item_rows, self.widths.item_slots, self.widths.item_dense);
        self.score(&query, &item, &mut Vec::with_capacity(item_rows))
    }

    fn check(&self, query: Rows<'_>, item: Rows<'_>) -> Result<(), Error> {
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

/// Whether all scores are numbers.
///
/// # Errors
/// Names the first that is none.
pub fn check_finite(scores: &[f32]) -> Result<(), Error> {
    match not_finite(scores) {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite {
            row,
            value: scores[row],
        }),
    }
}

/// Whether one side's rows are as wide as its inputs.
pub(crate) fn check_side(
    rows: Rows<'_>,
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

/// Runs a session on these inputs, and appends its first output: a score for each row.
pub(crate) fn run<'v>(
    session: &mut ort::session::Session,
    inputs: impl Iterator<Item = ort::Result<SessionInputValue<'v>>>,
    rows: usize,
    scores: &mut Vec<f32>,
) -> Result<(), Error> {
    let failed = |error: ort::Error| Error::Run(error.to_string());
    let inputs: Vec<SessionInputValue<'_>> = inputs.collect::<ort::Result<_>>().map_err(failed)?;
    let outputs = session.run(&inputs[..]).map_err(failed)?;
    let (_, computed) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
    if computed.len() != rows {
        return Err(Error::Run(format!(
            "{} scores came back for {rows} rows",
            computed.len()
        )));
    }
    scores.extend_from_slice(computed);
    Ok(())
}

/// What an input is given.
pub(crate) fn value<'v>(
    input: Input,
    query: Rows<'v>,
    item: Rows<'v>,
) -> ort::Result<SessionInputValue<'v>> {
    let value = match input {
        Input::QueryIds => {
            TensorRef::from_array_view(([query.rows, query.slots], query.ids))?.into()
        }
        Input::QueryWeights => {
            TensorRef::from_array_view(([query.rows, query.slots], query.weights))?.into()
        }
        Input::QueryDense => {
            TensorRef::from_array_view(([query.rows, query.dense_width], query.dense))?.into()
        }
        Input::ItemIds => TensorRef::from_array_view(([item.rows, item.slots], item.ids))?.into(),
        Input::ItemWeights => {
            TensorRef::from_array_view(([item.rows, item.slots], item.weights))?.into()
        }
        Input::ItemDense => {
            TensorRef::from_array_view(([item.rows, item.dense_width], item.dense))?.into()
        }
    };
    Ok(value)
}

#[cfg(test)]
mod tests;
