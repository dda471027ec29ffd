//! Versions that are made ready before they answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use decant_inference::testing::Graph;
use decant_model::{Active, DesiredSlot, Digest, Pending, file};
use decant_proto::rollout::v1::Arm;
use decant_proto::scorer::v1::ServableState::{Available, End};

use crate::fixture;
use crate::harness::{Scorer, desired, eventually, files, prepared, score, wrong_golden};

const NEW: f32 = 1.5;

/// Version 1 answers, and version 2 is to answer once it is ready.
fn pending(generation: u64, first: Digest, second: Digest) -> DesiredSlot {
    let next = desired(0, Some((2, second))).active;
    DesiredSlot {
        pending: Some(Pending {
            active: next,
            min_ready_percent: 100,
        }),
        ..desired(generation, Some((1, first)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_version_answers_once_it_is_active_and_is_not_loaded_again() {
    let (scorer, first) = Scorer::serving().await;
    let new = files(NEW);
    let second = scorer.push(&new).await;
    scorer.world.desire(&pending(2, first, second)).await;
    let ready = scorer.listed(2, Available).await;
    assert_eq!(ready.served_by.unwrap().arm(), Arm::Unspecified);
    assert_eq!(scorer.answering().await, (1, 2));

    // With its bundle gone it could not be loaded now.
    scorer.corrupt(&new[file::MODEL]);
    let failed = Arc::new(AtomicBool::new(false));
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::clone(&failed));
    let (mut client, stopped) = (scorer.client.clone(), Arc::clone(&stop));
    let calls = async move {
        let mut last = 0;
        while !stopped.load(Ordering::Relaxed) {
            match client.score(score(1, &[100])).await {
                Ok(answer) => {
                    let generation = answer.into_inner().served_by.unwrap().generation;
                    assert!(generation >= last, "{generation} after {last}");
                    last = generation;
                }
                Err(_) => seen.store(true, Ordering::Relaxed),
            }
        }
    };
    let swaps = async {
        scorer.set(3, 2, second).await;
        scorer.answers(2).await;
        assert_eq!(scorer.answering().await, (2, 3));
        scorer.set(4, 1, first).await;
        scorer.answers(1).await;
        stop.store(true, Ordering::Relaxed);
    };
    futures::future::join(calls, swaps).await;
    assert!(
        !failed.load(Ordering::Relaxed),
        "a call failed during a swap"
    );
    scorer.stop().await;
}

#[tokio::test]
async fn a_first_version_is_prepared_while_the_slot_is_empty() {
    let scorer = Scorer::start().await;
    let digest = scorer.push(&files(NEW)).await;
    let first = DesiredSlot {
        active: Vec::<Active>::new(),
        ..pending(1, digest, digest)
    };
    scorer.world.desire(&first).await;
    scorer.listed(2, Available).await;
    let refused = scorer
        .client
        .clone()
        .score(score(1, &[100]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert!(
        refused.message().contains("being prepared"),
        "{}",
        refused.message()
    );
    scorer.set(2, 2, digest).await;
    scorer.answers(2).await;
    scorer.stop().await;
}

#[tokio::test]
async fn a_prepared_version_that_fails_leaves_what_answers_alone() {
    let (scorer, first) = Scorer::serving().await;
    let mut bad = files(NEW);
    bad.insert(file::GOLDEN, wrong_golden(NEW));
    let second = scorer.push(&bad).await;
    let preparing = DesiredSlot {
        prepare: vec![prepared(2, second)],
        ..desired(2, Some((1, first)))
    };
    scorer.world.desire(&preparing).await;
    let failed = scorer.listed(2, End).await;
    assert!(failed.error.contains("golden row 3"), "{}", failed.error);
    assert_eq!(scorer.answering().await, (1, 2));
    // Activated nevertheless: it cannot come, and what answers goes on.
    scorer.set(3, 2, second).await;
    scorer.listed(2, End).await;
    assert_eq!(scorer.answering().await, (1, 2));
    scorer.stop().await;
}

#[tokio::test]
async fn a_graph_of_few_bytes_that_wants_more_memory_than_there_is_harms_nobody() {
    let (scorer, first) = Scorer::serving().await;
    let mut greedy = files(NEW);
    let graph = Graph {
        // More than any process can address.
        unfolds_to: Some(1 << 50),
        ..fixture::graph(NEW)
    };
    greedy.insert(file::MODEL, graph.to_onnx());
    let second = scorer.push(&greedy).await;
    let preparing = DesiredSlot {
        prepare: vec![prepared(2, second)],
        ..desired(2, Some((1, first)))
    };
    scorer.world.desire(&preparing).await;
    let failed = scorer.listed(2, End).await;
    assert!(failed.error.contains("model.onnx"), "{}", failed.error);
    assert_eq!(scorer.answering().await, (1, 2));
    scorer.stop().await;
}

#[tokio::test]
async fn what_is_not_prepared_any_more_is_freed() {
    let (scorer, first) = Scorer::serving().await;
    let second = scorer.push(&files(NEW)).await;
    let preparing = DesiredSlot {
        prepare: vec![prepared(2, second)],
        ..desired(2, Some((1, first)))
    };
    scorer.world.desire(&preparing).await;
    scorer.listed(2, Available).await;
    scorer.set(3, 1, first).await;
    eventually("version 2 is freed", || async {
        scorer.list().await.len() == 1
    })
    .await;
    assert_eq!(scorer.answering().await, (1, 3));
    scorer.stop().await;
}
