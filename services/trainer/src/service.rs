//! `decant.trainer.v1` on top of the jobs.

use std::pin::Pin;
use std::sync::Arc;

use decant_chassis::auth;
use decant_chassis::tasks::Tasks;
use decant_model::ModelName;
use decant_model::access::{Denied, Permission, Principal};
use decant_proto::status::{ErrorCode, bad_request, busy};
use decant_proto::trainer::v1 as wire;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Request, Response, Status};

use crate::job::{Job, JobResult, Progress, Quality, State};
use crate::jobs::{JobError, Jobs, News};
use crate::spec::{Spec, SpecError};

/// Messages that a watcher may have on its way; then the watcher's own pace counts.
const WATCH_BUFFER: usize = 64;
/// When to try again after the queue was full: jobs take minutes.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The service.
pub(crate) struct Service {
    jobs: Jobs,
    tasks: Tasks,
}

impl Service {
    /// Serves these jobs; streams are tasks of `tasks`.
    pub(crate) fn new(jobs: Jobs, tasks: Tasks) -> Self {
        Self { jobs, tasks }
    }

    /// Refuses who lacks a permission on a job's model.
    fn check(
        &self,
        extensions: &Extensions,
        permission: Permission,
        id: &str,
    ) -> Result<(), Status> {
        let job = self.jobs.get(id).map_err(status)?;
        may(&auth::principal(extensions), permission, &job.model)
    }
}

/// Refuses who lacks a permission on the model of this name.
fn may(caller: &Arc<Principal>, permission: Permission, model: &str) -> Result<(), Status> {
    let allowed = match model.parse::<ModelName>() {
        Ok(model) => caller.may(permission, &model),
        // As of an older trainer, whose rule for names was another.
        Err(_) => caller.may_everywhere(permission),
    };
    allowed.map_err(denied)
}

fn denied(denied: Denied) -> Status {
    ErrorCode::Denied.status(denied.to_string())
}

#[tonic::async_trait]
impl wire::trainer_service_server::TrainerService for Service {
    async fn submit_job(
        &self,
        request: Request<wire::SubmitJobRequest>,
    ) -> Result<Response<wire::SubmitJobResponse>, Status> {
        let spec_toml = &request.get_ref().spec_toml;
        let spec = Spec::parse(spec_toml).map_err(|error| status(error.into()))?;
        auth::principal(request.extensions())
            .may(Permission::Publish, &spec.model)
            .map_err(denied)?;
        let job = self.jobs.submit(spec_toml).map_err(status)?;
        Ok(Response::new(wire::SubmitJobResponse {
            job: Some(to_wire(&job)),
        }))
    }

    async fn get_job(
        &self,
        request: Request<wire::GetJobRequest>,
    ) -> Result<Response<wire::GetJobResponse>, Status> {
        let id = &request.get_ref().id;
        self.check(request.extensions(), Permission::View, id)?;
        let job = self.jobs.get(id).map_err(status)?;
        Ok(Response::new(wire::GetJobResponse {
            job: Some(to_wire(&job)),
        }))
    }

