use decant_features::Encoded;

use super::*;
use crate::handmade::Handmade;
use crate::onnx::{self, Model, Node};
use crate::testing::{self, perceptron, rows, runtime};

const TOLERANCE: f32 = 1e-5;

/// Rows of each side, and what a graph's session gives them.
fn golden(session: &mut Session, query: Encoded, item: Encoded) -> Golden {
    let mut expected = Vec::new();
    session.compute(&query, &item, &mut expected).unwrap();
    Golden {
        query,
        item,
        expected,
        tolerance: TOLERANCE,
    }
}

/// Rows that fit, one for each item.
fn paired(widths: crate::Widths, count: usize, seed: usize) -> (Encoded, Encoded) {
    (
        rows(count, widths.query_slots, widths.query_dense, seed),
        rows(count, widths.item_slots, widths.item_dense, seed + 3),
    )
}

fn find(onnx: impl Into<bytes::Bytes>) -> Option<(Session, Arc<Plan>)> {
    let graph = Graph::read(&runtime(), onnx.into()).unwrap();
    let mut session = graph.open().unwrap();
    let (query, item) = paired(session.widths(), 5, 1);
    let golden = golden(&mut session, query, item);
    let plan = Plan::find(&graph, &mut session, &golden).unwrap()?;
    Some((session, plan))
}

/// Compares a plan with ONNX Runtime, for one query and for as many as there are items.
fn compare(onnx: impl Into<bytes::Bytes>) {
    let (mut session, plan) = find(onnx).expect("there is a plan");
    let mut desk = Desk::new(plan);
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    for count in [1, 2, 3, 7] {
        let (queries, item) = paired(session.widths(), count, 7 * count);
        for query in [Rows::from(&queries), queries.range(0..1)] {
            session.compute(query, &item, &mut expected).unwrap();
            got.clear();
            assert!(desk.compute(query, (&item).into(), &mut got));
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() <= TOLERANCE, "{got} {expected}");
            }
        }
    }
}

/// Of ids, weights and numbers on both sides.
fn student() -> testing::Graph {
    testing::Graph {
        widths: crate::Widths {
            query_slots: 2,
            query_dense: 1,
            item_slots: 3,
            item_dense: 2,
        },
        ..testing::Graph::default()
    }
}

#[test]
fn perceptrons_are_computed_as_onnx_runtime_does() {
    for widths in [&[1, 1][..], &[3, 5, 1], &[8, 4, 2, 1], &[64, 128, 64, 1]] {
        compare(perceptron(widths, 7));
    }
}

#[test]
fn ids_are_looked_up_as_onnx_runtime_does() {
    compare(student().to_onnx());
    // A table that all sessions share.
    let shared = testing::Graph {
        vocabulary: 5_000,
        ..student()
    };
    compare(shared.to_onnx());
}

/// `score` is the sum of what these nodes make: `left` of three numbers of each row, `right` of as many.
fn sum(graph: Handmade) -> bytes::Bytes {
    graph
        .integers("second", &[1])
        .node("Add", &["left", "right"], "both")
        .node_with(
            "ReduceSum",
            &["both", "second"],
            "score",
            &[("keepdims", 0)],
        )
        .onnx()
}

fn handmade() -> Handmade {
    Handmade::new(3, 3)
}

#[test]
fn all_operators_that_are_read_compute_as_onnx_runtime_does() {
    let matrix: Vec<f32> = (0..12).map(|place| place as f32 / 8.0 - 0.7).collect();
    let same = |operator| handmade().node(operator, &["query_dense"], "left");
    let graphs = [
        same("Relu").node("Tanh", &["item_dense"], "right"),
        same("Sigmoid").node("Identity", &["item_dense"], "right"),
        // Written the other way round, as PyTorch does, and with a bias.
        same("Identity")
            .floats("matrix", &[3, 3], &matrix[..9])
            .floats("bias", &[3], &matrix[9..])
            .node_with(
                "Gemm",
                &["item_dense", "matrix", "bias"],
                "right",
                &[("transB", 1)],
            ),
        same("Identity")
            .floats("matrix", &[3, 3], &matrix[..9])
            .node("MatMul", &["item_dense", "matrix"], "right"),
        same("Identity")
            .floats("row", &[1, 3], &matrix[..3])
            .floats("number", &[], &matrix[5..6])
            .node("Sub", &["row", "item_dense"], "less")
            .node("Mul", &["less", "number"], "right"),
        // Each row by groups, and back.
        same("Identity")
            .integers("groups", &[0, 3, -1])
            .integers("flat", &[-1, 3])
            .floats("each", &[3, 1], &matrix[..3])
            .node("Reshape", &["item_dense", "groups"], "grouped")
            .node("Mul", &["grouped", "each"], "weighted")
            .node("Reshape", &["weighted", "flat"], "right"),
        same("Identity")
            .integers("last", &[-1])
            .node("Unsqueeze", &["item_dense", "last"], "column")
            .node("Squeeze", &["column", "last"], "right"),
        // Parts of rows, put together again.
        same("Identity")
            .integers("zero", &[0])
            .integers("one", &[1])
            .integers("end", &[i64::MAX])
            .node("Slice", &["item_dense", "one", "end", "one"], "behind")
            .node("Slice", &["item_dense", "zero", "one", "one"], "before")
            .node_with("Concat", &["behind", "before"], "right", &[("axis", 1)]),
        same("Identity").integers("one", &[1]).node_with(
            "ReduceSum",
            &["item_dense", "one"],
            "right",
            &[("keepdims", 1)],
        ),
        // The query's rows repeated for each item, beside the items' own.
        same("Identity")
            .integers("one", &[1])
            .floats("matrix", &[6, 3], &[&matrix[..], &matrix[..6]].concat())
            .node_with("Shape", &["item_dense"], "rows", &[("end", 1)])
            .node_with("Concat", &["rows", "one"], "shape", &[("axis", 0)])
            .node("Expand", &["query_dense", "shape"], "queries")
            .node_with(
                "Concat",
                &["queries", "item_dense"],
                "input",
                &[("axis", 1)],
            )
            .node("MatMul", &["input", "matrix"], "right"),
        // What depends on nothing is computed beforehand.
        same("Identity")
            .floats("vector", &[3], &matrix[..3])
            .node("Exp", &["vector"], "constant")
            .node("Mul", &["item_dense", "constant"], "right"),
    ];
    for (place, graph) in graphs.into_iter().enumerate() {
        eprintln!("graph {place}");
        compare(sum(graph));
    }
}

