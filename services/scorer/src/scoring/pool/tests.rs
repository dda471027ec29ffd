use std::time::Instant;

use decant_features::{Column, Columns, Values};
use tokio::sync::oneshot;

use super::*;
use crate::fixture;
use crate::scoring::{Answer, Work};
use crate::servable::Handle;

type Answered = oneshot::Receiver<Result<Answer, CallError>>;

fn job(handle: &Handle, rows: usize, deadline: Option<Instant>) -> (Job, Answered) {
    let columns = Columns::new(vec![
        Column::new("user", Values::Int(vec![1; rows])),
        Column::new("age", Values::Float(vec![30.0; rows])),
        Column::new("film", Values::Int(vec![100; rows])),
        Column::new("genres", Values::Text(vec!["drama".to_owned(); rows])),
    ]);
    let (answer, answered) = oneshot::channel();
    let work = Work::Score {
        columns: columns.unwrap(),
    };
    (
        Job {
            handle: handle.clone(),
            work,
            rows,
            deadline,
            answer,
        },
        answered,
    )
}

#[test]
fn jobs_are_answered_and_the_queued_ones_finished_at_the_end() {
    let (pool, handle) = (
        Pool::start(NonZeroUsize::MIN, 100).unwrap(),
        Handle::for_tests(),
    );
    let jobs: Vec<Answered> = (0..20)
        .map(|_| {
            let (job, answered) = job(&handle, 3, None);
            pool.submit(job).unwrap();
            answered
        })
        .collect();
    pool.stop();
    let expected = fixture::expected(0.0, 1, 30.0)[0];
    for answered in jobs {
        let Ok(Answer::Scores(scores)) = answered.blocking_recv().unwrap() else {
            panic!("no scores")
        };
        assert_eq!(scores.len(), 3);
        assert!((scores[0] - expected).abs() < 1e-6);
    }
    assert_eq!(handle.servable().answered(), 20);
    assert!(matches!(
        pool.submit(job(&handle, 1, None).0),
        Err(CallError::Draining)
    ));
}

#[test]
fn rows_beyond_the_queue_are_refused_but_one_large_job_alone_is_not() {
    let handle = Handle::for_tests();
    // No worker: what is queued stays queued.
    let queue = Queue::new(10);
    let push = |rows: usize| queue.push(job(&handle, rows, None).0);
    assert_eq!(push(50), Ok(()));
    assert_eq!(push(1), Err(Refused::Full { waiting: 50 }));
    assert_eq!(queue.pop().unwrap().rows, 50);
    assert_eq!(
        (push(6), push(4), push(1)),
        (Ok(()), Ok(()), Err(Refused::Full { waiting: 10 }))
    );
    queue.close();
    assert_eq!(push(1), Err(Refused::Closed));
    assert_eq!(
        [queue.pop(), queue.pop(), queue.pop()].map(|job| job.map(|job| job.rows)),
        [Some(6), Some(4), None]
    );
}

#[test]
fn late_and_abandoned_jobs_cost_no_scoring() {
    let handle = Handle::for_tests();
    let mut scores = Vec::new();
    let (late, answered) = job(&handle, 1, Some(Instant::now()));
    late.run(0, &mut scores);
    assert!(matches!(
        answered.blocking_recv().unwrap(),
        Err(CallError::Expired)
    ));
    let (abandoned, answered) = job(&handle, 1, None);
    drop(answered);
    abandoned.run(0, &mut scores);
    assert_eq!(handle.servable().answered(), 0);
}
