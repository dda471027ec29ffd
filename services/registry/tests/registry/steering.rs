//! What operators tell rollouts and slots: one of those who race wins, and the others hear of it.

use decant_proto::rollout::v1::start_rollout_request::How;
use decant_proto::rollout::v1::*;
use decant_proto::status::Reason;
use futures::future::join_all;
use tonic::{Code, Status};

use super::fixture::{Registry, bundle};
use super::fleet::FakeScorer;
use super::releases::{parts, pauses, plan, reaches, release, serving_one, slot, start, status};

pub(crate) async fn steer(
    registry: &Registry,
    steer: Steer,
) -> Result<SteerRolloutResponse, Status> {
    steer_by(registry, steer, "ana", None, false).await
}

async fn steer_by(
    registry: &Registry,
    steer: Steer,
    by: &str,
    expected_generation: Option<u64>,
    dry_run: bool,
) -> Result<SteerRolloutResponse, Status> {
    let request = SteerRolloutRequest {
        model: "movies".into(),
        steer: steer.into(),
        issued_by: by.into(),
        reason: "so be it".into(),
        expected_generation,
        dry_run,
        ..SteerRolloutRequest::default()
    };
    let response = registry.slots().steer_rollout(request).await?;
    Ok(response.into_inner())
}

fn back(version: u64, dry_run: bool) -> RollbackRequest {
    RollbackRequest {
        model: "movies".into(),
        version,
        issued_by: "eva".into(),
        reason: "it burns".into(),
        dry_run,
        ..RollbackRequest::default()
    }
}

async fn roll_back(
    registry: &Registry,
    request: RollbackRequest,
) -> Result<RollbackResponse, Status> {
    Ok(registry.slots().rollback(request).await?.into_inner())
}

async fn freeze(registry: &Registry, frozen: bool, reason: &str) -> Result<Slot, Status> {
    let request = FreezeSlotRequest {
        model: "movies".into(),
        frozen,
        issued_by: "bob".into(),
        reason: reason.into(),
        ..FreezeSlotRequest::default()
    };
    let response = registry.slots().freeze_slot(request).await?;
    Ok(response.into_inner().slot.unwrap())
}

