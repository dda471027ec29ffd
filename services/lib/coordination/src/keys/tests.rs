use std::fmt::Debug;

use decant_model::{Digest, ModelVersion};

use super::*;
use crate::Revision;

fn goes_round<R: Record + PartialEq + Debug>(record: R, expected: &str) {
    let keyspace = Keyspace::default();
    let key = keyspace.key(&record);
    assert_eq!(key.as_str(), expected);
    assert!(keyspace.all::<R>().contains(key.as_str()));
    assert_eq!(keyspace.parse::<R>(&key).unwrap(), record);
}

fn movies() -> ModelName {
    "movies".parse().unwrap()
}

#[test]
fn the_stored_keys_are_these() {
    let version = ModelVersion::new(42).unwrap();
    let digest = Digest::of(b"abc");
    goes_round(
        ModelKey { model: movies() },
        "/decant/default/v1/models/movies",
    );
    goes_round(
        VersionKey {
            model: movies(),
            version,
        },
        "/decant/default/v1/versions/movies/0000000042",
    );
    goes_round(
        DigestKey {
            model: movies(),
            digest,
        },
        "/decant/default/v1/digests/movies/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
    goes_round(
        StateKey {
            model: movies(),
            version,
        },
        "/decant/default/v1/state/movies/0000000042",
    );
    goes_round(
        DesiredKey {
            model: movies(),
            slot: SlotName::default(),
        },
        "/decant/default/v1/desired/movies/main",
    );
    goes_round(
        AccessKey {
            name: "ci-17".parse().unwrap(),
        },
        "/decant/default/v1/access/ci-17",
    );
    goes_round(
        RefusalKey {
            model: movies(),
            slot: SlotName::default(),
        },
        "/decant/default/v1/refusals/movies/main",
    );
}

#[test]
fn a_models_prefix_is_not_that_of_a_model_whose_name_begins_alike() {
    let keyspace = Keyspace::default();
    let other = DesiredKey {
        model: "movies-2".parse().unwrap(),
        slot: SlotName::default(),
    };
    assert!(
        !keyspace
            .of_model::<DesiredKey>(&movies())
            .contains(keyspace.key(&other).as_str())
    );
}

#[test]
fn other_keys_are_refused_by_name() {
    let keyspace = Keyspace::default();
    for bad in [
        "/decant/other/v1/versions/movies/0000000042",
        "/decant/default/v1/state/movies/0000000042",
        "/decant/default/v1/versions/movies",
        "/decant/default/v1/versions/movies/42",
        "/decant/default/v1/versions/movies/0000000000",
        "/decant/default/v1/versions/Movies/0000000042",
        "/decant/default/v1/versions/movies/00000000-1",
        "",
    ] {
        let error = keyspace
            .parse::<VersionKey>(&Key::new(bad))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("`{bad}`")) && error.contains("versions"),
            "{error}"
        );
    }
}

#[test]
fn stored_values_stay_readable() {
    let stored = br#"{"generation":3,"active":[{"digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "version":2,"arm":"stable","weight_basis_points":10000}],"issued_by":"ana","reason":"better","issued_at_millis":5,
        "a field of a later release":1}"#;
    let key = Key::new("/decant/default/v1/desired/movies/main");
    let entry = |value: &'static [u8]| Entry {
        key: key.clone(),
        value: Bytes::from_static(value),
        create_revision: Revision(1),
        mod_revision: Revision(1),
    };
    let (slot, desired) = Keyspace::default()
        .read::<DesiredKey>(&entry(stored))
        .unwrap();
    assert_eq!(slot.slot, SlotName::default());
    assert_eq!(
        (desired.generation.0, desired.active[0].version.get()),
        (3, 2)
    );
    assert_eq!(desired.trace, None);
    let traced = br#"{"format":1,"generation":4,"epoch":0,"active":[],"issued_by":"ana","reason":"","issued_at_millis":5,
        "trace":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#;
    let (_, traced) = Keyspace::default()
        .read::<DesiredKey>(&entry(traced))
        .unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(traced.trace.as_deref(), Some(trace));
    // Who takes no part in traces writes what was written before there were any.
    let written = encode(&slot, &desired).unwrap();
    assert!(!String::from_utf8_lossy(&written).contains("trace"));

    let stored = br#"{"role":"operator","models":["films"],"token_sha256":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "created_at_millis":5,"issued_by":"ana"}"#;
    let ci = value::<AccessKey>(&entry(stored)).unwrap();
    let principal = ci.principal(&"ci".parse().unwrap());
    assert_eq!((principal.name.as_str(), principal.models.len()), ("ci", 1));
    assert_eq!(ci.token_sha256, Some(Digest::of(b"abc")));
    assert!(ci.identities.is_empty() && ci.expires_at_millis.is_none());

    let error = value::<DesiredKey>(&entry(b"{")).unwrap_err().to_string();
    assert!(error.contains(key.as_str()), "{error}");
}
