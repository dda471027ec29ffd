//! What learning tells, as the job's progress.

use std::sync::Mutex;
use std::sync::PoisonError;

use super::stages::Stages;
use crate::job::Progress;
use crate::jobs::Turn;
use crate::pipeline::{Event, Observer, Stage};
use crate::recipe::Recipe;

/// Share of the job that is done when learning begins.
const LEARN: f64 = 0.02;
/// Share of the job that is done when pushing begins.
pub(super) const PUSH: f64 = 0.98;

/// Reports to a job's watchers.
pub(super) struct Reporter<'a> {
    turn: &'a Turn,
    stages: &'a Stages,
    /// Networks that the whole job fits.
    networks: usize,
    state: Mutex<State>,
}

struct State {
    stage: String,
    fitted: usize,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(turn: &'a Turn, stages: &'a Stages, recipe: &Recipe) -> Self {
        // Each teacher is fitted once on everything and once for each fold, as is the baseline once; each student twice
        // for each weight decay that it tries: with its teachers and without.
        let folds =
            recipe.distill.as_ref().map_or(
                0,
                |distill| if distill.folds > 1 { distill.folds } else { 0 },
            );
        let ways = if recipe.teachers.is_empty() { 1 } else { 2 };
        let students: usize = recipe
            .students
            .iter()
            .map(|student| student.l2.len() * ways)
            .sum();
        let networks = 1 + recipe.teachers.len() * (1 + folds) + students;
        Self {
            turn,
            stages,
            networks,
            state: Mutex::new(State {
                stage: "dataset".to_owned(),
                fitted: 0,
            }),
        }
    }

    pub(super) fn dataset(&self, message: String) {
        self.turn.report(Progress {
            stage: "dataset".to_owned(),
            message,
            ..Progress::default()
        });
    }

    fn fraction_done(&self, state: &State) -> f64 {
        let fitted = state.fitted.min(self.networks) as f64 / self.networks as f64;
        LEARN + (PUSH - LEARN) * fitted
    }
}

impl Observer for Reporter<'_> {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = match event {
            Event::Stage { stage, networks } => {
                self.stages.enter(stage.as_str());
                state.stage = stage.to_string();
                let message = match stage {
                    Stage::Teachers | Stage::Baselines | Stage::Students => {
                        format!("{networks} networks to fit")
                    }
                    Stage::Export => "writing ONNX and holding it to the networks".to_owned(),
                    Stage::Evaluation => "measuring on the test examples".to_owned(),
                };
                Progress {
                    stage: state.stage.clone(),
                    message,
                    ..Progress::default()
                }
            }
            Event::Epoch(epoch) => Progress {
                stage: epoch.network,
                epoch: epoch.epoch as u32,
                epochs: epoch.epochs as u32,
                loss: epoch.loss,
                validation_auc: epoch.validation_auc,
                step_seconds_left: epoch.seconds_left,
                ..Progress::default()
            },
            Event::Fitted {
                network,
                best_epoch,
                validation_auc,
                seconds,
            } => {
                state.fitted += 1;
                let message = format!("fitted in {seconds:.1} s, best after epoch {best_epoch}");
                Progress {
                    stage: network,
                    message,
                    validation_auc,
                    ..Progress::default()
                }
            }
        };
        let fraction_done = self.fraction_done(&state);
        // Reported under the lock, so that watchers hear of events in their order.
        self.turn.report(Progress {
            fraction_done,
            ..progress
        });
    }

    fn cancelled(&self) -> bool {
        self.turn.is_cancelled()
    }
}
