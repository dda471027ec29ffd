//! `decant doctor`.

use decant_proto::admin::v1::{GetClusterResponse, GetDiagnosisResponse, StoreDiagnosis};
use decant_proto::registry::v1::Model;
use decant_proto::rollout::v1::{Rollout, RolloutPhase, RolloutStatus, Scorer, Slot, SlotStatus};
use serde_json::json;

use crate::fakes::Fake;
use crate::running::{Server, decant, run};

fn healthy() -> Fake {
    Fake {
        models: vec![Model {
            name: "movies".into(),
            ..Model::default()
        }],
        statuses: vec![SlotStatus {
            slot: Some(Slot {
                model: "movies".into(),
                slot: "main".into(),
                generation: 4,
                ..Slot::default()
            }),
            converged: true,
            ..SlotStatus::default()
        }],
        releases: vec![RolloutStatus {
            rollout: Some(Rollout {
                phase: RolloutPhase::Promoted.into(),
                ..Rollout::default()
            }),
            ..RolloutStatus::default()
        }],
        cluster: GetClusterResponse {
            uuid: "5f0c".into(),
            leader: "10.0.0.1:7420".into(),
            epoch: 7,
            ..GetClusterResponse::default()
        },
        diagnosis: GetDiagnosisResponse {
            cluster: "5f0c".into(),
            store: Some(StoreDiagnosis {
                kind: "embedded".into(),
                revision: 42,
                ..StoreDiagnosis::default()
            }),
            audit_entries: 9,
            audit_head_hash: "sha256:ab".into(),
            ..GetDiagnosisResponse::default()
        },
        ..Fake::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_is_told_piece_by_piece() {
    let server = Server::start(healthy()).await;
    let ran = server.run(&["doctor"]).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    for words in [
        "OK     links",
        "serving, answers in ",
        "its clock is ",
        "its store: embedded, revision 42",
        "9 entries, head sha256:ab",
        "all registries are of 5f0c",
        "generation 4, converged",
        "10.0.0.1:7420 leads, epoch 7",
        "none is live: nobody answers, and a change has nobody to wait for",
        "scorers: start a scorer",
        "\n0 failed, 1 to look after\n",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    let json = server.json(&["doctor"]).await;
    assert_eq!((&json["failed"], &json["warned"]), (&json!(0), &json!(1)));
    assert_eq!(json["findings"][0]["level"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_comes_with_what_to_do() {
    let gone = Scorer {
        name: "scorer-1".into(),
        address: "127.0.0.1:1".into(),
        ..Scorer::default()
    };
    let mut fake = healthy();
    fake.scorers = vec![gone];
    fake.statuses[0].blocked = "scorer-1 cannot load v2".into();
    fake.cluster.alarms = vec![
        "movies/main: scorer-1 cannot load v2".into(),
        "no registry leads".into(),
    ];
    let server = Server::start(fake).await;
    let ran = server.run(&["doctor"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    for words in [
        "scorer scorer-1 at 127.0.0.1:1",
        "cannot be reached: Connection refused",
        "blocked: scorer-1 cannot load v2",
        "slot movies/main: `decant slot status movies` shows each scorer",
        "no registry leads",
        "\n3 failed, ",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_registry_the_rest_is_looked_at_all_the_same() {
    let address = "http://127.0.0.1:1";
    let flags = ["--trainer", "--registry", "--scorer"].map(|flag| [flag, address]);
    let arguments = [&["doctor"][..], &flags.concat()].concat();
    let ran = run(decant(&arguments)).await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.stdout.matches("\nFAIL ").count(), 3, "{}", ran.stdout);
    assert!(ran.stdout.contains("SKIPPED  cluster"), "{}", ran.stdout);
}
