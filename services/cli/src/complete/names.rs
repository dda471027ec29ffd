//! The names of what there is, asked for in a moment.

use std::time::Duration;

use decant_model::SlotName;

use super::Typed;
use crate::args::{Color, Format};
use crate::context::Context;
use crate::contexts::Contexts;
use crate::failure::Failure;
use crate::output::Output;
use crate::settings::Settings;

/// How long a shell may be kept waiting.
const PATIENCE: Duration = Duration::from_millis(800);
/// How many versions and rollouts are offered, the newest first.
const MOST: usize = 50;

/// What a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Models,
    /// Of the model that is typed.
    Versions,
    /// Of the model that is typed.
    Slots,
    /// Of the model and slot that are typed.
    Rollouts,
    Jobs,
    Principals,
    Contexts,
    /// What `decant wait` takes.
    Targets,
}

/// All names of a kind; none when nobody can say.
pub(super) fn ask(kind: Kind, typed: &Typed) -> Vec<String> {
    if kind == Kind::Contexts {
        let contexts = Contexts::load().unwrap_or_default();
        return contexts.contexts.into_keys().collect();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    runtime.block_on(async {
        let Some(context) = context(typed) else {
            return Vec::new();
        };
        let names = Box::pin(names(&context, kind, typed));
        match tokio::time::timeout(PATIENCE, names).await {
            Ok(Ok(names)) => names,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    })
}

/// The services that the line names so far.
fn context(typed: &Typed) -> Option<Context> {
    let mut global = typed.global()?;
    global.timeout = Some(PATIENCE);
    let settings = Settings::load(&global).ok()?;
    let output = Output::new(Format::Name, Color::Never);
    Context::new(global, &settings, output).ok()
}

async fn names(context: &Context, kind: Kind, typed: &Typed) -> Result<Vec<String>, Failure> {
    let model = typed.argument("model").unwrap_or_default();
    let slot = typed
        .argument("slot")
        .unwrap_or_else(|| SlotName::default().as_str().to_owned());
    match kind {
        Kind::Models => models(context).await,
        Kind::Versions => {
            let versions = context.registry.list_versions(&model, MOST).await?;
            let numbers = versions.items.iter().map(|one| one.version.to_string());
            Ok(numbers.collect())
        }
        Kind::Slots => slots(context, &model).await,
        Kind::Rollouts => {
            let rollouts = context.registry.list_rollouts(&model, &slot, MOST).await?;
            Ok(rollouts.items.into_iter().map(|one| one.id).collect())
        }
        Kind::Jobs => {
            let jobs = context.trainer.list_jobs().await?;
            Ok(jobs.into_iter().map(|job| job.id).collect())
        }
        Kind::Principals => {
            let principals = context.registry.list_principals().await?;
            Ok(principals.into_iter().map(|one| one.name).collect())
        }
        Kind::Contexts => Ok(Vec::new()),
        Kind::Targets => {
            let models = models(context).await?;
            let mut targets = vec!["scorers".to_owned()];
            targets.extend(models.iter().map(|model| format!("slot/{model}")));
            targets.extend(models.iter().map(|model| format!("rollout/{model}")));
            // The trainer may be away while the registry is not.
            let jobs = context.trainer.list_jobs().await.unwrap_or_default();
            targets.extend(jobs.iter().map(|job| format!("job/{}", job.id)));
            Ok(targets)
        }
    }
}

async fn models(context: &Context) -> Result<Vec<String>, Failure> {
    let models = context.registry.list_models().await?;
    Ok(models.into_iter().map(|model| model.name).collect())
}

/// The slots of a model that its scorer knows: the registry lists none.
async fn slots(context: &Context, model: &str) -> Result<Vec<String>, Failure> {
    let servables = context.scorer.list_servables().await?;
    let mut slots: Vec<String> = servables
        .into_iter()
        .filter_map(|servable| servable.served_by)
        .filter(|by| by.model == model)
        .map(|by| by.slot)
        .collect();
    slots.push(SlotName::default().as_str().to_owned());
    slots.sort_unstable();
    slots.dedup();
    Ok(slots)
}
