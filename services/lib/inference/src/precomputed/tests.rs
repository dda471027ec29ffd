use super::*;
use crate::handmade::Handmade;
use crate::testing::{self, perceptron, rows, runtime};

const TOLERANCE: f32 = 1e-6;
const ENOUGH: u64 = 1 << 20;

/// Items of which there are ids, weights and numbers.
fn student() -> testing::Graph {
    testing::Graph {
        widths: Widths {
            query_slots: 2,
            query_dense: 1,
            item_slots: 3,
            item_dense: 2,
        },
        ..testing::Graph::default()
    }
}

fn precompute(onnx: Vec<u8>, query: &Encoded, items: &Encoded, most: u64) -> Option<Precomputed> {
    let graph = Graph::read(&runtime(), onnx.into()).unwrap();
    let mut session = graph.open().unwrap();
    let query = Rows::from(query);
    Precomputed::compute(&graph, &mut session, query, items, most, TOLERANCE).unwrap()
}

#[test]
fn halves_compute_what_the_whole_does_to_the_last_bit() {
    // More than are computed at once, and one too many.
    let items = rows(2 * ROWS + 1, 3, 2, 5);
    let graph = student();
    let precomputed = precompute(graph.to_onnx(), &rows(1, 2, 1, 0), &items, ENOUGH).unwrap();
    // Of each item, what its ids and what its numbers add up to.
    assert_eq!(precomputed.bytes(), 2 * 4 * (2 * ROWS as u64 + 1));
    let mut whole = testing::open(&graph).unwrap();
    let mut halves = precomputed.open().unwrap();
    let (mut expected, mut got) = (Vec::new(), vec![9.0]);
    for seed in 1..5 {
        let query = rows(1, 2, 1, seed);
        whole.score(&query, &items, &mut expected).unwrap();
        let all = Picked::Range(0..items.rows);
        halves.compute((&query).into(), all, &mut got).unwrap();
        assert_eq!(got, expected);
        let some = Picked::Range(7..11);
        halves.compute((&query).into(), some, &mut got).unwrap();
        assert_eq!(got, expected[7..11]);
        let others = [2 * ROWS, 0, 3, 3];
        let picked = Picked::Rows(&others);
        halves.compute((&query).into(), picked, &mut got).unwrap();
        assert_eq!(got, others.map(|row| expected[row]));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let items = rows(4, 3, 2, 5);
    let query = rows(1, 2, 1, 0);
    let precomputed = precompute(student().to_onnx(), &query, &items, ENOUGH).unwrap();
    let mut halves = precomputed.open().unwrap();
    let mut scores = vec![9.0];
    let mut refused = |query: &Encoded, picked: Picked<'_>| {
        let refused = halves.compute(query.into(), picked, &mut scores);
        assert!(scores.is_empty());
        refused.unwrap_err().to_string()
    };
    let none = refused(&query, Picked::Rows(&[]));
    assert!(none.contains("1 query rows for 0 items"), "{none}");
    let two = refused(&rows(2, 2, 1, 0), Picked::Rows(&[1, 2]));
    assert!(two.contains("2 query rows for 2 items"), "{two}");
    let narrow = refused(&rows(1, 1, 1, 0), Picked::Rows(&[1]));
    assert!(narrow.contains("rows have 1 slots"), "{narrow}");
}

#[test]
fn there_is_nothing_where_it_would_take_too_much_or_no_part_is_of_items_alone() {
    let (query, items) = (rows(1, 2, 1, 0), rows(600, 3, 2, 5));
    let bytes = 2 * 4 * 600;
    for (most, is_there) in [(bytes, true), (bytes - 1, false)] {
        let computed = precompute(student().to_onnx(), &query, &items, most);
        assert_eq!(computed.is_some(), is_there, "{most}");
    }
    // All of it is of items.
    let (query, items) = (rows(1, 0, 0, 0), rows(5, 0, 8, 5));
    assert!(precompute(perceptron(&[8, 4, 1], 1), &query, &items, ENOUGH).is_none());
}

/// `score = query_dense + item_dense`, by way of these nodes, which make `items` of `item_dense`.
fn by_way_of(nodes: &[(&str, &[&str], &str)]) -> Vec<u8> {
    let graph = Handmade::new(1, 1)
        .integers("first", &[0])
        .integers("second", &[1]);
    let graph = nodes
        .iter()
        .fold(graph, |graph, (operator, inputs, output)| {
            graph.node(operator, inputs, output)
        });
    let graph = graph.node("Add", &["items", "query_dense"], "sum").node(
        "Squeeze",
        &["sum", "second"],
        "score",
    );
    graph.onnx().to_vec()
}

#[test]
fn operators_that_mix_rows_or_are_not_known_are_left_to_requests() {
    let (query, items) = (rows(1, 0, 1, 0), rows(COMPARED + ROWS, 0, 1, 5));
    let is_computed = |nodes: &[(&str, &[&str], &str)]| {
        precompute(by_way_of(nodes), &query, &items, ENOUGH).is_some()
    };
    assert!(is_computed(&[("Neg", &["item_dense"], "items")]));
    // The item's number less the sum of all of them.
    assert!(!is_computed(&[
        ("ReduceSum", &["item_dense", "first"], "all"),
        ("Sub", &["item_dense", "all"], "items"),
    ]));
    // What is behind an operator that is not known is not computed, and what is before it is.
    assert!(is_computed(&[
        ("Neg", &["item_dense"], "negative"),
        ("Sin", &["negative"], "items"),
    ]));
    assert!(!is_computed(&[("Sin", &["item_dense"], "items")]));
}