    async fn list_jobs(
        &self,
        request: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsResponse>, Status> {
        let caller = auth::principal(request.extensions());
        let without_result = |job: &Job| wire::Job {
            result: None,
            ..to_wire(job)
        };
        let jobs = self.jobs.list();
        let seen = jobs
            .iter()
            .filter(|job| may(&caller, Permission::View, &job.model).is_ok());
        Ok(Response::new(wire::ListJobsResponse {
            jobs: seen.map(without_result).collect(),
        }))
    }

    type WatchJobStream =
        Pin<Box<dyn Stream<Item = Result<wire::WatchJobResponse, Status>> + Send>>;

    async fn watch_job(
        &self,
        request: Request<wire::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let id = &request.get_ref().id;
        self.check(request.extensions(), Permission::View, id)?;
        let (job, news) = self.jobs.watch(id).map_err(status)?;
        let (sender, receiver) = mpsc::channel(WATCH_BUFFER);
        let (jobs, stop) = (self.jobs.clone(), self.tasks.stop_token());
        self.tasks.spawn_bounded("trainer watch stream", async move {
            tokio::select! {
                () = feed(&jobs, job, news, &sender) => {}
                () = stop.cancelled() => {
                    let leaving = ErrorCode::NotReady.status("the trainer is stopping; its jobs are kept");
                    let _ = sender.try_send(Err(leaving));
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn cancel_job(
        &self,
        request: Request<wire::CancelJobRequest>,
    ) -> Result<Response<wire::CancelJobResponse>, Status> {
        let id = &request.get_ref().id;
        self.check(request.extensions(), Permission::Publish, id)?;
        let job = self.jobs.cancel(id).map_err(status)?;
        Ok(Response::new(wire::CancelJobResponse {
            job: Some(to_wire(&job)),
        }))
    }
}

type Sender = mpsc::Sender<Result<wire::WatchJobResponse, Status>>;

/// Sends the job, its progress and, once it has ended, the job again. Ends early when the watcher leaves.
async fn feed(jobs: &Jobs, job: Job, mut news: broadcast::Receiver<News>, sender: &Sender) {
    let whole = |job: &Job| wire::WatchJobResponse {
        news: Some(wire::watch_job_response::News::Job(to_wire(job))),
    };
    let ended = job.state.has_ended();
    if sender.send(Ok(whole(&job))).await.is_err() || ended {
        return;
    }
    loop {
        let progress = tokio::select! {
            heard = news.recv() => match heard {
                Ok(News::Progress(progress)) => progress,
                Ok(News::Ended) | Err(broadcast::error::RecvError::Closed) => break,
                // A slow watcher misses progress, never the end.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
            },
            () = sender.closed() => return,
        };
        let news = Some(wire::watch_job_response::News::Progress(progress_to_wire(
            &progress,
        )));
        if sender
            .send(Ok(wire::WatchJobResponse { news }))
            .await
            .is_err()
        {
            return;
        }
    }
    if let Ok(job) = jobs.get(&job.id) {
        // An error means that the watcher has left.
        let _ = sender.send(Ok(whole(&job))).await;
    }
}

fn status(error: JobError) -> Status {
    match error {
        JobError::Spec(SpecError::Invalid(violations)) => {
            let described = violations.into_iter().map(|violation| {
                let reason = match &violation.value {
                    Some(value) => format!("{value}: {}", violation.reason),
                    None => violation.reason.clone(),
                };
                (violation.key, reason)
            });
            bad_request(described)
        }
        JobError::Spec(syntax) => {
            ErrorCode::Invalid.status(format!("the job file is no TOML: {syntax}"))
        }
        JobError::QueueFull(_) => busy(error.to_string(), RETRY_AFTER),
        JobError::Unknown(_) => ErrorCode::NotFound.status(error.to_string()),
        JobError::Ended(_) => ErrorCode::Precondition.status(error.to_string()),
        JobError::Folder(_) => ErrorCode::Internal.status(error.to_string()),
    }
}

fn time(millis: u64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: (millis / 1000) as i64,
        nanos: (millis % 1000) as i32 * 1_000_000,
    }
}

fn to_wire(job: &Job) -> wire::Job {
    let (state, error, result) = match &job.state {
        State::Queued => (wire::JobState::Queued, String::new(), None),
        State::Running => (wire::JobState::Running, String::new(), None),
        State::Succeeded { result } => (
            wire::JobState::Succeeded,
            String::new(),
            Some(result_to_wire(result)),
        ),
        State::Failed { error } => (wire::JobState::Failed, error.clone(), None),
        State::Cancelled => (wire::JobState::Cancelled, String::new(), None),
    };
    wire::Job {
        id: job.id.clone(),
        model: job.model.clone(),
        state: state.into(),
        error,
        create_time: Some(time(job.created_at)),
        start_time: job.started_at.map(time),
        end_time: job.ended_at.map(time),
        progress: Some(progress_to_wire(&job.progress)),
        result,
    }
}

fn progress_to_wire(progress: &Progress) -> wire::Progress {
    wire::Progress {
        stage: progress.stage.clone(),
        message: progress.message.clone(),
        epoch: progress.epoch,
        epochs: progress.epochs,
        loss: progress.loss,
        validation_auc: progress.validation_auc,
        step_seconds_left: progress.step_seconds_left,
        fraction_done: progress.fraction_done,
        time: Some(time(progress.at)),
    }
}

fn result_to_wire(result: &JobResult) -> wire::JobResult {
    let quality = |row: &Quality| wire::QualityRow {
        name: row.name.clone(),
        role: row.role.clone(),
        auc: row.auc,
        logloss: row.logloss,
        accuracy: row.accuracy,
        precision: row.precision,
        recall: row.recall,
        f1: row.f1,
        parameters: row.parameters,
        bytes: row.bytes,
        micros_1: row.micros_1,
        micros_500: row.micros_500,
    };
    let pushed = result.versions.iter().map(|pushed| wire::PushedVersion {
        student: pushed.student.clone(),
        model: pushed.model.clone(),
        version: pushed.version,
        digest: pushed.digest.clone(),
        approved: pushed.approved,
    });
    wire::JobResult {
        dataset_digest: result.dataset.to_string(),
        dataset_report: result.dataset_report.clone(),
        quality: result.quality.iter().map(quality).collect(),
        versions: pushed.collect(),
    }
}

#[cfg(test)]
mod tests;
