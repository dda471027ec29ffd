//! What load drivers share: when calls are due.

mod schedule;

pub use schedule::poisson;
