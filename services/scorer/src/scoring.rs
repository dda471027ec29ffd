//! From a pinned servable and a request's columns to scores, in batches of what waits.
//!
//! Reading order: a [`Job`] is one request's work; [`cost`] says how long work takes; the [`queue`] decides what is taken
//! in, what goes next and what goes together, and is pure bookkeeping; [`batch`] computes what goes together; the
//! [`Pool`]'s runners take batches and run them; [`best`](top::best) picks the top.

mod job;
mod cost;
mod queue;
mod batch;
mod pool;
mod top;

pub(crate) use cost::{Cost, Costs, Way};
#[cfg(test)]
pub(crate) use job::Answer;
pub(crate) use job::{Candidates, Scored, Work};
pub(crate) use pool::{Call, Outline, Pool};
pub(crate) use queue::{Client, Limits, Priority};
