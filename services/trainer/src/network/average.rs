//! A moving average of the weights, which scores better than the weights themselves: it lies in the middle of where the
//! steps jump about.

use super::{Network, Parameter, Table};

/// Exponential moving averages after each step. A row of the table is brought up to date only when a step is about to
/// change it, or when all are needed; until then its weights stand still, and the average follows from their age.
pub(super) struct Average {
    decay: f64,
    /// By step: the sum of the logarithms of the decays up to it.
    log_decays: Vec<f64>,
    table: Vec<f32>,
    /// By row: the step up to which its average holds.
    current: Vec<u32>,
    dense: Vec<Vec<f32>>,
}

impl Average {
    /// Averages that begin with the network's weights; none for a decay of 0.
    pub(super) fn new(network: &Network, decay: f32) -> Option<Self> {
        (decay > 0.0).then(|| Self {
            decay: f64::from(decay),
            log_decays: vec![0.0],
            table: network.table.values.clone(),
            current: vec![0; network.table.values.len() / network.table.width.max(1)],
            dense: network
                .dense
                .iter()
                .map(|parameter| parameter.values.clone())
                .collect(),
        })
    }

    /// A row is about to change in the step that is under way.
    pub(super) fn before_row(&mut self, row: usize, table: &Table) {
        let done = self.log_decays.len() - 1;
        let kept =
            (self.log_decays[done] - self.log_decays[self.current[row] as usize]).exp() as f32;
        self.current[row] = done as u32;
        let range = row * table.width..(row + 1) * table.width;
        blend(&mut self.table[range.clone()], &table.values[range], kept);
    }

    /// A step is done.
    pub(super) fn after_step(&mut self, dense: &[Parameter]) {
        let steps = self.log_decays.len() as f64;
        // Early on the average forgets faster, or it would hold on to the weights before training.
        let decay = self.decay.min((1.0 + steps) / (10.0 + steps));
        self.log_decays
            .push(self.log_decays[self.log_decays.len() - 1] + decay.ln());
        for (average, parameter) in self.dense.iter_mut().zip(dense) {
            blend(average, &parameter.values, decay as f32);
        }
    }

    /// Exchanges the network's weights with the averages; a second call undoes the first.
    pub(super) fn swap(&mut self, network: &mut Network) {
        std::mem::swap(&mut self.table, &mut network.table.values);
        for (average, parameter) in self.dense.iter_mut().zip(&mut network.dense) {
            std::mem::swap(average, &mut parameter.values);
        }
    }

    /// Brings all rows up to date.
    pub(super) fn catch_up(&mut self, table: &Table) {
        for row in 0..self.current.len() {
            self.before_row(row, table);
        }
    }
}

fn blend(average: &mut [f32], values: &[f32], kept: f32) {
    for (average, value) in average.iter_mut().zip(values) {
        *average = value + kept * (*average - value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::network::Architecture;
    use crate::synthetic;

    #[test]
    fn rows_that_are_rarely_touched_average_as_if_they_were_in_every_step() {
        let [train, ..] = synthetic::split(false, 1);
        let layout = Arc::clone(&train.layout);
        let mut network = Network::new(Architecture::linear(), &layout, None, 1);
        let mut average = Average::new(&network, 0.9).unwrap();
        let mut expected = network.table.values.clone();
        for step in 1..=40_usize {
            // Row r changes in every (r + 1)-th step.
            for row in (0..8).filter(|row| step.is_multiple_of(row + 1)) {
                average.before_row(row, &network.table);
                network.table.values[row] += (step + row) as f32;
            }
            average.after_step(&network.dense);
            let decay = 0.9_f32.min((1.0 + step as f32) / (10.0 + step as f32));
            for (expected, value) in expected.iter_mut().zip(&network.table.values) {
                *expected = decay * *expected + (1.0 - decay) * value;
            }
        }
        average.catch_up(&network.table);
        let weights = network.table.values.clone();
        average.swap(&mut network);
        for (got, expected) in network.table.values.iter().zip(&expected) {
            assert!(
                (got - expected).abs() < 1e-3 * expected.abs().max(1.0),
                "{got} instead of {expected}"
            );
        }
        average.swap(&mut network);
        assert_eq!(network.table.values, weights);
    }
}
