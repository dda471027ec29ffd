//! `decant-load`: calls a scorer at a steady rate and, on request, promotes another version meanwhile.

mod record;
mod requests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use decant_chassis::client::{Channel, channel};
use decant_load::poisson;
use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use decant_proto::rollout::v1::{Arm, SetSlotRequest};
use decant_proto::scorer::v1 as wire;
use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Request;

use crate::record::{Answer, Report, Swap};
use crate::requests::Call;

/// Calls a scorer and reports what its callers saw. Exits 1 when a call failed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The calls to make, as JSON lines; made in turn, over and over.
    requests: PathBuf,
    /// The model's name.
    #[arg(long)]
    model: String,
    /// The slot's name.
    #[arg(long, default_value = "main")]
    slot: String,
    /// Calls a second, on average; they arrive as a Poisson process.
    #[arg(long, default_value_t = 400.0)]
    rate: f64,
    /// For how many seconds.
    #[arg(long, default_value_t = 9.0)]
    seconds: f64,
    /// Calls that may be under way at once, each on its own connection's stream.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Connections to spread the calls over.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Promote this version after a third of the time.
    #[arg(long)]
    promote: Option<u64>,
    /// A call's deadline, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    deadline_millis: u64,
    /// The scorer's address.
    #[arg(long, env = "DECANT_SCORER", default_value = "http://127.0.0.1:7430")]
    scorer: String,
    /// The registry's address.
    #[arg(long, env = "DECANT_REGISTRY", default_value = "http://127.0.0.1:7420")]
    registry: String,
    /// Seed of the arrival times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            report_error(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "this is the program's own error message"
)]
fn report_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
async fn run(arguments: Arguments) -> anyhow::Result<u64> {
    ensure!(
        arguments.rate > 0.0 && arguments.rate <= 1e6,
        "--rate {}: must lie in 0..=1000000",
        arguments.rate
    );
    ensure!(
        arguments.seconds > 0.0 && arguments.seconds <= 3600.0,
        "--seconds {}: must lie in 0..=3600",
        arguments.seconds
    );
    ensure!(
        arguments.concurrency > 0 && arguments.connections > 0,
        "--concurrency and --connections must be above 0"
    );
    let model = wire::ModelRef {
        model: arguments.model.clone(),
        slot: arguments.slot.clone(),
    };
    let calls = requests::read(&arguments.requests, &model)?;
    let arrivals = poisson(
        arguments.rate,
        Duration::from_secs_f64(arguments.seconds),
        arguments.seed,
    );
    let channels = (0..arguments.connections).map(|_| channel("scorer", &arguments.scorer));
    let channels: Vec<Channel> = channels.collect::<Result<_, _>>()?;

    let plan = Arc::new(Plan {
        calls,
        arrivals,
        deadline: Duration::from_millis(arguments.deadline_millis),
        next: AtomicUsize::new(0),
    });
    let start = Instant::now() + Duration::from_millis(50);
    let mut callers = JoinSet::new();
    for caller in 0..arguments.concurrency {
        let client = ScorerServiceClient::new(channels[caller % channels.len()].clone());
        callers.spawn(call_in_turn(Arc::clone(&plan), client, start));
    }
    let swap = match arguments.promote {
        Some(version) => Some(promote(&arguments, version, start, channels[0].clone()).await?),
        None => None,
    };
    let answers: Vec<Answer> = callers.join_all().await.into_iter().flatten().collect();
    let report = Report::new(&answers, swap)?;
    if arguments.json {
        println!("{}", report.json());
    } else {
        println!("{}", report.table());
    }
    Ok(report.failed())
}

/// The calls and the times at which they are due; callers share one cursor.
struct Plan {
    calls: Vec<Call>,
    arrivals: Vec<Duration>,
    deadline: Duration,
    next: AtomicUsize,
}

async fn call_in_turn(
    plan: Arc<Plan>,
    mut client: ScorerServiceClient<Channel>,
    start: Instant,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    loop {
        let turn = plan.next.fetch_add(1, Ordering::Relaxed);
        let Some(&due) = plan.arrivals.get(turn) else {
            return answers;
        };
        let due_at = start + due;
        // An idle caller's timer may be a millisecond late, which is no delay of the server's. A call that is overdue
        // because all callers were busy has waited since it was due.
        let waited_from = if Instant::now() < due_at {
            sleep_until(due_at).await;
            Instant::now()
        } else {
            due_at
        };
        let outcome = match &plan.calls[turn % plan.calls.len()] {
            Call::Score(request) => client
                .score(timed(request, plan.deadline))
                .await
                .map(|answer| answer.into_inner().served_by),
            Call::Rank(request) => client
                .rank(timed(request, plan.deadline))
                .await
                .map(|answer| answer.into_inner().served_by),
        };
        let outcome = outcome
            .map(|served_by| served_by.unwrap_or_default().version)
            .map_err(|status| status.code());
        answers.push(Answer {
            due,
            waited: waited_from.elapsed(),
            outcome,
        });
    }
}

fn timed<T: Clone>(message: &T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message.clone());
    request.set_timeout(deadline);
    request
}

/// Promotes a version after a third of the time and waits until the scorer serves it.
async fn promote(
    arguments: &Arguments,
    version: u64,
    start: Instant,
    scorer: Channel,
) -> anyhow::Result<Swap> {
    sleep_until(start + Duration::from_secs_f64(arguments.seconds / 3.0)).await;
    let begun = start.elapsed();
    let mut rollout = RolloutServiceClient::new(channel("registry", &arguments.registry)?);
    let request = SetSlotRequest {
        model: arguments.model.clone(),
        slot: arguments.slot.clone(),
        version,
        issued_by: "decant-load".to_owned(),
        reason: "promoted under load".to_owned(),
        ..SetSlotRequest::default()
    };
    rollout
        .set_slot(request)
        .await
        .context("promote the version")?;
    let mut scorer = ScorerServiceClient::new(scorer);
    loop {
        let servables = scorer
            .list_servables(wire::ListServablesRequest {})
            .await
            .context("list servables")?
            .into_inner();
        let of_the_slot = |servable: &&wire::Servable| {
            let served_by = servable.served_by.clone().unwrap_or_default();
            served_by.model == arguments.model
                && served_by.slot == arguments.slot
                && served_by.version == version
        };
        let answers = |servable: &wire::Servable| {
            let arm = servable.served_by.as_ref().map(wire::ServedBy::arm);
            // One that is only prepared plays no part yet.
            servable.state() == wire::ServableState::Available && arm == Some(Arm::Stable)
        };
        match servables.servables.iter().find(of_the_slot) {
            Some(servable) if answers(servable) => {
                return Ok(Swap {
                    begun,
                    serving: start.elapsed(),
                });
            }
            Some(servable) if !servable.error.is_empty() => {
                anyhow::bail!(
                    "the scorer could not load version {version}: {}",
                    servable.error
                );
            }
            _ => sleep(Duration::from_millis(5)).await,
        }
        ensure!(
            start.elapsed().as_secs_f64() < arguments.seconds,
            "version {version} was not serving in time"
        );
    }
}
