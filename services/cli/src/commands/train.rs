//! `decant train`: submit and watch training jobs.

mod report;
mod watch;
mod progress;

use clap::Subcommand;
use decant_proto::trainer::v1::Job;

use crate::commands::read_text;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::Palette;
use crate::output::{json, names, units};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Submit a job file and print the job.
    Submit {
        /// The job: TOML; `-` reads it from standard input.
        file: String,
        /// Watch the job until it has ended.
        #[arg(long)]
        watch: bool,
    },
    /// List all jobs, the newest first.
    List,
    /// Watch a job until it has ended; exit 1 when it did not succeed.
    Watch {
        /// The job's id.
        id: String,
    },
    /// Stop a job.
    Cancel {
        /// The job's id.
        id: String,
    },
    /// Show a job, and what came of it.
    Show {
        /// The job's id.
        id: String,
    },
}

/// Carries out `decant train`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Submit { file, watch: true } => {
            let job = context.trainer.submit_job(read_text(&file)?).await?;
            context
                .output
                .note(&format!("submitted job {} for model {}", job.id, job.model));
            watch::watch(context, &job.id).await
        }
        Command::Submit { file, watch: false } => {
            let job = context.trainer.submit_job(read_text(&file)?).await?;
            show(context, &job)?;
            context.output.advise(&format!(
                "`decant train watch {}` shows how it goes on",
                job.id
            ));
            Ok(Exit::Ok)
        }
        Command::List => list(context).await,
        Command::Watch { id } => watch::watch(context, &id).await,
        Command::Cancel { id } => {
            let job = context.trainer.cancel_job(&id).await?;
            show(context, &job)?;
            Ok(Exit::Ok)
        }
        Command::Show { id } => {
            show(context, &context.trainer.get_job(&id).await?)?;
            Ok(Exit::Ok)
        }
    }
}

fn show(context: &Context, job: &Job) -> Result<(), Failure> {
    context.output.named(
        [&job.id],
        || json::job(job),
        |palette| report::render(job, palette),
    )
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let jobs = context.trainer.list_jobs().await?;
    context.output.named(
        jobs.iter().map(|job| &job.id),
        || json::list(&jobs, json::job),
        |palette| table(&jobs, palette),
    )?;
    if jobs.is_empty() {
        context
            .output
            .advise("there is no job yet; `decant train submit FILE` makes one");
    }
    Ok(Exit::Ok)
}

fn table(jobs: &[Job], palette: Palette) -> String {
    let mut table = Table::new([
        "ID",
        "MODEL",
        "STATE",
        ">DONE",
        "STAGE",
        "SUBMITTED (UTC)",
        ">TOOK",
    ]);
    for job in jobs {
        let (done, stage) = match &job.progress {
            Some(progress) => (
                units::share(progress.fraction_done),
                progress.stage.as_str(),
            ),
            None => (String::new(), ""),
        };
        let took = units::seconds_between(job.start_time.as_ref(), job.end_time.as_ref());
        table.row([
            Cell::from(&job.id),
            Cell::from(&job.model),
            names::job_state_cell(job.state),
            Cell::from(done),
            Cell::from(stage),
            Cell::from(units::time(job.create_time.as_ref())),
            Cell::from(took.map(units::wait).unwrap_or_default()),
        ]);
    }
    table.render(palette)
}
