//! Networks as standard ONNX, held to what they computed where they were trained.
//!
//! A graph's inputs are the encoded rows of each side; its output is `score`, a probability. Both numbers of rows are
//! free, and a single query row goes with any number of item rows: what depends on the query alone is computed once.

mod proto;
mod graph;
mod lower;
mod verify;

pub use verify::{Parity, ParityError, queries, verify};

use graph::Graph;
use lower::Inputs;

use crate::network::Network;
use crate::teacher::Ensemble;

/// One network as an ONNX file.
pub fn network(name: &str, network: &Network) -> Vec<u8> {
    export(name, &[(1.0, network)])
}

/// The weighted mean of networks as one ONNX file, which takes the rows of the member that reads most.
pub fn ensemble(name: &str, ensemble: &Ensemble) -> Vec<u8> {
    let members: Vec<(f32, &Network)> = ensemble
        .members()
        .iter()
        .map(|(share, network)| (*share, network))
        .collect();
    export(name, &members)
}

fn export(name: &str, members: &[(f32, &Network)]) -> Vec<u8> {
    let widest = members
        .iter()
        .map(|(_, network)| network.layout())
        .max_by_key(|layout| layout.query.slots);
    let mut graph = Graph::new(name);
    let Some(layout) = widest else {
        return graph.encode();
    };
    let inputs = Inputs::declare(&mut graph, layout);
    let mut sum: Option<String> = None;
    for (position, (share, network)) in members.iter().enumerate() {
        graph.enter(&format!("network{position}"));
        let mut logit = lower::logit(&mut graph, &inputs, network);
        if *share != 1.0 {
            let share = graph.scalar("share", *share);
            logit = graph.node("Mul", &[&logit, &share]);
        }
        sum = Some(match sum {
            None => logit,
            Some(sum) => graph.node("Add", &[&sum, &logit]),
        });
    }
    graph.enter("output");
    let logit = sum.unwrap_or_else(|| graph.scalar("nothing", 0.0));
    let probability = graph.node("Sigmoid", &[&logit]);
    let flat = graph.integers("flat", &[-1]);
    graph.output("score", "Reshape", &[&probability, &flat]);
    graph.encode()
}

#[cfg(test)]
mod tests;
