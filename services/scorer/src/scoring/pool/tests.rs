use std::future::poll_fn;
use std::task::Poll;

use decant_features::{Column, Columns, Values};
use decant_inference::testing::runtime;
use decant_inference::{Graph, Plan};
use futures::FutureExt as _;

use super::*;
use crate::fixture;
use crate::scoring::Candidates;
use crate::servable::statistics::ComputeTimes;

fn limits() -> Limits {
    Limits {
        runners: 1,
        model_runners: 0,
        rows: 10_000,
        client_rows: 0,
        wait: Duration::from_secs(60),
        batch_rows: 64,
        batch: Duration::from_millis(10),
    }
}

fn films(rows: usize) -> Columns {
    Columns::new(vec![
        Column::new("user", Values::Int(vec![1; rows])),
        Column::new("age", Values::Float(vec![30.0; rows])),
        Column::new(
            "film",
            Values::Int((0..rows as i64).map(|row| 100 + row % 8).collect()),
        ),
        Column::ragged(
            "genres",
            Values::Text(
                (0..rows)
                    .map(|row| ["drama", "comedy", "western"][row % 8 % 3])
                    .collect(),
            ),
            (0..=rows as u32).collect(),
        ),
    ])
    .unwrap()
}

fn call(handle: &Handle, work: Work, rows: usize) -> Call {
    Call {
        handle: handle.clone(),
        work,
        rows,
        deadline: None,
        priority: Priority::Normal,
        client: Client::UNKNOWN,
    }
}

fn score(handle: &Handle, rows: usize) -> Call {
    call(
        handle,
        Work::Score {
            columns: films(rows),
        },
        rows,
    )
}

/// A version whose few rows are computed by a plan.
fn planned() -> Handle {
    let graph = fixture::graph(0.0).to_onnx().into();
    let graph = Graph::read(&runtime(), graph).unwrap();
    let mut session = graph.open().unwrap();
    let golden = fixture::golden(0.0, 1, 30.0);
    let plan = Plan::find(&graph, &mut session, &golden).unwrap();
    session.plan(&plan.unwrap());
    Handle::of(session)
}

/// The rows of the batches that were computed, and how many there were of each size.
fn batches(handle: &Handle) -> Vec<(u64, u64)> {
    let totals = handle.servable().statistics().totals();
    let batches = totals.batches.into_iter();
    batches
        .map(|(rows, computed)| (rows, computed.count))
        .collect()
}

