//! The file of exported metadata: a header, then one record a line, each line a JSON object. A record's value keeps the
//! bytes that the registry stores, because hashes are made over them.

use std::fmt;

use decant_proto::admin::v1::MetadataRecord;
use serde_json::{Value, json};

/// The only format there is so far. A reader refuses newer ones.
const FORMAT: u64 = 1;

/// Where the records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The cluster's uuid.
    pub(super) cluster: String,
    /// The store's revision just before the records were read.
    pub(super) revision: u64,
    /// When they were read, in RFC 3339.
    pub(super) time: String,
}

/// What is wrong with a file: the line, counted from 1, and the reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Defect {
    line: usize,
    reason: String,
}

impl fmt::Display for Defect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.reason)
    }
}

/// The first line.
pub(super) fn header_line(header: &Header) -> String {
    let Header {
        cluster,
        revision,
        time,
    } = header;
    let header =
        json!({ "format": FORMAT, "cluster": cluster, "revision": revision, "time": time });
    format!("{header}\n")
}

/// The line of a record.
pub(super) fn record_line(record: &MetadataRecord) -> Result<String, String> {
    let value = std::str::from_utf8(&record.value)
        .ok()
        .filter(|text| is_json(text))
        .ok_or_else(|| format!("the value of `{}` is no JSON", record.key))?;
    let key = Value::from(record.key.as_str());
    // Line feeds can only stand between JSON's tokens, where spaces mean the same.
    let value = value.trim().replace(['\n', '\r'], " ");
    Ok(format!("{{\"key\":{key},\"value\":{value}}}\n"))
}

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<(Header, Vec<MetadataRecord>), Defect> {
    let mut lines = text.lines().enumerate();
    let first = lines.next().map_or("", |(_, line)| line);
    let header = parse_header(first).map_err(|reason| Defect { line: 1, reason })?;
    let mut records = Vec::new();
    for (place, line) in lines {
        let record = parse_record(line).map_err(|reason| Defect {
            line: place + 1,
            reason,
        })?;
        records.push(record);
    }
    Ok((header, records))
}

fn parse_header(line: &str) -> Result<Header, String> {
    let no_header = "this is no header of exported metadata";
    let value: Value = serde_json::from_str(line).map_err(|_| no_header)?;
    match value["format"].as_u64() {
        None => return Err(no_header.to_owned()),
        Some(FORMAT) => {}
        Some(other) => {
            return Err(format!(
                "the file has format {other}, but this build reads format {FORMAT}"
            ));
        }
    }
    let text = |name: &str| value[name].as_str().map(str::to_owned).ok_or(no_header);
    Ok(Header {
        cluster: text("cluster")?,
        revision: value["revision"].as_u64().ok_or(no_header)?,
        time: text("time")?,
    })
}

fn parse_record(line: &str) -> Result<MetadataRecord, String> {
    let no_record = "this is no record: {\"key\": ..., \"value\": ...} is expected";
    let value: Value = serde_json::from_str(line).map_err(|_| no_record)?;
    let fields = value.as_object().filter(|fields| fields.len() == 2);
    let (Some(key), Some(parsed)) = (
        fields.and_then(|fields| fields.get("key")?.as_str()),
        fields.and_then(|fields| fields.get("value")),
    ) else {
        return Err(no_record.to_owned());
    };
    let value = match stored(line) {
        Some(bytes) => bytes.to_owned(),
        // Another program wrote the line in its own way: the bytes are lost, the meaning is not.
        None => parsed.to_string(),
    };
    Ok(MetadataRecord {
        key: key.to_owned(),
        value: value.into_bytes().into(),
    })
}

/// A value's own bytes in a line that [`record_line`] wrote.
fn stored(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("{\"key\":")?;
    let mut key = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    key.next()?.ok()?;
    let value = rest
        .get(key.byte_offset()..)?
        .strip_prefix(",\"value\":")?
        .strip_suffix('}')?;
    is_json(value).then_some(value)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            cluster: "5f0c".into(),
            revision: 42,
            time: "2026-05-01T12:00:00Z".into(),
        }
    }

    fn record(key: &str, value: &str) -> MetadataRecord {
        MetadataRecord {
            key: key.into(),
            value: value.as_bytes().to_vec().into(),
        }
    }

    const HEADER: &str =
        "{\"cluster\":\"5f0c\",\"format\":1,\"revision\":42,\"time\":\"2026-05-01T12:00:00Z\"}\n";

    #[test]
    fn the_file_is_golden() {
        assert_eq!(header_line(&header()), HEADER);
        let line =
            record_line(&record("models/movies", r#"{"name":"movies","auc":0.80}"#)).unwrap();
        assert_eq!(
            line,
            "{\"key\":\"models/movies\",\"value\":{\"name\":\"movies\",\"auc\":0.80}}\n"
        );
    }

    #[test]
    fn values_keep_their_bytes() {
        let records = [
            record("a", r#"{"z":1.00,"a":1e3,"n":18446744073709551615}"#),
            record("b\"\\}", r#"{"value":"}"}"#),
            record("c", "7"),
        ];
        let lines: String = records
            .iter()
            .map(|one| record_line(one).unwrap())
            .collect();
        let (read, back) = parse(&format!("{HEADER}{lines}")).unwrap();
        assert_eq!((read, back), (header(), records.to_vec()));
    }

    #[test]
    fn lines_that_another_program_wrote_keep_their_meaning() {
        let (_, records) = parse(&format!(
            "{HEADER}{{ \"value\": {{\"b\": 1}}, \"key\": \"a\" }}\n"
        ))
        .unwrap();
        assert_eq!(records, [record("a", "{\"b\":1}")]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let defect = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(defect(""), "line 1: this is no header of exported metadata");
        assert_eq!(
            defect("{\"format\":2}"),
            "line 1: the file has format 2, but this build reads format 1"
        );
        for cut in [
            "{\"key\":\"a\",\"val",
            "{\"key\":\"a\"}",
            "7",
            "{\"key\":\"a\",\"value\":1,\"x\":2}",
        ] {
            assert_eq!(
                defect(&format!("{HEADER}{{\"key\":\"a\",\"value\":1}}\n{cut}")),
                "line 3: this is no record: {\"key\": ..., \"value\": ...} is expected"
            );
        }
        assert_eq!(
            record_line(&record("a", "{")).unwrap_err(),
            "the value of `a` is no JSON"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*", line in ".*") {
            let _ = parse(&text);
            let _ = parse(&format!("{HEADER}{line}"));
        }

        #[test]
        fn every_key_is_read_back(key in ".*", value in "[0-9]{1,9}") {
            let one = record(&key, value.trim_start_matches('0'));
            prop_assume!(!one.value.is_empty());
            let (_, records) = parse(&format!("{HEADER}{}", record_line(&one).unwrap())).unwrap();
            prop_assert_eq!(records, vec![one]);
        }
    }
}
