//! All tests of Decant as a whole, in one binary: linking is what they cost most.

mod architecture;
mod wire;
mod discovery;
mod bad_jobs;
mod main_job;
mod processes;
