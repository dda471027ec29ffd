use super::*;
use crate::testing::{Graph, open, perceptron, rows, runtime};

/// What the graph computes, written down a second time.
fn expected(query: &Encoded, item: &Encoded) -> Vec<f32> {
    let sum = |rows: &Encoded, row: usize| {
        let slots = row * rows.slots..(row + 1) * rows.slots;
        let dense = row * rows.dense_width..(row + 1) * rows.dense_width;
        let ids = rows.ids[slots.clone()]
            .iter()
            .map(|id| Graph::table(*id as usize));
        let pooled: f32 = ids
            .zip(&rows.weights[slots])
            .map(|(value, weight)| value * weight)
            .sum();
        pooled + rows.dense[dense].iter().sum::<f32>()
    };
    let score = |row: usize| {
        let query_row = if query.rows == 1 { 0 } else { row };
        1.0 / (1.0 + (-(sum(query, query_row) + sum(item, row))).exp())
    };
    (0..item.rows).map(score).collect()
}

#[test]
fn one_query_row_meets_all_items_and_many_meet_their_own() {
    let mut session = open(&Graph::default()).unwrap();
    assert_eq!(session.widths(), Graph::default().widths);
    let mut scores = vec![9.0];
    for (query, item) in [
        (rows(1, 2, 1, 0), rows(7, 1, 0, 3)),
        (rows(7, 2, 1, 0), rows(7, 1, 0, 3)),
    ] {
        session.score(&query, &item, &mut scores).unwrap();
        assert_eq!(scores.len(), 7);
        for (got, wanted) in scores.iter().zip(expected(&query, &item)) {
            assert!((got - wanted).abs() < 1e-6, "{got} {wanted}");
        }
    }
    session.warm_up(1, 1).unwrap();
    session.warm_up(1, 1000).unwrap();
    session.warm_up(1000, 1000).unwrap();
}

#[test]
fn inputs_of_no_width_are_absent() {
    let widths = Widths {
        query_slots: 0,
        query_dense: 2,
        item_slots: 0,
        item_dense: 3,
    };
    let mut session = open(&Graph {
        widths,
        ..Graph::default()
    })
    .unwrap();
    let (query, item) = (rows(1, 0, 2, 1), rows(4, 0, 3, 2));
    let mut scores = Vec::new();
    session.score(&query, &item, &mut scores).unwrap();
    assert!((scores[2] - expected(&query, &item)[2]).abs() < 1e-6);
}

#[test]
fn rows_that_do_not_fit_are_refused_by_input() {
    let mut session = open(&Graph::default()).unwrap();
    let mut refused = |query: &Encoded, item: &Encoded| {
        let mut scores = vec![1.0];
        let error = session.score(query, item, &mut scores).unwrap_err();
        assert!(scores.is_empty());
        match error {
            Error::Rows { input, reason } => format!("{input}: {reason}"),
            other => panic!("{other}"),
        }
    };
    let (query, item) = (rows(1, 2, 1, 0), rows(3, 1, 0, 0));
    assert!(
        refused(&rows(1, 3, 1, 0), &item)
            .contains("query_ids: rows have 3 slots, but the graph takes 2")
    );
    assert!(refused(&rows(1, 2, 0, 0), &item).starts_with("query_dense"));
    assert!(refused(&rows(2, 2, 1, 0), &item).contains("2 query rows for 3 item rows"));
    assert!(refused(&query, &rows(0, 1, 0, 0)).contains("no row"));
    let mut short = rows(3, 1, 0, 0);
    short.weights.pop();
    assert!(refused(&query, &short).contains("3 ids and 2 weights"));
    let huge = Encoded {
        rows: usize::MAX,
        ..rows(1, 1, 0, 0)
    };
    assert!(refused(&query, &huge).starts_with("item_ids"));
}

#[test]
fn an_id_beyond_the_table_is_an_error_and_the_session_lives_on() {
    let mut session = open(&Graph::default()).unwrap();
    let mut item = rows(2, 1, 0, 0);
    item.ids[1] = 16;
    let mut scores = Vec::new();
    assert!(matches!(
        session.score(&rows(1, 2, 1, 0), &item, &mut scores),
        Err(Error::Run(_))
    ));
    item.ids[1] = 15;
    session
        .score(&rows(1, 2, 1, 0), &item, &mut scores)
        .unwrap();
    assert_eq!(scores.len(), 2);
}

#[test]
fn a_score_that_is_no_number_is_an_error() {
    let mut session = open(&Graph {
        bias: f32::NAN,
        ..Graph::default()
    })
    .unwrap();
    let error = session
        .score(&rows(1, 2, 1, 0), &rows(2, 1, 0, 0), &mut Vec::new())
        .unwrap_err();
    assert!(matches!(error, Error::NotFinite { row: 0, .. }), "{error}");
}

#[test]
fn bytes_that_are_no_model_do_not_open() {
    let good = Graph::default().to_onnx();
    let runtime = runtime();
    for bad in [&b""[..], b"not a model", &good[..good.len() / 2]] {
        let opened = Session::open(&runtime, bad.to_vec());
        assert!(
            matches!(opened, Err(Error::Open(_) | Error::Contract(_))),
            "{opened:?}"
        );
    }
}