/// A registry, a scorer, and a rollout that waits at 10 %.
async fn at_ten_percent() -> (Registry, FakeScorer) {
    let registry = serving_one().await;
    let scorer = FakeScorer::join(&registry, "a").await;
    let steps = ["10%", "pause", "20%", "pause"];
    start(&registry, release(plan(&steps))).await.unwrap();
    pauses(&registry, 1).await;
    (registry, scorer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_race_one_wins_and_the_others_are_told_who_did() {
    let (registry, _scorer) = at_ten_percent().await;
    let before = slot(&registry).await.generation;
    let names: Vec<String> = (0..16).map(|number| format!("operator-{number}")).collect();
    let race = names
        .iter()
        .map(|name| steer_by(&registry, Steer::Promote, name, Some(before), false));
    let outcomes = names.iter().zip(join_all(race).await);
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.partition(|(_, outcome)| outcome.is_ok());
    assert_eq!(won.len(), 1);
    let generation = format!("generation {}", before + 1);
    for (_, outcome) in lost {
        let status = outcome.unwrap_err();
        let reason = Reason::of(&status);
        assert!(
            matches!(reason, Some(Reason::Conflict | Reason::OtherGeneration)),
            "{status}"
        );
        // The leader may have gone on from there by now, but nobody else.
        assert!(
            status.message().contains(&generation) && status.message().contains(won[0].0),
            "{status}"
        );
    }
    pauses(&registry, 3).await;
    assert_eq!(slot(&registry).await.generation, before + 1);
}

#[tokio::test]
async fn a_rollout_pauses_goes_on_and_is_aborted_as_it_is_told() {
    let registry = serving_one().await;
    let _scorer = FakeScorer::join(&registry, "a").await;
    start(
        &registry,
        release(plan(&["10%", "pause", "20%", "pause 10m", "50%"])),
    )
    .await
    .unwrap();
    pauses(&registry, 1).await;
    let generation = slot(&registry).await.generation;
    let again = steer(&registry, Steer::Pause)
        .await
        .unwrap()
        .rollout
        .unwrap();
    assert_eq!(again.paused_by(), PausedBy::Operator);
    assert_eq!(slot(&registry).await.generation, generation);
    let twice = steer(&registry, Steer::Pause).await.unwrap_err();
    assert_eq!(Reason::of(&twice), Some(Reason::RolloutPhase), "{twice}");
    // The plan's pause comes first again, and then the next step.
    steer(&registry, Steer::Resume).await.unwrap();
    pauses(&registry, 1).await;
    steer(&registry, Steer::Promote).await.unwrap();
    pauses(&registry, 3).await;

    let would = steer_by(&registry, Steer::Abort, "ana", None, true)
        .await
        .unwrap();
    assert_eq!(would.rollout.unwrap().phase(), RolloutPhase::Aborting);
    let (foreseen, before) = (would.slot.unwrap(), would.before.unwrap());
    assert_eq!(parts(&foreseen), [(1, Arm::Stable, 10_000)]);
    assert_eq!(before, slot(&registry).await, "nothing was done");
    let done = steer(&registry, Steer::Abort).await.unwrap();
    let made = done.slot.unwrap();
    assert_eq!(
        (parts(&made), made.generation),
        (parts(&foreseen), foreseen.generation)
    );
    let ended = reaches(&registry, RolloutPhase::Aborted)
        .await
        .rollout
        .unwrap();
    assert_eq!(ended.reason_in_phase, "so be it");
    let over = steer(&registry, Steer::Resume).await.unwrap_err();
    assert!(over.message().contains("retry"), "{over}");
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let registry = serving_one().await;
    let before = registry.kept().await;
    let dry = StartRolloutRequest {
        dry_run: true,
        ..release(plan(&["10%", "50%"]))
    };
    let would = start(&registry, dry).await.unwrap();
    let shares: Vec<_> = would
        .course
        .iter()
        .map(|slot| parts(slot).last().unwrap().2)
        .collect();
    assert_eq!(shares, [10_000, 1_000, 5_000, 10_000]);
    assert_eq!(would.rollout.unwrap().phase(), RolloutPhase::Pending);
    let nothing_before = roll_back(&registry, back(0, true)).await.unwrap_err();
    assert_eq!(nothing_before.code(), Code::FailedPrecondition);
    let would = roll_back(&registry, back(2, true)).await.unwrap();
    assert_eq!(parts(&would.slot.unwrap()), [(2, Arm::Stable, 10_000)]);
    assert_eq!(registry.kept().await, before);
}

#[tokio::test]
async fn a_rollback_ends_a_rollout_and_asks_nobody() {
    let (registry, scorer) = at_ten_percent().await;
    // Neither scorers nor a freeze are in the way.
    scorer.behaves(|scorer| scorer.follows = false);
    freeze(&registry, true, "audit").await.unwrap();
    let id = status(&registry).await.rollout.unwrap().id;
    let done = roll_back(&registry, back(0, false)).await.unwrap();
    assert_eq!(done.rollout, id);
    let now = done.slot.unwrap();
    assert_eq!(parts(&now), [(1, Arm::Stable, 10_000)]);
    assert_eq!((now.prepare[0].version, now.rollout.as_str()), (2, ""));
    assert!(now.frozen.is_some());
    let ended = status(&registry).await.rollout.unwrap();
    assert_eq!(ended.phase(), RolloutPhase::RolledBack);
    assert_eq!(
        (ended.reason_in_phase.as_str(), ended.moved_by.as_str()),
        ("it burns", "eva")
    );
    let told = registry.audit("movies/main").await.remove(0);
    assert_eq!(
        (told.action.as_str(), told.actor.as_str()),
        ("slot.rollback", "eva")
    );
}

#[tokio::test]
async fn a_promoted_version_is_rolled_back_to_the_one_of_before() {
    let registry = serving_one().await;
    let _scorer = FakeScorer::join(&registry, "a").await;
    start(&registry, release(plan(&[]))).await.unwrap();
    let promoted = reaches(&registry, RolloutPhase::Promoted)
        .await
        .rollout
        .unwrap();
    let done = roll_back(&registry, back(0, false)).await.unwrap();
    assert_eq!(done.rollout, promoted.id);
    assert_eq!(parts(&done.slot.unwrap()), [(1, Arm::Stable, 10_000)]);
    assert_eq!(parts(&done.before.unwrap()), [(2, Arm::Stable, 10_000)]);
    reaches(&registry, RolloutPhase::RolledBack).await;
    // To what is there already is no change.
    let same = roll_back(&registry, back(1, false)).await.unwrap();
    assert_eq!(same.slot, same.before);
}

#[tokio::test]
async fn a_frozen_slot_stays_as_it_is_until_it_is_thawed() {
    let (registry, _scorer) = at_ten_percent().await;
    let unreasoned = freeze(&registry, true, "").await.unwrap_err();
    assert_eq!(unreasoned.code(), Code::InvalidArgument);
    let frozen = freeze(&registry, true, "audit").await.unwrap();
    let by = frozen.frozen.clone().unwrap();
    assert_eq!(
        (by.issued_by.as_str(), by.reason.as_str()),
        ("bob", "audit")
    );
    assert_eq!(
        parts(&frozen),
        [(1, Arm::Stable, 9_000), (2, Arm::Canary, 1_000)]
    );
    for wanted in [Steer::Resume, Steer::Promote, Steer::PromoteFully] {
        let refused = steer(&registry, wanted).await.unwrap_err();
        assert_eq!(Reason::of(&refused), Some(Reason::SlotFrozen), "{refused}");
        assert!(refused.message().contains("`bob`"), "{refused}");
    }
    super::fixture::soon("operators are told what it waits for", async || {
        let status = status(&registry).await;
        status.waits_for.contains("frozen by `bob`").then_some(())
    })
    .await;
    steer(&registry, Steer::Abort).await.unwrap();
    reaches(&registry, RolloutPhase::Aborted).await;
    let refused = start(&registry, release(plan(&["10%"]))).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::SlotFrozen), "{refused}");
    let set = SetSlotRequest {
        model: "movies".into(),
        version: 2,
        ..SetSlotRequest::default()
    };
    let refused = registry.slots().set_slot(set.clone()).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::SlotFrozen), "{refused}");
    freeze(&registry, false, "").await.unwrap();
    registry.slots().set_slot(set).await.unwrap();
}