#[test]
fn there_is_no_plan_for_what_is_not_understood() {
    let graph = |graph: Handmade| graph.node("Identity", &["item_dense"], "right");
    let odd = [
        handmade().node("Sin", &["query_dense"], "left"),
        // Of as many rows as the request has: over all of them, and each beside another.
        handmade().integers("first", &[0]).node_with(
            "ReduceSum",
            &["query_dense", "first"],
            "left",
            &[("keepdims", 1)],
        ),
        // Other numbers each time.
        handmade()
            .integers("three", &[1, 3])
            .node("ConstantOfShape", &["three"], "zeros")
            .node("RandomNormalLike", &["zeros"], "noise")
            .node("Mul", &["query_dense", "noise"], "left"),
    ];
    assert!(
        find(sum(graph(handmade().node(
            "Relu",
            &["query_dense"],
            "left"
        ))))
        .is_some()
    );
    for odd in odd {
        assert!(find(sum(graph(odd))).is_none());
    }
    // Multiplies more than is worth it.
    assert!(find(perceptron(&[8, MOST_WORK / 8, 1], 1)).is_none());
}

#[test]
fn what_a_graph_unfolds_is_copied_as_long_as_it_is_small() {
    let is_known = |count: usize| {
        let onnx = handmade()
            .integers("count", &[count as i64])
            .node("ConstantOfShape", &["count"], "zeros")
            .node("Add", &["query_dense", "zeros"], "left")
            .onnx();
        let graph = Graph::read(&runtime(), onnx).unwrap();
        let model: Model = onnx::read(graph.bytes().clone()).unwrap();
        let nodes = model.graph.iter().flat_map(|graph| &graph.node);
        let nodes = nodes.map(|node| onnx::read(node.clone()).unwrap());
        let nodes: Vec<Node> = nodes.collect();
        let known = constants::known(&graph, &model, &nodes).unwrap();
        known.contains_key("zeros")
    };
    assert!(is_known(constants::MOST_COPIED));
    assert!(!is_known(constants::MOST_COPIED + 1));
}

#[test]
fn a_plan_is_not_used_where_it_computes_something_else() {
    let graph = |bias| testing::Graph { bias, ..student() };
    let read = Graph::read(&runtime(), graph(0.0).to_onnx().into()).unwrap();
    let mut other = testing::open(&graph(0.01)).unwrap();
    let (query, item) = paired(other.widths(), 5, 1);
    let golden = golden(&mut other, query, item);
    assert!(Plan::find(&read, &mut other, &golden).unwrap().is_none());
}

#[test]
fn a_session_with_a_plan_scores_few_rows_and_many_and_refuses_the_same() {
    let onnx = perceptron(&[64, 128, 64, 1], 7);
    let (mut planned, plan) = find(onnx.clone()).unwrap();
    let mut plain = Session::open(&runtime(), onnx).unwrap();
    planned.plan(&plan);
    let most = (1..).take_while(|rows| plan.takes(1, *rows)).count();
    assert!((2..100).contains(&most), "{most}");
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    for count in [1, most, most + 1, 200] {
        let (query, item) = (rows(1, 0, 0, 0), rows(count, 0, 64, 3));
        plain.score(&query, &item, &mut expected).unwrap();
        planned.score(&query, &item, &mut got).unwrap();
        let near = |(got, expected): (&f32, &f32)| (got - expected).abs() <= TOLERANCE;
        assert_eq!(got.len(), count);
        assert!(got.iter().zip(&expected).all(near));
    }

    let (mut planned, plan) = find(student().to_onnx()).unwrap();
    planned.plan(&plan);
    let mut plain = testing::open(&student()).unwrap();
    let (mut query, item) = (rows(1, 2, 1, 0), rows(1, 3, 2, 3));
    for id in [16, -17, i32::MAX, i32::MIN] {
        query.ids[1] = id;
        let refused = planned.score(&query, &item, &mut got).unwrap_err();
        let expected = plain.score(&query, &item, &mut got).unwrap_err();
        assert_eq!(refused.to_string(), expected.to_string());
        assert!(got.is_empty());
    }
}