#[test]
fn a_graph_reads_no_file() {
    // It is there, where the tests run, and long enough for the table.
    let file = "Cargo.toml";
    assert!(std::path::Path::new(file).exists());
    let opened = open(&Graph {
        table_file: Some(file),
        ..Graph::default()
    });
    assert!(matches!(opened, Err(Error::Open(_))), "{opened:?}");
}

#[test]
fn graphs_that_break_the_contract_are_refused() {
    let contract = |graph: Graph| match open(&graph) {
        Err(Error::Contract(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(
        contract(Graph {
            output: "scores",
            ..Graph::default()
        })
        .contains("`scores`")
    );
    assert!(
        contract(Graph {
            rows: Some(4),
            ..Graph::default()
        })
        .contains("made for 4 rows")
    );
    assert!(
        contract(Graph {
            id_type: 7,
            ..Graph::default()
        })
        .contains("`query_ids` has type")
    );
    let no_items = Widths {
        query_slots: 2,
        ..Widths::default()
    };
    assert!(
        contract(Graph {
            widths: no_items,
            ..Graph::default()
        })
        .contains("nothing says how many rows")
    );
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// So wide that a square matrix, which ONNX Runtime packs for its product, has 36 MiB: what the C library hands out in such pieces
/// it gives back to the system at once.
const WIDTH: usize = 3072;

fn wide() -> super::Graph {
    let graph = perceptron(&[WIDTH, WIDTH, 1], 1);
    super::Graph::read(&runtime(), graph.into()).unwrap()
}

/// Rows without a query, whose scores a session computes.
fn score_wide(session: &mut Session, count: usize) {
    let (query, item) = (rows(1, 0, 0, 0), rows(count, 0, WIDTH, 0));
    let mut scores = Vec::new();
    session.score(&query, &item, &mut scores).unwrap();
    assert_eq!(scores.len(), count);
}

#[test]
fn sessions_on_one_graph_hold_once_what_is_packed_of_its_weights() {
    let graph = wide();
    let mut first = graph.open().unwrap();
    score_wide(&mut first, 2);
    let before = resident();
    let mut others: Vec<Session> = (0..8).map(|_| graph.open().unwrap()).collect();
    others.iter_mut().for_each(|other| score_wide(other, 2));
    let grown = resident().saturating_sub(before);
    let matrix = WIDTH * WIDTH * size_of::<f32>();
    assert!(
        grown < 2 * matrix,
        "8 sessions took {grown} bytes, the matrix is of {matrix}"
    );
}

#[test]
fn what_a_large_batch_took_is_given_back_after_it() {
    let mut session = wide().open().unwrap();
    score_wide(&mut session, 2);
    let before = resident();
    let rows = 10_000;
    score_wide(&mut session, rows);
    let kept = resident().saturating_sub(before);
    let batch = rows * WIDTH * size_of::<f32>();
    assert!(
        kept < batch / 4,
        "{kept} bytes are kept, one layer of the batch is of {batch}"
    );
}

#[test]
fn sessions_compute_on_the_thread_that_asks_and_start_no_other() {
    let graph = wide();
    // A thread has the name of the one that started it, unless it is given another.
    let name = "asks-sessions";
    let asks = std::thread::Builder::new().name(name.to_owned());
    let asks = asks.spawn(move || {
        let mut sessions: Vec<Session> = (0..4).map(|_| graph.open().unwrap()).collect();
        sessions
            .iter_mut()
            .for_each(|session| score_wide(session, 500));
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| {
            let comm = task.unwrap().path().join("comm");
            std::fs::read_to_string(comm).ok()
        });
        names.filter(|other| other.trim() == name).count()
    });
    assert_eq!(asks.unwrap().join().unwrap(), 1);
}

#[test]
fn sessions_on_one_graph_hold_its_weights_once() {
    let graph = Graph {
        vocabulary: 16 << 20,
        ..Graph::default()
    };
    let table = graph.vocabulary * size_of::<f32>();
    let shared = super::Graph::read(&runtime(), graph.to_onnx().into()).unwrap();
    assert_eq!(shared.shared_bytes(), table);
    assert!(shared.unshared_bytes() < 4 << 10);
    let mut sessions = vec![shared.open().unwrap()];
    let before = resident();
    sessions.extend((0..8).map(|_| shared.open().unwrap()));
    let grown = resident().saturating_sub(before);
    assert!(
        grown < 2 * table,
        "8 sessions took {grown} bytes, the table is of {table}"
    );

    let (query, item) = (rows(1, 2, 1, 0), rows(7, 1, 0, 3));
    let mut scores = Vec::new();
    for session in &mut sessions {
        session.score(&query, &item, &mut scores).unwrap();
        for (got, wanted) in scores.iter().zip(expected(&query, &item)) {
            assert!((got - wanted).abs() < 1e-6, "{got} {wanted}");
        }
    }
}
