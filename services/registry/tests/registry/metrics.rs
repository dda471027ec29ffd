//! What a registry measures of itself.

use decant_proto::rollout::v1::*;

use super::fixture::{Registry, bundle, soon};
use super::fleet::FakeScorer;
use super::releases::{plan, reaches, release, rolling, serving_one, start};
use super::steering::steer;

/// What only the one who leads may tell.
const OF_THE_LEADER: [&str; 7] = [
    "decant_registry_scorers_live",
    "decant_registry_slot_generation",
    "decant_registry_slot_converged",
    "decant_registry_rollout_info",
    "decant_registry_rollout_share",
    "decant_registry_gate_verdict",
    "decant_registry_rollouts_ended_total",
];

#[tokio::test]
async fn the_leader_tells_of_slots_and_rollouts_and_nobody_else_does() {
    let registry = serving_one().await;
    let _scorer = FakeScorer::join(&registry, "one").await;
    let other = registry.replica(rolling("two:1")).await;
    registry
        .measures(&[
            "decant_registry_leader 1",
            "decant_registry_scorers_live 1",
            r#"decant_registry_slot_generation{model="movies",slot="main"} 1"#,
            r#"decant_registry_slot_converged{model="movies",slot="main"} 1"#,
        ])
        .await;
    let quiet = registry.metrics();
    assert!(!quiet.contains("decant_registry_rollout"), "{quiet}");

    let begun = start(&registry, release(plan(&["25%", "pause"]))).await;
    begun.unwrap();
    registry
        .measures(&[
            r#"decant_registry_rollout_info{model="movies",phase="paused",slot="main",step="2"} 1"#,
            r#"decant_registry_rollout_share{model="movies",slot="main"} 0.25"#,
            r#"decant_registry_gate_verdict{gate="error-rate",model="movies",slot="main"} 1"#,
        ])
        .await;
    let told = other.metrics();
    assert!(told.contains("decant_registry_leader 0"), "{told}");
    for name in OF_THE_LEADER {
        assert!(!told.contains(name), "{name} of one that does not lead");
    }

    steer(&registry, Steer::Promote).await.unwrap();
    reaches(&registry, RolloutPhase::Promoted).await;
    let ended =
        r#"decant_registry_rollouts_ended_total{model="movies",outcome="promoted",slot="main"} 1"#;
    registry.measures(&[ended]).await;
    // What has ended is not told of any more.
    soon("the rollout is gone", async || {
        let metrics = registry.metrics();
        (!metrics.contains("decant_registry_rollout_info")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn changes_and_pushes_are_counted_and_what_callers_say_is_no_label() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    registry.push(&bundle("one")).await.unwrap();
    let set = SetSlotRequest {
        model: "movies".into(),
        version: 1,
        issued_by: "mallory".into(),
        reason: "because-of-mallory".into(),
        request_id: "of-mallory".into(),
        ..SetSlotRequest::default()
    };
    registry.slots().set_slot(set.clone()).await.unwrap();
    let of_nothing = SetSlotRequest {
        model: "mallorys-model".into(),
        request_id: String::new(),
        ..set
    };
    registry.slots().set_slot(of_nothing).await.unwrap_err();
    registry
        .measures(&[
            r#"decant_registry_mutations_total{outcome="done",verb="slot.set"} 1"#,
            "decant_registry_pushes_in_progress 0",
            "decant_registry_watch_divergences_total 0",
        ])
        .await;
    let metrics = registry.metrics();
    let pushed = metrics
        .lines()
        .find_map(|line| line.strip_prefix("decant_registry_pushed_bytes_total "));
    assert!(pushed.is_some_and(|bytes| bytes != "0"), "{metrics}");
    assert!(!metrics.contains("mallory"), "{metrics}");
}

#[tokio::test]
async fn who_was_stopped_tells_nothing_more() {
    let registry = Registry::start().await;
    registry.leader().await;
    let telemetry = registry.telemetry();
    registry.stop().await;
    let families = telemetry.prometheus().gather();
    let of_registry = |name: &str| name.starts_with("decant_registry_leader");
    assert!(!families.iter().any(|family| of_registry(family.name())));
}
