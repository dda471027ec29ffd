//! The calls to make, from a file of JSON lines.
//!
//! `{"score": {"user_id": ["7", "7"], "year": [1995, 1997], "genres": [["Drama"], []]}}` is a Score call of two rows;
//! `{"rank": {"query": {"user_id": ["7"]}, "items": ["50", "181"]}, "top_k": 10}` is a Rank call.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use decant_proto::scorer::v1 as wire;
use serde_json::{Map, Value};

/// A call, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Score(wire::ScoreRequest),
    Rank(wire::RankRequest),
}

/// Reads the file; the calls are made in its order, over and over.
pub(crate) fn read(path: &Path, model: &wire::ModelRef) -> anyhow::Result<Vec<Call>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let calls = text.lines().enumerate().map(|(line, text)| {
        parse(text, model).with_context(|| format!("{}, line {}", path.display(), line + 1))
    });
    let calls: Vec<Call> = calls.collect::<anyhow::Result<_>>()?;
    ensure!(!calls.is_empty(), "{} holds no calls", path.display());
    Ok(calls)
}

fn parse(line: &str, model: &wire::ModelRef) -> anyhow::Result<Call> {
    let value: Value = serde_json::from_str(line)?;
    if let Some(table) = value.get("score") {
        return Ok(Call::Score(wire::ScoreRequest {
            model: Some(model.clone()),
            columns: columns(table)?,
        }));
    }
    let rank = value.get("rank").context("neither `score` nor `rank`")?;
    let items = rank
        .get("items")
        .and_then(Value::as_array)
        .context("`rank` needs `items`")?;
    let ids = items.iter().map(|id| {
        id.as_str()
            .map(str::to_owned)
            .context("item ids are strings")
    });
    Ok(Call::Rank(wire::RankRequest {
        model: Some(model.clone()),
        query: columns(rank.get("query").context("`rank` needs `query`")?)?,
        candidates: Some(wire::rank_request::Candidates::ItemIds(
            ids.collect::<anyhow::Result<_>>()?,
        )),
        top_k: value.get("top_k").and_then(Value::as_u64).unwrap_or(0) as u32,
    }))
}

fn columns(table: &Value) -> anyhow::Result<Vec<wire::Column>> {
    let table: &Map<String, Value> = table
        .as_object()
        .context("columns are an object of arrays")?;
    table
        .iter()
        .map(|(name, values)| column(name, values).with_context(|| format!("column `{name}`")))
        .collect()
}

fn column(name: &str, values: &Value) -> anyhow::Result<wire::Column> {
    let rows = values
        .as_array()
        .context("values are an array, one for each row")?;
    let ragged = rows.iter().any(Value::is_array);
    let (flat, offsets) = if ragged {
        let lists: Vec<&Vec<Value>> = rows
            .iter()
            .map(|row| row.as_array().context("lists and single values are mixed"))
            .collect::<Result<_, _>>()?;
        let mut offsets = vec![0];
        offsets.extend(lists.iter().scan(0, |end, list| {
            *end += list.len() as u32;
            Some(*end)
        }));
        (lists.into_iter().flatten().collect::<Vec<_>>(), offsets)
    } else {
        (rows.iter().collect(), Vec::new())
    };
    let values = if flat.iter().all(|value| value.is_string()) {
        let values = flat
            .iter()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
        wire::column::Values::StringValues(wire::StringValues { values })
    } else if flat.iter().all(|value| value.is_i64()) {
        let values = flat.iter().filter_map(|value| value.as_i64()).collect();
        wire::column::Values::Int64Values(wire::Int64Values { values })
    } else if flat.iter().all(|value| value.is_number()) {
        let values = flat
            .iter()
            .filter_map(|value| value.as_f64())
            .map(|value| value as f32)
            .collect();
        wire::column::Values::FloatValues(wire::FloatValues { values })
    } else {
        bail!("values are all strings or all numbers");
    };
    Ok(wire::Column {
        name: name.to_owned(),
        values: Some(values),
        offsets,
        present: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_calls() {
        let model = wire::ModelRef {
            model: "movies".into(),
            slot: String::new(),
        };
        let line = r#"{"score": {"user": ["7", "8"], "genres": [["Drama", "War"], []], "year": [1995, 1997]}}"#;
        let Call::Score(score) = parse(line, &model).unwrap() else {
            panic!("a score call")
        };
        let genres = score
            .columns
            .iter()
            .find(|column| column.name == "genres")
            .unwrap();
        assert_eq!(genres.offsets, [0, 2, 2]);
        let rank = r#"{"rank": {"query": {"user": ["7"]}, "items": ["50"]}, "top_k": 3}"#;
        assert!(matches!(parse(rank, &model).unwrap(), Call::Rank(rank) if rank.top_k == 3));
        for wrong in [
            "{}",
            "[",
            r#"{"rank": {"query": {}}}"#,
            r#"{"score": {"a": ["x", 1]}}"#,
            r#"{"score": {"a": [["x"], 1]}}"#,
        ] {
            assert!(parse(wrong, &model).is_err(), "{wrong}");
        }
    }
}
