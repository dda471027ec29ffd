//! Calls of `decant.trainer.v1`.

use decant_proto::trainer::v1::trainer_service_client::TrainerServiceClient;
use decant_proto::trainer::v1::{
    CancelJobRequest, GetJobRequest, Job, ListJobsRequest, SubmitJobRequest, WatchJobRequest,
    WatchJobResponse,
};

use super::attempts::Repeat;
use super::{Answers, Remote};
use crate::failure::Failure;

/// The trainer.
pub(crate) struct Trainer(pub(crate) Remote);

impl Trainer {
    /// Queues a job.
    pub(crate) async fn submit_job(&self, spec_toml: String) -> Result<Job, Failure> {
        let request = SubmitJobRequest { spec_toml };
        let answer = self
            .0
            .ask(Repeat::Unsent, request, async |channel, request| {
                TrainerServiceClient::new(channel).submit_job(request).await
            })
            .await?;
        self.0.require(answer.job, "job")
    }

    /// One job.
    pub(crate) async fn get_job(&self, id: &str) -> Result<Job, Failure> {
        let request = GetJobRequest { id: id.to_owned() };
        let answer = self
            .0
            .ask(Repeat::Freely, request, async |channel, request| {
                TrainerServiceClient::new(channel).get_job(request).await
            })
            .await?;
        self.0.require(answer.job, "job")
    }

    /// All jobs, the newest first.
    pub(crate) async fn list_jobs(&self) -> Result<Vec<Job>, Failure> {
        let answer = self
            .0
            .ask(
                Repeat::Freely,
                ListJobsRequest {},
                async |channel, request| {
                    TrainerServiceClient::new(channel).list_jobs(request).await
                },
            )
            .await?;
        Ok(answer.jobs)
    }

    /// A job's news until it has ended, however long that takes.
    pub(crate) async fn watch_job(&self, id: &str) -> Result<Answers<WatchJobResponse>, Failure> {
        let request = WatchJobRequest { id: id.to_owned() };
        self.0
            .open(request, None, async |channel, request| {
                TrainerServiceClient::new(channel).watch_job(request).await
            })
            .await
    }

    /// Asks a job to stop.
    pub(crate) async fn cancel_job(&self, id: &str) -> Result<Job, Failure> {
        let request = CancelJobRequest { id: id.to_owned() };
        let answer = self
            .0
            .ask(Repeat::Unsent, request, async |channel, request| {
                TrainerServiceClient::new(channel).cancel_job(request).await
            })
            .await?;
        self.0.require(answer.job, "job")
    }
}
