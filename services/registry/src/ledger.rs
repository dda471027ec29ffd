//! The one way to change anything. A mutation is one transaction: what it expects, what it writes, the next entry of the
//! audit log, and a record of its request, by which it is known whether it was made.
//!
//! All mutations of a cluster move the head of the audit log, so they come one after the other. Within a process they
//! queue here; between replicas the loser of a race reads the head again and tries once more. Whoever loses a race on
//! anything else is told, or plans anew.

mod ask;
pub(crate) mod audit;
mod plan;
mod shelf;

use std::sync::Arc;

use decant_coordination::keys::{
    self, AuditHead, AuditHeadKey, AuditKey, AuditRecord, RequestId, RequestKey, RequestRecord,
};
use decant_coordination::{Conflict, Entry, Expect, Revision, StoreError, Txn};
use decant_failpoint::Point;
use decant_model::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::clock::now_millis;
use crate::error::CallError;
use crate::metrics::{Metrics, Mutated};
use crate::records::Records;

pub(crate) use ask::Ask;
pub(crate) use plan::{Plan, Planned, summary};

use shelf::Shelf;

/// How often a mutation is planned anew when others change what it depends on.
const ATTEMPTS: usize = 32;
/// How long a mutation may lose races for the head of the audit log, and how long its outcome may stay unknown.
const PATIENCE: Duration = Duration::from_secs(10);
/// Waits after a lost race: they begin with this and double up to the other, each drawn between nothing and that.
const FIRST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// Between two looks at whether a mutation was made.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Makes mutations. Clones share it.
#[derive(Clone)]
pub(crate) struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    records: Records,
    metrics: Metrics,
    shelf: Shelf,
    /// The head as last seen, and the queue of this process's mutations.
    head: Mutex<Option<Head>>,
}

/// The head of the audit log as it was read.
#[derive(Clone, Copy)]
struct Head {
    record: AuditHead,
    /// None before the first entry.
    written_at: Option<Revision>,
}

impl Head {
    fn read(entry: Option<&Entry>) -> Result<Self, CallError> {
        let nothing = AuditHead {
            number: 0,
            hash: None,
        };
        let record = entry.map(keys::value::<AuditHeadKey>).transpose()?;
        Ok(Self {
            record: record.unwrap_or(nothing),
            written_at: entry.map(|entry| entry.mod_revision),
        })
    }

    fn unchanged(&self) -> Expect {
        self.written_at.map_or(Expect::Absent, Expect::WrittenAt)
    }
}

