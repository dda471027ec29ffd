//! What a version must reach before it may be served.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A condition on one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The metric's name in the manifest.
    pub metric: String,
    /// The value must be at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The value must be at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// How a gate judged a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// The gate.
    pub gate: Gate,
    /// The metric's value; `None` when the manifest has none of this name.
    pub value: Option<f64>,
    /// Whether it holds.
    pub passed: bool,
}

impl Gate {
    /// Judges a version's metrics. No data is never a pass.
    pub fn judge(&self, metrics: &BTreeMap<String, f64>) -> GateResult {
        let value = metrics.get(&self.metric).copied();
        let holds = |value: f64| {
            self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
        };
        GateResult {
            gate: self.clone(),
            value,
            passed: value.is_some_and(holds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_holds_within_its_bounds_and_never_without_data() {
        let gate = Gate {
            metric: "auc".into(),
            min: Some(0.7),
            max: Some(0.9),
        };
        let judged = |value: f64| gate.judge(&BTreeMap::from([("auc".into(), value)])).passed;
        assert!(judged(0.7) && judged(0.8) && judged(0.9));
        assert!(!judged(0.69) && !judged(0.91) && !judged(f64::NAN));
        assert!(!gate.judge(&BTreeMap::new()).passed);
    }
}
