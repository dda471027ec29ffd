use std::time::Duration;

use decant_model::{Active, BASIS_POINTS, ModelVersion};

use super::*;
use crate::error::CallError;
use crate::fixture;
use crate::metrics::VersionMeter;
use crate::scoring::{Cost, Costs};
use crate::servable::load::Step;
use crate::servable::version::Items;

const RETRY: Retry = Retry {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(4),
    lasting: Duration::from_millis(4),
};

fn place() -> Place {
    Place {
        model: "films".parse().unwrap(),
        slot: Default::default(),
    }
}

fn active(number: u64) -> Active {
    Active {
        digest: Digest::of(&number.to_le_bytes()),
        version: ModelVersion::new(number).unwrap(),
        arm: Arm::Stable,
        weight_basis_points: BASIS_POINTS,
    }
}

fn slot(generation: u64, versions: &[u64]) -> DesiredSlot {
    let active = versions.iter().map(|number| active(*number)).collect();
    let (issued_by, reason) = ("test".to_owned(), String::new());
    DesiredSlot {
        generation: Generation(generation),
        active,
        issued_by,
        reason,
        issued_at_millis: 0,
        ..DesiredSlot::default()
    }
}

fn want(manager: &Manager, generation: u64, versions: &[u64]) {
    manager.aspire(BTreeMap::from([(place(), slot(generation, versions))]));
}

fn servable(load: &Load) -> Servable {
    let schema = fixture::schema();
    let catalog = fixture::catalog();
    let encoded = schema
        .encode(decant_features::Side::Item, catalog.columns())
        .unwrap();
    let items = Items::new(catalog, encoded);
    Servable::new(
        load.prepared.digest,
        schema,
        Some(items),
        vec![fixture::session(0.0)],
        Costs::alike(Cost::measured(1, Duration::from_micros(10))),
        LoadTimes::default(),
        VersionMeter::unread(),
    )
}

fn load_next(manager: &Manager) -> u64 {
    let load = manager.next_load().unwrap();
    manager.loaded(&load, Ok(servable(&load)));
    load.prepared.version.get()
}

impl Manager {
    /// One that has the fixture's version in service, with its catalog, and counts what it does.
    pub(crate) fn for_tests() -> Self {
        let manager = Manager::new(RETRY, u64::MAX);
        let desired = DesiredSlot {
            rollout: Some("01j9z3k4m5n6p7q8r9s0t1v2w3".parse().unwrap()),
            ..slot(1, &[1])
        };
        manager.aspire(BTreeMap::from([(place(), desired)]));
        load_next(&manager);
        manager
    }
}

fn failure() -> LoadError {
    LoadError::Step {
        step: Step::Replay,
        reason: "wrong".into(),
        lasts: false,
    }
}

/// The version that answers, and its generation.
fn answering(manager: &Manager) -> Option<(u64, u64)> {
    let table = manager.table();
    let part = table.get(&place())?.route(|_| 0).ok()?.part();
    Some((part.active.version.get(), part.generation.0))
}

fn states(manager: &Manager) -> Vec<(u64, State)> {
    let mut states: Vec<_> = manager
        .statuses()
        .iter()
        .map(|status| (status.prepared.version.get(), status.state))
        .collect();
    states.sort_by_key(|(version, _)| *version);
    states
}

#[test]
fn a_version_answers_once_it_is_loaded_and_the_old_one_until_then() {
    let manager = Manager::new(RETRY, u64::MAX);
    assert_eq!(answering(&manager), None);
    want(&manager, 1, &[1]);
    assert_eq!(
        (answering(&manager), states(&manager)),
        (None, vec![(1, State::Start)])
    );
    assert_eq!(load_next(&manager), 1);
    assert_eq!(answering(&manager), Some((1, 1)));

    want(&manager, 2, &[2]);
    let load = manager.next_load().unwrap();
    assert_eq!(
        states(&manager),
        [(1, State::Available), (2, State::Loading)]
    );
    assert_eq!(answering(&manager), Some((1, 1)));
    manager.loaded(&load, Ok(servable(&load)));
    assert_eq!(answering(&manager), Some((2, 2)));
}

