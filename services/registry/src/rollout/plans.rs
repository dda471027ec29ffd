//! Plans that are kept for a model's rollouts.

use decant_coordination::keys::{PlanKey, PlanRecord};
use decant_model::rollout::Plan as RolloutPlan;
use decant_model::{ModelName, SlotName};

use super::rollouts::Rollouts;
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::{Ask, Plan, Planned, summary};

/// The plan that is followed when nobody names one.
const USUAL: &str = "default";

/// A plan of a model's.
pub(crate) struct StoredPlan {
    pub(crate) name: SlotName,
    pub(crate) plan: RolloutPlan,
    /// Who wrote it last; empty for the built-in one.
    pub(crate) issued_by: String,
    /// When; none for the built-in one.
    pub(crate) issued_at_millis: Option<u64>,
}

impl StoredPlan {
    fn new(name: SlotName, record: PlanRecord) -> Self {
        Self {
            name,
            plan: record.plan,
            issued_by: record.issued_by,
            issued_at_millis: Some(record.issued_at_millis),
        }
    }
}

impl Rollouts {
    /// Stores a plan. Rollouts that follow an earlier one of that name go on with what they began with.
    pub(crate) async fn put_plan(
        &self,
        ask: &Ask,
        model: &ModelName,
        name: Option<&SlotName>,
        plan: &RolloutPlan,
    ) -> Result<StoredPlan, CallError> {
        plan.check()
            .map_err(|error| CallError::field("plan", error))?;
        let key = key(model, name)?;
        let record = self
            .ledger
            .mutate(ask, |_| self.plan_put(ask, &key, plan))
            .await?;
        Ok(StoredPlan::new(key.plan.clone(), record))
    }

    async fn plan_put(
        &self,
        ask: &Ask,
        key: &PlanKey,
        plan: &RolloutPlan,
    ) -> Result<Planned<PlanRecord>, CallError> {
        self.catalog.model(&key.model).await?;
        let found = self.records.get(key).await?;
        let before = found.as_ref().map(|found| &found.value.plan);
        if let Some(found) = found.as_ref().filter(|_| before == Some(plan)) {
            return Ok(Planned::Nothing(found.value.clone()));
        }
        let record = PlanRecord {
            plan: plan.clone(),
            issued_by: ask.actor.clone(),
            issued_at_millis: now_millis(),
        };
        let subject = format!("{}/plans/{}", key.model, key.plan);
        let entry = found.as_ref().map(|found| &found.entry);
        let planned = Plan::new("plan.put", subject, record.clone())
            .before(before.map(summary).unwrap_or_default())
            .after(summary(plan))
            .replace(&self.records, key, entry, &record)?;
        Ok(Planned::Do(planned))
    }

    /// A plan; the usual one when none is named, which is built in unless one was stored.
    pub(crate) async fn plan(
        &self,
        model: &ModelName,
        name: Option<&SlotName>,
    ) -> Result<StoredPlan, CallError> {
        self.catalog.model(model).await?;
        let key = key(model, name)?;
        match self.records.get(&key).await? {
            Some(found) => Ok(StoredPlan::new(key.plan, found.value)),
            None if key.plan.as_str() == USUAL => Ok(StoredPlan {
                name: key.plan,
                plan: RolloutPlan::default(),
                issued_by: String::new(),
                issued_at_millis: None,
            }),
            None => Err(CallError::UnknownPlan {
                model: key.model,
                plan: key.plan,
            }),
        }
    }

    /// A model's stored plans, by name.
    pub(crate) async fn plans(&self, model: &ModelName) -> Result<Vec<StoredPlan>, CallError> {
        self.catalog.model(model).await?;
        let prefix = self.records.keyspace.of_model::<PlanKey>(model);
        let plans = self.records.list::<PlanKey>(&prefix).await?;
        let plans = plans
            .into_iter()
            .map(|(key, found)| StoredPlan::new(key.plan, found.value));
        Ok(plans.collect())
    }
}

fn key(model: &ModelName, name: Option<&SlotName>) -> Result<PlanKey, CallError> {
    let plan = match name {
        Some(name) => name.clone(),
        None => USUAL.parse().map_err(CallError::name("name"))?,
    };
    Ok(PlanKey {
        model: model.clone(),
        plan,
    })
}
