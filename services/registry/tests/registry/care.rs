//! The care of a cluster: backups, a store that was put back, garbage, and metadata made anew.

use std::time::{Duration, SystemTime};

use decant_coordination::keys::ObservedState;
use decant_proto::admin::v1::*;
use decant_proto::registry::v1::{
    GetVersionRequest, ListVersionsRequest, ListVersionsResponse, VersionState,
};
use decant_proto::rollout::v1::{
    GetSlotRequest, ListSlotHistoryRequest, ListSlotHistoryResponse, SetSlotRequest, Slot,
};
use futures::stream;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use super::fixture::{Registry, at_least, bundle, quick};
use super::scorer::Scorer;

async fn filled() -> Registry {
    let registry = Registry::start_with(quick("one:1")).await;
    registry.create("movies", vec![at_least("auc", 0.7)]).await;
    for word in ["one", "two"] {
        registry.push(&bundle(word)).await.unwrap();
    }
    set(&registry, 1).await.unwrap();
    registry
}

async fn set(registry: &Registry, version: u64) -> Result<Slot, Status> {
    let request = SetSlotRequest {
        model: "movies".into(),
        version,
        issued_by: "ana".into(),
        ..SetSlotRequest::default()
    };
    let response = registry.slots().set_slot(request).await?;
    Ok(response.into_inner().slot.unwrap())
}

async fn slot(registry: &Registry) -> Slot {
    let request = GetSlotRequest {
        model: "movies".into(),
        slot: String::new(),
    };
    let response = registry.slots().get_slot(request).await.unwrap();
    response.into_inner().slot.unwrap()
}

#[tokio::test]
async fn a_registry_says_how_it_and_its_store_are() {
    let registry = filled().await;
    let response = registry.admin().get_diagnosis(GetDiagnosisRequest {}).await;
    let diagnosis = response.unwrap().into_inner();
    let cluster = registry.cluster().await;
    assert_eq!(diagnosis.cluster, cluster.uuid);
    let store = diagnosis.store.unwrap();
    assert_eq!(store.kind, "embedded");
    assert!(store.revision > 0 && store.errors.is_empty(), "{store:?}");
    let log = registry.admin().verify_audit(VerifyAuditRequest {}).await;
    // The leader may have added some meanwhile.
    let entries = log.unwrap().into_inner().entries;
    assert!(diagnosis.audit_entries > 0 && diagnosis.audit_entries <= entries);
    assert!(diagnosis.audit_head_hash.starts_with("sha256:"));
    assert!(diagnosis.time.is_some() && !diagnosis.build.is_empty());
}

async fn export(registry: &Registry) -> Vec<MetadataRecord> {
    let response = registry
        .admin()
        .export_metadata(ExportMetadataRequest {})
        .await;
    let mut messages = response.unwrap().into_inner();
    let mut records = Vec::new();
    while let Some(message) = messages.next().await {
        records.extend(message.unwrap().records);
    }
    records
}

async fn import(registry: &Registry, records: Vec<MetadataRecord>) -> Result<u64, Status> {
    let messages: Vec<_> = records
        .chunks(3)
        .map(|records| ImportMetadataRequest {
            records: records.to_vec(),
            issued_by: "ana".into(),
        })
        .collect();
    let response = registry
        .admin()
        .import_metadata(stream::iter(messages))
        .await?;
    Ok(response.into_inner().records)
}

async fn verdict(registry: &Registry) -> VerifyAuditResponse {
    let response = registry.admin().verify_audit(VerifyAuditRequest {}).await;
    response.unwrap().into_inner()
}

/// What a client can list.
async fn listing(registry: &Registry) -> (ListVersionsResponse, ListSlotHistoryResponse, Slot) {
    let versions = ListVersionsRequest {
        model: "movies".into(),
        ..ListVersionsRequest::default()
    };
    let history = ListSlotHistoryRequest {
        model: "movies".into(),
        ..ListSlotHistoryRequest::default()
    };
    (
        registry
            .client()
            .list_versions(versions)
            .await
            .unwrap()
            .into_inner(),
        registry
            .slots()
            .list_slot_history(history)
            .await
            .unwrap()
            .into_inner(),
        slot(registry).await,
    )
}