#[test]
fn going_back_to_the_previous_version_loads_nothing() {
    let manager = Manager::new(RETRY, u64::MAX);
    for generation in 1..=2 {
        want(&manager, generation, &[generation]);
        load_next(&manager);
    }
    want(&manager, 3, &[1]);
    assert_eq!(answering(&manager), Some((1, 3)));
    assert_eq!(
        states(&manager),
        [(1, State::Available), (2, State::Available)]
    );
}

#[test]
fn the_version_before_the_previous_one_is_handed_to_the_reaper() {
    let manager = Manager::new(RETRY, u64::MAX);
    for generation in 1..=3 {
        want(&manager, generation, &[generation]);
        load_next(&manager);
    }
    assert_eq!(
        states(&manager),
        [
            (1, State::Unloading),
            (2, State::Available),
            (3, State::Available)
        ]
    );
    let retired = manager.take_retired(None).unwrap();
    assert_eq!(retired.len(), 1);
    assert_eq!(retired[0].servable.digest(), active(1).digest);
    manager.ended(&place(), active(1).digest, retired[0].bytes);
    assert_eq!(
        states(&manager),
        [(2, State::Available), (3, State::Available)]
    );
    // Wanted again, it is a stranger.
    want(&manager, 4, &[1]);
    assert_eq!(load_next(&manager), 1);
    assert_eq!(answering(&manager), Some((1, 4)));
}

#[test]
fn a_failed_version_is_reported_and_tried_again_while_the_old_one_answers() {
    let manager = Manager::new(RETRY, u64::MAX);
    want(&manager, 1, &[1]);
    load_next(&manager);
    want(&manager, 2, &[2]);
    for _ in 0..3 {
        let load = manager.next_load().unwrap();
        manager.loaded(&load, Err(failure()));
        let failed = manager
            .statuses()
            .into_iter()
            .find(|status| status.prepared.version.get() == 2)
            .unwrap();
        assert_eq!(failed.state, State::End);
        assert_eq!(
            failed.error.as_deref(),
            Some("replaying golden.json: wrong")
        );
        assert_eq!(answering(&manager), Some((1, 1)));
    }
    assert_eq!(load_next(&manager), 2);
    assert_eq!(answering(&manager), Some((2, 2)));
}

#[test]
fn a_newer_generation_supersedes_a_load_in_progress() {
    let manager = Manager::new(RETRY, u64::MAX);
    want(&manager, 1, &[1]);
    let load = manager.next_load().unwrap();
    want(&manager, 2, &[2]);
    assert!(load.superseded.is_set());
    manager.loaded(&load, Err(LoadError::Superseded));
    assert_eq!(states(&manager), [(2, State::Start)]);
    // And one that was finished all the same is freed, not served.
    let load = manager.next_load().unwrap();
    want(&manager, 3, &[3]);
    manager.loaded(&load, Ok(servable(&load)));
    assert_eq!(states(&manager), [(3, State::Start)]);
    assert_eq!(manager.take_retired(None).unwrap().len(), 1);
    assert_eq!(answering(&manager), None);
}

#[test]
fn a_version_wanted_again_while_its_load_was_being_given_up_is_loaded_anew() {
    let manager = Manager::new(RETRY, u64::MAX);
    want(&manager, 1, &[1]);
    let load = manager.next_load().unwrap();
    want(&manager, 2, &[2]);
    want(&manager, 3, &[1]);
    manager.loaded(&load, Err(LoadError::Superseded));
    assert_eq!(load_next(&manager), 1);
    assert_eq!(answering(&manager), Some((1, 3)));
}

#[test]
fn a_generation_that_goes_backwards_changes_nothing() {
    let manager = Manager::new(RETRY, u64::MAX);
    want(&manager, 5, &[1]);
    load_next(&manager);
    want(&manager, 4, &[2]);
    assert_eq!(answering(&manager), Some((1, 5)));
    assert_eq!(states(&manager), [(1, State::Available)]);
}

