//! The graph behind the pooled input, forward and backward.

use burn::tensor::{Device, Tensor, TensorData, activation};

use super::architecture::{Affine, Architecture};
use super::pooling::Pooled;
use super::{Network, Parameter};
use crate::dataset::Examples;
use crate::random::Random;

/// Rows scored at once: enough to keep a core's vector units busy, few enough for its cache.
const SCORING_BATCH: usize = 1024;

/// One batch on its way through the graph.
pub(super) struct Pass {
    input: Option<Tensor<2>>,
    parameters: Vec<Option<Tensor<2>>>,
    logits: Tensor<2>,
}

/// What a backward pass gives.
pub(super) struct Gradients {
    /// Of the pooled input; empty where nothing reads it.
    pub(super) input: Vec<f32>,
    /// Of each dense parameter.
    pub(super) parameters: Vec<Option<Vec<f32>>>,
}

/// Hidden units that sit out a training step.
pub(super) struct Dropout<'r> {
    pub(super) rate: f32,
    pub(super) random: &'r mut Random,
}

impl Pass {
    /// Computes the logits of a pooled batch. `dense` are the columns that the first-order part reads.
    pub(super) fn forward(
        network: &Network,
        pooled: Pooled,
        dense: Vec<f32>,
        rows: usize,
        device: &Device,
        mut dropout: Option<Dropout<'_>>,
    ) -> Self {
        let architecture = &network.architecture;
        let training = dropout.is_some();
        let leaf = |values: Vec<f32>, shape: [usize; 2]| {
            let tensor = Tensor::<2>::from_data(TensorData::new(values, shape), device);
            if training {
                tensor.require_grad()
            } else {
                tensor
            }
        };
        let width = architecture.input_width(&network.layout);
        let input = (width > 0).then(|| leaf(pooled.input, [rows, width]));
        let tensor = |parameter: &Parameter| {
            (!parameter.values.is_empty()).then(|| leaf(parameter.values.clone(), parameter.shape))
        };
        let parameters: Vec<Option<Tensor<2>>> = network.dense.iter().map(tensor).collect();

        let parts = architecture.parts(&parameters);
        let mut terms = Vec::new();
        if let Some(Affine { weight, bias }) = parts.first_order {
            let sums = constant(pooled.first_order, [rows, 1], device);
            terms.push(
                bias.clone()
                    .map_or_else(|| sums.clone(), |bias| sums.clone() + bias),
            );
            if let Some(weight) = weight {
                terms
                    .push(constant(dense, [rows, weight.dims()[0]], device).matmul(weight.clone()));
            }
        }
        if let Some(input) = &input {
            if architecture.interactions {
                terms.push(interactions(architecture, network, input));
            }
            let mut crossed = input.clone();
            for Affine { weight, bias } in &parts.cross {
                crossed = input.clone() * affine(crossed.clone(), weight, bias) + crossed;
            }
            if let Some(Some(head)) = parts.cross_head {
                terms.push(crossed.matmul(head.clone()));
            }
            let mut hidden = input.clone();
            for (layer, Affine { weight, bias }) in parts.hidden.iter().enumerate() {
                hidden = affine(hidden, weight, bias);
                if layer + 1 < parts.hidden.len() {
                    hidden = activation::relu(hidden);
                    if let Some(dropout) = &mut dropout
                        && dropout.rate > 0.0
                    {
                        let shape = hidden.dims();
                        hidden =
                            hidden * constant(dropout.mask(shape[0] * shape[1]), shape, device);
                    }
                }
            }
            if !parts.hidden.is_empty() {
                terms.push(hidden);
            }
        }
        let logits = terms.into_iter().reduce(|sum, term| sum + term);
        let logits = logits.unwrap_or_else(|| constant(vec![0.0; rows], [rows, 1], device));
        Self {
            input,
            parameters,
            logits,
        }
    }

    pub(super) fn logits(&self) -> Vec<f32> {
        numbers(self.logits.clone())
    }

    /// Gradients of a loss whose derivatives by the logits are `slopes`.
    pub(super) fn backward(self, slopes: Vec<f32>, device: &Device) -> Gradients {
        let shape = self.logits.dims();
        let slopes = constant(slopes, shape, device);
        let mut gradients = (self.logits * slopes).sum().backward();
        let mut gradient = |leaf: Option<Tensor<2>>| leaf?.grad_remove(&mut gradients).map(numbers);
        Gradients {
            input: gradient(self.input).unwrap_or_default(),
            parameters: self.parameters.into_iter().map(&mut gradient).collect(),
        }
    }
}

impl Dropout<'_> {
    /// 0 with the probability `rate`, else what keeps the mean.
    fn mask(&mut self, length: usize) -> Vec<f32> {
        let keep = 1.0 / (1.0 - self.rate);
        let threshold = (self.rate * 65536.0) as u32;
        let mut mask = Vec::with_capacity(length + 1);
        while mask.len() < length {
            let bits = self.random.bits();
            mask.extend(
                [bits & 0xffff, bits >> 16].map(|draw| if draw < threshold { 0.0 } else { keep }),
            );
        }
        mask.truncate(length);
        mask
    }
}

/// The logits of all examples.
pub(super) fn logits(network: &Network, examples: &Examples) -> Vec<f32> {
    let device = Device::flex();
    let positions: Vec<usize> = (0..examples.len()).collect();
    let score = |batch: &[usize]| {
        let pooled = network.pooling.gather(network, examples, batch);
        let dense = network.pooling.dense(examples, batch);
        Pass::forward(network, pooled, dense, batch.len(), &device, None).logits()
    };
    positions.chunks(SCORING_BATCH).flat_map(score).collect()
}

/// `x weight + bias`. A weight without rows has no tensor, and its input no columns.
fn affine(input: Tensor<2>, weight: &Option<Tensor<2>>, bias: &Option<Tensor<2>>) -> Tensor<2> {
    let product = weight
        .as_ref()
        .map_or(input.clone(), |weight| input.matmul(weight.clone()));
    bias.as_ref()
        .map_or(product.clone(), |bias| product.clone() + bias.clone())
}

/// Rendle's identity: the sum over pairs of inner products is half of (square of the sum - sum of the squares).
fn interactions(architecture: &Architecture, network: &Network, input: &Tensor<2>) -> Tensor<2> {
    let rows = input.dims()[0];
    let embedding = architecture.embedding;
    let query = network.layout.query.fields.len();
    let item = network.layout.item.fields.len();
    let item_start = query * embedding + network.layout.query.dense.len();
    let sides = [(0, query), (item_start, item)];
    let sides = sides
        .into_iter()
        .filter(|(_, fields)| *fields > 0)
        .map(|(start, fields)| {
            input
                .clone()
                .slice([0..rows, start..start + fields * embedding])
                .reshape([rows, fields, embedding])
        });
    let fields = Tensor::<3>::cat(sides.collect(), 1);
    let square_of_sum = fields.clone().sum_dim(1).square().sum_dim(2);
    let sum_of_squares = fields.square().sum_dim(1).sum_dim(2);
    ((square_of_sum - sum_of_squares) * 0.5).reshape([rows, 1])
}

fn constant(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A float tensor's numbers: reading one from this process's own memory cannot fail.
fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap_or_default()
}
