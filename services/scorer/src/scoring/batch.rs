//! A batch, computed: rows are encoded straight into the buffers that ONNX Runtime reads.

use std::time::{Duration, Instant};

use decant_features::{Columns, Encoded, Rows, Side};
use decant_inference::{Error, Picked, check_finite};

use super::job::{Candidates, Part, Work};
use super::queue::Taken;
use crate::error::CallError;
use crate::servable::Servable;
use crate::servable::statistics::ComputeTimes;

/// A runner's buffers. They keep their size from batch to batch, and so take no memory on the way.
#[derive(Default)]
pub(super) struct Workbench {
    query: Encoded,
    item: Encoded,
    scores: Vec<f32>,
}

/// Times steps that follow each other, with one look at the clock for each.
struct Clock {
    step_began: Instant,
}

impl Clock {
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.step_began, now)
    }
}

impl Workbench {
    /// Computes the parts, all of one version and such as may be computed together, on the version's session of this
    /// number, and answers them. `began` is now, as whoever took them knows it.
    pub(super) fn run(
        &mut self,
        session: usize,
        mut parts: Vec<Taken<Part>>,
        began: Instant,
        load: f32,
    ) {
        parts.retain(|taken| taken.job.is_wanted());
        let Some(first) = parts.first() else {
            return;
        };
        let handle = first.job.job.handle.clone();
        let servable = handle.servable();
        match self.compute(session, servable, &parts, began) {
            Ok(times) => {
                // Before anybody is answered: whoever has an answer finds its batch counted.
                servable.record_batch(self.scores.len(), times);
                for Taken { job: part, waited } in &parts {
                    part.computed(*waited, times, load);
                }
            }
            // One of several may have been the cause, and the others are not to suffer for it.
            Err(error) if parts.len() > 1 => {
                tracing::warn!(%error, requests = parts.len(), "a batch failed; its requests are computed one by one");
                for part in parts {
                    self.run(session, vec![part], Instant::now(), load);
                }
            }
            Err(error) => parts[0].job.failed(error),
        }
    }

    /// Encodes, scores, and gives each request its scores.
    fn compute(
        &mut self,
        session: usize,
        servable: &Servable,
        parts: &[Taken<Part>],
        began: Instant,
    ) -> Result<ComputeTimes, CallError> {
        let mut clock = Clock { step_began: began };
        let layout = servable.schema().layout();
        self.query.reset(&layout.query);
        self.item.reset(&layout.item);
        let mut picked: Option<Picked<'_>> = None;
        for Taken { job: part, .. } in parts {
            match &part.job.work {
                Work::Score { columns } => {
                    self.encode(servable, Side::Query, columns, part);
                    self.encode(servable, Side::Item, columns, part);
                }
                Work::Rank {
                    query, candidates, ..
                } => {
                    self.encode_query(servable, query);
                    match candidates {
                        Candidates::Columns(columns) => {
                            self.encode(servable, Side::Item, columns, part);
                        }
                        Candidates::Catalog(rows) => {
                            picked = Some(Picked::Rows(&rows[part.rows.clone()]));
                        }
                    }
                }
                Work::Recommend { query, .. } => {
                    self.encode_query(servable, query);
                    picked = Some(Picked::Range(part.rows.clone()));
                }
            }
        }
        let input = clock.lap();
        let query = Rows::from(&self.query);
        match picked {
            None => {
                let item = Rows::from(&self.item);
                servable.compute(session, query, item, &mut self.scores)?;
            }
            Some(picked) => {
                let items = servable.items().ok_or(CallError::NoCatalog)?;
                let (rows, scores) = (&mut self.item, &mut self.scores);
                servable.compute_items(session, query, items, picked, rows, scores)?;
            }
        }
        let infer = clock.lap();
        self.hand_out(servable, parts);
        let output = clock.lap();
        let times = ComputeTimes {
            input,
            infer,
            output,
        };
        if let Some(first) = parts.first() {
            let way = first.job.job.work.way();
            let took = times.until_scored();
            servable.costs().learn(way, self.scores.len(), took);
        }
        Ok(times)
    }

    fn encode(&mut self, servable: &Servable, side: Side, columns: &Columns, part: &Part) {
        let out = match side {
            Side::Query => &mut self.query,
            Side::Item => &mut self.item,
        };
        let rows = part.rows.clone();
        servable.schema().encode_into(side, columns, rows, out);
    }

    fn encode_query(&mut self, servable: &Servable, query: &Columns) {
        let schema = servable.schema();
        schema.encode_into(Side::Query, query, 0..1, &mut self.query);
    }

    fn hand_out(&self, servable: &Servable, parts: &[Taken<Part>]) {
        let mut rest = &self.scores[..];
        for Taken { job: part, .. } in parts {
            let (scores, others) = rest.split_at(part.rows.len());
            rest = others;
            match check_finite(scores) {
                Ok(()) => part.scored(scores),
                Err(Error::NotFinite { row, value }) => {
                    let row = part.rows.start + row;
                    tracing::error!(digest = %servable.digest(), row, value, "a score is not finite");
                    part.failed(Error::NotFinite { row, value }.into());
                }
                Err(error) => part.failed(error.into()),
            }
        }
    }
}
