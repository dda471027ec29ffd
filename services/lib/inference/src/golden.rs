//! Inputs and the scores that the trainer computed for them: `golden.json` in the bundle.

use decant_features::Encoded;
use serde::{Deserialize, Serialize};

use crate::{Error, Session};

/// Encoded rows and the scores that a graph must give them, whatever machine it runs on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Query rows: one, or as many as item rows.
    pub query: Encoded,
    /// Item rows.
    pub item: Encoded,
    /// The score of each item row.
    pub expected: Vec<f32>,
    /// The largest difference allowed.
    pub tolerance: f32,
}

impl Golden {
    /// Reads and checks `golden.json`.
    ///
    /// # Errors
    /// When it does not parse, or proves nothing.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let golden: Golden =
            serde_json::from_slice(bytes).map_err(|error| Error::GoldenFile(error.to_string()))?;
        golden.check()?;
        Ok(golden)
    }

    /// Writes `golden.json`.
    ///
    /// # Errors
    /// As [`Golden::from_json`] for a file that could not be read back.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        serde_json::to_vec(self).map_err(|error| Error::GoldenFile(error.to_string()))
    }

    /// Scores the rows and compares.
    ///
    /// # Errors
    /// When a score differs by more than the tolerance, naming the worst row; or when the rows cannot be scored.
    pub fn replay(&self, session: &mut Session) -> Result<(), Error> {
        self.check()?;
        let mut scores = Vec::with_capacity(self.expected.len());
        session.score(&self.query, &self.item, &mut scores)?;
        let differences = || {
            self.expected
                .iter()
                .zip(&scores)
                .map(|(expected, got)| (expected - got).abs())
        };
        let differing = differences()
            .filter(|difference| *difference > self.tolerance)
            .count();
        match differences()
            .enumerate()
            .max_by(|(_, left), (_, right)| left.total_cmp(right))
        {
            Some((row, _)) if differing > 0 => Err(Error::Golden {
                row,
                expected: self.expected[row],
                got: scores[row],
                differing,
                rows: scores.len(),
                tolerance: self.tolerance,
            }),
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::GoldenFile(reason));
        if self.expected.is_empty() {
            return refuse("it has no row, and so proves nothing".into());
        }
        if self.expected.len() != self.item.rows {
            return refuse(format!(
                "{} expected scores for {} item rows",
                self.expected.len(),
                self.item.rows
            ));
        }
        for (side, rows) in [("query", &self.query), ("item", &self.item)] {
            let mut values = rows.weights.iter().chain(&rows.dense);
            if let Some(value) = values.find(|value| !value.is_finite()) {
                return refuse(format!("a value of the {side} rows is {value}"));
            }
        }
        if let Some(row) = self.expected.iter().position(|score| !score.is_finite()) {
            return refuse(format!(
                "the expected score of row {row} is {}",
                self.expected[row]
            ));
        }
        if !self.tolerance.is_finite() || self.tolerance < 0.0 {
            return refuse(format!(
                "the tolerance is {}, but must be finite and not negative",
                self.tolerance
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Graph, open, rows};

    fn golden(session: &mut Session) -> Golden {
        let (query, item) = (rows(1, 2, 1, 0), rows(5, 1, 0, 1));
        let mut expected = Vec::new();
        session.score(&query, &item, &mut expected).unwrap();
        Golden {
            query,
            item,
            expected,
            tolerance: 1e-6,
        }
    }

    #[test]
    fn what_was_recorded_replays_also_after_a_trip_through_json() {
        let mut session = open(&Graph::default()).unwrap();
        let recorded = golden(&mut session);
        let read = Golden::from_json(&recorded.to_json().unwrap()).unwrap();
        assert_eq!(read, recorded);
        read.replay(&mut session).unwrap();
    }

    #[test]
    fn the_worst_row_is_named() {
        let mut session = open(&Graph::default()).unwrap();
        let mut wrong = golden(&mut session);
        wrong.expected[1] += 0.01;
        wrong.expected[3] += 0.25;
        let error = wrong.replay(&mut session).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Golden {
                    row: 3,
                    differing: 2,
                    rows: 5,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_proves_nothing_is_refused() {
        let good = golden(&mut open(&Graph::default()).unwrap());
        let empty = Golden {
            expected: Vec::new(),
            ..good.clone()
        };
        let short = Golden {
            expected: vec![0.5],
            ..good.clone()
        };
        let loose = Golden {
            tolerance: f32::INFINITY,
            ..good.clone()
        };
        let not_finite = Golden {
            expected: vec![f32::NAN; 5],
            ..good.clone()
        };
        // JSON has no infinity, so that it could not be read back.
        let mut endless = good;
        endless.item.weights[2] = f32::INFINITY;
        for bad in [empty, short, loose, not_finite, endless] {
            assert!(
                matches!(bad.to_json(), Err(Error::GoldenFile(_))),
                "{bad:?}"
            );
        }
        assert!(matches!(
            Golden::from_json(b"{}"),
            Err(Error::GoldenFile(_))
        ));
    }
}
