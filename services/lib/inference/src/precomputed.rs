//! What a graph computes of the items of a catalog alone, computed once, and sessions that compute the rest.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use decant_features::{Encoded, Rows};
use ort::session::SessionInputValue;
use ort::value::TensorRef;

use crate::contract::{Input, Widths};
use crate::cut::Cut;
use crate::session::{check_side, run, value};
use crate::{Error, Graph, Session};

/// Rows that are computed at once.
const ROWS: usize = 256;
/// Rows that are compared at once: others together than were computed, so that an operator that mixes rows shows.
const COMPARED: usize = 200;

/// A graph of which the items' half was computed for each row of a catalog.
pub struct Precomputed {
    second: Graph,
    items: Arc<Items>,
    widths: Widths,
}

/// What was computed of the items.
struct Items {
    rows: usize,
    values: Vec<Values>,
}

/// One value of the graph, for all rows.
struct Values {
    name: String,
    /// Of each row.
    sizes: Vec<usize>,
    width: usize,
    numbers: Vec<f32>,
}

/// Some items of a catalog, by their rows.
#[derive(Clone, Debug)]
pub enum Picked<'a> {
    /// These, in this order.
    Rows(&'a [usize]),
    /// Some that lie next to each other.
    Range(Range<usize>),
}

impl Picked<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Range(rows) => rows.len(),
        }
    }
}

impl Precomputed {
    /// Computes what can be computed of a catalog's items. `session` is one on the graph; with it, and with a query of one row,
    /// each item is scored both ways. There is nothing when the graph has no such half, when it would take more than
    /// `most_bytes`, or when some score differs by more than the tolerance.
    ///
    /// # Errors
    /// When ONNX Runtime refuses a half of the graph, or fails.
    pub fn compute(
        graph: &Graph,
        session: &mut Session,
        query: Rows<'_>,
        items: &Encoded,
        most_bytes: u64,
        tolerance: f32,
    ) -> Result<Option<Self>, Error> {
        let Some(cut) = Cut::find(graph.bytes())? else {
            return Ok(None);
        };
        let first = graph.part(cut.first()?)?;
        let Some(items_half) = Items::compute(&first, cut.names(), items, most_bytes)? else {
            return Ok(None);
        };
        drop(first);
        let sizes = items_half.values.iter().map(|values| values.sizes.clone());
        let second = cut.second(&sizes.collect::<Vec<_>>())?;
        let precomputed = Self {
            second: graph.part(second)?,
            items: Arc::new(items_half),
            widths: session.widths(),
        };
        let agrees = precomputed.agrees(session, query, items, tolerance)?;
        Ok(agrees.then_some(precomputed))
    }

    /// Bytes of what was computed.
    pub fn bytes(&self) -> u64 {
        let numbers = self.items.values.iter().map(|values| values.numbers.len());
        (numbers.sum::<usize>() * size_of::<f32>()) as u64
    }

    /// Opens a session that computes the rest, on the thread that calls it.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the graph.
    pub fn open(&self) -> Result<CatalogSession, Error> {
        let inner = self.second.commit()?;
        let mut takes = Vec::with_capacity(inner.inputs().len());
        for outlet in inner.inputs() {
            let of_items = || {
                let mut values = self.items.values.iter();
                values.position(|values| values.name == outlet.name())
            };
            let takes_it = match Input::named(outlet.name()) {
                Some(input) => Some(Takes::Query(input)),
                None => of_items().map(Takes::Items),
            };
            takes.push(takes_it.ok_or_else(|| {
                Error::Open(format!("nobody knows its input `{}`", outlet.name()))
            })?);
        }
        Ok(CatalogSession {
            inner,
            takes,
            gathered: vec![Vec::new(); self.items.values.len()],
            items: Arc::clone(&self.items),
            widths: self.widths,
        })
    }

