//! The loops.

use std::ops::Range;

use decant_features::Rows;
use pulp::Arch;

use super::constants::Constant;
use super::product::add_product;
use super::shape::{Count, Ids, Place};
use crate::contract::Input;

/// What a step takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) place: Place,
    /// Numbers of each row.
    pub(super) width: usize,
}

/// What a step makes: so many rows of so many numbers.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) step: Step,
    pub(super) rows: Count,
    pub(super) width: usize,
}

/// One loop over rows.
#[derive(Debug)]
pub(super) enum Step {
    /// Rows of a table, by ids.
    Gather {
        table: usize,
        entries: usize,
        width: usize,
        ids: Ids,
    },
    /// Two values, number by number; each number of an operand counts for so many of the result in a row. One of the two is 1.
    Combine {
        binary: Binary,
        left: (Operand, usize),
        right: (Operand, usize),
    },
    /// Times a matrix, and a bias added.
    Product {
        of: Operand,
        weights: usize,
        bias: Option<usize>,
    },
    /// The groups of a row, which are as wide as the result, number by number.
    Reduce { reduction: Reduction, of: Operand },
    /// Each number.
    Map { unary: Unary, of: Operand },
    /// Rows side by side.
    Concat(Vec<Operand>),
    /// A part of each row.
    Slice { of: Operand, range: Range<usize> },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Unary {
    Relu,
    Sigmoid,
    Tanh,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reduction {
    Sum,
    SumOfSquares,
}

/// What there is while a step is computed.
pub(super) struct Given<'a> {
    pub(super) query: Rows<'a>,
    pub(super) item: Rows<'a>,
    pub(super) constants: &'a [Constant],
    /// What earlier steps made.
    pub(super) made: &'a [Vec<f32>],
}

impl Given<'_> {
    pub(super) fn numbers(&self, operand: &Operand) -> &[f32] {
        match operand.place {
            Place::Made(step) => &self.made[step],
            Place::Constant(constant) => self.constants[constant].numbers(),
            Place::Input(Input::QueryWeights) => self.query.weights,
            Place::Input(Input::QueryDense) => self.query.dense,
            Place::Input(Input::ItemWeights) => self.item.weights,
            Place::Input(Input::ItemDense) => self.item.dense,
            // Ids are no numbers, and reading a graph takes them for none.
            Place::Input(Input::QueryIds | Input::ItemIds) => &[],
        }
    }

    fn ids(&self, ids: &Ids) -> &[i32] {
        match ids.input.is_of_query() {
            true => self.query.ids,
            false => self.item.ids,
        }
    }

    fn count(&self, rows: Count) -> usize {
        match rows {
            Count::One => 1,
            Count::Query => self.query.rows,
            Count::Item => self.item.rows,
        }
    }
}

impl Operand {
    /// A row of it; the only one goes with all.
    pub(super) fn row<'n>(&self, numbers: &'n [f32], row: usize) -> &'n [f32] {
        let start = match numbers.len() == self.width {
            true => 0,
            false => row * self.width,
        };
        &numbers[start..start + self.width]
    }
}

impl Made {
    /// Appends the rows. Not all of them, when an id is in no table.
    pub(super) fn compute(&self, given: &Given<'_>, out: &mut Vec<f32>) -> bool {
        let rows = given.count(self.rows);
        out.reserve(rows * self.width);
        match &self.step {
            Step::Gather {
                table,
                entries,
                width,
                ids,
            } => {
                let table = given.constants[*table].numbers();
                let wanted = given.ids(ids).chunks_exact(ids.slots);
                for id in wanted.flat_map(|row| &row[ids.first..ids.first + ids.count]) {
                    let entry = usize::try_from(id.wrapping_sub(ids.less));
                    let Some(entry) = entry.ok().filter(|entry| entry < entries) else {
                        return false;
                    };
                    out.extend_from_slice(&table[entry * width..(entry + 1) * width]);
                }
            }
            Step::Combine {
                binary,
                left,
                right,
            } => {
                let combine = |of: fn(Pair<'_>, &mut Vec<f32>), out: &mut Vec<f32>| {
                    let numbers = (given.numbers(&left.0), given.numbers(&right.0));
                    for row in 0..rows {
                        let left = (left.0.row(numbers.0, row), left.1);
                        let right = (right.0.row(numbers.1, row), right.1);
                        of((left, right), out);
                    }
                };
                match binary {
                    Binary::Add => combine(|pair, out| broadcast(pair, |l, r| l + r, out), out),
                    Binary::Sub => combine(|pair, out| broadcast(pair, |l, r| l - r, out), out),
                    Binary::Mul => combine(|pair, out| broadcast(pair, |l, r| l * r, out), out),
                }
            }
            Step::Product { of, weights, bias } => {
                let weights = given.constants[*weights].numbers();
                let bias = bias.map(|bias| given.constants[bias].numbers());
                let numbers = given.numbers(of);
                let vectors = Arch::new();
                for row in 0..rows {
                    let start = out.len();
                    match bias {
                        Some(bias) => out.extend_from_slice(bias),
                        None => out.resize(start + self.width, 0.0),
                    }
                    let row = of.row(numbers, row);
                    add_product(vectors, row, weights, &mut out[start..]);
                }
            }
            Step::Reduce { reduction, of } => {
                let numbers = given.numbers(of);
                for row in 0..rows {
                    let start = out.len();
                    out.resize(start + self.width, 0.0);
                    let sums = &mut out[start..];
                    let row = of.row(numbers, row);
                    for group in row.chunks_exact(self.width) {
                        for (sum, number) in sums.iter_mut().zip(group) {
                            *sum += match reduction {
                                Reduction::Sum => *number,
                                Reduction::SumOfSquares => number * number,
                            };
                        }
                    }
                }
            }
            Step::Map { unary, of } => {
                let numbers = given.numbers(of).iter();
                match unary {
                    // As ONNX Runtime has it, what is no number stays none.
                    Unary::Relu => out.extend(numbers.map(|x| if *x < 0.0 { 0.0 } else { *x })),
                    Unary::Sigmoid => out.extend(numbers.map(|x| 1.0 / (1.0 + (-x).exp()))),
                    Unary::Tanh => out.extend(numbers.map(|x| x.tanh())),
                }
            }
            Step::Concat(parts) => {
                for row in 0..rows {
                    for part in parts {
                        out.extend_from_slice(part.row(given.numbers(part), row));
                    }
                }
            }
            Step::Slice { of, range } => {
                let numbers = given.numbers(of);
                for row in 0..rows {
                    out.extend_from_slice(&of.row(numbers, row)[range.clone()]);
                }
            }
        }
        true
    }
}

/// A row of each operand, and for how many numbers of the result each of its numbers counts.
type Pair<'a> = ((&'a [f32], usize), (&'a [f32], usize));

fn broadcast(
    ((left, l_run), (right, r_run)): Pair<'_>,
    of: impl Fn(f32, f32) -> f32,
    out: &mut Vec<f32>,
) {
    match (l_run, r_run) {
        (1, 1) => out.extend(left.iter().zip(right).map(|(l, r)| of(*l, *r))),
        (1, run) => {
            for (l, r) in left.chunks_exact(run).zip(right) {
                out.extend(l.iter().map(|l| of(*l, *r)));
            }
        }
        (run, _) => {
            for (l, r) in left.iter().zip(right.chunks_exact(run)) {
                out.extend(r.iter().map(|r| of(*l, *r)));
            }
        }
    }
}
