//! The jobs of a trainer: a bounded queue, one worker, and a file for each job, so that a restart loses none.

mod folder;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use decant_chassis::telemetry::propagation;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc};
use ulid::Ulid;

use crate::job::{Job, JobResult, Progress, State};
use crate::spec::{Spec, SpecError};
pub use folder::{Folder, FolderError};

/// Progress that a slow watcher may fall behind before it misses some.
const NEWS_BUFFER: usize = 256;

/// What watchers are told.
#[derive(Clone, Debug)]
pub enum News {
    /// Something was done.
    Progress(Progress),
    /// The job has ended.
    Ended,
}

/// A cloneable handle on the jobs.
#[derive(Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
}

struct Shared {
    folder: Folder,
    queue: mpsc::Sender<String>,
    entries: Mutex<BTreeMap<String, Entry>>,
    ended: [AtomicU64; Ending::ALL.len()],
}

/// Jobs that may have gone.
#[derive(Clone)]
pub(crate) struct WeakJobs {
    shared: Weak<Shared>,
}

impl WeakJobs {
    /// The jobs, if somebody still has them.
    pub(crate) fn upgrade(&self) -> Option<Jobs> {
        let shared = self.shared.upgrade()?;
        Some(Jobs { shared })
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Succeeded,
    Failed,
    Cancelled,
}

impl Ending {
    pub(crate) const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    /// How a job in this state ended; none while it has not.
    fn of(state: &State) -> Option<Self> {
        match state {
            State::Queued | State::Running => None,
            State::Succeeded { .. } => Some(Self::Succeeded),
            State::Failed { .. } => Some(Self::Failed),
            State::Cancelled => Some(Self::Cancelled),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

struct Entry {
    job: Job,
    news: broadcast::Sender<News>,
    cancelled: Arc<AtomicBool>,
}

/// Why a job was not accepted, found or cancelled.
#[derive(Debug, Error)]
pub enum JobError {
    /// The job file is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Too many wait.
    #[error("{0} jobs are waiting already; try again when one has ended")]
    QueueFull(usize),
    /// No such job.
    #[error("there is no job `{0}`")]
    Unknown(String),
    /// It has ended, so it cannot be cancelled.
    #[error("job {0} has ended already")]
    Ended(String),
    /// The job's file cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// A job's turn: what the worker runs.
pub struct Turn {
    jobs: Jobs,
    /// The job's id.
    pub id: String,
    /// The job file, as submitted.
    pub spec_toml: String,
    /// The trace of who submitted it.
    pub trace: Option<String>,
    cancelled: Arc<AtomicBool>,
}

impl Jobs {
    /// Reads the folder: jobs that were waiting wait again, jobs that were at work have failed.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read.
    pub fn open(folder: Folder, capacity: usize) -> Result<(Self, Turns), FolderError> {
        let mut stored = folder.read_all()?;
        let waiting: Vec<String> = stored
            .iter()
            .filter(|job| job.state == State::Queued)
            .map(|job| job.id.clone())
            .collect();
        // Those that wait already must all find room.
        let (queue, turns) = mpsc::channel(capacity.max(waiting.len()).max(1));
        for id in waiting {
            queue.try_send(id).ok();
        }
        let mut interrupted = 0;
        for job in stored.iter_mut().filter(|job| job.state == State::Running) {
            interrupted += 1;
            job.state = State::Failed {
                error: "the trainer stopped while the job was running".to_owned(),
            };
            job.ended_at = Some(now_millis());
            folder.write(job)?;
        }
        let entries = stored
            .into_iter()
            .map(|job| (job.id.clone(), Entry::new(job)))
            .collect();
        let jobs = Self {
            shared: Arc::new(Shared {
                folder,
                queue,
                entries: Mutex::new(entries),
                ended: Default::default(),
            }),
        };
        jobs.count(Ending::Failed, interrupted);
        Ok((jobs.clone(), Turns { jobs, queue: turns }))
    }

    /// Checks a job file and queues it.
    ///
    /// # Errors
    /// What is wrong with the file, or that the queue is full.
    pub fn submit(&self, spec_toml: &str) -> Result<Job, JobError> {
        let spec = Spec::parse(spec_toml)?;
        let job = Job {
            id: Ulid::generate().to_string().to_lowercase(),
            spec_toml: spec_toml.to_owned(),
            model: spec.model.to_string(),
            state: State::Queued,
            created_at: now_millis(),
            started_at: None,
            ended_at: None,
            progress: Progress {
                stage: "queued".to_owned(),
                at: now_millis(),
                ..Progress::default()
            },
            trace: propagation::current_traceparent(),
        };
        let full = || JobError::QueueFull(self.shared.queue.max_capacity());
        let place = self.shared.queue.try_reserve().map_err(|_| full())?;
        self.shared.folder.write(&job)?;
        self.entries()
            .insert(job.id.clone(), Entry::new(job.clone()));
        place.send(job.id.clone());
        Ok(job)
    }

    /// One job.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn get(&self, id: &str) -> Result<Job, JobError> {
        self.entries()
            .get(id)
            .map(|entry| entry.job.clone())
            .ok_or_else(|| JobError::Unknown(id.to_owned()))
    }

    /// All jobs, the newest first.
    pub fn list(&self) -> Vec<Job> {
        self.entries()
            .values()
            .rev()
            .map(|entry| entry.job.clone())
            .collect()
    }

    /// The job now, and all news after that.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn watch(&self, id: &str) -> Result<(Job, broadcast::Receiver<News>), JobError> {
        let entries = self.entries();
        let entry = entries
            .get(id)
            .ok_or_else(|| JobError::Unknown(id.to_owned()))?;
        Ok((entry.job.clone(), entry.news.subscribe()))
    }

    /// Stops a job. One that waits ends at once, one that runs at its next step.
    ///
    /// # Errors
    /// When there is none of this id, or it has ended.
    pub fn cancel(&self, id: &str) -> Result<Job, JobError> {
        let state = {
            let entries = self.entries();
            let entry = entries
                .get(id)
                .ok_or_else(|| JobError::Unknown(id.to_owned()))?;
            if !entry.job.state.has_ended() {
                entry.cancelled.store(true, Ordering::Relaxed);
            }
            entry.job.state.clone()
        };
        match state {
            State::Queued => self.end(id, State::Cancelled),
            State::Running => {}
            _ => return Err(JobError::Ended(id.to_owned())),
        }
        self.get(id)
    }

    /// Looks at each job, without keeping it.
    pub(crate) fn visit(&self, look: impl FnMut(&Job)) {
        self.entries()
            .values()
            .map(|entry| &entry.job)
            .for_each(look);
    }

    /// How many jobs have ended like this since the start.
    pub(crate) fn ended(&self, ending: Ending) -> u64 {
        self.shared.ended[ending as usize].load(Ordering::Relaxed)
    }

    /// The same, for who is not to keep them.
    pub(crate) fn downgrade(&self) -> WeakJobs {
        WeakJobs {
            shared: Arc::downgrade(&self.shared),
        }
    }

    fn count(&self, ending: Ending, jobs: u64) {
        self.shared.ended[ending as usize].fetch_add(jobs, Ordering::Relaxed);
    }

    fn begin(&self, id: &str) -> Option<Turn> {
        let mut entries = self.entries();
        let entry = entries
            .get_mut(id)
            .filter(|entry| entry.job.state == State::Queued)?;
        entry.job.state = State::Running;
        entry.job.started_at = Some(now_millis());
        self.store(&entry.job);
        Some(Turn {
            jobs: self.clone(),
            id: id.to_owned(),
            spec_toml: entry.job.spec_toml.clone(),
            trace: entry.job.trace.clone(),
            cancelled: Arc::clone(&entry.cancelled),
        })
    }

    fn end(&self, id: &str, state: State) {
        let mut entries = self.entries();
        let Some(entry) = entries
            .get_mut(id)
            .filter(|entry| !entry.job.state.has_ended())
        else {
            return;
        };
        if let Some(ending) = Ending::of(&state) {
            self.count(ending, 1);
        }
        entry.job.state = state;
        entry.job.ended_at = Some(now_millis());
        self.store(&entry.job);
        // An error means that nobody watches.
        let _ = entry.news.send(News::Ended);
    }

    /// A job goes on without its file; what is lost if the trainer stops as well is only the record.
    fn store(&self, job: &Job) {
        if let Err(error) = self.shared.folder.write(job) {
            tracing::error!(job = job.id, %error, "cannot store the job");
        }
    }

    /// No entry is ever left half-changed, so a panic elsewhere does not spoil the map.
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.shared
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(job: Job) -> Self {
        Self {
            job,
            news: broadcast::Sender::new(NEWS_BUFFER),
            cancelled: Arc::default(),
        }
    }
}

/// The worker's end of the queue.
pub struct Turns {
    jobs: Jobs,
    queue: mpsc::Receiver<String>,
}

impl Turns {
    /// Waits for the next job that is still wanted; `None` once all handles are gone.
    pub async fn next(&mut self) -> Option<Turn> {
        loop {
            let id = self.queue.recv().await?;
            if let Some(turn) = self.jobs.begin(&id) {
                return Some(turn);
            }
        }
    }
}

impl Turn {
    /// Tells watchers what was done.
    pub fn report(&self, mut progress: Progress) {
        progress.at = now_millis();
        if let Some(entry) = self.jobs.entries().get_mut(&self.id) {
            entry.job.progress = progress.clone();
            let _ = entry.news.send(News::Progress(progress));
        }
    }

    /// Whether the job is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Makes the job stop at its next step, as when the trainer itself stops.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancelled)
    }

    /// Ends the job. An error of a cancelled job is its cancellation.
    pub fn end(&self, outcome: Result<JobResult, String>) {
        let state = match outcome {
            Ok(result) => State::Succeeded { result },
            Err(_) if self.is_cancelled() => State::Cancelled,
            Err(error) => State::Failed { error },
        };
        self.jobs.end(&self.id, state);
    }
}

fn now_millis() -> u64 {
    // Before 1970 the clock is wrong anyway.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
