//! The life of models and versions after a push.

use decant_artifact::SigningKey;
use decant_coordination::keys::{
    self, DigestKey, DigestRecord, ModelKey, StateKey, StateRecord, VersionKey, VersionRecord,
    VersionState as Stored,
};
use decant_coordination::{Keyspace, Txn};
use decant_model::{Digest, Manifest, ModelVersion, Signature};
use decant_proto::registry::push::push_version;
use decant_proto::registry::v1::*;
use decant_proto::rollout::v1::SetSlotRequest;
use tonic::{Code, Status};

use super::fixture::{Registry, at_least, bundle, bundle_with, movies};

async fn retire(registry: &Registry, version: u64) -> Result<Version, Status> {
    let request = RetireVersionRequest {
        model: "movies".into(),
        version,
        issued_by: "ana".into(),
        reason: "too slow".into(),
        ..RetireVersionRequest::default()
    };
    let response = registry.client().retire_version(request).await?;
    Ok(response.into_inner().version.unwrap())
}

async fn set(registry: &Registry, version: u64) -> Result<(), Status> {
    let request = SetSlotRequest {
        model: "movies".into(),
        version,
        ..SetSlotRequest::default()
    };
    registry.slots().set_slot(request).await.map(drop)
}

#[tokio::test]
async fn a_version_is_retired_unless_a_slot_holds_it() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    for word in ["one", "two"] {
        registry.push(&bundle(word)).await.unwrap();
    }
    set(&registry, 1).await.unwrap();
    let held = retire(&registry, 1).await.unwrap_err();
    assert!(
        held.code() == Code::FailedPrecondition && held.message().contains("slot `main`"),
        "{held}"
    );
    set(&registry, 2).await.unwrap();
    let held = retire(&registry, 1).await.unwrap_err();
    assert_eq!(held.code(), Code::FailedPrecondition, "kept ready");
    set(&registry, 2).await.unwrap();
    let retired = retire(&registry, 1).await.unwrap();
    assert_eq!(
        (retired.state(), &*retired.state_reason),
        (VersionState::Retired, "too slow")
    );
    assert!(retired.state_time.is_some());
    assert_eq!(retire(&registry, 1).await.unwrap(), retired);
    let refused = set(&registry, 1).await.unwrap_err();
    assert!(
        refused.code() == Code::FailedPrecondition
            && refused.message().contains("retired: too slow"),
        "{refused}"
    );
    let unknown = retire(&registry, 9).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn a_model_is_changed_and_new_gates_judge_new_versions() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    registry.push(&bundle("one")).await.unwrap();
    let request = UpdateModelRequest {
        name: "movies".into(),
        description: Some("films".into()),
        gates: Some(Gates {
            gates: vec![at_least("auc", 0.9)],
        }),
        issued_by: "ana".into(),
        reason: "stricter".into(),
        ..UpdateModelRequest::default()
    };
    let updated = registry.client().update_model(request).await.unwrap();
    let updated = updated.into_inner().model.unwrap();
    assert_eq!(
        (&*updated.description, updated.latest_version),
        ("films", 1)
    );
    assert_eq!(updated.gates, [at_least("auc", 0.9)]);
    let entry = registry.audit("movies").await.remove(0);
    assert!(
        entry.action == "model.update" && entry.reason == "stricter" && entry.after.contains("0.9")
    );
    let second = registry.push(&bundle("two")).await.unwrap();
    assert_eq!(second.state(), VersionState::Rejected);
    let senseless = UpdateModelRequest {
        name: "movies".into(),
        signers: Some(Signers {
            keys: vec!["ed25519:x".into()],
        }),
        ..UpdateModelRequest::default()
    };
    let refused = registry.client().update_model(senseless).await.unwrap_err();
    assert!(refused.message().contains("signers[0]"), "{refused}");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn only_the_models_signers_may_push() {
    let registry = Registry::start().await;
    let (ours, theirs) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let model = Model {
        name: "movies".into(),
        signers: vec![ours.public().to_string()],
        ..Model::default()
    };
    let request = CreateModelRequest {
        model: Some(model),
        ..CreateModelRequest::default()
    };
    registry.client().create_model(request).await.unwrap();
    let (one, two) = (bundle("one"), bundle("two"));
    let push = async |signature: Option<Signature>| {
        let (manifest, files) = (one.manifest.clone(), one.files.clone());
        push_version(
            &mut registry.client(),
            &movies(),
            manifest,
            signature.as_ref(),
            files,
        )
        .await
    };
    let before = registry.kept().await;
    let unsigned = push(None).await.unwrap_err();
    let by_another = push(Some(theirs.sign(&one.manifest))).await.unwrap_err();
    let of_another = push(Some(ours.sign(&two.manifest))).await.unwrap_err();
    for (status, words) in [
        (unsigned, "not signed"),
        (by_another, "not an allowed key"),
        (of_another, "is wrong"),
    ] {
        assert!(
            status.code() == Code::InvalidArgument && status.message().contains(words),
            "{status}"
        );
    }
    assert_eq!(registry.kept().await, before);
    let signature = ours.sign(&one.manifest);
    let version = push(Some(signature)).await.unwrap();
    assert_eq!(version.signature, signature.to_string());

    // A key that is withdrawn puts nothing into service any more, whatever it has signed.
    set(&registry, 1).await.unwrap();
    let withdrawn = UpdateModelRequest {
        name: "movies".into(),
        signers: Some(Signers {
            keys: vec![theirs.public().to_string()],
        }),
        ..UpdateModelRequest::default()
    };
    registry.client().update_model(withdrawn).await.unwrap();
    let refused = set(&registry, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains(&ours.public().to_string()),
        "{refused}"
    );
    assert_eq!(version.state(), VersionState::Approved);
}

