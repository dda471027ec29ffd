//! Whatever bytes a graph has, the real ONNX Runtime refuses them, or opens a session that scores rows or says why not; and where
//! there is a plan of the graph, it scores them alike.

use bytes::Bytes;
use decant_fuzz::{Format, Target};
use decant_inference::testing::{self, rows, runtime};
use decant_inference::{Error, Golden, Graph, Plan, Runtime, Session};

/// Rows that are wider are not made: they would be the test's memory, not the graph's.
const WIDEST: usize = 64;
/// How far a plan's scores may be from those of ONNX Runtime, which adds in another order.
const TOLERANCE: f32 = 1e-5;

#[test]
fn onnx() {
    let runtime = runtime();
    // Only large weights are taken out of a graph and shared.
    let shared = testing::Graph {
        vocabulary: 1_100,
        ..testing::Graph::default()
    };
    Target::new("onnx", Format::Protobuf)
        .with_seed("sound-shared-weights", shared.to_onnx())
        .run(1_500, |bytes| match open(&runtime, bytes) {
            Ok((graph, session)) => {
                score(&graph, session);
                true
            }
            Err(Error::Open(_) | Error::Contract(_)) => false,
            Err(other) => panic!("{other}"),
        });
}

/// The seeds that name a file: those that are there would open if it was read.
#[test]
fn a_graph_reads_no_file() {
    let runtime = runtime();
    let target = Target::new("onnx", Format::Protobuf);
    let naming_a_file = target
        .seeds()
        .iter()
        .filter(|seed| seed.name.starts_with("external"));
    let mut tried = 0;
    for seed in naming_a_file {
        let opened = open(&runtime, &seed.bytes);
        assert!(matches!(opened, Err(Error::Open(_))), "{}", seed.name);
        tried += 1;
    }
    assert!(tried > 0);
}

fn open(runtime: &Runtime, bytes: &[u8]) -> Result<(Graph, Session), Error> {
    let graph = Graph::read(runtime, Bytes::copy_from_slice(bytes))?;
    let session = graph.open()?;
    Ok((graph, session))
}

fn score(graph: &Graph, mut session: Session) {
    let widths = session.widths();
    let [query_slots, query_dense] = [widths.query_slots, widths.query_dense];
    let [item_slots, item_dense] = [widths.item_slots, widths.item_dense];
    assert!(
        item_slots > 0 || item_dense > 0,
        "nothing says how many rows there are"
    );
    let all = [query_slots, query_dense, item_slots, item_dense];
    if all.iter().any(|width| *width > WIDEST) {
        return;
    }
    let query = rows(1, query_slots, query_dense, 0);
    let mut scores = Vec::new();
    for count in [1, 3] {
        let item = rows(count, item_slots, item_dense, 1);
        match session.score(&query, &item, &mut scores) {
            Ok(()) => {
                assert_eq!(scores.len(), count);
                assert!(scores.iter().all(|score| score.is_finite()), "{scores:?}");
                let golden = Golden {
                    query: query.clone(),
                    item,
                    expected: scores.clone(),
                    tolerance: TOLERANCE,
                };
                plan(graph, &mut session, &golden);
            }
            Err(Error::Run(_) | Error::NotFinite { .. }) => assert!(scores.is_empty()),
            Err(other) => panic!("{other}"),
        }
    }
}

/// A plan that is found scores as ONNX Runtime did.
fn plan(graph: &Graph, session: &mut Session, golden: &Golden) {
    match Plan::find(graph, session, golden) {
        Ok(None) => {}
        Ok(Some(plan)) => {
            session.plan(&plan);
            golden.replay(session).unwrap();
        }
        // Of what depends on no input.
        Err(Error::Open(_) | Error::Run(_)) => {}
        Err(other) => panic!("{other}"),
    }
}
