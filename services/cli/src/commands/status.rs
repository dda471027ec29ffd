//! `decant status`: is all well? Whatever can be told is told, also while a service is down.

use decant_model::SlotName;
use decant_proto::rollout::v1::Slot;
use decant_proto::scorer::v1::{Servable, ServableState};
use decant_proto::trainer::v1::{Job, JobState};
use serde_json::{Value, json};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::{Palette, Tone};
use crate::output::{json, names, units};
use crate::remote::Remote;

/// Everything that one glance shows.
struct Status {
    services: Vec<Health>,
    slots: Vec<SlotStatus>,
    jobs: Vec<Job>,
}

/// How a service is.
struct Health {
    service: &'static str,
    address: String,
    is_serving: bool,
    /// Why it is not serving; empty when it is.
    error: String,
}

impl Health {
    /// What a serving service answers. One that claims to serve, but does not answer, is down as well.
    async fn ask<T>(&mut self, question: impl Future<Output = Result<T, Failure>>) -> Option<T> {
        if !self.is_serving {
            return None;
        }
        match question.await {
            Ok(answer) => Some(answer),
            Err(failure) => {
                self.is_serving = false;
                self.error = failure.what().to_owned();
                None
            }
        }
    }
}

/// A slot as intended, and what the scorer makes of it.
struct SlotStatus {
    intended: Slot,
    /// The versions that answer; `None` while the scorer cannot be asked.
    serving: Option<Vec<u64>>,
}

/// Shows the status; fails when a service is down.
pub(crate) async fn execute(context: &Context) -> Result<Exit, Failure> {
    let (mut trainer, mut registry, mut scorer) = tokio::join!(
        health(&context.trainer.0),
        health(&context.registry.0),
        health(&context.scorer.0)
    );
    let jobs = trainer.ask(active_jobs(context)).await;
    let servables = scorer.ask(context.scorer.list_servables()).await;
    let slots = registry.ask(slots(context, servables.as_deref())).await;
    let status = Status {
        services: vec![trainer, registry, scorer],
        slots: slots.unwrap_or_default(),
        jobs: jobs.unwrap_or_default(),
    };
    context
        .output
        .result(|| to_json(&status), |palette| render(&status, palette))?;
    let all_serve = status.services.iter().all(|health| health.is_serving);
    if !all_serve {
        context
            .output
            .advise("a service is down; `make up` starts all of Decant on this machine");
    }
    Ok(if all_serve { Exit::Ok } else { Exit::Failed })
}

async fn health(remote: &Remote) -> Health {
    let (is_serving, error) = match remote.health().await {
        Ok(ServingStatus::Serving) => (true, String::new()),
        Ok(ServingStatus::NotServing) => (false, "not serving".to_owned()),
        Ok(_) => (false, "its health is unknown".to_owned()),
        Err(failure) => (false, failure.what().to_owned()),
    };
    Health {
        service: remote.service().name(),
        address: remote.address(),
        is_serving,
        error,
    }
}

async fn active_jobs(context: &Context) -> Result<Vec<Job>, Failure> {
    let mut jobs = context.trainer.list_jobs().await?;
    jobs.retain(|job| matches!(job.state(), JobState::Running | JobState::Queued));
    Ok(jobs)
}

/// Each model's main slot, where it was ever set.
async fn slots(
    context: &Context,
    servables: Option<&[Servable]>,
) -> Result<Vec<SlotStatus>, Failure> {
    let main = SlotName::default();
    let mut slots = Vec::new();
    for model in context.registry.list_models().await? {
        match context.registry.get_slot(&model.name, main.as_str()).await {
            Ok(intended) => {
                let serving = servables.map(|servables| serving(servables, &intended));
                slots.push(SlotStatus { intended, serving });
            }
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(slots)
}

/// The versions that answer in a slot. Those of earlier generations are available too, but only kept for a rollback.
fn serving(servables: &[Servable], slot: &Slot) -> Vec<u64> {
    let available = || {
        servables
            .iter()
            .filter(|servable| servable.state() == ServableState::Available)
            .filter_map(|servable| {
                servable
                    .served_by
                    .as_ref()
                    .filter(|by| by.model == slot.model && by.slot == slot.slot)
            })
    };
    let newest = available().map(|by| by.generation).max();
    available()
        .filter(|by| Some(by.generation) == newest)
        .map(|by| by.version)
        .collect()
}

fn to_json(status: &Status) -> Value {
    let health = |health: &Health| {
        json!({
            "service": health.service,
            "address": health.address,
            "serving": health.is_serving,
            "error": health.error,
        })
    };
    let slot = |slot: &SlotStatus| json!({ "intended": json::slot(&slot.intended), "serving_versions": slot.serving });
    json!({
        "services": json::list(&status.services, health),
        "slots": json::list(&status.slots, slot),
        "jobs": json::list(&status.jobs, json::job),
    })
}

fn render(status: &Status, palette: Palette) -> String {
    let mut services = Table::new(["SERVICE", "ADDRESS", "HEALTH", "ERROR"]);
    for health in &status.services {
        let state = if health.is_serving {
            Cell::new("SERVING", Tone::Good)
        } else {
            Cell::new("DOWN", Tone::Bad)
        };
        services.row([
            Cell::from(health.service),
            Cell::from(&health.address),
            state,
            Cell::from(&health.error),
        ]);
    }
    let mut slots = Table::new(["MODEL", "SLOT", ">GEN", "INTENDED", "SERVING", "STATE"]);
    for slot in &status.slots {
        slots.row(slot_row(slot));
    }
    let mut jobs = Table::new(["JOB", "MODEL", "STATE", ">DONE", "STAGE"]);
    for job in &status.jobs {
        let progress = job.progress.clone().unwrap_or_default();
        jobs.row([
            Cell::from(&job.id),
            Cell::from(&job.model),
            names::job_state_cell(job.state),
            Cell::from(units::share(progress.fraction_done)),
            Cell::from(&progress.stage),
        ]);
    }
    let tables = [services, slots, jobs];
    let sections: Vec<String> = tables
        .iter()
        .filter(|table| !table.is_empty())
        .map(|table| table.render(palette))
        .collect();
    sections.join("\n")
}

fn slot_row(status: &SlotStatus) -> [Cell; 6] {
    let slot = &status.intended;
    let mut intended: Vec<u64> = slot.active.iter().map(|active| active.version).collect();
    intended.sort_unstable();
    let state = match &status.serving {
        None => Cell::new("UNKNOWN", Tone::Bad),
        Some(serving) if intended.iter().all(|version| serving.contains(version)) => {
            Cell::new("SERVED", Tone::Good)
        }
        Some(serving) if serving.is_empty() => Cell::new("NOT SERVED", Tone::Bad),
        Some(_) => Cell::new("BEHIND", Tone::Busy),
    };
    let list = |versions: &[u64]| {
        versions
            .iter()
            .map(|&version| names::version(version))
            .collect::<Vec<_>>()
            .join(", ")
    };
    [
        Cell::from(&slot.model),
        Cell::from(&slot.slot),
        Cell::from(slot.generation.to_string()),
        Cell::from(list(&intended)),
        Cell::from(status.serving.as_deref().map(list).unwrap_or_default()),
        state,
    ]
}
