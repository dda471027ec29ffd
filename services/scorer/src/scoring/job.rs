//! One request's work, and what has become of it so far.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use decant_features::Columns;
use tokio::sync::oneshot;

use super::cost::Way;
use super::top::{Ranked, best};
use crate::error::CallError;
use crate::servable::Handle;
use crate::servable::statistics::ComputeTimes;

/// What is to be done. Columns fit the version's schema.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Score each row, whose columns hold both sides' features.
    Score { columns: Columns },
    /// Rank candidates for one query row.
    Rank {
        query: Columns,
        candidates: Candidates,
        /// How many are wanted; 0 means all.
        top_k: usize,
    },
    /// Rank the catalog for one query row.
    Recommend {
        query: Columns,
        excluded: HashSet<usize>,
        top_k: usize,
    },
}

impl Work {
    /// In what way its rows are computed.
    pub(crate) fn way(&self) -> Way {
        match self {
            Work::Score { .. } => Way::Pairs,
            Work::Rank {
                candidates: Candidates::Columns(_),
                ..
            } => Way::Described,
            Work::Rank { .. } | Work::Recommend { .. } => Way::Catalog,
        }
    }
}

/// What is ranked.
#[derive(Clone, Debug)]
pub(crate) enum Candidates {
    /// Rows of the catalog.
    Catalog(Vec<usize>),
    /// Items that the request describes.
    Columns(Columns),
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// A score for each row.
    Scores(Vec<f32>),
    /// The best rows, best first.
    Ranked(Vec<Ranked>),
}

/// What was found, and at what price.
#[derive(Debug, PartialEq)]
pub(crate) struct Scored {
    pub(crate) answer: Answer,
    /// How long it waited before work began.
    pub(crate) queue: Duration,
    /// How long the batches took that it was part of.
    pub(crate) compute: ComputeTimes,
    /// How busy the runners were when it was done.
    pub(crate) load: f32,
}

impl Scored {
    /// The score of the first row, or of the best one.
    pub(crate) fn first(&self) -> Option<f32> {
        match &self.answer {
            Answer::Scores(scores) => scores.first().copied(),
            Answer::Ranked(ranked) => ranked.first().map(|best| best.score()),
        }
    }

    /// The scores of a request for scores.
    ///
    /// # Errors
    /// When it was one for a ranking, which only a fault of ours causes.
    pub(crate) fn into_scores(self) -> Result<Vec<f32>, CallError> {
        match self.answer {
            Answer::Scores(scores) => Ok(scores),
            Answer::Ranked(_) => Err(CallError::Broken),
        }
    }

    /// The rows of a ranking.
    ///
    /// # Errors
    /// When it was a request for scores, which only a fault of ours causes.
    pub(crate) fn into_ranked(self) -> Result<Vec<Ranked>, CallError> {
        match self.answer {
            Answer::Ranked(ranked) => Ok(ranked),
            Answer::Scores(_) => Err(CallError::Broken),
        }
    }
}

/// A request's work. Its parts share it.
pub(super) struct Job {
    /// The version that answers it, pinned until it has.
    pub(super) handle: Handle,
    pub(super) work: Work,
    progress: Mutex<Progress>,
}

/// What has been found so far. It goes with the last part; if that is before an answer was sent, the caller hears of it.
struct Progress {
    answer: Option<oneshot::Sender<Result<Scored, CallError>>>,
    parts_left: usize,
    scores: Vec<f32>,
    ranked: Vec<Ranked>,
    /// Whether several parts brought their best, each in its own order.
    merge: bool,
    queue: Option<Duration>,
    compute: ComputeTimes,
}

/// Some rows of a request.
pub(super) struct Part {
    pub(super) job: Arc<Job>,
    pub(super) rows: Range<usize>,
}

impl Job {
    pub(super) fn new(
        handle: Handle,
        work: Work,
        rows: usize,
        parts: usize,
        answer: oneshot::Sender<Result<Scored, CallError>>,
    ) -> Self {
        let scores = match &work {
            Work::Score { .. } => vec![0.0; rows],
            Work::Rank { .. } | Work::Recommend { .. } => Vec::new(),
        };
        Self {
            handle,
            work,
            progress: Mutex::new(Progress {
                answer: Some(answer),
                parts_left: parts,
                scores,
                ranked: Vec::new(),
                merge: false,
                queue: None,
                compute: ComputeTimes::default(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows of a ranking are wanted; `None` when all are to be scored.
    fn wanted(&self) -> Option<usize> {
        match &self.work {
            Work::Score { .. } => None,
            Work::Rank { top_k: 0, .. } => Some(usize::MAX),
            Work::Rank { top_k, .. } | Work::Recommend { top_k, .. } => Some(*top_k),
        }
    }
}

impl Part {
    /// Whether somebody waits for it still.
    pub(super) fn is_wanted(&self) -> bool {
        let progress = self.job.lock();
        progress
            .answer
            .as_ref()
            .is_some_and(|answer| !answer.is_closed())
    }

    /// Takes in the scores of its rows.
    pub(super) fn scored(&self, scores: &[f32]) {
        let ranked = self.best(scores);
        let mut progress = self.job.lock();
        match ranked {
            None => progress.scores[self.rows.clone()].copy_from_slice(scores),
            Some(ranked) if progress.ranked.is_empty() => progress.ranked = ranked,
            Some(ranked) => {
                progress.ranked.extend(ranked);
                progress.merge = true;
            }
        }
    }

    /// Its batch is done; the last part of a request answers it, unless it has failed. Apart from taking in the scores,
    /// because only then is it known how long that took for the whole batch.
    pub(super) fn computed(&self, queue: Duration, compute: ComputeTimes, load: f32) {
        let mut progress = self.job.lock();
        let progress = &mut *progress;
        progress.queue.get_or_insert(queue);
        progress.compute += compute;
        progress.parts_left -= 1;
        if progress.parts_left > 0 {
            return;
        }
        let answer = match self.job.wanted() {
            None => Answer::Scores(std::mem::take(&mut progress.scores)),
            Some(count) => {
                let mut ranked = std::mem::take(&mut progress.ranked);
                if progress.merge {
                    best(&mut ranked, count);
                }
                Answer::Ranked(ranked)
            }
        };
        progress.send(Ok(Scored {
            answer,
            queue: progress.queue.unwrap_or_default(),
            compute: progress.compute,
            load,
        }));
    }

    /// Answers the request with an error; its other parts are not wanted any more.
    pub(super) fn failed(&self, error: CallError) {
        self.job.lock().send(Err(error));
    }

    /// The best of its rows, if they are to be ranked.
    fn best(&self, scores: &[f32]) -> Option<Vec<Ranked>> {
        let count = self.job.wanted()?;
        // Neither a request nor a catalog has more.
        let rows = self
            .rows
            .clone()
            .map(|row| u32::try_from(row).unwrap_or(u32::MAX));
        let rows = rows
            .zip(scores)
            .map(|(row, &score)| Ranked::new(row, score));
        let mut ranked: Vec<Ranked> = match &self.job.work {
            Work::Recommend { excluded, .. } if !excluded.is_empty() => rows
                .filter(|ranked| !excluded.contains(&(ranked.row() as usize)))
                .collect(),
            _ => rows.collect(),
        };
        best(&mut ranked, count);
        Some(ranked)
    }
}

impl Progress {
    fn send(&mut self, outcome: Result<Scored, CallError>) {
        if let Some(answer) = self.answer.take() {
            // The caller may have gone meanwhile, and then nobody misses the answer.
            let _ = answer.send(outcome);
        }
    }
}
