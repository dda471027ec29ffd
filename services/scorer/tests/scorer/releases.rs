//! Slots of which a rollout has a hand: who answers, what is counted, and how versions are compared.

use decant_coordination::keys::DesiredKey;
use decant_features::Schema;
use decant_model::{Active, Arm, BASIS_POINTS, DesiredSlot, Digest, ModelVersion, file, split};
use decant_proto::rollout::v1::Arm as WireArm;
use decant_proto::scorer::v1 as wire;
use decant_scorer::Config;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status};
use wire::rank_request::Candidates;
use wire::score_stream_response::Outcome;

use crate::fixture::{self, FILMS};
use crate::harness::{
    Scorer, World, desired, eventually, files, films, ints, items, quick, score, user,
};

const OLD: f32 = 0.0;
const NEW: f32 = 1.5;
const ROLLOUT: &str = "01j9z3k4m5n6p7q8r9s0t1v2w3";
const KEY: &str = "decant-routing-key";
const INVALID: i32 = Code::InvalidArgument as i32;

/// A version in its part of a slot that a rollout has, and its share in basis points.
pub(crate) type Part = (u64, Digest, Arm, u32);

/// What a rollout makes of the slot.
pub(crate) fn release(generation: u64, parts: &[Part], compare_basis_points: u32) -> DesiredSlot {
    let active = |(version, digest, arm, weight): &Part| Active {
        digest: *digest,
        version: ModelVersion::new(*version).unwrap(),
        arm: *arm,
        weight_basis_points: *weight,
    };
    DesiredSlot {
        active: parts.iter().map(active).collect(),
        salt: ROLLOUT.into(),
        compare_basis_points,
        rollout: Some(ROLLOUT.parse().unwrap()),
        ..desired(generation, None)
    }
}

/// Whether a user is one of the canary's at a share.
pub(crate) fn has_canary(user: &str, weight: u32) -> bool {
    split::bucket(ROLLOUT, user.as_bytes()) < weight
}

/// A scorer with the old version in service, one that has the time to compare; and both versions' digests.
async fn with_candidate() -> (Scorer, Digest, Digest) {
    let config = Config {
        compare_cpu_percent: 100,
        ..quick()
    };
    let scorer = Scorer::start_with(config).await;
    let old = scorer.pour(1, &files(OLD)).await;
    let new = scorer.push(&files(NEW)).await;
    (scorer, old, new)
}

async fn evidence(scorer: &Scorer) -> wire::GetEvidenceResponse {
    let request = wire::GetEvidenceRequest { model: films() };
    let answer = scorer.client.clone().get_evidence(request).await;
    answer.unwrap().into_inner()
}

/// Puts a generation into service.
async fn enter(scorer: &Scorer, desired: &DesiredSlot) {
    scorer.world.desire(desired).await;
    let generation = desired.generation.0;
    eventually("the generation is in service", || async {
        evidence(scorer).await.generation == generation
    })
    .await;
}

fn keyed<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(KEY, key.parse().unwrap());
    request
}

/// Who answers a request with a key.
async fn asked(scorer: &Scorer, key: &str) -> Result<wire::ServedBy, Status> {
    let request = keyed(score(1, &[100]), key);
    let answer = scorer.client.clone().score(request).await?;
    Ok(answer.into_inner().served_by.unwrap())
}

fn arm_of(evidence: &wire::GetEvidenceResponse, arm: WireArm) -> &wire::ArmEvidence {
    let mut arms = evidence.arms.iter();
    arms.find(|counted| counted.arm() == arm).unwrap()
}

fn counts(buckets: &[wire::BucketCount]) -> u64 {
    buckets.iter().map(|bucket| bucket.count).sum()
}

