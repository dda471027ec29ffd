//! `decant audit`: who did what.

use clap::Subcommand;
use decant_proto::admin::v1::{AuditEntry, VerifyAuditResponse};

use super::{limit, note_more};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Facts, Table};
use crate::output::tone::{Palette, Tone};
use crate::output::{json, units};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the log's entries, the newest first; as JSON with what was before and after.
    List {
        /// Only entries about this subject, such as movies or movies/main.
        #[arg(long, default_value = "")]
        subject: String,
        /// How many entries to show at most.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = limit)]
        limit: usize,
    },
    /// Check that each entry holds the hash of the one before, and print the newest one's; exit 1 when the chain is broken.
    Verify,
}

/// Carries out `decant audit`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::List { subject, limit } => list(context, &subject, limit).await,
        Command::Verify => verify(context).await,
    }
}

async fn list(context: &Context, subject: &str, limit: usize) -> Result<Exit, Failure> {
    let entries = context.registry.list_audit(subject, limit).await?;
    context.output.named(
        entries.items.iter().map(|entry| entry.number.to_string()),
        || json::list(&entries.items, json::audit_entry),
        |palette| table(&entries.items, palette),
    )?;
    note_more(context, entries.has_more);
    Ok(Exit::Ok)
}

fn table(entries: &[AuditEntry], palette: Palette) -> String {
    let mut table = Table::new([
        ">NUMBER",
        "TIME (UTC)",
        "ACTOR",
        "ACTION",
        "SUBJECT",
        "REASON",
        "+REQUEST",
        "+HASH",
    ]);
    for entry in entries {
        table.row([
            Cell::from(entry.number.to_string()),
            Cell::from(units::time(entry.time.as_ref())),
            Cell::from(&entry.actor),
            Cell::from(&entry.action),
            Cell::from(&entry.subject),
            Cell::from(&entry.reason),
            Cell::from(&entry.request_id),
            Cell::from(&entry.hash),
        ]);
    }
    table.render(palette)
}

async fn verify(context: &Context) -> Result<Exit, Failure> {
    let verified = context.registry.verify_audit().await?;
    context.output.result(
        || json::verified(&verified),
        |palette| facts(&verified).render(palette),
    )?;
    if verified.broken.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(Failure::new(format!(
        "the audit log is broken: {}",
        verified.broken
    )))
}

fn facts(verified: &VerifyAuditResponse) -> Facts {
    let chain = if verified.broken.is_empty() {
        Cell::new("whole", Tone::Good)
    } else {
        Cell::new("BROKEN", Tone::Bad)
    };
    Facts::default()
        .with("entries", verified.entries.to_string())
        .with("chain", chain)
        .with_some("head", &verified.head_hash)
}