#[test]
fn a_removed_slot_is_unknown_and_an_empty_one_is_not_ready() {
    let manager = Manager::new(RETRY, u64::MAX);
    want(&manager, 1, &[1]);
    load_next(&manager);
    want(&manager, 2, &[]);
    assert!(
        manager
            .table()
            .get(&place())
            .is_some_and(|entry| entry.route(|_| 0).is_err())
    );
    manager.aspire(BTreeMap::new());
    assert!(matches!(
        manager.table().find(&place()),
        Err(CallError::UnknownSlot { .. })
    ));
    assert_eq!(manager.take_retired(None).unwrap().len(), 1);
}

#[test]
fn no_slot_is_unknown_before_anybody_has_said_which_are_wanted() {
    let manager = Manager::new(RETRY, u64::MAX);
    let found = |place: &Place| manager.table().find(place).map(|_| ());
    assert!(matches!(found(&place()), Err(CallError::NotLearnt)));
    // A doubt says nothing of what is wanted.
    manager.set_frozen(Some("doubted".to_owned()));
    assert!(matches!(found(&place()), Err(CallError::NotLearnt)));
    want(&manager, 1, &[1]);
    assert!(found(&place()).is_ok());
    let other = Place {
        model: "books".parse().unwrap(),
        slot: Default::default(),
    };
    assert!(matches!(found(&other), Err(CallError::UnknownSlot { .. })));
}

#[test]
fn readiness_settles_once_every_first_version_is_loaded_or_has_failed() {
    let manager = Manager::new(RETRY, u64::MAX);
    let readiness = manager.readiness();
    assert!(!readiness.borrow().settled);
    want(&manager, 1, &[1]);
    assert_eq!(
        *readiness.borrow(),
        Readiness {
            settled: false,
            places: [(place(), false)].into()
        }
    );
    let load = manager.next_load().unwrap();
    manager.loaded(&load, Err(failure()));
    assert_eq!(
        *readiness.borrow(),
        Readiness {
            settled: true,
            places: [(place(), false)].into()
        }
    );
    load_next(&manager);
    assert_eq!(
        *readiness.borrow(),
        Readiness {
            settled: true,
            places: [(place(), true)].into()
        }
    );
}

#[test]
fn a_pinned_version_outlives_its_time_in_service() {
    let manager = Manager::new(RETRY, u64::MAX);
    want(&manager, 1, &[1]);
    load_next(&manager);
    let pinned = manager
        .table()
        .get(&place())
        .unwrap()
        .route(|_| 0)
        .unwrap()
        .clone();
    for generation in 2..=3 {
        want(&manager, generation, &[generation]);
        load_next(&manager);
    }
    let retired = manager.take_retired(None).unwrap().remove(0);
    let Err(still_held) = Arc::try_unwrap(retired.servable) else {
        panic!("freed under a request")
    };
    assert_eq!(pinned.part().generation, Generation(1));
    drop(pinned);
    assert!(Arc::try_unwrap(still_held).is_ok());
}

#[test]
fn what_is_to_answer_is_loaded_before_what_is_to_be_ready_in_all_places() {
    let manager = Manager::new(RETRY, u64::MAX);
    let of = |model: &str| Place {
        model: model.parse().unwrap(),
        slot: Default::default(),
    };
    let slot = |number: u64, prepare: u64| {
        let prepare = active(prepare);
        DesiredSlot {
            generation: Generation(1),
            active: vec![active(number)],
            prepare: vec![Prepared {
                digest: prepare.digest,
                version: prepare.version,
            }],
            ..DesiredSlot::default()
        }
    };
    let wanted = [(of("books"), slot(1, 2)), (of("films"), slot(3, 4))];
    manager.aspire(wanted.into());
    let order = [(); 4].map(|()| load_next(&manager));
    assert_eq!(order, [1, 3, 2, 4]);
}

/// Loads the next version in so many bytes of memory; if there is no room, why, and whether there never will be.
fn load_in(manager: &Manager, bytes: u64) -> Result<u64, (String, bool)> {
    let load = manager.next_load().unwrap();
    let reserved = manager.reserve(&load, bytes);
    let refusal = reserved.as_ref().err();
    let refusal = refusal.map(|error| (error.to_string(), error.lasts()));
    manager.loaded(&load, reserved.map(|()| servable(&load)));
    refusal.map_or(Ok(load.prepared.version.get()), Err)
}