#[tokio::test]
async fn an_export_makes_another_store_the_same_cluster() {
    let registry = filled().await;
    let scorer = Scorer::join(&registry, "a").await;
    scorer
        .say(1, 1, (1, bundle("one").digest()), ObservedState::Ready)
        .await;
    let records = export(&registry).await;
    for kind in ["leader", "scorers/", "observed/", "requests/"] {
        assert!(
            !records.iter().any(|record| record.key.starts_with(kind)),
            "{kind}"
        );
    }
    let before = verdict(&registry).await;

    let other = Registry::start_with(quick("other:1")).await;
    let stray = MetadataRecord {
        key: "scorers/a".into(),
        value: Default::default(),
    };
    let refused = import(&other, vec![stray]).await.unwrap_err();
    assert!(
        refused.code() == Code::InvalidArgument && refused.message().contains("`scorers/a`"),
        "{refused}"
    );
    let newer = MetadataRecord {
        key: "models/movies".into(),
        value: "{\"format\":2}".into(),
    };
    let refused = import(&other, vec![newer]).await.unwrap_err();
    assert!(refused.message().contains("format 2"), "{refused}");

    let written = import(&other, records.clone()).await.unwrap();
    // The cluster's own record and the log's head are not counted: they are not taken as they are.
    assert_eq!(written, records.len() as u64 - 2);
    assert_eq!(listing(&other).await, listing(&registry).await);
    let (old, new) = (registry.cluster().await, other.cluster().await);
    assert_eq!(
        (&new.uuid, new.incarnation),
        (&old.uuid, old.incarnation + 1)
    );
    let after = verdict(&other).await;
    assert_eq!((after.entries, &*after.broken), (before.entries + 1, ""));
    let entry = other.audit("cluster").await.remove(0);
    assert_eq!((&*entry.action, &*entry.actor), ("metadata.import", "ana"));
    assert_eq!(entry.previous_hash, before.head_hash);
    // It goes on from there.
    set(&other, 2).await.unwrap();

    let refused = import(&other, records).await.unwrap_err();
    assert!(
        refused.code() == Code::FailedPrecondition && refused.message().contains("not empty"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_slot_that_scorers_are_ahead_of_is_left_alone_until_the_store_is_adopted() {
    let registry = filled().await;
    let scorer = Scorer::join(&registry, "a").await;
    // As after an older backup was restored: the scorer has seen what the store has forgotten.
    scorer.freeze(7).await;
    let refused = set(&registry, 2).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for words in ["scorer `a`", "generation 7", "decant admin adopt"] {
        assert!(refused.message().contains(words), "{refused}");
    }
    let cluster = registry.cluster().await;
    assert_eq!(cluster.scorers, 1);
    assert!(
        cluster
            .alarms
            .iter()
            .any(|alarm| alarm.contains("`a` is frozen at generation 7")),
        "{:?}",
        cluster.alarms
    );
    let request = AdoptStoreRequest {
        issued_by: "ana".into(),
        reason: "restored the backup of Monday".into(),
        request_id: "adopt".into(),
    };
    let no_reason = AdoptStoreRequest {
        reason: String::new(),
        ..request.clone()
    };
    let refused = registry.admin().adopt_store(no_reason).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let adopted = registry.admin().adopt_store(request.clone()).await.unwrap();
    let adopted = adopted.into_inner();
    assert_eq!(adopted.incarnation, cluster.incarnation + 1);
    assert_eq!(adopted.slots, ["movies/main"]);
    let again = registry.admin().adopt_store(request).await.unwrap();
    assert_eq!(again.into_inner(), adopted);
    let slot = slot(&registry).await;
    assert_eq!((slot.generation, slot.active[0].version), (8, 1));
    let actions: Vec<_> = registry
        .audit("")
        .await
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    assert_eq!(actions[..2], ["store.adopt", "slot.adopt"]);
    scorer
        .say(8, 8, (2, bundle("two").digest()), ObservedState::Ready)
        .await;
    assert_eq!(set(&registry, 2).await.unwrap().generation, 9);
}

async fn collect(registry: &Registry, request: CollectGarbageRequest) -> CollectGarbageResponse {
    let response = registry.admin().collect_garbage(request).await;
    response.unwrap().into_inner()
}

#[tokio::test]
async fn garbage_is_what_no_version_names_and_is_old() {
    let registry = filled().await;
    let short = CollectGarbageRequest {
        grace_seconds: 3599,
        ..CollectGarbageRequest::default()
    };
    let refused = registry.admin().collect_garbage(short).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    // A bundle that was stored and never became a version: its push died before.
    let stray = bundle("stray");
    let limits = decant_artifact::Limits::default();
    let bundles = registry.bundles();
    let mut writer = bundles
        .write(stray.digest(), stray.manifest.clone(), &limits)
        .unwrap();
    for (path, bytes) in &stray.files {
        writer.write(path, bytes.clone()).await.unwrap();
    }
    writer.finish().await.unwrap();
    let young = collect(&registry, CollectGarbageRequest::default()).await;
    assert_eq!((young.bundles.len(), young.blobs), (0, 0));
    assert!(young.kept_young > 0);

    let long_ago = SystemTime::now() - Duration::from_secs(3 * 24 * 60 * 60);
    for file in registry.bundle_files() {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    let dry = CollectGarbageRequest {
        dry_run: true,
        ..CollectGarbageRequest::default()
    };
    let before = registry.kept().await;
    let would = collect(&registry, dry).await;
    assert_eq!(would.bundles, [stray.digest().to_string()]);
    assert_eq!(registry.kept().await, before);
    let request = CollectGarbageRequest {
        issued_by: "ana".into(),
        ..CollectGarbageRequest::default()
    };
    let did = collect(&registry, request).await;
    assert_eq!((&did.bundles, did.blobs), (&would.bundles, 1));
    let entry = registry.audit("cluster").await.remove(0);
    assert_eq!((&*entry.action, &*entry.actor), ("garbage.collect", "ana"));
    for version in [1, 2] {
        let request = GetVersionRequest {
            model: "movies".into(),
            version,
        };
        registry.client().get_version(request).await.unwrap();
        assert!(
            registry
                .blob([b"one", b"two"][version as usize - 1])
                .exists()
        );
    }
}

#[tokio::test]
async fn metadata_that_was_lost_is_made_anew_from_the_bundles() {
    let registry = filled().await;
    let lost = Registry::start_with(quick("other:1")).await;
    for file in registry.bundle_files() {
        let (_, rest) = file.split_once("/bundles/").unwrap();
        let copy = lost.folder().join("bundles").join(rest);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(&file, &copy).unwrap();
        let when = std::fs::metadata(&file).unwrap().modified().unwrap();
        let copy = std::fs::File::options().write(true).open(copy).unwrap();
        copy.set_modified(when).unwrap();
    }
    let rebuild = async |dry_run: bool| {
        let request = RebuildMetadataRequest {
            dry_run,
            issued_by: "ana".into(),
        };
        let response = lost.admin().rebuild_metadata(request).await.unwrap();
        response.into_inner()
    };
    let would = rebuild(true).await;
    assert_eq!(
        (&*would.models, would.versions),
        (&["movies".to_owned()][..], 2)
    );
    assert_eq!(lost.kept().await.0, Vec::<String>::new());
    assert_eq!(rebuild(false).await, would);
    let request = ListVersionsRequest {
        model: "movies".into(),
        ..ListVersionsRequest::default()
    };
    let versions = lost.client().list_versions(request).await.unwrap();
    let versions = versions.into_inner().versions;
    let digests: Vec<_> = versions.iter().map(|version| &*version.digest).collect();
    let (two, one) = (bundle("two").digest(), bundle("one").digest());
    assert_eq!(digests, [two.to_string(), one.to_string()]);
    assert_eq!(versions[0].state(), VersionState::Approved);
    let again = rebuild(false).await;
    assert_eq!((again.models.len(), again.versions), (0, 0));
    assert_eq!(verdict(&lost).await.broken, "");
}
