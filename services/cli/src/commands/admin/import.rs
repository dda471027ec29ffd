//! `decant admin import`: exported metadata into an empty cluster. The whole file is checked before anything is sent.

use decant_proto::admin::v1::{ImportMetadataRequest, MetadataRecord};
use serde_json::json;

use super::{backup, plural};
use crate::arguments::request::Author;
use crate::commands::confirm::Confirmation;
use crate::commands::read_text;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// How much one message holds at most: far below the 4 MiB that a server takes by default.
const MESSAGE_BYTES: usize = 1 << 20;
const MESSAGE_RECORDS: usize = 500;

/// Reads the file and writes its records into the cluster.
pub(super) async fn import(
    context: &Context,
    file: &str,
    author: Author,
    confirmation: &Confirmation,
) -> Result<Exit, Failure> {
    let (header, records) = backup::parse(&read_text(file)?)
        .map_err(|defect| Failure::new(format!("cannot import {file}: {defect}")))?;
    confirmation.ask(&format!(
        "{} of cluster {}, exported at {} from revision {}, will be written into the cluster of the registry at {}.",
        plural(records.len() as u64, "record"),
        header.cluster,
        header.time,
        header.revision,
        context.registry.0.address()
    ))?;
    let messages = messages(records, &author.by);
    let records = context.registry.import_metadata(messages).await?;
    context.output.named(
        [&header.cluster],
        || json!({ "cluster": header.cluster, "records": records }),
        |_| format!("imported {}\n", plural(records, "record")),
    )?;
    Ok(Exit::Ok)
}

/// The records in messages that are not too large. The first names who asks, and is there even if there are no records.
fn messages(records: Vec<MetadataRecord>, issued_by: &str) -> Vec<ImportMetadataRequest> {
    let mut messages = vec![ImportMetadataRequest {
        records: Vec::new(),
        issued_by: issued_by.to_owned(),
    }];
    let mut bytes = 0;
    for record in records {
        let size = record.key.len() + record.value.len();
        if let Some(last) = messages.last_mut()
            && (last.records.is_empty()
                || (bytes + size <= MESSAGE_BYTES && last.records.len() < MESSAGE_RECORDS))
        {
            bytes += size;
            last.records.push(record);
        } else {
            bytes = size;
            messages.push(ImportMetadataRequest {
                records: vec![record],
                issued_by: String::new(),
            });
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_sent_in_their_order_in_messages_that_fit() {
        let record = |number: usize, bytes| MetadataRecord {
            key: format!("{number:06}"),
            value: vec![b'1'; bytes].into(),
        };
        let records: Vec<MetadataRecord> = (0..1200)
            .map(|number| record(number, 10))
            .chain((1200..1203).map(|number| record(number, 600_000)))
            .collect();
        let messages = messages(records.clone(), "ada");
        let sizes: Vec<usize> = messages.iter().map(|one| one.records.len()).collect();
        assert_eq!(sizes, [500, 500, 201, 1, 1]);
        assert_eq!(messages[0].issued_by, "ada");
        let sent: Vec<MetadataRecord> = messages.into_iter().flat_map(|one| one.records).collect();
        assert_eq!(sent, records);
    }

    #[test]
    fn an_empty_export_still_says_who_asks() {
        let messages = messages(Vec::new(), "ada");
        assert_eq!((messages.len(), messages[0].issued_by.as_str()), (1, "ada"));
    }
}
