//! Bundles and a real S3 server, for tests here and in the crates above.
#![allow(clippy::unwrap_used, reason = "tests end where something is missing")]

mod fixture;
mod s3;

pub use fixture::{files, json, listed, manifest, written};
pub use s3::{S3Server, put_bucket};
