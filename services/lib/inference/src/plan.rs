//! A graph as a short list of loops, for a few rows.
//!
//! ONNX Runtime makes each run ready anew, and each node of it. For one row of a student that is most of the work, and between
//! other work little of its code is still in the processor's caches: a run that takes 4 µs in a loop of nothing else takes
//! three times as long in a scorer. So what networks of ranking are made of is computed here as far as it is little;
//! where much is multiplied, ONNX Runtime is faster. It says at load whether a plan computes the same, and computes whatever
//! has no plan.

mod constants;
mod product;
mod read;
mod shape;
mod step;

use std::fmt;
use std::sync::Arc;

use decant_features::Rows;

use self::constants::Constant;
use self::step::{Given, Made, Operand};
use crate::{Error, Golden, Graph, Session};

/// So many multiplications ONNX Runtime does not do faster than a plan.
const MOST_WORK: usize = 1 << 18;
/// So many multiplications take a few microseconds.
const LITTLE_WORK: usize = 1 << 16;
/// Of the golden rows, so many are compared, each by itself.
const COMPARED: usize = 64;
/// So many rows are compared together.
const TOGETHER: usize = 3;

/// A graph whose loops are known.
pub struct Plan {
    constants: Vec<Constant>,
    /// In an order in which they can be computed; what each makes is known by its place.
    made: Vec<Made>,
    score: Operand,
    /// Multiplications of what is computed once, for each query row, and for each item row.
    work: [usize; 3],
}

/// A plan with room for what it computes. Whoever computes has one.
pub(crate) struct Desk {
    plan: Arc<Plan>,
    made: Vec<Vec<f32>>,
}

impl Plan {
    /// Looks for a plan. There is none for graphs of other operators, where one row is too much, and where some golden row has
    /// another score than `session` gives it. `session` is one on the graph.
    ///
    /// # Errors
    /// When ONNX Runtime fails, or the golden rows do not fit the graph.
    pub fn find(
        graph: &Graph,
        session: &mut Session,
        golden: &Golden,
    ) -> Result<Option<Arc<Self>>, Error> {
        let Some(plan) = Self::read(graph, session.widths())? else {
            return Ok(None);
        };
        let plan = Arc::new(plan);
        let agrees = plan.takes(1, 1) && plan.agrees(session, golden)?;
        Ok(agrees.then_some(plan))
    }

    /// Whether so many rows are done in a few microseconds: in less than it takes to have somebody else do them.
    pub fn is_quick(&self, query_rows: usize, item_rows: usize) -> bool {
        self.work(query_rows, item_rows) <= LITTLE_WORK
    }

    /// Whether so many rows are few.
    fn takes(&self, query_rows: usize, item_rows: usize) -> bool {
        self.work(query_rows, item_rows) <= MOST_WORK
    }

    /// Multiplications.
    fn work(&self, query_rows: usize, item_rows: usize) -> usize {
        let rows = [1, query_rows, item_rows];
        let work = self.work.iter().zip(rows);
        work.fold(0, |sum, (work, rows)| {
            sum.saturating_add(work.saturating_mul(rows))
        })
    }

    fn agrees(self: &Arc<Self>, session: &mut Session, golden: &Golden) -> Result<bool, Error> {
        let mut desk = Desk::new(Arc::clone(self));
        let (mut expected, mut got) = (Vec::new(), Vec::new());
        let count = golden.item.rows;
        let each = (0..count.min(COMPARED)).map(|row| row..row + 1);
        let together = (count >= TOGETHER).then_some(0..TOGETHER);
        for rows in each.chain(together) {
            let query = match golden.query.rows {
                1 => Rows::from(&golden.query),
                _ => golden.query.range(rows.clone()),
            };
            let item = golden.item.range(rows);
            session.compute(query, item, &mut expected)?;
            got.clear();
            let agree = |(expected, got): (&f32, &f32)| (expected - got).abs() <= golden.tolerance;
            let computed = desk.compute(query, item, &mut got);
            if !computed || !expected.iter().zip(&got).all(agree) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Plan")
            .field("steps", &self.made.len())
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

impl Desk {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        Self {
            made: vec![Vec::new(); plan.made.len()],
            plan,
        }
    }

    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Whether the plan is for so many rows.
    pub(crate) fn takes(&self, query_rows: usize, item_rows: usize) -> bool {
        self.plan.takes(query_rows, item_rows)
    }

    /// Appends a score for each item row. Not, when some id is in no table: what is wrong then, ONNX Runtime says. The rows fit
    /// the graph and each other.
    pub(crate) fn compute(
        &mut self,
        query: Rows<'_>,
        item: Rows<'_>,
        scores: &mut Vec<f32>,
    ) -> bool {
        let plan = &*self.plan;
        for (place, made) in plan.made.iter().enumerate() {
            let (before, rest) = self.made.split_at_mut(place);
            let given = Given {
                query,
                item,
                constants: &plan.constants,
                made: before,
            };
            rest[0].clear();
            if !made.compute(&given, &mut rest[0]) {
                return false;
            }
        }
        let given = Given {
            query,
            item,
            constants: &plan.constants,
            made: &self.made,
        };
        let numbers = given.numbers(&plan.score);
        scores.extend((0..item.rows).map(|row| plan.score.row(numbers, row)[0]));
        true
    }
}

#[cfg(test)]
mod tests;
