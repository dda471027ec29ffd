//! How long graphs take in the runtime that serves them.

use std::time::Instant;

use decant_features::Encoded;
use decant_inference::{Error, Session};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Median times of one request, in microseconds, on one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// For one candidate.
    pub micros_1: f64,
    /// For 500 candidates.
    pub micros_500: f64,
}

/// A graph could not be measured.
#[derive(Debug, Error)]
#[error("the latency of `{network}` could not be measured")]
pub struct LatencyError {
    network: String,
    #[source]
    source: Error,
}

/// A graph and the rows that it takes.
pub struct Subject<'a> {
    /// For errors.
    pub name: &'a str,
    /// The open graph.
    pub session: Session,
    /// Requests to draw from, each a query of one row.
    pub queries: Vec<Encoded>,
}

/// Measures graphs side by side: each round asks every graph once, so that whatever else the machine does falls on
/// all of them alike.
///
/// # Errors
/// When a graph refuses its rows.
pub fn measure(
    subjects: &mut [Subject<'_>],
    items: &Encoded,
    rounds: usize,
) -> Result<Vec<Latency>, LatencyError> {
    let mut latencies = vec![Latency::default(); subjects.len()];
    if items.rows == 0 {
        return Ok(latencies);
    }
    for candidates in [1, 500] {
        let rows: Vec<usize> = (0..candidates).map(|row| row % items.rows).collect();
        let items = items.select(&rows);
        let mut times = vec![Vec::with_capacity(rounds); subjects.len()];
        for round in 0..WARM_UP + rounds {
            for (subject, times) in subjects.iter_mut().zip(&mut times) {
                let Some(query) = subject.queries.get(round % subject.queries.len().max(1)) else {
                    continue;
                };
                let mut scores = Vec::with_capacity(candidates);
                let started = Instant::now();
                subject
                    .session
                    .score(query, &items, &mut scores)
                    .map_err(|source| LatencyError {
                        network: subject.name.to_owned(),
                        source,
                    })?;
                let elapsed = started.elapsed().as_secs_f64() * 1e6;
                if round >= WARM_UP {
                    times.push(elapsed);
                }
            }
        }
        for (latency, times) in latencies.iter_mut().zip(times) {
            let micros = if candidates == 1 {
                &mut latency.micros_1
            } else {
                &mut latency.micros_500
            };
            *micros = median(times);
        }
    }
    Ok(latencies)
}

/// Rounds that are not counted: the runtime plans its memory in the first ones.
const WARM_UP: usize = 10;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
