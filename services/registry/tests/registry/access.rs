//! Principals: added, known, recorded and removed.

use std::time::{Duration, SystemTime};

use decant_model::Digest;
use decant_model::access::{Access, Role};
use decant_proto::access::v1::access_service_client::AccessServiceClient;
use decant_proto::access::v1::*;
use decant_proto::admin::v1::admin_service_client::AdminServiceClient;
use decant_proto::admin::v1::*;
use decant_proto::registry::v1::ListModelsRequest;
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_proto::rollout::v1::SetSlotRequest;
use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use futures::TryStreamExt;
use tonic::{Code, Status};

use super::callers::{By, somebody};
use super::fixture::{Registry, bundle, quick, soon};

fn client(by: By) -> AccessServiceClient<By> {
    AccessServiceClient::new(by)
}

fn ops(registry: &Registry) -> AccessServiceClient<By> {
    client(registry.by(somebody("ops", Role::Admin, None)))
}

fn adding(name: &str, token: &str) -> AddPrincipalRequest {
    AddPrincipalRequest {
        name: name.into(),
        role: decant_proto::access::v1::Role::Publisher.into(),
        models: vec!["films".into()],
        token_digest: Digest::of(token.as_bytes()).to_string(),
        issued_by: "ci-17".into(),
        reason: "nightly".into(),
        ..AddPrincipalRequest::default()
    }
}

async fn add(registry: &Registry, request: AddPrincipalRequest) -> Result<Principal, Status> {
    let added = ops(registry).add_principal(request).await?;
    Ok(added.into_inner().principal.unwrap())
}

async fn names(registry: &Registry) -> Vec<String> {
    let listed = ops(registry)
        .list_principals(ListPrincipalsRequest {})
        .await;
    let listed = listed.unwrap().into_inner().principals;
    listed.into_iter().map(|one| one.name).collect()
}

#[tokio::test]
async fn a_principal_is_added_once_and_is_on_record() {
    let registry = Registry::start().await;
    let end = SystemTime::now() + Duration::from_secs(90 * 86_400);
    let request = AddPrincipalRequest {
        identities: vec!["dns:b".into(), "dns:a".into()],
        expire_time: Some(end.into()),
        request_id: "one".into(),
        ..adding("ci", "secret")
    };
    let planned = AddPrincipalRequest {
        dry_run: true,
        ..request.clone()
    };
    let planned = add(&registry, planned).await.unwrap();
    assert_eq!(
        (planned.name.as_str(), names(&registry).await.len()),
        ("ci", 0)
    );

    let added = add(&registry, request.clone()).await.unwrap();
    assert_eq!(added.identities, ["dns:a", "dns:b"]);
    assert_eq!(added.issued_by, "ops (for ci-17)");
    assert_eq!(added.token_digest, Digest::of(b"secret").to_string());
    assert_eq!(
        add(&registry, request.clone()).await.unwrap(),
        added,
        "by its request"
    );
    let again = AddPrincipalRequest {
        request_id: String::new(),
        expire_time: added.expire_time,
        ..request
    };
    assert_eq!(add(&registry, again).await.unwrap(), added, "by itself");
    assert_eq!(names(&registry).await, ["ci"]);

    let entries = registry.audit("access:ci").await;
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(
        (&*entry.actor, &*entry.action, &*entry.reason),
        ("ops (for ci-17)", "access.add", "nightly")
    );
    assert!(entry.before.is_empty() && entry.after.contains("publisher"));
    assert!(!entry.after.contains("secret"));
}

#[tokio::test]
async fn a_name_and_a_credential_are_of_one_principal() {
    let registry = Registry::start().await;
    add(&registry, adding("ci", "one")).await.unwrap();
    for (request, code, words) in [
        (adding("ci", "two"), Code::AlreadyExists, "another token"),
        (adding("eve", "one"), Code::AlreadyExists, "principal `ci`"),
        (adding("Eve", "two"), Code::InvalidArgument, "`Eve`"),
        (
            AddPrincipalRequest {
                role: 0,
                ..adding("eve", "two")
            },
            Code::InvalidArgument,
            "role",
        ),
        (
            AddPrincipalRequest {
                token_digest: String::new(),
                ..adding("eve", "two")
            },
            Code::InvalidArgument,
            "neither",
        ),
        (
            AddPrincipalRequest {
                expire_time: Some(SystemTime::UNIX_EPOCH.into()),
                ..adding("eve", "two")
            },
            Code::InvalidArgument,
            "over already",
        ),
    ] {
        let status = add(&registry, request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(words), "{status}");
    }
    assert_eq!(names(&registry).await, ["ci"]);
}

#[tokio::test]
async fn of_those_who_take_a_credential_at_once_one_has_it() {
    let registry = Registry::start().await;
    let racing = (0..8).map(|number| add(&registry, adding(&format!("ci-{number}"), "one")));
    let outcomes = futures::future::join_all(racing).await;
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!((won, names(&registry).await.len()), (1, 1));
}

