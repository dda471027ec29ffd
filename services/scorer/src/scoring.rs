//! From a pinned servable and a request's columns to scores, on threads that do nothing else.
//!
//! Reading order: a [`Job`] is one request's work; the [`Queue`] holds so many rows and no more; the [`Pool`]'s workers
//! take jobs and run them, worker k on each servable's session k; [`best`](top::best) picks the top.

mod job;
mod queue;
mod pool;
mod top;

pub(crate) use job::{Answer, Candidates, Job, Work, violations};
pub(crate) use pool::Pool;
pub(crate) use top::Ranked;
