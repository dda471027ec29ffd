//! Adam (Kingma and Ba 2015): dense for matrices, lazy for the table's rows.

use super::average::Average;
use super::pooling::RowGradients;
use super::{FitOptions, Parameter, Table};

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Moments of every weight of a network. A row of the table moves, decays and ages only in steps that touch it.
pub(super) struct Adam {
    learning_rate: f32,
    l2: f32,
    embedding_l2: f32,
    steps: i32,
    dense: Vec<Moments>,
    table: Moments,
}

struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Moments {
    fn new(length: usize) -> Self {
        Self {
            first: vec![0.0; length],
            second: vec![0.0; length],
        }
    }
}

impl Adam {
    pub(super) fn new(options: &FitOptions, dense: &[Parameter], table: &Table) -> Self {
        Self {
            learning_rate: options.learning_rate,
            l2: options.l2,
            embedding_l2: options.embedding_l2,
            steps: 0,
            dense: dense
                .iter()
                .map(|parameter| Moments::new(parameter.values.len()))
                .collect(),
            table: Moments::new(table.values.len()),
        }
    }

    /// One step. `gradients` are those of `dense`, in its order; None stands for a parameter that nothing depends on.
    pub(super) fn step(
        &mut self,
        dense: &mut [Parameter],
        gradients: &[Option<Vec<f32>>],
        table: &mut Table,
        rows: &mut RowGradients,
        mut average: Option<&mut Average>,
    ) {
        self.steps += 1;
        let correction = (1.0 - BETA_2.powi(self.steps)).sqrt() / (1.0 - BETA_1.powi(self.steps));
        let rate = self.learning_rate * correction;
        for ((parameter, gradient), moments) in dense.iter_mut().zip(gradients).zip(&mut self.dense)
        {
            if let Some(gradient) = gradient {
                // Biases are free: shrinking them only moves the mean score.
                let l2 = if parameter.shape[0] == 1 {
                    0.0
                } else {
                    self.l2
                };
                update(
                    &mut parameter.values,
                    gradient,
                    &mut moments.first,
                    &mut moments.second,
                    rate,
                    l2,
                );
            }
        }
        let (width, l2, moments) = (table.width, self.embedding_l2, &mut self.table);
        rows.drain(|row, gradient| {
            if let Some(average) = average.as_deref_mut() {
                average.before_row(row, table);
            }
            let range = row * width..(row + 1) * width;
            let values = &mut table.values[range.clone()];
            update(
                values,
                gradient,
                &mut moments.first[range.clone()],
                &mut moments.second[range],
                rate,
                l2,
            );
        });
        if let Some(average) = average {
            average.after_step(dense);
        }
    }
}

fn update(
    values: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    rate: f32,
    l2: f32,
) {
    for (((value, &slope), first), second) in values.iter_mut().zip(gradient).zip(first).zip(second)
    {
        let slope = slope + l2 * *value;
        *first = BETA_1 * *first + (1.0 - BETA_1) * slope;
        *second = BETA_2 * *second + (1.0 - BETA_2) * slope * slope;
        *value -= rate * *first / (second.sqrt() + EPSILON);
    }
}