    /// Whether the two halves compute what the whole does.
    fn agrees(
        &self,
        whole: &mut Session,
        query: Rows<'_>,
        items: &Encoded,
        tolerance: f32,
    ) -> Result<bool, Error> {
        let mut halves = self.open()?;
        let (mut expected, mut got) = (Vec::new(), Vec::new());
        for rows in chunks(items.rows, COMPARED) {
            whole.compute(query, items.range(rows.clone()), &mut expected)?;
            halves.compute(query, Picked::Range(rows), &mut got)?;
            // Also where neither is a number.
            let agree = |(expected, got): (&f32, &f32)| {
                (expected - got).abs() <= tolerance || expected.to_bits() == got.to_bits()
            };
            if !expected.iter().zip(&got).all(agree) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl fmt::Debug for Precomputed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Precomputed")
            .field("rows", &self.items.rows)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Items {
    /// Nothing, when the values are not of a kind that can be kept by rows, or would take too much.
    fn compute(
        first: &Graph,
        names: &[String],
        items: &Encoded,
        most_bytes: u64,
    ) -> Result<Option<Self>, Error> {
        let failed = |error: ort::Error| Error::Run(error.to_string());
        let mut session = first.commit()?;
        let inputs = session.inputs().iter();
        let inputs: Vec<Input> = inputs
            .filter_map(|outlet| Input::named(outlet.name()))
            .collect();
        let mut values: Vec<Values> = Vec::with_capacity(names.len());
        for rows in chunks(items.rows, ROWS) {
            let chunk = items.range(rows.clone());
            let given = inputs.iter().map(|input| value(*input, chunk, chunk));
            let given: Vec<SessionInputValue<'_>> =
                given.collect::<ort::Result<_>>().map_err(failed)?;
            let outputs = session.run(&given[..]).map_err(failed)?;
            for (place, name) in names.iter().enumerate() {
                let Ok((shape, computed)) = outputs[place].try_extract_tensor::<f32>() else {
                    return Ok(None);
                };
                let Some(sizes) = sizes(shape, rows.len()) else {
                    return Ok(None);
                };
                if rows.start == 0 {
                    let width = sizes.iter().product::<usize>();
                    values.push(Values {
                        name: name.clone(),
                        sizes,
                        width,
                        numbers: Vec::new(),
                    });
                } else if values[place].sizes != sizes {
                    return Ok(None);
                }
                values[place].numbers.extend_from_slice(computed);
            }
            let width: usize = values.iter().map(|values| values.width).sum();
            if (items.rows * width * size_of::<f32>()) as u64 > most_bytes {
                return Ok(None);
            }
        }
        for values in &mut values {
            values.numbers.shrink_to_fit();
        }
        let rows = items.rows;
        Ok((rows > 0).then_some(Self { rows, values }))
    }
}

/// What a row has of a shape whose first dimension is the rows.
fn sizes(shape: &[i64], rows: usize) -> Option<Vec<usize>> {
    let (first, others) = shape.split_first()?;
    if usize::try_from(*first) != Ok(rows) {
        return None;
    }
    let sizes = others.iter().map(|size| usize::try_from(*size).ok());
    sizes.collect()
}

fn chunks(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..rows).step_by(most);
    starts.map(move |start| start..rows.min(start + most))
}

/// An input of the second half.
#[derive(Clone, Copy)]
enum Takes {
    Query(Input),
    /// By its place among the values.
    Items(usize),
}

/// The rest of a graph, open. Scoring takes it mutably, as with a [`Session`].
pub struct CatalogSession {
    inner: ort::session::Session,
    takes: Vec<Takes>,
    items: Arc<Items>,
    /// What was picked of each value. It keeps its memory from one call to the next.
    gathered: Vec<Vec<f32>>,
    widths: Widths,
}

impl CatalogSession {
    /// Scores items of the catalog against the query's only row. `scores` is cleared first, and left empty after an error; a
    /// score that is no number is none.
    ///
    /// # Errors
    /// When the query does not fit the graph, there is nothing to score, or ONNX Runtime fails.
    ///
    /// # Panics
    /// When the catalog has no such row.
    pub fn compute(
        &mut self,
        query: Rows<'_>,
        picked: Picked<'_>,
        scores: &mut Vec<f32>,
    ) -> Result<(), Error> {
        scores.clear();
        check_side(
            query,
            (Input::QueryIds, self.widths.query_slots),
            (Input::QueryDense, self.widths.query_dense),
        )?;
        if query.rows != 1 || picked.len() == 0 {
            return Err(Error::Rows {
                input: Input::QueryIds.name(),
                reason: format!(
                    "{} query rows for {} items of the catalog; one is expected for one item or more",
                    query.rows,
                    picked.len()
                ),
            });
        }
        if let Picked::Rows(rows) = &picked {
            for (values, gathered) in self.items.values.iter().zip(&mut self.gathered) {
                values.gather(rows, gathered);
            }
        }
        let (items, gathered) = (&self.items.values, &self.gathered);
        let given = self.takes.iter().map(|takes| match *takes {
            Takes::Query(input) => value(input, query, query),
            Takes::Items(place) => {
                let values = &items[place];
                let numbers = match &picked {
                    Picked::Rows(_) => &gathered[place][..],
                    Picked::Range(rows) => &values.numbers[values.range(rows)],
                };
                let mut shape = vec![picked.len()];
                shape.extend_from_slice(&values.sizes);
                Ok(TensorRef::from_array_view((shape, numbers))?.into())
            }
        });
        run(&mut self.inner, given, picked.len(), scores)
    }
}

impl fmt::Debug for CatalogSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CatalogSession")
            .field("rows", &self.items.rows)
            .finish_non_exhaustive()
    }
}

impl Values {
    fn range(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start * self.width..rows.end * self.width
    }

    fn gather(&self, rows: &[usize], into: &mut Vec<f32>) {
        into.clear();
        into.reserve(rows.len() * self.width);
        for &row in rows {
            into.extend_from_slice(&self.numbers[self.range(&(row..row + 1))]);
        }
    }
}

#[cfg(test)]
mod tests;
