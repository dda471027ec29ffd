//! What a model is created with.

use decant_model::Gate;

use crate::error::CallError;

/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 4096;
/// The most gates, and the longest name of a metric, in bytes.
const MAX_GATES: usize = 64;
const MAX_METRIC: usize = 128;

/// A model's settings, checked.
pub(crate) struct Settings {
    pub(crate) description: String,
    pub(crate) gates: Vec<Gate>,
}

impl Settings {
    pub(crate) fn check(description: String, gates: Vec<Gate>) -> Result<Self, CallError> {
        if description.len() > MAX_DESCRIPTION {
            let reason = format!(
                "it has {} bytes, but at most {MAX_DESCRIPTION} are allowed",
                description.len()
            );
            return Err(CallError::field("model.description", reason));
        }
        if gates.len() > MAX_GATES {
            let reason = format!(
                "there are {}, but at most {MAX_GATES} are allowed",
                gates.len()
            );
            return Err(CallError::field("model.gates", reason));
        }
        for (place, gate) in gates.iter().enumerate() {
            if let Some(reason) = senseless(gate) {
                return Err(CallError::field(format!("model.gates[{place}]"), reason));
            }
        }
        Ok(Self { description, gates })
    }
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
