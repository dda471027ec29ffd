//! Trains large recommendation models and distils them into small ones.

pub mod spec;
pub mod ingest;
pub mod dataset;
