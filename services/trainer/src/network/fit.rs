//! The one way to fit any network to any objective.

use std::time::Instant;

use burn::tensor::Device;
use thiserror::Error;

use super::average::Average;
use super::forward::{Dropout, Pass};
use super::optimizer::Adam;
use super::pooling::RowGradients;
use super::{Network, Parameter, Table};
use crate::dataset::Examples;
use crate::eval;
use crate::progress::{Epoch, Event, Observer};
use crate::random::Random;

/// How long and how carefully to fit.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// The most passes over the training examples.
    pub epochs: usize,
    /// Passes without a better validation AUC after which to stop.
    pub patience: usize,
    /// Examples in a step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f32,
    /// Weight decay of matrices.
    pub l2: f32,
    /// Weight decay of the embedding rows that a step touches.
    pub embedding_l2: f32,
    /// Decay of the moving average that the weights in the end are; 0 for the weights as they are.
    pub averaging: f32,
    /// The share of hidden units that sit out each step.
    pub dropout: f32,
}

/// What to fit to, and who wants to know.
#[derive(Clone, Copy)]
pub struct Fit<'a> {
    /// The network's name, for progress and errors.
    pub name: &'a str,
    /// What is learnt from.
    pub train: &'a Examples,
    /// What decides when to stop, and which epoch's weights to keep.
    pub validation: &'a Examples,
    /// How.
    pub options: &'a FitOptions,
    /// Seed of the order of examples and of dropout.
    pub seed: u64,
    /// Who is told, and may cancel.
    pub observer: &'a dyn Observer,
}

/// How a fit went.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The epoch whose weights the network has, from 1.
    pub best_epoch: usize,
    /// AUC of these weights on the validation examples.
    pub validation_auc: f64,
}

/// Why a network was not fitted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FitError {
    /// The observer asked for it.
    #[error("cancelled while `{network}` was being fitted")]
    Cancelled {
        /// The network.
        network: String,
    },
    /// The loss is no number any more.
    #[error(
        "`{network}` diverged in epoch {epoch}: its loss is not finite; a lower learning_rate may help"
    )]
    Diverged {
        /// The network.
        network: String,
        /// The epoch, from 1.
        epoch: usize,
    },
    /// There is nothing to learn from, or nothing to judge by.
    #[error("`{network}` cannot be fitted: there are no {examples} examples")]
    Empty {
        /// The network.
        network: String,
        /// `training` or `validation`.
        examples: &'static str,
    },
}

impl Network {
    /// Fits the weights. `objective` gives the loss of one training example, by its position and logit, and the
    /// loss's derivative by the logit.
    ///
    /// # Errors
    /// When there are no examples, the loss diverges, or the observer cancels.
    pub fn fit(
        &mut self,
        fit: Fit<'_>,
        objective: impl Fn(usize, f32) -> (f32, f32),
    ) -> Result<Fitted, FitError> {
        let name = || fit.name.to_owned();
        for (examples, which) in [(fit.train, "training"), (fit.validation, "validation")] {
            if examples.is_empty() {
                return Err(FitError::Empty {
                    network: name(),
                    examples: which,
                });
            }
        }
        let started = Instant::now();
        let mut trainer = Trainer::new(self, fit);
        let mut order: Vec<usize> = (0..fit.train.len()).collect();
        let mut best: Option<(Fitted, Weights)> = None;
        for epoch in 1..=fit.options.epochs {
            trainer.random.shuffle(&mut order);
            let mut loss = 0.0;
            for batch in order.chunks(fit.options.batch_size) {
                if fit.observer.cancelled() {
                    return Err(FitError::Cancelled { network: name() });
                }
                loss += trainer.step(self, batch, &objective);
            }
            let loss = loss / order.len() as f64;
            if !loss.is_finite() {
                return Err(FitError::Diverged {
                    network: name(),
                    epoch,
                });
            }
            trainer.swap_average(self);
            let validation_auc = eval::auc(&self.logits(fit.validation), &fit.validation.labels);
            fit.observer.event(Event::Epoch(Epoch {
                network: name(),
                epoch,
                epochs: fit.options.epochs,
                loss,
                validation_auc,
                seconds_left: started.elapsed().as_secs_f64() / epoch as f64
                    * (fit.options.epochs - epoch) as f64,
            }));
            match &best {
                Some((fitted, _)) if validation_auc <= fitted.validation_auc => {
                    if epoch - fitted.best_epoch >= fit.options.patience {
                        break;
                    }
                }
                _ => {
                    best = Some((
                        Fitted {
                            best_epoch: epoch,
                            validation_auc,
                        },
                        Weights::of(self),
                    ))
                }
            }
            trainer.swap_back(self);
        }
        let Some((fitted, weights)) = best else {
            return Err(FitError::Empty {
                network: name(),
                examples: "epochs of",
            });
        };
        weights.restore(self);
        fit.observer.event(Event::Fitted {
            network: name(),
            best_epoch: fitted.best_epoch,
            validation_auc: fitted.validation_auc,
            seconds: started.elapsed().as_secs_f64(),
        });
        Ok(fitted)
    }
}