impl Ledger {
    pub(crate) fn new(records: Records, metrics: Metrics) -> Self {
        let inner = Inner {
            records,
            metrics,
            shelf: Shelf::default(),
            head: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Makes a mutation, once. `plan` reads what it depends on and says what to write; when somebody else changes any of
    /// that first, it is asked again, and told to whom it lost. A request that was answered before gets that answer.
    pub(crate) async fn mutate<A, P, F>(&self, ask: &Ask, plan: P) -> Result<A, CallError>
    where
        A: Serialize + DeserializeOwned + Send,
        P: Fn(Option<Box<Conflict>>) -> F + Send,
        F: Future<Output = Result<Planned<A>, CallError>> + Send,
    {
        let id = ask.id();
        let mut lost_to = None;
        for _ in 0..ATTEMPTS {
            if let Some(answer) = self.recall(ask).await? {
                return Ok(answer);
            }
            let plan = match plan(lost_to.take()).await {
                Ok(Planned::Nothing(answer)) => return Ok(answer),
                Ok(Planned::Do(plan)) => plan,
                // The same request may have been at work beside this one, and have changed what the plan saw.
                Err(error) => return self.recall(ask).await?.ok_or(error),
            };
            let request = RequestRecord {
                asked: ask.asked,
                answer: serde_json::to_value(&plan.answer)
                    .map_err(|_| CallError::Broken("an answer cannot be written as JSON"))?,
            };
            let committed = self.commit(ask, id, &plan, &request).await;
            let outcome = match &committed {
                Ok(None) => Mutated::Done,
                Ok(Some(_)) => Mutated::Conflict,
                Err(_) => Mutated::Failed,
            };
            self.inner.metrics.mutated(plan.action, outcome);
            match committed? {
                None => return Ok(plan.answer),
                Some(conflict) => lost_to = Some(conflict),
            }
        }
        Err(CallError::Contended {
            attempts: ATTEMPTS,
            conflict: lost_to.map_or_else(String::new, |conflict| conflict.to_string()),
        })
    }

    /// What the request was answered before.
    pub(crate) async fn recall<A: DeserializeOwned>(
        &self,
        ask: &Ask,
    ) -> Result<Option<A>, CallError> {
        if ask.request_id.is_empty() {
            return Ok(None);
        }
        let key = RequestKey { id: ask.id() };
        let Some(found) = self.inner.records.get(&key).await? else {
            return Ok(None);
        };
        if found.value.asked != ask.asked {
            return Err(CallError::OtherRequest(ask.request_id.clone()));
        }
        let answer = serde_json::from_value(found.value.answer)
            .map_err(|_| CallError::Broken("the record of a request does not parse"))?;
        Ok(Some(answer))
    }

    /// Makes the transaction; returns the conflict if somebody else was first.
    async fn commit<A>(
        &self,
        ask: &Ask,
        id: RequestId,
        plan: &Plan<A>,
        request: &RequestRecord,
    ) -> Result<Option<Box<Conflict>>, CallError> {
        let Inner {
            records,
            shelf,
            head: queue,
            ..
        } = &*self.inner;
        let head_key = records.key(&AuditHeadKey {});
        let begun = Instant::now();
        let queued = timeout(PATIENCE, queue.lock()).await;
        let mut known = queued.map_err(|_| {
            CallError::Store(StoreError::Unavailable {
                action: "take a change",
                reason: format!("others have waited for it for {PATIENCE:?}"),
            })
        })?;
        let mut wait = FIRST_WAIT;
        loop {
            let head = match known.take() {
                Some(head) => head,
                None => Head::read(records.store.get(&head_key).await?.as_ref())?,
            };
            let lease = shelf.lease(&*records.store).await?;
            let request_key = RequestKey { id };
            let entry_key = AuditKey {
                number: head.record.number + 1,
            };
            let entry = keys::encode(&entry_key, &self.entry(ask, plan, head.record.hash))?;
            let next = AuditHead {
                number: entry_key.number,
                hash: Some(Digest::of(&entry)),
            };
            // The request first, so that a mutation that was made is known by it, whatever else it changed; the audit log
            // last, so that a conflict on it means that all else is as expected.
            let txn = Txn::new().expect(records.key(&request_key), Expect::Absent);
            let txn = ask.fence(txn);
            let txn = plan
                .add_to(txn)
                .expect(head_key.clone(), head.unchanged())
                .expect(records.key(&entry_key), Expect::Absent)
                .put(head_key.clone(), keys::encode(&AuditHeadKey {}, &next)?)
                .put(records.key(&entry_key), entry)
                .put_leased(
                    records.key(&request_key),
                    keys::encode(&request_key, request)?,
                    lease,
                );
            Point::MutationPlanned.pass();
            match records.store.commit(txn).await {
                Ok(revision) => {
                    Point::MutationMade.pass();
                    *known = Some(Head {
                        record: next,
                        written_at: Some(revision),
                    });
                    return Ok(None);
                }
                Err(StoreError::Conflict(conflict)) if conflict.key == head_key => {
                    if begun.elapsed() > PATIENCE {
                        return Err(StoreError::Conflict(conflict).into());
                    }
                    *known = Some(Head::read(conflict.found.as_ref())?);
                    if plan.alone {
                        return Ok(Some(conflict));
                    }
                    sleep(wait.mul_f64(rand::random::<f64>())).await;
                    wait = LONGEST_WAIT.min(wait * 2);
                }
                Err(StoreError::Conflict(conflict)) if conflict.key == records.key(&entry_key) => {
                    return Err(CallError::AuditBroken(format!(
                        "entry {} is there already, but the head of the log is at {}",
                        entry_key.number, head.record.number
                    )));
                }
                Err(StoreError::Conflict(conflict)) => {
                    *known = Some(head);
                    return match ask.is_fence(&conflict) {
                        true => Err(CallError::Deposed),
                        false => Ok(Some(conflict)),
                    };
                }
                Err(StoreError::LeaseLost { lease }) => {
                    *known = Some(head);
                    shelf.drop_lease(lease).await;
                    if begun.elapsed() > PATIENCE {
                        return Err(StoreError::LeaseLost { lease }.into());
                    }
                }
                Err(error @ (StoreError::Unavailable { .. } | StoreError::Failed { .. })) => {
                    drop(known);
                    return self.resolve(&request_key, error).await.map(|()| None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn entry<A>(&self, ask: &Ask, plan: &Plan<A>, previous: Option<Digest>) -> AuditRecord {
        AuditRecord {
            previous,
            at_millis: now_millis(),
            actor: ask.actor.clone(),
            action: plan.action.to_owned(),
            subject: plan.subject.clone(),
            before: plan.before.clone(),
            after: plan.after.clone(),
            reason: plan.reason.clone().unwrap_or_else(|| ask.reason.clone()),
            request_id: ask.request_id.clone(),
        }
    }

    /// Whether a transaction that ended without an answer was made: then its request is on record.
    async fn resolve(&self, request: &RequestKey, error: StoreError) -> Result<(), CallError> {
        let begun = Instant::now();
        loop {
            match self.inner.records.get(request).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => return Err(CallError::NotDone(error)),
                Err(_) if begun.elapsed() < PATIENCE => sleep(LOOK_AGAIN).await,
                Err(_) => return Err(CallError::Unresolved(error)),
            }
        }
    }
}
