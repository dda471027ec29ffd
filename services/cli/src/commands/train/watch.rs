//! `decant train watch`: a job's progress, and its end.

use decant_chassis::signal::Signals;
use decant_proto::trainer::v1::watch_job_response::News;
use decant_proto::trainer::v1::{Job, JobState, WatchJobResponse};

use super::progress::ProgressLines;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::remote::Answers;

/// Shows a job's progress until the job has ended or the user has seen enough. The job does not care which.
pub(crate) async fn watch(context: &Context, id: &str) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let mut news = context.trainer.watch_job(id).await?;
    let mut lines = ProgressLines::new(context.output);
    let ended = tokio::select! {
        ended = follow(&mut news, &mut lines) => ended,
        _ = signals.next() => {
            lines.close();
            context.output.note(&format!(
                "stopped watching; job {id} goes on. `decant train watch {id}` watches it again, \
                 `decant train cancel {id}` stops it"
            ));
            return Ok(Exit::Interrupted);
        }
    };
    lines.close();
    let again = format!("the job may go on; `decant train watch {id}` watches it again");
    let job = ended.map_err(|failure| failure.hint(again))?;
    super::show(context, &job)?;
    conclude(context, &job)
}

/// Shows news until there are no more, and returns the job as it ended.
async fn follow(
    news: &mut Answers<WatchJobResponse>,
    lines: &mut ProgressLines,
) -> Result<Job, Failure> {
    let mut latest = None;
    while let Some(answer) = news.next().await? {
        match answer.news {
            Some(News::Progress(progress)) => lines.show(&progress),
            Some(News::Job(job)) => {
                if let Some(progress) = &job.progress {
                    lines.show(progress);
                }
                latest = Some(job);
            }
            None => {}
        }
    }
    latest
        .filter(has_ended)
        .ok_or_else(|| Failure::new("the trainer stopped telling before the job had ended"))
}

fn has_ended(job: &Job) -> bool {
    matches!(
        job.state(),
        JobState::Succeeded | JobState::Failed | JobState::Cancelled
    )
}

fn conclude(context: &Context, job: &Job) -> Result<Exit, Failure> {
    match job.state() {
        JobState::Failed => Err(Failure::new(format!(
            "job {} failed: {}",
            job.id, job.error
        ))),
        JobState::Cancelled => Err(Failure::new(format!("job {} was cancelled", job.id))),
        _ => {
            let approved = job
                .result
                .iter()
                .flat_map(|result| &result.versions)
                .rfind(|version| version.approved);
            if let Some(version) = approved {
                let (model, number) = (&version.model, version.version);
                context.output.advise(&format!(
                    "\n`decant slot set {model} {number}` puts it into service"
                ));
            }
            Ok(Exit::Ok)
        }
    }
}
