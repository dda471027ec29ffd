//! Networks as standard ONNX, held to what they computed where they were trained.
//!
//! A graph's inputs are the encoded rows of each side; its output is `score`, a probability. Both numbers of rows are
//! free, and a single query row goes with any number of item rows: what depends on the query alone is computed once.

mod proto;
mod graph;
mod users;
mod lower;
mod verify;

pub use users::{Users, UsersError};
pub use verify::{Parity, ParityError, queries, verify};

use graph::Graph;
use lower::Inputs;

use crate::network::Network;
use crate::teacher::Ensemble;

/// One network as an ONNX file.
pub fn network(name: &str, network: &Network) -> Vec<u8> {
    export(name, &[(1.0, network)], None)
}

/// The weighted mean of networks as one ONNX file, which takes the rows of the member that reads most.
pub fn ensemble(name: &str, ensemble: &Ensemble) -> Vec<u8> {
    export(name, &members(ensemble), None)
}

/// The same for requests, whose rows have no histories: the graph knows them by the users that the rows name. Without
/// `users` no member may read histories, and the file is that of [`ensemble`].
pub fn published(name: &str, ensemble: &Ensemble, users: Option<&Users>) -> Vec<u8> {
    export(name, &members(ensemble), users)
}

fn members(ensemble: &Ensemble) -> Vec<(f32, &Network)> {
    ensemble
        .members()
        .iter()
        .map(|(share, network)| (*share, network))
        .collect()
}

fn export(name: &str, members: &[(f32, &Network)], users: Option<&Users>) -> Vec<u8> {
    let widest = members
        .iter()
        .map(|(_, network)| network.layout())
        .max_by_key(|layout| layout.query.slots);
    let mut graph = Graph::new(name);
    let Some(layout) = users.map(Users::layout).or(widest) else {
        return graph.encode();
    };
    let inputs = Inputs::declare(&mut graph, layout);
    let mut sum: Option<String> = None;
    for (position, (share, network)) in members.iter().enumerate() {
        graph.enter(&format!("network{position}"));
        let mut logit = lower::logit(&mut graph, &inputs, network, users);
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
