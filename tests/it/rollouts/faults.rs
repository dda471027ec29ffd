//! Versions that pass all that is looked at before they see traffic, and are stopped by the gate for what is wrong with them.

use std::collections::BTreeSet;

use decant_model::rollout::Metric;
use decant_proto::rollout::v1 as rollout;
use decant_tests::releases::{comparing, gate, plan, release};
use decant_tests::{
    Deployment, History, Operated, Question, Recorder, Releases, Shape, Tiny, eventually,
};
use rollout::{Arm, RolloutPhase};
use tonic::Code;

use super::{OFTEN, abort, canary_weight, check_all_answers_are, check_records};

const SMALL: Shape = Shape {
    etcd: 1,
    registries: 1,
    scorers: 2,
};
/// The stable version's bias: its scores are well below a half.
const BIAS: f32 = -1.5;
/// The share that a suspect gets.
const SHARE: u32 = 2_000;

/// What a suspect is held to. Each of these bounds is far from what a good version does, and from what its fault does.
fn usual_gates() -> Vec<rollout::RolloutGate> {
    vec![
        gate(Metric::ErrorRate, 0.05),
        gate(Metric::LatencyP50, 3.0),
        gate(Metric::ScoreMean, 0.25),
    ]
}

fn all_alike(_: usize, _: u64) -> Question {
    Question::default()
}

fn one_in_five_is_old(client: usize, number: u64) -> Question {
    Question {
        key: None,
        old: (number + client as u64).is_multiple_of(5),
    }
}

/// Releases a version by this plan under load; version 3 is the teacher. Returns what clients saw until it was aborted, and
/// why it was.
async fn aborted(
    faulty: &Tiny,
    plan: rollout::Plan,
    ask_for: fn(usize, u64) -> Question,
) -> (Deployment, History, String) {
    let cluster = Deployment::start(SMALL).await;
    let (stable, teacher) = (Tiny::new(BIAS), Tiny::new(BIAS + 0.01));
    cluster.serve(&stable).await;
    let version = cluster.push(0, faulty).await.unwrap().version;
    let taught_by = cluster.push(0, &teacher).await.unwrap().version;
    let has_teacher = plan
        .gates
        .iter()
        .any(|gate| gate.metric.starts_with("teacher"));
    let request = rollout::StartRolloutRequest {
        teacher_version: if has_teacher { taught_by } else { 0 },
        ..release(version, plan)
    };
    let clients = Recorder::start_asking(cluster.scorer_addresses(), OFTEN, ask_for);
    cluster.begin(0, request).await.unwrap();
    let status = cluster.reaches(0, RolloutPhase::Aborted).await;
    let history = clients.stop().await;

    let intended = cluster.intended(0).await;
    history.check_against(&intended);
    history.check_exact([&stable, faulty]);
    history.check_at_most(version, SHARE);
    check_all_answers_are(&cluster, 1, &stable).await;
    let slot = status.slot.unwrap().slot.unwrap();
    assert_eq!(slot, intended[0], "nothing followed the abort");
    assert_eq!(slot.rollout, "", "it has let go of the slot");
    check_records(&cluster, 0).await;
    (cluster, history, status.rollout.unwrap().reason_in_phase)
}