#[tokio::test]
async fn a_user_is_answered_by_one_version_and_each_version_is_counted() {
    const WEIGHT: u32 = 3_000;
    let (scorer, old, new) = with_candidate().await;
    let parts = [
        (1, old, Arm::Stable, BASIS_POINTS - WEIGHT),
        (2, new, Arm::Canary, WEIGHT),
    ];
    enter(&scorer, &release(2, &parts, 0)).await;

    let users: Vec<String> = (0..60).map(|user| format!("user-{user}")).collect();
    let (mut of_canary, mut of_stable) = (0, 0);
    for user in &users {
        let served_by = asked(&scorer, user).await.unwrap();
        let (version, arm) = if has_canary(user, WEIGHT) {
            of_canary += 1;
            (2, WireArm::Canary)
        } else {
            of_stable += 1;
            (1, WireArm::Stable)
        };
        assert_eq!((served_by.version, served_by.arm()), (version, arm));
    }
    assert!(of_canary > 0 && of_stable > 0);

    // A stream has one key for all its messages.
    let user = users.iter().find(|user| has_canary(user, WEIGHT)).unwrap();
    let messages = (0..3).map(|id| wire::ScoreStreamRequest {
        id,
        request: Some(score(1, &[100, 101])),
    });
    let stream = keyed(tokio_stream::iter(messages), user);
    let answers = scorer.client.clone().score_stream(stream).await.unwrap();
    let answers: Vec<_> = answers.into_inner().collect().await;
    assert_eq!(answers.len(), 3);
    for answer in answers {
        match answer.unwrap().outcome.unwrap() {
            Outcome::Response(response) => assert_eq!(response.served_by.unwrap().version, 2),
            Outcome::Error(error) => panic!("{error:?}"),
        }
    }
    of_canary += 3;

    // What does not fit a version counts for the one that it was for.
    let mut wrong = score(1, &[100]);
    wrong.columns.push(ints("hour", &[7]));
    let refused = scorer.client.clone().score(keyed(wrong, user)).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);

    let counted = evidence(&scorer).await;
    assert!(!counted.boot_id.is_empty());
    let expected = [
        fixture::expected(OLD, 1, 30.0)[0],
        fixture::expected(NEW, 1, 30.0)[0],
    ];
    for (arm, digest, succeeded, failed, score) in [
        (WireArm::Stable, old, of_stable, None, expected[0]),
        (WireArm::Canary, new, of_canary, Some(&1), expected[1]),
    ] {
        let counted = arm_of(&counted, arm);
        assert_eq!(counted.digest, digest.to_string());
        assert_eq!(counted.succeeded, succeeded);
        assert_eq!(counted.failed.get(&INVALID), failed);
        assert_eq!(counts(&counted.latency), succeeded);
        assert_eq!(counts(&counted.score_bins), succeeded);
        let moments = counted.score.as_ref().unwrap();
        assert_eq!(moments.count, succeeded);
        let mean = moments.sum / succeeded as f64;
        assert!((mean - f64::from(score)).abs() < 1e-6, "{mean} {score}");
    }
    assert!(counted.comparisons.is_empty());
    scorer.stop().await;
}

#[tokio::test]
async fn without_a_key_requests_are_shared_out_and_a_wrong_key_is_refused() {
    let (scorer, old, new) = with_candidate().await;
    let half = BASIS_POINTS / 2;
    let parts = [(1, old, Arm::Stable, half), (2, new, Arm::Canary, half)];
    enter(&scorer, &release(2, &parts, 0)).await;
    eventually("both versions have answered", || async {
        scorer.answering().await;
        let counted = evidence(&scorer).await;
        counted.arms.iter().all(|arm| arm.succeeded > 0)
    })
    .await;

    let status = asked(&scorer, &"x".repeat(1_025)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "decant-routing-key: 1025 bytes, but at most 1024 are allowed"
    );
    scorer.stop().await;
}

