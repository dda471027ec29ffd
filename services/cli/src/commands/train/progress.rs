//! Progress as lines: one for each epoch where lines pile up, one that is redrawn for each stage on a terminal.

use decant_proto::trainer::v1::Progress;

use crate::output::table::one_line;
use crate::output::{Output, units};

/// What has been shown so far.
pub(crate) struct ProgressLines {
    output: Output,
    /// Stage, message and epoch shown last: trainers may repeat themselves.
    last: Option<(String, String, u32)>,
    /// Whether the cursor stands at the end of a line that may be redrawn.
    open: bool,
}

impl ProgressLines {
    /// Nothing shown yet.
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            last: None,
            open: false,
        }
    }

    /// Shows progress that says something new.
    pub(crate) fn show(&mut self, progress: &Progress) {
        let key = (
            progress.stage.clone(),
            progress.message.clone(),
            progress.epoch,
        );
        if progress.stage.is_empty() || self.last.as_ref() == Some(&key) {
            return;
        }
        let is_same_stage = self
            .last
            .as_ref()
            .is_some_and(|(stage, ..)| *stage == progress.stage);
        if !is_same_stage {
            self.close();
        }
        self.last = Some(key);
        if self.output.redraws() {
            self.output.redraw(&line(progress));
            self.open = true;
        } else {
            self.output.note(&line(progress));
        }
    }

    /// Leaves the last line as it is; what is printed next begins a new one.
    pub(crate) fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.output.note("");
        }
    }
}

/// One line: how far the job is, the stage, and what there is to tell about it.
fn line(progress: &Progress) -> String {
    let mut parts = vec![format!(
        "{:>5}  {:<28}",
        units::share(progress.fraction_done),
        progress.stage
    )];
    if progress.epoch > 0 {
        parts.push(format!("epoch {:>2}/{}", progress.epoch, progress.epochs));
        parts.push(format!("loss {:.4}", progress.loss));
        parts.push(format!("val auc {:.4}", progress.validation_auc));
    }
    if progress.step_seconds_left > 0.0 {
        parts.push(format!("{} left", units::wait(progress.step_seconds_left)));
    }
    if !progress.message.is_empty() {
        parts.push(progress.message.clone());
    }
    one_line(parts.join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_tells_loss_auc_and_time_left() {
        let progress = Progress {
            stage: "teacher deepfm, fold 2 of 4".into(),
            epoch: 3,
            epochs: 20,
            loss: 0.51234,
            validation_auc: 0.79118,
            step_seconds_left: 42.4,
            fraction_done: 0.35,
            ..Progress::default()
        };
        assert_eq!(
            line(&progress),
            " 35 %  teacher deepfm, fold 2 of 4   epoch  3/20  loss 0.5123  val auc 0.7912  42 s left"
        );
    }

    #[test]
    fn a_stage_without_epochs_tells_its_message() {
        let progress = Progress {
            stage: "dataset".into(),
            message: "3 duplicates\ndropped".into(),
            ..Progress::default()
        };
        assert_eq!(
            line(&progress),
            "  0 %  dataset                       3 duplicates dropped"
        );
        assert_eq!(
            line(&Progress {
                stage: "push".into(),
                ..Progress::default()
            }),
            "  0 %  push"
        );
    }
}