#[tokio::test]
async fn who_is_removed_is_gone_at_once_and_nobody_removes_themselves() {
    let registry = Registry::start_with(quick("one:1")).await;
    add(&registry, adding("ci", "one")).await.unwrap();
    add(&registry, adding("ops", "two")).await.unwrap();
    let watched = ops(&registry).watch_access(WatchAccessRequest {}).await;
    let mut watched = watched.unwrap().into_inner();
    let mut told = async || {
        let message = watched.try_next().await.unwrap().unwrap();
        let names = message.principals.into_iter().map(|one| one.name);
        names.collect::<Vec<_>>()
    };
    while told().await.len() < 2 {}

    let remove = async |name: &str| {
        let request = RemovePrincipalRequest {
            name: name.into(),
            issued_by: "ops".into(),
            ..RemovePrincipalRequest::default()
        };
        let removed = ops(&registry).remove_principal(request).await?;
        Ok::<_, Status>(removed.into_inner().principal.unwrap())
    };
    let own = remove("ops").await.unwrap_err();
    assert_eq!(own.code(), Code::FailedPrecondition, "{own}");
    assert_eq!(remove("ci").await.unwrap().models, ["films"]);
    assert_eq!(told().await, ["ops"]);
    assert_eq!(remove("ci").await.unwrap_err().code(), Code::NotFound);
    let entry = &registry.audit("access:ci").await[0];
    assert_eq!((&*entry.action, &*entry.actor), ("access.remove", "ops"));
    assert!(entry.before.contains("publisher") && entry.after.is_empty());

    // Whoever reads is told why it ends, so that they ask elsewhere.
    registry.stop_services();
    let end = watched.try_next().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
}

#[tokio::test]
async fn callers_are_told_who_they_are() {
    let registry = Registry::start().await;
    let mut access = Access::default();
    let ana = somebody("ana", Role::Operator, Some("films"));
    access.insert(ana, [Digest::of(b"token")], ["dns:ana".to_owned()]);
    let who = async |by: By| {
        let answer = client(by).who_am_i(WhoAmIRequest {}).await;
        answer.unwrap().into_inner()
    };
    let by_token = registry.by_known(access.by_token("token").unwrap().clone());
    let by_token = who(by_token).await;
    assert_eq!(
        (by_token.name.as_str(), by_token.models.as_slice()),
        ("ana", &["films".to_owned()][..])
    );
    assert_eq!(
        by_token.known_by,
        Some(who_am_i_response::KnownBy::Token(true))
    );
    let by_identity = access.by_identities(["dns:ana"]).unwrap().clone();
    let by_identity = who(registry.by_known(by_identity)).await;
    let identity = who_am_i_response::KnownBy::Identity("dns:ana".into());
    assert_eq!(by_identity.known_by, Some(identity));
    let anybody = AccessServiceClient::new(registry.routes())
        .who_am_i(WhoAmIRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(anybody.role(), decant_proto::access::v1::Role::Admin);
    assert_eq!(
        anybody.known_by,
        Some(who_am_i_response::KnownBy::Nothing(true))
    );
}

#[tokio::test]
async fn lists_hold_what_the_caller_may_see() {
    let registry = Registry::start().await;
    registry.create("books", vec![]).await;
    registry.create("films", vec![]).await;
    let ana = registry.by(somebody("ana", Role::Viewer, Some("films")));
    let listed = RegistryServiceClient::new(ana.clone())
        .list_models(ListModelsRequest::default())
        .await;
    let listed = listed.unwrap().into_inner().models;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "films");

    let audit = async |subject: &str| {
        let request = ListAuditRequest {
            subject: subject.into(),
            ..ListAuditRequest::default()
        };
        let listed = AdminServiceClient::new(ana.clone())
            .list_audit(request)
            .await;
        listed.map(|listed| listed.into_inner().entries.len())
    };
    assert_eq!(audit("films").await.unwrap(), 1);
    for subject in ["", "books", "access:ci"] {
        let status = audit(subject).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{subject}");
    }
}

#[tokio::test]
async fn who_changes_a_slot_is_on_record_by_the_name_they_are_known_by() {
    let registry = Registry::start_with(quick("one:1")).await;
    registry.create("movies", vec![]).await;
    registry.push(&bundle("one")).await.unwrap();
    let set = SetSlotRequest {
        model: "movies".into(),
        version: 1,
        issued_by: "eve".into(),
        ..SetSlotRequest::default()
    };
    let by = |role| {
        let ana = registry.by(somebody("ana", role, Some("movies")));
        RolloutServiceClient::new(ana)
    };
    let refused = by(Role::Publisher).set_slot(set.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        refused.message(),
        "`ana` lacks permission `operate` on model `movies`; roles operator, admin have it"
    );
    let slot = by(Role::Operator).set_slot(set).await.unwrap().into_inner();
    assert_eq!(slot.slot.unwrap().issued_by, "ana (for eve)");
    assert_eq!(
        registry.audit("movies/main").await[0].actor,
        "ana (for eve)"
    );
}

#[tokio::test]
async fn principals_are_part_of_a_backup() {
    let registry = Registry::start().await;
    registry.create("films", vec![]).await;
    add(&registry, adding("ci", "one")).await.unwrap();
    let exported = registry
        .admin()
        .export_metadata(ExportMetadataRequest {})
        .await;
    let exported: Vec<_> = exported.unwrap().into_inner().try_collect().await.unwrap();
    let records: Vec<_> = exported.into_iter().flat_map(|part| part.records).collect();
    assert!(records.iter().any(|record| record.key == "access/ci"));

    let empty = Registry::start().await;
    let import = ImportMetadataRequest {
        records,
        issued_by: "ops".into(),
    };
    let import = futures::stream::iter([import]);
    empty.admin().import_metadata(import).await.unwrap();
    soon("the principal is there", async || {
        Some(names(&empty).await).filter(|names| names == &["ci"])
    })
    .await;
}
