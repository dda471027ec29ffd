//! What reads a bundle's files. What reads requests is tried where it can be reached: in the scorer, `src/fuzz.rs`.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod bundle;
mod onnx;