#[tokio::test]
async fn a_rollout_goes_on_where_it_was_when_its_slot_thaws() {
    let (registry, _scorer) = at_ten_percent().await;
    freeze(&registry, true, "audit").await.unwrap();
    freeze(&registry, false, "").await.unwrap();
    steer(&registry, Steer::Resume).await.unwrap();
    pauses(&registry, 3).await;
}

#[tokio::test]
async fn what_is_expected_of_the_generation_must_be_so() {
    let registry = serving_one().await;
    let expecting = StartRolloutRequest {
        expected_generation: Some(7),
        ..release(plan(&["10%"]))
    };
    let refused = start(&registry, expecting).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::OtherGeneration));
    assert!(
        refused
            .message()
            .contains("generation 1, not 7; it was set by `ana`"),
        "{refused}"
    );
    let refused = roll_back(
        &registry,
        RollbackRequest {
            expected_generation: Some(7),
            ..back(2, false)
        },
    )
    .await
    .unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::OtherGeneration));
    start(&registry, release(plan(&["10%"]))).await.unwrap();
    let refused = steer_by(&registry, Steer::Abort, "ana", Some(1), false)
        .await
        .unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::OtherGeneration));
}

#[tokio::test]
async fn the_same_request_begins_one_rollout() {
    let registry = serving_one().await;
    let named = StartRolloutRequest {
        request_id: "once".into(),
        ..release(plan(&["10%"]))
    };
    let first = start(&registry, named.clone()).await.unwrap();
    let second = start(&registry, named).await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn plans_are_kept_by_name() {
    let registry = serving_one().await;
    let get = async |name: &str| {
        let request = GetPlanRequest {
            model: "movies".into(),
            name: name.into(),
        };
        let response = registry.slots().get_plan(request).await?;
        Ok::<_, Status>(response.into_inner().plan.unwrap())
    };
    let put = async |name: &str, plan: Plan| {
        let request = PutPlanRequest {
            model: "movies".into(),
            name: name.into(),
            plan: Some(plan),
            issued_by: "ana".into(),
            ..PutPlanRequest::default()
        };
        registry.slots().put_plan(request).await
    };
    let built_in = get("").await.unwrap();
    assert_eq!(
        (built_in.name.as_str(), built_in.issued_by.as_str()),
        ("default", "")
    );
    assert_eq!(get("careful").await.unwrap_err().code(), Code::NotFound);
    put("careful", plan(&["1%", "pause"])).await.unwrap();
    put("", plan(&["30%", "pause"])).await.unwrap();
    let shrinking = put("bad", plan(&["30%", "20%"])).await.unwrap_err();
    assert!(
        shrinking.code() == Code::InvalidArgument && shrinking.message().contains("steps[1]"),
        "{shrinking}"
    );
    let request = ListPlansRequest {
        model: "movies".into(),
    };
    let listed = registry.slots().list_plans(request).await.unwrap();
    let names: Vec<_> = listed
        .into_inner()
        .plans
        .into_iter()
        .map(|plan| plan.name)
        .collect();
    assert_eq!(names, ["careful", "default"]);
    for (how, share) in [(Some(How::PlanName("careful".into())), 100), (None, 3_000)] {
        let request = StartRolloutRequest {
            how,
            dry_run: true,
            ..release(plan(&[]))
        };
        let would = start(&registry, request).await.unwrap();
        assert_eq!(parts(&would.course[1])[1].2, share);
    }
    let unknown = StartRolloutRequest {
        how: Some(How::PlanName("unknown".into())),
        ..release(plan(&[]))
    };
    let refused = start(&registry, unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn a_rollout_needs_something_to_begin_from_and_something_new() {
    let registry = serving_one().await;
    let elsewhere = StartRolloutRequest {
        slot: "other".into(),
        ..release(plan(&[]))
    };
    let refused = start(&registry, elsewhere).await.unwrap_err();
    assert!(
        refused.code() == Code::FailedPrecondition && refused.message().contains("no stable"),
        "{refused}"
    );
    let same = StartRolloutRequest {
        version: 1,
        ..release(plan(&[]))
    };
    let refused = start(&registry, same).await.unwrap_err();
    assert!(refused.message().contains("serves v1 already"), "{refused}");
    let mut compared = plan(&[]);
    compared.gates[0].metric = "teacher-kl".into();
    let refused = start(&registry, release(compared)).await.unwrap_err();
    assert!(
        refused.code() == Code::FailedPrecondition
            && refused.message().contains("teacher-kl needs a teacher"),
        "{refused}"
    );
}

/// A version's teacher is found by what the version says that it learnt from.
#[tokio::test]
async fn a_teacher_is_found_by_its_digest() {
    let registry = serving_one().await;
    let teacher = bundle("teacher");
    registry.push(&teacher).await.unwrap();
    let student = super::fixture::bundle_with("student", |manifest| {
        manifest.lineage.teachers.push(decant_model::TeacherRef {
            name: "wide".into(),
            digest: teacher.digest(),
            weight: 1.0,
        });
    });
    registry.push(&student).await.unwrap();
    let request = StartRolloutRequest {
        version: 4,
        dry_run: true,
        ..release(plan(&["10%"]))
    };
    let would = start(&registry, request).await.unwrap();
    assert_eq!(would.rollout.unwrap().teacher.unwrap().version, 3);
    let expected = [
        (1, Arm::Stable, 9_000),
        (4, Arm::Canary, 1_000),
        (3, Arm::Teacher, 0),
    ];
    assert_eq!(parts(&would.course[1]), expected);
    let prepared: Vec<_> = would.course[0]
        .prepare
        .iter()
        .map(|of| of.version)
        .collect();
    assert_eq!(prepared, [4, 3]);
}
