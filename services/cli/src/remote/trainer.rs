//! Calls of `decant.trainer.v1`.

use decant_proto::trainer::v1::trainer_service_client::TrainerServiceClient;
use decant_proto::trainer::v1::{
    CancelJobRequest, GetJobRequest, Job, ListJobsRequest, SubmitJobRequest, WatchJobRequest,
    WatchJobResponse,
};
use tonic::transport::Channel;

use super::{Answers, Remote};
use crate::failure::Failure;

/// The trainer.
pub(crate) struct Trainer(pub(crate) Remote);

impl Trainer {
    /// Queues a job.
    pub(crate) async fn submit_job(&self, spec_toml: String) -> Result<Job, Failure> {
        let request = self.0.bounded(SubmitJobRequest { spec_toml });
        let answer = self.0.call(self.client().submit_job(request)).await?;
        self.0.require(answer.job, "job")
    }

    /// One job.
    pub(crate) async fn get_job(&self, id: &str) -> Result<Job, Failure> {
        let request = self.0.bounded(GetJobRequest { id: id.to_owned() });
        let answer = self.0.call(self.client().get_job(request)).await?;
        self.0.require(answer.job, "job")
    }

    /// All jobs, the newest first.
    pub(crate) async fn list_jobs(&self) -> Result<Vec<Job>, Failure> {
        Ok(self
            .0
            .call(self.client().list_jobs(self.0.bounded(ListJobsRequest {})))
            .await?
            .jobs)
    }

    /// A job's news until it has ended, however long that takes.
    pub(crate) async fn watch_job(&self, id: &str) -> Result<Answers<WatchJobResponse>, Failure> {
        let stream = self
            .0
            .call(
                self.client()
                    .watch_job(WatchJobRequest { id: id.to_owned() }),
            )
            .await?;
        Ok(Answers {
            remote: self.0.clone(),
            stream,
            patience: None,
        })
    }

    /// Asks a job to stop.
    pub(crate) async fn cancel_job(&self, id: &str) -> Result<Job, Failure> {
        let request = self.0.bounded(CancelJobRequest { id: id.to_owned() });
        let answer = self.0.call(self.client().cancel_job(request)).await?;
        self.0.require(answer.job, "job")
    }

    fn client(&self) -> TrainerServiceClient<Channel> {
        TrainerServiceClient::new(self.0.channel.clone())
    }
}