/// Sees to it that the future has begun to wait.
async fn begin<F: Future>(future: std::pin::Pin<&mut F>) {
    let mut future = Some(future);
    poll_fn(|context| {
        let polled = future.take().unwrap().poll(context);
        assert!(polled.is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn requests_are_answered_and_the_queued_ones_finished_at_the_end() {
    let (tasks, _failures) = Tasks::new();
    let (pool, handle) = (Pool::start(&tasks, limits()), Handle::for_tests());
    let expected = fixture::expected(0.0, 1, 30.0);
    let waiting: Vec<Waiting> = (0..20)
        .map(|_| pool.submit(score(&handle, 3)).unwrap())
        .collect();
    pool.close();
    assert!(matches!(
        pool.submit(score(&handle, 1)),
        Err(CallError::Draining)
    ));
    for waiting in waiting {
        let scored = waiting.answered().await.unwrap();
        assert!(scored.compute.until_scored() > Duration::ZERO);
        for (got, wanted) in scored.into_scores().unwrap().iter().zip(&expected) {
            assert!((got - wanted).abs() < 1e-6, "{got} {wanted}");
        }
    }
    pool.drained().await;
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn whoever_is_refused_computes_what_a_late_runner_does_not() {
    let batch = Duration::from_millis(5);
    let limits = Limits {
        rows: 100,
        batch,
        ..limits()
    };
    let (tasks, _failures) = Tasks::new();
    let (pool, handle) = (Pool::start(&tasks, limits), Handle::for_tests());
    // On the one thread of this test, the runner has no turn while nothing is waited for.
    let waiting = pool.submit(score(&handle, 3)).unwrap().answered();
    let mut waiting = Box::pin(waiting);
    let another = score(&handle, 1);
    let too_many = score(&handle, 99);
    let refused = |call: &Call| pool.would_admit(&call.outline()).is_err();
    std::thread::sleep(batch * LATE);
    assert!(!refused(&another));
    assert!(
        (&mut waiting).now_or_never().is_none(),
        "who is not refused does not compute"
    );
    assert!(refused(&too_many));
    let scored = waiting.now_or_never().unwrap().unwrap();
    assert_eq!(scored.into_scores().unwrap().len(), 3);
    assert_eq!(batches(&handle), [(3, 1)]);
    pool.close();
    pool.drained().await;
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn what_is_quick_is_computed_at_once_while_nothing_waits() {
    let (tasks, _failures) = Tasks::new();
    let (pool, handle) = (Pool::start(&tasks, limits()), planned());
    let expected = fixture::expected(0.0, 1, 30.0);
    // On the one thread of this test, the runner has no turn while nothing is waited for.
    let submit = |rows| pool.submit(score(&handle, rows)).unwrap().answered();
    for _ in 0..AT_ONCE {
        let scored = submit(1).now_or_never().unwrap().unwrap();
        let scores = scored.into_scores().unwrap();
        assert!((scores[0] - expected[0]).abs() < 1e-6);
    }
    assert_eq!(batches(&handle), [(1, u64::from(AT_ONCE))]);
    // Now a runner is to have its turn first, and reads what else has come.
    let mut waiting = Box::pin(submit(1));
    begin(waiting.as_mut()).await;
    waiting.await.unwrap();
    assert!(submit(1).now_or_never().is_some());

    // Nothing that takes long is computed where it was read, and nothing goes before what waits.
    let is_long = |rows: &usize| !handle.servable().is_quick(*rows, *rows);
    let mut long = Box::pin(submit((1..).find(is_long).unwrap()));
    begin(long.as_mut()).await;
    let mut next = Box::pin(submit(1));
    begin(next.as_mut()).await;
    let described = Work::Rank {
        query: fixture::query(1, 30.0),
        candidates: Candidates::Columns(films(2)),
        top_k: 1,
    };
    let rank = || call(&handle, described.clone(), 2);
    let mut ranked = Box::pin(pool.submit(rank()).unwrap().answered());
    begin(ranked.as_mut()).await;
    long.await.unwrap();
    next.await.unwrap();
    ranked.await.unwrap();
    let ranked = pool.submit(rank()).unwrap().answered();
    let ranked = ranked.now_or_never().unwrap().unwrap();
    assert_eq!(ranked.into_ranked().unwrap().len(), 1);
    pool.close();
    pool.drained().await;
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_batch_is_counted_once_by_its_own_rows() {
    let (tasks, _failures) = Tasks::new();
    let (pool, handle) = (Pool::start(&tasks, limits()), Handle::for_tests());
    // Four share a batch, and the last one is split into parts of 64 rows.
    let waiting: Vec<Waiting> = [3, 3, 3, 3, 130]
        .map(|rows| pool.submit(score(&handle, rows)).unwrap())
        .into();
    let mut times = Vec::new();
    for waiting in waiting {
        times.push(waiting.answered().await.unwrap().compute);
    }
    assert_eq!(batches(&handle), [(2, 1), (12, 1), (64, 2)]);
    // Those who share a batch were each part of all of it.
    assert_eq!(times[..4], [times[0]; 4]);
    let mut expected = times[0];
    expected += times[4];
    let mut counted = ComputeTimes::default();
    for (_, computed) in handle.servable().statistics().totals().batches {
        counted += computed.times;
    }
    assert_eq!(counted, expected);
    pool.close();
    pool.drained().await;
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

/// A request that is split gives what it would give whole, whatever the size of its parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_make_the_same_answer_as_the_whole() {
    let (tasks, _failures) = Tasks::new();
    let handle = Handle::for_tests();
    let expected = fixture::expected(0.0, 1, 30.0);
    for batch_rows in [1, 3, 7, 64] {
        let limits = Limits {
            runners: 2,
            batch_rows,
            ..limits()
        };
        let pool = Pool::start(&tasks, limits);
        let rows = 50;
        let scored = pool.submit(score(&handle, rows)).unwrap().answered().await;
        let found = scored.unwrap().into_scores().unwrap();
        assert_eq!(found.len(), rows);
        for (row, score) in found.iter().enumerate() {
            assert!((score - expected[row % 8]).abs() < 1e-6);
        }
        let rank = Work::Rank {
            query: fixture::query(1, 30.0),
            candidates: Candidates::Columns(films(rows)),
            top_k: 9,
        };
        let ranked = pool
            .submit(call(&handle, rank, rows))
            .unwrap()
            .answered()
            .await;
        let ranked = ranked.unwrap().into_ranked().unwrap();
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|left, right| found[*right].total_cmp(&found[*left]));
        let rows: Vec<usize> = ranked.iter().map(|ranked| ranked.row() as usize).collect();
        assert_eq!(rows, order[..9], "{batch_rows}");
        pool.close();
        pool.drained().await;
    }
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn late_and_abandoned_requests_cost_no_scoring() {
    let (tasks, _failures) = Tasks::new();
    let (pool, handle) = (Pool::start(&tasks, limits()), Handle::for_tests());
    let before = handle.servable().costs().of(Way::Pairs);
    let late = Call {
        deadline: Some(Instant::now()),
        ..score(&handle, 1)
    };
    assert!(matches!(pool.submit(late), Err(CallError::Expired)));
    let mut abandoned = Box::pin(pool.submit(score(&handle, 1)).unwrap().answered());
    begin(abandoned.as_mut()).await;
    assert!(!pool.shared.lock().is_over());
    drop(abandoned);
    pool.close();
    // It has left the queue at once, not when a runner came to it.
    assert!(pool.shared.lock().is_over());
    pool.drained().await;
    // No batch has taught it anything.
    assert_eq!(handle.servable().costs().of(Way::Pairs), before);
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn what_waits_for_its_model_goes_on_as_soon_as_that_is_free() {
    let limits = Limits {
        runners: 2,
        model_runners: 1,
        ..limits()
    };
    let (tasks, _failures) = Tasks::new();
    let (pool, handle) = (Pool::start(&tasks, limits), Handle::for_tests());
    let sleep = async || {
        // The runners look for work, find none that may be done, and sleep.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    };
    // Somebody computes a request of the model where it was read.
    let offer = pool.offer(&score(&handle, 1).outline());
    let begin_at_once = || assert!(pool.shared.pass(Instant::now(), &offer).unwrap());
    let end_at_once = || {
        let batch = Batch {
            flow: offer.flow,
            jobs: Vec::new(),
            taken_at: Instant::now(),
            rows: 1,
            cost: 1.0,
        };
        let shared = &pool.shared;
        shared.compute_at_once(0, &mut Workbench::default(), batch);
    };
    let patience = Duration::from_secs(20);
    begin_at_once();
    let mut waiting = Box::pin(pool.submit(score(&handle, 1)).unwrap().answered());
    sleep().await;
    begin(waiting.as_mut()).await;
    end_at_once();
    let answered = tokio::time::timeout(patience, waiting).await;
    answered.expect("a runner was woken").unwrap();

    // The end comes while something waits, and that is given up.
    begin_at_once();
    let given_up = pool.submit(score(&handle, 1)).unwrap();
    sleep().await;
    pool.close();
    sleep().await;
    drop(given_up);
    end_at_once();
    let drained = tokio::time::timeout(patience, pool.drained()).await;
    drained.expect("all runners were woken");
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_idle_runner_takes_what_comes_while_another_is_at_work() {
    // So long that the others are answered meanwhile, whatever else this machine does.
    let long = 2_000_000;
    let limits = Limits {
        runners: 2,
        rows: 2 * long,
        batch_rows: long,
        batch: Duration::from_secs(60),
        ..limits()
    };
    let (tasks, _failures) = Tasks::new();
    let (pool, handle) = (Pool::start(&tasks, limits), Handle::for_tests());
    let submit = |rows| pool.submit(score(&handle, rows)).unwrap().answered();
    submit(1).await.unwrap();
    let mut at_work = Box::pin(submit(long));
    // A notice may go to the one or the other, and each must find the one that is idle.
    for _ in 0..3 {
        tokio::select! {
            biased;
            answered = submit(1) => drop(answered.unwrap()),
            answered = &mut at_work => panic!("it waited for another: {:?}", answered.map(|_| ())),
        }
    }
    at_work.await.unwrap();
    pool.close();
    pool.drained().await;
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

/// A film with one genre, for somebody of this age.
fn film(age: f32, genre: &str) -> Columns {
    Columns::new(vec![
        Column::new("user", Values::Int(vec![1])),
        Column::new("age", Values::Float(vec![age])),
        Column::new("film", Values::Int(vec![100])),
        Column::ragged("genres", Values::Text([genre].into()), vec![0, 1]),
    ])
    .unwrap()
}

/// Three requests that share a batch, of which the second one cannot be answered; and the sizes of the batches.
async fn shared_batch(
    graph: decant_inference::testing::Graph,
    requests: [Columns; 3],
) -> ([Result<Scored, CallError>; 3], Vec<(u64, u64)>) {
    let (tasks, _failures) = Tasks::new();
    let pool = Pool::start(&tasks, limits());
    let handle = Handle::of(decant_inference::testing::open(&graph).unwrap());
    let waiting = requests.map(|columns| {
        let call = call(&handle, Work::Score { columns }, 1);
        pool.submit(call).unwrap().answered()
    });
    let answers = futures::future::join_all(waiting).await;
    pool.close();
    pool.drained().await;
    tasks.stop(Duration::from_secs(5)).await.unwrap();
    (answers.try_into().unwrap(), batches(&handle))
}

#[tokio::test]
async fn those_who_share_a_batch_do_not_share_its_failure() {
    // The graph has no row for the schema's last id, and ONNX Runtime fails on all that stands beside it.
    let mut graph = fixture::graph(0.0);
    graph.vocabulary -= 1;
    let requests = ["drama", "western", "comedy"].map(|genre| film(30.0, genre));
    let ([first, second, third], batches) = shared_batch(graph, requests).await;
    assert!(first.is_ok() && third.is_ok(), "{first:?} {third:?}");
    assert!(matches!(second, Err(CallError::Model(_))), "{second:?}");
    assert_eq!(batches, [(1, 2)], "one by one");

    // A score is none, and the others of its batch are.
    let graph = decant_inference::testing::Graph {
        no_score_above: Some(1.0),
        ..fixture::graph(0.0)
    };
    let requests = [30.0, 90.0, 31.0].map(|age| film(age, "drama"));
    let ([first, second, third], batches) = shared_batch(graph, requests).await;
    assert!(first.is_ok() && third.is_ok(), "{first:?} {third:?}");
    assert!(
        matches!(
            second,
            Err(CallError::Model(decant_inference::Error::NotFinite {
                row: 0,
                ..
            }))
        ),
        "{second:?}"
    );
    assert_eq!(batches, [(3, 1)], "all at once");
}

#[tokio::test]
async fn one_request_that_fails_does_not_fail_its_batch() {
    let (tasks, _failures) = Tasks::new();
    let (pool, handle) = (Pool::start(&tasks, limits()), Handle::for_tests());
    let good = pool.submit(score(&handle, 2)).unwrap();
    // Items by id, of a version without a catalog.
    let rank = Work::Rank {
        query: fixture::query(1, 30.0),
        candidates: Candidates::Catalog(vec![0]),
        top_k: 1,
    };
    let bad = pool.submit(call(&handle, rank, 1)).unwrap();
    let again = pool.submit(score(&handle, 2)).unwrap();
    assert!(good.answered().await.is_ok());
    assert!(matches!(bad.answered().await, Err(CallError::NoCatalog)));
    assert!(again.answered().await.is_ok());
    // The good ones shared a batch; what failed is none.
    assert_eq!(batches(&handle), [(4, 1)]);
    pool.close();
    pool.drained().await;
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}
