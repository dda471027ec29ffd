//! A job that is sound, and never run.

/// Its file.
pub(crate) const SPEC: &str = r#"
model = "movies"
[data]
interactions = { path = "a.csv" }
user = "user"
item = "item"
label = "rating >= 4"
[[features]]
name = "user"
role = "user"
kind = "category"
[[features]]
name = "item"
role = "item"
kind = "category"
[[students]]
name = "small"
"#;