#[tokio::test]
async fn counts_begin_anew_with_a_generation_and_outlive_changes_elsewhere() {
    let (scorer, old, new) = with_candidate().await;
    let parts = [
        (1, old, Arm::Stable, BASIS_POINTS),
        (2, new, Arm::Canary, 0),
    ];
    // Before a rollout has the slot nothing is counted.
    scorer.answering().await;
    let steady = evidence(&scorer).await;
    assert_eq!((steady.generation, steady.arms.len()), (1, 0));

    enter(&scorer, &release(2, &parts, 0)).await;
    assert_eq!(scorer.answering().await, (1, 2));
    let elsewhere = DesiredKey {
        model: "films".parse().unwrap(),
        slot: "trial".parse().unwrap(),
    };
    let other = desired(1, Some((2, new)));
    scorer.world.put(&elsewhere, &other).await;
    let trial = wire::GetEvidenceRequest {
        model: Some(wire::ModelRef {
            model: "films".into(),
            slot: "trial".into(),
        }),
    };
    eventually("the other slot is in service", || async {
        let answer = scorer.client.clone().get_evidence(trial.clone()).await;
        answer.is_ok_and(|answer| answer.into_inner().generation == 1)
    })
    .await;
    let kept = evidence(&scorer).await;
    assert_eq!(arm_of(&kept, WireArm::Stable).succeeded, 1);

    enter(&scorer, &release(3, &parts, 0)).await;
    let anew = evidence(&scorer).await;
    assert_eq!(arm_of(&anew, WireArm::Stable).succeeded, 0);
    assert_eq!(anew.boot_id, kept.boot_id);

    let unknown = wire::GetEvidenceRequest {
        model: Some(wire::ModelRef {
            model: "books".into(),
            slot: String::new(),
        }),
    };
    let status = scorer.client.clone().get_evidence(unknown).await;
    assert_eq!(status.unwrap_err().code(), Code::NotFound);
    scorer.stop().await;
}

/// Asks for one user's ranking of all films, with the names of the films or with their columns.
fn rank(by_id: bool) -> wire::RankRequest {
    let all: Vec<i64> = (100..100 + FILMS as i64).collect();
    let candidates = if by_id {
        Candidates::ItemIds(all.iter().map(i64::to_string).collect())
    } else {
        Candidates::ItemColumns(wire::Columns {
            columns: items(&all),
        })
    };
    wire::RankRequest {
        model: films(),
        query: user(1),
        candidates: Some(candidates),
        top_k: 3,
    }
}

/// How the shadow agrees with the version in another part, so far.
fn agreement(evidence: &wire::GetEvidenceResponse, arm: WireArm) -> Option<&wire::Comparison> {
    let mut comparisons = evidence.comparisons.iter();
    comparisons.find(|comparison| comparison.arm() == arm)
}

/// How many requests were compared with the stable version so far.
async fn compared(scorer: &Scorer) -> u64 {
    let evidence = evidence(scorer).await;
    let stable = agreement(&evidence, WireArm::Stable);
    stable.map_or(0, |comparison| comparison.kl.as_ref().unwrap().count)
}

/// The mean divergence over all films of one version's scores from another's.
fn divergence(candidate: f32, reference: f32) -> f64 {
    let [q, p] = [candidate, reference].map(|bias| fixture::expected(bias, 1, 30.0));
    let of_row = |(q, p): (&f32, &f32)| {
        let (q, p) = (f64::from(*q), f64::from(*p));
        p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
    };
    q.iter().zip(&p).map(of_row).sum::<f64>() / p.len() as f64
}