/// Releases a version by steps that would promote it, and is told why it came to nothing: by this gate.
async fn caught(
    by: Metric,
    faulty: &Tiny,
    gates: Vec<rollout::RolloutGate>,
    ask_for: fn(usize, u64) -> Question,
) -> History {
    let steps = plan(&["20%", "analysis 60s", "50%"], gates);
    let plan = match by {
        Metric::ErrorRate | Metric::LatencyP50 | Metric::ScoreMean => steps,
        _ => comparing(steps),
    };
    let (cluster, history, why) = aborted(faulty, plan, ask_for).await;
    assert!(why.contains(&format!("{by} fails")), "{why}");
    let intended = cluster.intended(0).await;
    let weights: Vec<u32> = intended.iter().filter_map(canary_weight).collect();
    assert_eq!(weights, [SHARE], "it never had more");
    let answered = history
        .0
        .iter()
        .filter_map(|answer| answer.outcome.as_ref().ok());
    let arms: BTreeSet<Arm> = answered.map(|(served_by, _)| served_by.arm()).collect();
    assert_eq!(arms, [Arm::Stable, Arm::Canary].into());
    history
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_slow_version_is_caught_by_latency_and_aborted() {
    let slow = Tiny::slow(BIAS);
    let history = caught(Metric::LatencyP50, &slow, usual_gates(), all_alike).await;
    history.check_no_drop();
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_version_that_fails_some_requests_is_caught_by_errors_and_aborted() {
    let failing = Tiny::failing(BIAS);
    let gates = usual_gates();
    let history = caught(Metric::ErrorRate, &failing, gates, one_in_five_is_old).await;
    let failed = history.0.iter().filter(|answer| answer.outcome.is_err());
    for answer in failed {
        assert!(answer.question.old, "{answer:?}");
        let code = answer.outcome.as_ref().unwrap_err().0;
        assert_eq!(code, Code::Internal, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_version_whose_scores_are_shifted_is_caught_by_their_mean_and_aborted() {
    let shifted = Tiny::shifted(BIAS);
    let history = caught(Metric::ScoreMean, &shifted, usual_gates(), all_alike).await;
    history.check_no_drop();
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_version_that_disagrees_with_its_teacher_is_caught_by_that_and_aborted() {
    let reversed = Tiny::reversed(BIAS);
    let mut gates = vec![gate(Metric::TeacherSpearman, 0.5)];
    gates.push(gate(Metric::ScoreMean, 0.25));
    let history = caught(Metric::TeacherSpearman, &reversed, gates, all_alike).await;
    history.check_no_drop();
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_version_that_disagrees_with_the_stable_one_is_caught_by_that_and_aborted() {
    let reversed = Tiny::reversed(BIAS);
    let mut gates = vec![gate(Metric::StableSpearman, 0.5)];
    gates.push(gate(Metric::ScoreMean, 0.25));
    let history = caught(Metric::StableSpearman, &reversed, gates, all_alike).await;
    history.check_no_drop();
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_bad_version_is_stopped_in_shadow_and_a_good_one_goes_on_to_answer() {
    let agrees = || vec![gate(Metric::StableSpearman, 0.5)];
    let steps = ["shadow", "analysis 60s", "20%", "pause"];
    let reversed = Tiny::reversed(BIAS);
    let shadowed = comparing(plan(&steps, agrees()));
    let (cluster, history, why) = aborted(&reversed, shadowed.clone(), all_alike).await;
    assert!(why.contains("stable-spearman fails"), "{why}");
    history.check_no_drop();
    let answered = |version: u64, history: &History| {
        let answers = history.0.iter();
        let by = answers.filter_map(|answer| Some(answer.outcome.as_ref().ok()?.0.version));
        by.filter(|other| *other == version).count()
    };
    assert_eq!(answered(2, &history), 0, "a shadow answers nothing");
    let intended = cluster.intended(0).await;
    assert!(intended.iter().all(|slot| canary_weight(slot).is_none()));
    let shadow = |slot: &rollout::Slot| {
        let mut active = slot.active.iter();
        active.any(|active| active.arm() == Arm::Shadow && active.version == 2)
    };
    assert_eq!(intended.iter().filter(|slot| shadow(slot)).count(), 1);

    let good = Tiny::new(BIAS + 0.02);
    let version = cluster.push(0, &good).await.unwrap().version;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let request = release(version, shadowed);
    cluster.begin(0, request).await.unwrap();
    let pause = Some(3);
    cluster.reaches_step(0, RolloutPhase::Paused, pause).await;
    let seen = clients.count();
    eventually("it is asked, too", || async {
        let more = clients.count() - seen;
        (more > 200).then_some(()).ok_or(more)
    })
    .await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact([&Tiny::new(BIAS), &good]);
    assert!(answered(version, &history) > 0);
    abort(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn process_without_traffic_nothing_passes_and_the_rollout_ends_at_its_limit() {
    let cluster = Deployment::start(SMALL).await;
    cluster.serve(&Tiny::new(BIAS)).await;
    let version = cluster.push(0, &Tiny::new(BIAS + 0.01)).await.unwrap();
    let gates = vec![gate(Metric::ErrorRate, 0.5)];
    let plan = plan(&["50%", "analysis 2s"], gates);
    let request = release(version.version, plan);
    cluster.begin(0, request).await.unwrap();
    let status = cluster.reaches(0, RolloutPhase::Aborted).await;
    let why = status.rollout.unwrap().reason_in_phase;
    for words in ["within 2s", "error-rate cannot tell yet", "no data"] {
        assert!(why.contains(words), "`{words}` is not in: {why}");
    }
    let verdicts: Vec<_> = status.gates.iter().map(|gate| gate.verdict()).collect();
    assert_eq!(verdicts, [rollout::GateVerdict::Inconclusive]);
    assert_eq!(cluster.converged(0, 1, 2).await.active.len(), 1);
}
