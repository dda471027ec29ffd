//! Tables to a frozen dataset.

mod label;

pub use label::{BoundLabel, Comparison, Condition, Label, LabelError, LabelSyntaxError, Operand};