#[test]
fn a_version_that_does_not_fit_beside_what_serves_is_not_loaded() {
    let manager = Manager::new(RETRY, 10 << 20);
    want(&manager, 1, &[1]);
    assert_eq!(load_in(&manager, 6 << 20).unwrap(), 1);
    want(&manager, 2, &[2]);
    let (reason, lasts) = load_in(&manager, 5 << 20).unwrap_err();
    assert!(!lasts);
    assert_eq!(
        reason,
        "finding room in memory: the version would take 5.0 MiB, but of the 10.0 MiB that versions may take 6.0 MiB are in use \
         (scorer.memory_bytes)"
    );
    assert_eq!(answering(&manager), Some((1, 1)));
    want(&manager, 3, &[3]);
    let (_, lasts) = load_in(&manager, 11 << 20).unwrap_err();
    assert!(lasts, "no patience makes room for it");
    want(&manager, 4, &[4]);
    assert_eq!(load_in(&manager, 4 << 20).unwrap(), 4);
    assert_eq!(answering(&manager), Some((4, 4)));
}

#[test]
fn a_version_that_is_kept_for_going_back_makes_room_and_is_kept_as_long_as_there_is_some() {
    let manager = Manager::new(RETRY, 10 << 20);
    for (generation, version) in [(1, 1), (2, 2)] {
        want(&manager, generation, &[version]);
        assert_eq!(load_in(&manager, 4 << 20).unwrap(), version);
    }
    let kept = [(1, State::Available), (2, State::Available)];
    assert_eq!(states(&manager), kept);
    want(&manager, 3, &[3]);
    std::thread::scope(|scope| {
        // Frees what is retired, as the reaper does.
        scope.spawn(|| {
            for retired in manager.take_retired(None).unwrap() {
                let digest = retired.servable.digest();
                manager.ended(&retired.place, digest, retired.bytes);
            }
        });
        assert_eq!(load_in(&manager, 4 << 20).unwrap(), 3);
    });
    assert_eq!(answering(&manager), Some((3, 3)));
    let kept = [(2, State::Available), (3, State::Available)];
    assert_eq!(states(&manager), kept);
}

#[test]
fn memory_counts_until_it_is_freed_whatever_became_of_its_place() {
    const BYTES: u64 = 4 << 20;
    let manager = Manager::new(RETRY, 3 * BYTES);
    let free = || {
        for retired in manager.take_retired(None).unwrap() {
            let digest = retired.servable.digest();
            manager.ended(&retired.place, digest, retired.bytes);
        }
    };
    // The slot goes away while somebody may still hold its version.
    want(&manager, 1, &[1]);
    assert_eq!(load_in(&manager, BYTES).unwrap(), 1);
    manager.aspire(BTreeMap::new());
    assert_eq!(manager.promised(), BYTES);
    free();
    assert_eq!(manager.promised(), 0);

    // It goes away while its version is being loaded.
    want(&manager, 1, &[1]);
    let load = manager.next_load().unwrap();
    manager.reserve(&load, BYTES).unwrap();
    manager.aspire(BTreeMap::new());
    assert_eq!(manager.promised(), BYTES);
    manager.loaded(&load, Ok(servable(&load)));
    assert_eq!(manager.promised(), BYTES);
    free();
    assert_eq!(manager.promised(), 0);

    // A version is wanted again before it is freed.
    for generation in 1..=3 {
        want(&manager, generation, &[generation]);
        assert_eq!(load_in(&manager, BYTES).unwrap(), generation);
    }
    let retired = manager.take_retired(None).unwrap();
    want(&manager, 4, &[1, 3]);
    assert_eq!(manager.promised(), 3 * BYTES);
    for retired in retired {
        let digest = retired.servable.digest();
        manager.ended(&retired.place, digest, retired.bytes);
    }
    assert_eq!(load_in(&manager, BYTES).unwrap(), 1);
    assert_eq!(manager.promised(), 3 * BYTES);
}