#[tokio::test]
async fn a_shadow_is_compared_and_answers_nobody() {
    const TAUGHT: f32 = 0.75;
    let (scorer, old, new) = with_candidate().await;
    let teacher = scorer.push(&files(TAUGHT)).await;
    let parts = [
        (1, old, Arm::Stable, BASIS_POINTS),
        (2, new, Arm::Shadow, 0),
        (3, teacher, Arm::Teacher, 0),
    ];
    enter(&scorer, &release(2, &parts, BASIS_POINTS)).await;
    eventually("rankings were compared", || async {
        let answer = scorer.client.clone().rank(rank(true)).await.unwrap();
        let served_by = answer.into_inner().served_by.unwrap();
        assert_eq!((served_by.version, served_by.arm()), (1, WireArm::Stable));
        let counted = evidence(&scorer).await;
        agreement(&counted, WireArm::Teacher).is_some()
    })
    .await;

    let counted = evidence(&scorer).await;
    for (arm, digest, bias) in [
        (WireArm::Stable, old, OLD),
        (WireArm::Teacher, teacher, TAUGHT),
    ] {
        let comparison = agreement(&counted, arm).unwrap();
        assert_eq!(comparison.candidate, new.to_string());
        assert_eq!(comparison.reference, digest.to_string());
        let mean = |moments: &Option<wire::Moments>| {
            let moments = moments.as_ref().unwrap();
            moments.sum / moments.count as f64
        };
        let (found, expected) = (mean(&comparison.kl), divergence(NEW, bias));
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        // The bias moves all scores, and leaves them in their order.
        assert!((mean(&comparison.top_k) - 1.0).abs() < 1e-9);
        assert!((mean(&comparison.spearman) - 1.0).abs() < 1e-9);
    }
    let shadow = arm_of(&counted, WireArm::Shadow);
    assert!(
        shadow.succeeded > 0 && shadow.failed.is_empty(),
        "{shadow:?}"
    );
    assert_eq!(counts(&shadow.latency), shadow.succeeded);
    let scores = fixture::expected(NEW, 1, 30.0);
    let best = scores.into_iter().fold(0.0, f32::max);
    let mean = shadow.score.as_ref().unwrap().sum / shadow.succeeded as f64;
    assert!((mean - f64::from(best)).abs() < 1e-5, "{mean} {best}");
    assert!(arm_of(&counted, WireArm::Teacher).succeeded > 0);

    // Whatever is asked, the same is asked of the shadow.
    let recommend = wire::RecommendRequest {
        model: films(),
        query: user(1),
        top_k: 2,
        exclude_item_ids: vec!["101".into()],
        return_columns: Vec::new(),
    };
    for kind in ["columns", "rows", "recommendation"] {
        let before = compared(&scorer).await;
        eventually(kind, || async {
            let mut client = scorer.client.clone();
            match kind {
                "columns" => drop(client.rank(rank(false)).await.unwrap()),
                "rows" => drop(client.score(score(1, &[100, 101])).await.unwrap()),
                _ => drop(client.recommend(recommend.clone()).await.unwrap()),
            }
            compared(&scorer).await > before
        })
        .await;
    }
    scorer.stop().await;
}

#[tokio::test]
async fn a_request_that_does_not_fit_the_shadow_is_its_failure() {
    let (scorer, old, _) = with_candidate().await;
    let mut features = fixture::schema().features().to_vec();
    features[1].column = "years".into();
    let mut other = files(NEW);
    other.insert(file::FEATURES, Schema::new(features).unwrap().to_json());
    let other = scorer.push(&other).await;
    let parts = [
        (1, old, Arm::Stable, BASIS_POINTS),
        (2, other, Arm::Shadow, 0),
    ];
    enter(&scorer, &release(2, &parts, BASIS_POINTS)).await;
    eventually("the shadow has failed", || async {
        assert_eq!(scorer.answering().await, (1, 2));
        let counted = evidence(&scorer).await;
        let failed = &arm_of(&counted, WireArm::Shadow).failed;
        failed.contains_key(&INVALID)
    })
    .await;
    let counted = evidence(&scorer).await;
    assert_eq!(arm_of(&counted, WireArm::Shadow).succeeded, 0);
    assert!(arm_of(&counted, WireArm::Stable).failed.is_empty());
    assert!(counted.comparisons.is_empty());
    scorer.stop().await;
}

#[tokio::test]
async fn without_time_for_it_nothing_is_compared_and_that_is_counted() {
    let config = Config {
        compare_cpu_percent: 0,
        ..quick()
    };
    let scorer = Scorer::start_in(World::new(), config).await;
    let old = scorer.pour(1, &files(OLD)).await;
    let new = scorer.push(&files(NEW)).await;
    let parts = [
        (1, old, Arm::Stable, BASIS_POINTS),
        (2, new, Arm::Shadow, 0),
    ];
    enter(&scorer, &release(2, &parts, BASIS_POINTS)).await;
    for _ in 0..3 {
        scorer.answering().await;
    }
    let counted = evidence(&scorer).await;
    assert_eq!(counted.skipped, 3);
    assert_eq!(arm_of(&counted, WireArm::Stable).succeeded, 3);
    assert_eq!(arm_of(&counted, WireArm::Shadow).succeeded, 0);
    assert!(counted.comparisons.is_empty());
    scorer.stop().await;
}
