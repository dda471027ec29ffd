//! What a model is created with.

use decant_model::{Gate, PublicKey};
use serde::Serialize;

use crate::error::CallError;

/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 4096;
/// The most gates, and the longest name of a metric, in bytes.
const MAX_GATES: usize = 64;
const MAX_METRIC: usize = 128;
/// The most signers: they are copied into each slot, which is to stay small.
const MAX_SIGNERS: usize = 16;

/// A model's settings, checked.
#[derive(Clone, Serialize)]
pub(crate) struct Settings {
    pub(crate) description: String,
    pub(crate) gates: Vec<Gate>,
    pub(crate) signers: Vec<PublicKey>,
}

/// Settings to change; what is none stays.
pub(crate) struct Update {
    pub(crate) description: Option<String>,
    pub(crate) gates: Option<Vec<Gate>>,
    pub(crate) signers: Option<Vec<PublicKey>>,
}

impl Settings {
    pub(crate) fn check(
        description: String,
        gates: Vec<Gate>,
        signers: Vec<PublicKey>,
    ) -> Result<Self, CallError> {
        check_description("model.description", &description)?;
        check_gates("model.gates", &gates)?;
        check_signers("model.signers", &signers)?;
        Ok(Self {
            description,
            gates,
            signers,
        })
    }
}

impl Update {
    pub(crate) fn check(
        description: Option<String>,
        gates: Option<Vec<Gate>>,
        signers: Option<Vec<PublicKey>>,
    ) -> Result<Self, CallError> {
        if let Some(description) = &description {
            check_description("description", description)?;
        }
        if let Some(gates) = &gates {
            check_gates("gates", gates)?;
        }
        if let Some(signers) = &signers {
            check_signers("signers", signers)?;
        }
        Ok(Self {
            description,
            gates,
            signers,
        })
    }
}

fn check_description(field: &'static str, description: &str) -> Result<(), CallError> {
    if description.len() > MAX_DESCRIPTION {
        let reason = format!(
            "it has {} bytes, but at most {MAX_DESCRIPTION} are allowed",
            description.len()
        );
        return Err(CallError::field(field, reason));
    }
    Ok(())
}

fn check_gates(field: &'static str, gates: &[Gate]) -> Result<(), CallError> {
    check_count(field, gates.len(), MAX_GATES)?;
    for (place, gate) in gates.iter().enumerate() {
        if let Some(reason) = senseless(gate) {
            return Err(CallError::field(format!("{field}[{place}]"), reason));
        }
    }
    Ok(())
}

fn check_signers(field: &'static str, signers: &[PublicKey]) -> Result<(), CallError> {
    check_count(field, signers.len(), MAX_SIGNERS)
}

fn check_count(field: &'static str, found: usize, limit: usize) -> Result<(), CallError> {
    if found > limit {
        let reason = format!("there are {found}, but at most {limit} are allowed");
        return Err(CallError::field(field, reason));
    }
    Ok(())
}

/// Why a gate could never judge anything.
fn senseless(gate: &Gate) -> Option<String> {
    let metric = &gate.metric;
    if metric.is_empty() || metric.len() > MAX_METRIC {
        return Some(format!(
            "its metric must have 1 to {MAX_METRIC} bytes, but has {}",
            metric.len()
        ));
    }
    match (gate.min, gate.max) {
        (None, None) => Some(format!("`{metric}` has neither min nor max")),
        (min, max) if min.into_iter().chain(max).any(|bound| !bound.is_finite()) => {
            Some(format!("a bound of `{metric}` is not finite"))
        }
        (Some(min), Some(max)) if min > max => {
            Some(format!("`{metric}` has min {min} above max {max}"))
        }
        _ => None,
    }
}
