//! `decant admin log-level`: what a service logs, seen and changed while it runs. Each of its addresses is asked; behind one
//! that stands for several processes, only the one that answers.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::Palette;
use crate::remote::Remote;

/// How long one process may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `admin log-level` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The service whose processes are meant, at each of the addresses that are known of it.
    service: Service,
    /// What they log from now on until they end, such as `debug`, or `info,decant_scorer=debug` for one crate. Without it,
    /// what they log is shown.
    filter: Option<String>,
}

/// A service that logs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Service {
    Trainer,
    Registry,
    Scorer,
}

impl Service {
    fn remote(self, context: &Context) -> &Remote {
        match self {
            Service::Trainer => &context.trainer.0,
            Service::Registry => &context.registry.0,
            Service::Scorer => &context.scorer.0,
        }
    }
}

/// What one process logs.
struct Logging {
    address: String,
    filter: String,
    /// What held before, if it was changed just now.
    previous: Option<String>,
}

/// Shows or changes what the processes of a service log.
pub(super) async fn log_level(context: &Context, arguments: Arguments) -> Result<Exit, Failure> {
    let mut processes = Vec::new();
    for one in arguments.service.remote(context).alone(PATIENCE) {
        let (filter, previous) = match &arguments.filter {
            None => (one.log_filter().await?, None),
            Some(wanted) => {
                let set = one.set_log_filter(wanted).await?;
                (set.filter, Some(set.previous))
            }
        };
        processes.push(Logging {
            address: one.address(),
            filter,
            previous,
        });
    }
    context.output.named(
        processes.iter().map(|one| &one.address),
        || processes.iter().map(to_json).collect(),
        |palette| text(&processes, palette),
    )?;
    Ok(Exit::Ok)
}

fn to_json(process: &Logging) -> Value {
    json!({
        "address": process.address,
        "filter": process.filter,
        "previous": process.previous,
    })
}

fn text(processes: &[Logging], palette: Palette) -> String {
    let was_changed = processes.iter().any(|one| one.previous.is_some());
    let headings = ["ADDRESS", "LOGS", "BEFORE"];
    let shown = if was_changed { 3 } else { 2 };
    let mut table = Table::new(headings.into_iter().take(shown));
    for one in processes {
        table.row([
            Cell::from(&one.address),
            Cell::from(&one.filter),
            Cell::from(one.previous.as_deref().unwrap_or_default()),
        ]);
    }
    table.render(palette)
}