#[tokio::test]
async fn the_line_of_a_version_leads_as_far_as_it_is_known() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    let lost = Digest::of(b"lost");
    let child_of = |word: &str, parent: Digest| {
        bundle_with(word, |manifest: &mut Manifest| {
            manifest.lineage.parent = Some(parent);
        })
    };
    let first = child_of("first", lost);
    let second = child_of("second", first.digest());
    let third = child_of("third", second.digest());
    for bundle in [&first, &second, &third] {
        registry.push(bundle).await.unwrap();
    }
    let request = GetLineageRequest {
        model: "movies".into(),
        version: 0,
    };
    let nodes = registry.client().get_lineage(request).await.unwrap();
    let nodes = nodes.into_inner().nodes;
    let line: Vec<_> = nodes
        .iter()
        .map(|node| (node.version, node.digest.clone()))
        .collect();
    let expected = [
        (3, third.digest()),
        (2, second.digest()),
        (1, first.digest()),
        (0, lost),
    ];
    assert_eq!(
        line,
        expected.map(|(number, digest)| (number, digest.to_string()))
    );
    assert_eq!(nodes[0].parent, nodes[1].digest);
    assert_eq!((&*nodes[0].student, nodes[0].metrics["auc"]), ("d8", 0.8));
    assert_eq!(nodes[0].state(), VersionState::Approved);
}

/// Writes versions as they are stored, without their bundles.
async fn write_versions(registry: &Registry, count: u64) {
    let keyspace = Keyspace::default();
    let put = |txn: Txn, key: decant_coordination::Key, value| txn.put(key, value);
    let manifest = Manifest::from_json(&bundle("any").manifest).unwrap();
    for number in 1..=count {
        let version = ModelVersion::new(number).unwrap();
        let digest = Digest::of(&number.to_be_bytes());
        let version_key = VersionKey {
            model: movies(),
            version,
        };
        let record = VersionRecord {
            digest,
            manifest: manifest.clone(),
            signature: None,
            created_at_millis: number,
        };
        let state_key = StateKey {
            model: movies(),
            version,
        };
        let state = StateRecord {
            state: Stored::Approved,
            gates: Vec::new(),
            reason: String::new(),
            changed_at_millis: number,
        };
        let digest_key = DigestKey {
            model: movies(),
            digest,
        };
        let txn = put(
            Txn::new(),
            keyspace.key(&version_key),
            keys::encode(&version_key, &record).unwrap(),
        );
        let txn = put(
            txn,
            keyspace.key(&state_key),
            keys::encode(&state_key, &state).unwrap(),
        );
        let txn = put(
            txn,
            keyspace.key(&digest_key),
            keys::encode(&digest_key, &DigestRecord { version }).unwrap(),
        );
        registry.store().commit(txn).await.unwrap();
    }
    let model_key = ModelKey { model: movies() };
    let entry = registry
        .store()
        .get(&keyspace.key(&model_key))
        .await
        .unwrap();
    let mut model = keys::value::<ModelKey>(&entry.unwrap()).unwrap();
    model.latest_version = ModelVersion::new(count);
    let value = keys::encode(&model_key, &model).unwrap();
    let txn = put(Txn::new(), keyspace.key(&model_key), value);
    registry.store().commit(txn).await.unwrap();
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    write_versions(&registry, 250).await;
    let mut request = ListVersionsRequest {
        model: "movies".into(),
        ..ListVersionsRequest::default()
    };
    let (mut numbers, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = registry.client().list_versions(request.clone()).await;
        let page = page.unwrap().into_inner();
        sizes.push(page.versions.len());
        numbers.extend(page.versions.iter().map(|version| version.version));
        request.page_token = page.next_page_token;
        if sizes.len() == 1 {
            // A version that comes between two pages is before the first: it neither repeats nor hides another.
            registry.push(&bundle("new")).await.unwrap();
        }
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(numbers, (1..=250).rev().collect::<Vec<_>>());

    request.page_size = 1;
    let page = registry.client().list_versions(request).await.unwrap();
    let token = page.into_inner().next_page_token;
    let elsewhere = ListModelsRequest {
        page_token: token,
        ..ListModelsRequest::default()
    };
    let status = registry.client().list_models(elsewhere).await.unwrap_err();
    assert!(
        status.code() == Code::InvalidArgument && status.message().contains("page_token"),
        "{status}"
    );
    registry.create("books", vec![]).await;
    let first = ListModelsRequest {
        page_size: 1,
        ..ListModelsRequest::default()
    };
    let first = registry
        .client()
        .list_models(first)
        .await
        .unwrap()
        .into_inner();
    let second = ListModelsRequest {
        page_token: first.next_page_token,
        ..ListModelsRequest::default()
    };
    let second = registry
        .client()
        .list_models(second)
        .await
        .unwrap()
        .into_inner();
    let names = [&first.models[0].name, &second.models[0].name];
    assert_eq!(
        (names, &*second.next_page_token),
        ([&"books".to_owned(), &"movies".to_owned()], "")
    );
}
