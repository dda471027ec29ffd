//! Two versions side by side: what the version before wrote is read, and who speaks its protocol is understood.
//!
//! `tests/compat/0.1` holds what version 0.1 left: the folder of a standalone process that was stopped in the middle of a
//! rollout, and its protocol as compiled descriptors. A release adds a folder of its own, and takes away the oldest.

mod before;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use decant_proto::admin::v1 as admin;
use decant_proto::rollout::v1 as rollout;
use decant_proto::trainer::v1 as trainer;
use decant_tests::{Cluster, eventually};
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use tempfile::TempDir;

use self::before::Before;

/// The protocol's descriptors as they were.
const PROTOCOL: &str = "protocol.bin";

fn kept(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/compat/0.1")).join(name)
}

/// A copy of the folder that the version before left.
fn folder_of_before() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar")
        .args(["--extract", "--strip-components=1", "--file"])
        .arg(kept("data.tar.gz"))
        .arg("--directory")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(unpacked.success());
    folder
}

/// A cluster of this version on what the version before left, once it serves that.
async fn cluster_of_before() -> Cluster {
    let datasets = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_in(folder_of_before(), datasets.path()).await;
    eventually("what was in service is again", || async {
        let request = rollout::GetSlotStatusRequest {
            model: "tiny".to_owned(),
            slot: String::new(),
        };
        let answer = cluster.rollout().get_slot_status(request).await;
        let status = answer
            .map_err(|status| status.to_string())?
            .into_inner()
            .status
            .unwrap();
        let serves = status.converged && status.scorers.len() == 1;
        serves.then_some(()).ok_or_else(|| format!("{status:?}"))
    })
    .await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_version_before_wrote_goes_on_where_it_stopped() {
    let cluster = cluster_of_before().await;

    let get = rollout::GetSlotRequest {
        model: "tiny".to_owned(),
        slot: "edge".to_owned(),
    };
    let edge = cluster.rollout().get_slot(get).await.unwrap();
    let edge = edge.into_inner().slot.unwrap();
    assert_eq!(edge.generation, 3);
    assert_eq!(edge.frozen.unwrap().reason, "kept for the next version");

    let get = rollout::GetRolloutRequest {
        model: "tiny".to_owned(),
        ..rollout::GetRolloutRequest::default()
    };
    let status = cluster.rollout().get_rollout(get).await.unwrap();
    let paused = status.into_inner().status.unwrap().rollout.unwrap();
    assert_eq!(paused.phase(), rollout::RolloutPhase::Paused, "{paused:?}");

    let steer = rollout::SteerRolloutRequest {
        model: "tiny".to_owned(),
        steer: rollout::Steer::Abort.into(),
        reason: "the upgrade is over".to_owned(),
        ..rollout::SteerRolloutRequest::default()
    };
    cluster.rollout().steer_rollout(steer).await.unwrap();
    eventually("the stable version has all of the traffic", || async {
        let get = rollout::GetSlotRequest {
            model: "tiny".to_owned(),
            slot: String::new(),
        };
        let slot = cluster.rollout().get_slot(get).await.unwrap();
        let slot = slot.into_inner().slot.unwrap();
        let versions: Vec<u64> = slot.active.iter().map(|active| active.version).collect();
        if versions == [1] && slot.generation > 8 {
            Ok(())
        } else {
            Err(slot)
        }
    })
    .await;

    let list = trainer::ListJobsRequest {};
    let jobs = cluster.trainer().list_jobs(list).await.unwrap();
    let jobs = jobs.into_inner().jobs;
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].state(), trainer::JobState::Succeeded);

    let verify = admin::VerifyAuditRequest {};
    let verified = cluster.admin().verify_audit(verify).await.unwrap();
    let verified = verified.into_inner();
    assert_eq!(verified.broken, "", "the chain goes on over both versions");
    assert!(verified.entries > 20, "{verified:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_version_before_are_understood() {
    let cluster = cluster_of_before().await;
    let before = Before::read(&kept(PROTOCOL));
    let registry = before.connect(cluster.addresses.registry);
    let (scorer, trainer) = (
        before.connect(cluster.addresses.scorer),
        before.connect(cluster.addresses.trainer),
    );

    let score = scorer
        .call(
            "decant.scorer.v1.ScorerService/Score",
            r#"model { model: "tiny" slot: "edge" }
               columns { name: "user" string_values { values: "u1" values: "u2" } }
               columns { name: "item" string_values { values: "i3" values: "i4" } }"#,
        )
        .await;
    assert!(
        score.contains("version:1") && score.contains("generation:3"),
        "{score}"
    );
    assert!(score.contains("scores:["), "{score}");

    let set = registry
        .call(
            "decant.rollout.v1.RolloutService/FreezeSlot",
            r#"model: "tiny" slot: "edge" frozen: false issued_by: "before" reason: "upgraded""#,
        )
        .await;
    assert!(set.contains("generation:4"), "{set}");
    let set = registry
        .call(
            "decant.rollout.v1.RolloutService/SetSlot",
            r#"model: "tiny" slot: "edge" version: 2 issued_by: "before""#,
        )
        .await;
    assert!(set.contains("generation:5"), "{set}");
    eventually("a change by the old client is made", || async {
        let status = registry
            .call(
                "decant.rollout.v1.RolloutService/GetSlotStatus",
                r#"model: "tiny" slot: "edge""#,
            )
            .await;
        if status.contains("converged:true") && status.contains("generation:6") {
            Ok(())
        } else {
            Err(status)
        }
    })
    .await;

    for (service, method, expected) in [
        (
            &registry,
            "decant.registry.v1.RegistryService/ListVersions",
            "version:2",
        ),
        (
            &registry,
            "decant.rollout.v1.RolloutService/GetRollout",
            "tiny",
        ),
    ] {
        let answer = service.call(method, r#"model: "tiny""#).await;
        assert!(answer.contains(expected), "{method}: {answer}");
    }
    let audit = registry
        .call("decant.admin.v1.AdminService/ListAudit", "page_size: 5")
        .await;
    assert!(audit.contains("upgraded"), "{audit}");
    let jobs = trainer
        .call("decant.trainer.v1.TrainerService/ListJobs", "")
        .await;
    assert!(jobs.contains("JOB_STATE_SUCCEEDED"), "{jobs}");
    let metadata = scorer
        .call(
            "inference.GRPCInferenceService/ModelMetadata",
            r#"name: "tiny""#,
        )
        .await;
    assert!(metadata.contains("FP32"), "{metadata}");
    cluster.stop().await;
}

/// What makes a field the same on the wire.
fn fields(message: &DescriptorProto) -> BTreeMap<i32, String> {
    let shape = |field: &prost_types::FieldDescriptorProto| {
        format!(
            "{} {:?} {:?} {}",
            field.name(),
            field.r#type(),
            field.label(),
            field.type_name()
        )
    };
    let fields = message.field.iter();
    fields.map(|field| (field.number(), shape(field))).collect()
}

fn values(of: &EnumDescriptorProto) -> BTreeMap<i32, &str> {
    of.value
        .iter()
        .map(|value| (value.number(), value.name()))
        .collect()
}

/// Everything by its full name: messages' fields, enums' values, services' calls.
fn surface(set: &FileDescriptorSet) -> BTreeMap<String, BTreeMap<i32, String>> {
    fn enter(
        prefix: &str,
        message: &DescriptorProto,
        into: &mut BTreeMap<String, BTreeMap<i32, String>>,
    ) {
        let name = format!("{prefix}.{}", message.name());
        for inner in &message.nested_type {
            enter(&name, inner, into);
        }
        for inner in &message.enum_type {
            let values = values(inner).into_iter();
            let values = values.map(|(number, name)| (number, name.to_owned()));
            into.insert(format!("{name}.{}", inner.name()), values.collect());
        }
        into.insert(name, fields(message));
    }
    let mut found = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            enter(file.package(), message, &mut found);
        }
        for one in &file.enum_type {
            let values = values(one).into_iter();
            let values = values.map(|(number, name)| (number, name.to_owned()));
            found.insert(
                format!("{}.{}", file.package(), one.name()),
                values.collect(),
            );
        }
        for service in &file.service {
            for method in &service.method {
                let streams = (method.client_streaming(), method.server_streaming());
                let shape = format!(
                    "{} {} {streams:?}",
                    method.input_type(),
                    method.output_type()
                );
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                found.insert(name, BTreeMap::from([(0, shape)]));
            }
        }
    }
    found
}

/// What the version before says is still there, with the same numbers and types: old and new processes understand each other
/// while a cluster is upgraded.
#[test]
fn the_protocol_only_grows() {
    let before = FileDescriptorSet::decode(&*std::fs::read(kept(PROTOCOL)).unwrap()).unwrap();
    let now = FileDescriptorSet::decode(decant_proto::FILE_DESCRIPTOR_SET).unwrap();
    let (before, now) = (surface(&before), surface(&now));
    assert!(before.len() > 150, "{} names", before.len());
    for (name, parts) in before {
        let kept = now.get(&name).unwrap_or_else(|| panic!("{name} is gone"));
        for (number, shape) in parts {
            assert_eq!(kept.get(&number), Some(&shape), "{name}, number {number}");
        }
    }
}