/// What a fit carries from step to step.
struct Trainer<'a> {
    train: &'a Examples,
    dropout: f32,
    device: Device,
    optimizer: Adam,
    average: Option<Average>,
    gradients: RowGradients,
    random: Random,
}

impl<'a> Trainer<'a> {
    fn new(network: &Network, fit: Fit<'a>) -> Self {
        Self {
            train: fit.train,
            dropout: fit.options.dropout,
            device: Device::flex().autodiff(),
            optimizer: Adam::new(fit.options, &network.dense, &network.table),
            average: Average::new(network, fit.options.averaging),
            gradients: RowGradients::new(&network.table),
            random: Random::new(fit.seed, "fit"),
        }
    }

    /// One step over the examples at these positions; returns the sum of their losses.
    fn step(
        &mut self,
        network: &mut Network,
        batch: &[usize],
        objective: impl Fn(usize, f32) -> (f32, f32),
    ) -> f64 {
        let pooling = network.pooling.clone();
        let pooled = pooling.gather(network, self.train, batch);
        let dense = pooling.dense(self.train, batch);
        let dropout = Dropout {
            rate: self.dropout,
            random: &mut self.random,
        };
        let pass = Pass::forward(
            network,
            pooled,
            dense,
            batch.len(),
            &self.device,
            Some(dropout),
        );
        let (mut loss, mut slopes) = (0.0, Vec::with_capacity(batch.len()));
        for (&position, logit) in batch.iter().zip(pass.logits()) {
            let (value, slope) = objective(position, logit);
            loss += f64::from(value);
            slopes.push(slope / batch.len() as f32);
        }
        let gradients = pass.backward(slopes.clone(), &self.device);
        pooling.scatter(
            network,
            self.train,
            batch,
            &gradients.input,
            &slopes,
            &mut self.gradients,
        );
        let Network { table, dense, .. } = network;
        self.optimizer.step(
            dense,
            &gradients.parameters,
            table,
            &mut self.gradients,
            self.average.as_mut(),
        );
        loss
    }

    /// Puts the averaged weights into the network.
    fn swap_average(&mut self, network: &mut Network) {
        if let Some(average) = &mut self.average {
            average.catch_up(&network.table);
            average.swap(network);
        }
    }

    /// Puts the weights that training goes on with back.
    fn swap_back(&mut self, network: &mut Network) {
        if let Some(average) = &mut self.average {
            average.swap(network);
        }
    }
}

/// The weights of the best epoch so far.
struct Weights {
    table: Table,
    dense: Vec<Parameter>,
}

impl Weights {
    fn of(network: &Network) -> Self {
        Self {
            table: network.table.clone(),
            dense: network.dense.clone(),
        }
    }

    fn restore(self, network: &mut Network) {
        network.table = self.table;
        network.dense = self.dense;
    }
}
