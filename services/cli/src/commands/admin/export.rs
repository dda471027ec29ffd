//! `decant admin export`: all metadata in a file that is whole or not there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use decant_chassis::signal::Signals;
use prost_types::Timestamp;
use serde_json::json;

use super::backup::{self, Header};
use super::plural;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::partial;

/// Writes all metadata to the file.
pub(super) async fn export(context: &Context, file: &str) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let exported = async {
        if file == "-" {
            let mut to = BufWriter::new(io::stdout());
            let records = write(context, &mut to, |error| Failure::from_stdout(&error)).await?;
            to.flush().map_err(|error| Failure::from_stdout(&error))?;
            return Ok(records);
        }
        let partial = PartialFile::create(Path::new(file))?;
        let mut to = BufWriter::new(&partial.file);
        let cannot = |error: io::Error| Failure::new(format!("cannot write {file}: {error}"));
        let records = write(context, &mut to, cannot).await?;
        to.flush().map_err(cannot)?;
        drop(to);
        partial.finish().map_err(cannot)?;
        Ok(records)
    };
    // An interrupted export drops the partial file, which deletes it.
    let records = tokio::select! {
        exported = exported => exported?,
        _ = signals.next() => {
            context.output.note("interrupted; the export is not complete");
            return Ok(Exit::Interrupted);
        }
    };
    if file == "-" {
        context
            .output
            .note(&format!("exported {}", plural(records, "record")));
        return Ok(Exit::Ok);
    }
    context.output.named(
        [file],
        || json!({ "file": file, "records": records }),
        |_| format!("{file} holds {}\n", plural(records, "record")),
    )?;
    Ok(Exit::Ok)
}

/// Writes the header and the records, and counts these.
async fn write(
    context: &Context,
    to: &mut impl Write,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<u64, Failure> {
    // Asked first, so that the header never claims a later state than the records have.
    let cluster = context.registry.get_cluster().await?;
    let now = Timestamp {
        nanos: 0,
        ..Timestamp::from(SystemTime::now())
    };
    let header = Header {
        cluster: cluster.uuid,
        revision: cluster.revision,
        time: now.to_string(),
    };
    to.write_all(backup::header_line(&header).as_bytes())
        .map_err(&failed)?;
    let mut answers = context.registry.export_metadata().await?;
    let mut count = 0;
    while let Some(answer) = answers.next().await? {
        for record in &answer.records {
            let line = backup::record_line(record).map_err(Failure::new)?;
            to.write_all(line.as_bytes()).map_err(&failed)?;
            count += 1;
        }
    }
    Ok(count)
}

/// A file beside the one that is asked for. Dropped, it is deleted.
struct PartialFile {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl PartialFile {
    fn create(target: &Path) -> Result<Self, Failure> {
        let path = partial::beside(target)?;
        let file =
            File::create_new(&path).map_err(|error| partial::cannot_create(target, error))?;
        Ok(Self {
            file,
            path,
            target: target.to_owned(),
        })
    }

    /// Makes the bytes last, and gives the file its name.
    fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        match self.target.parent() {
            Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // After `finish` there is nothing of this name; otherwise a left-over is unpleasant, and no reason to fail.
        let _ = fs::remove_file(&self.path);
    }
}
