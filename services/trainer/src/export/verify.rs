//! A graph must score as the network does that it came from.

use decant_features::Encoded;
use decant_inference::{Error, Golden, Runtime, Session};
use thiserror::Error;

use crate::dataset::Examples;
use crate::network::{History, Network, sigmoid};

/// The largest difference allowed between a graph's score and its network's.
const TOLERANCE: f32 = 1e-5;

/// Rows in a call of the runtime.
const BATCH: usize = 1000;

/// Rows that travel with a model, so that a scorer can repeat the proof.
const GOLDEN_ROWS: usize = 48;

/// A graph that scores as its network does.
pub struct Parity {
    /// The graph, open.
    pub session: Session,
    /// Rows compared.
    pub rows: usize,
    /// The largest difference found.
    pub worst: f32,
    /// Some of the rows, with the network's own scores.
    pub golden: Golden,
}

/// A graph that does not.
#[derive(Debug, Error)]
pub enum ParityError {
    /// ONNX Runtime refuses the graph or its rows.
    #[error("the ONNX graph of `{network}` does not work")]
    Inference {
        /// The network.
        network: String,
        /// Why.
        #[source]
        source: Error,
    },
    /// It computes something else.
    #[error(
        "the ONNX graph of `{network}` scores row {row} (query {query}, item {item}) as {got}, the network as {expected}"
    )]
    Differs {
        /// The network.
        network: String,
        /// The example that differs most.
        row: usize,
        /// Its query.
        query: u32,
        /// Its item.
        item: u32,
        /// The network's score.
        expected: f32,
        /// The graph's score.
        got: f32,
    },
}

/// Opens a graph and compares its scores with the logits of what it was made from. `queries` are the query rows that
/// the graph takes, in the order of the examples' query table.
///
/// # Errors
/// When the graph does not open or run, or differs by more than 1e-5, naming the worst row.
pub fn verify(
    name: &str,
    onnx: &[u8],
    runtime: &Runtime,
    queries: &Encoded,
    examples: &Examples,
    logits: &[f32],
) -> Result<Parity, ParityError> {
    let failed = |source: Error| ParityError::Inference {
        network: name.to_owned(),
        source,
    };
    let mut session = Session::open(runtime, onnx.to_vec()).map_err(failed)?;
    let expected: Vec<f32> = logits.iter().copied().map(sigmoid).collect();
    let positions: Vec<usize> = (0..examples.len()).collect();
    let (mut scores, mut batch_scores) = (Vec::with_capacity(examples.len()), Vec::new());
    for batch in positions.chunks(BATCH) {
        let (query, item) = encoded(queries, examples, batch);
        session
            .score(&query, &item, &mut batch_scores)
            .map_err(failed)?;
        scores.extend_from_slice(&batch_scores);
    }
    let difference = |row: usize| (expected[row] - scores[row]).abs();
    let worst = positions
        .iter()
        .copied()
        .max_by(|left, right| difference(*left).total_cmp(&difference(*right)));
    if let Some(row) = worst.filter(|row| difference(*row) >= TOLERANCE) {
        let pair = examples.pairs[row];
        return Err(ParityError::Differs {
            network: name.to_owned(),
            row,
            query: pair.query,
            item: pair.item,
            expected: expected[row],
            got: scores[row],
        });
    }
    let golden_rows = &positions[..positions.len().min(GOLDEN_ROWS)];
    let (query, item) = encoded(queries, examples, golden_rows);
    let golden = Golden {
        query,
        item,
        expected: expected[..golden_rows.len()].to_vec(),
        tolerance: TOLERANCE,
    };
    golden.replay(&mut session).map_err(failed)?;
    Ok(Parity {
        session,
        rows: scores.len(),
        worst: worst.map_or(0.0, difference),
        golden,
    })
}

/// The query rows that the graph of a network takes.
pub fn queries(network: &Network, examples: &Examples) -> Encoded {
    let extended = |history: &History| {
        history.extend_queries(network.layout(), &examples.queries, &examples.users)
    };
    network
        .history()
        .map_or_else(|| Encoded::clone(&examples.queries), extended)
}

fn encoded(queries: &Encoded, examples: &Examples, positions: &[usize]) -> (Encoded, Encoded) {
    let rows = |row: fn(&crate::dataset::Pair) -> u32| -> Vec<usize> {
        positions
            .iter()
            .map(|&position| row(&examples.pairs[position]) as usize)
            .collect()
    };
    (
        queries.select(&rows(|pair| pair.query)),
        examples.items.select(&rows(|pair| pair.item)),
    )
}
