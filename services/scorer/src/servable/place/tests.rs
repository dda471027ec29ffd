//! Whatever comes in whatever order, what is in service is one generation's versions, all of them loaded.

use std::time::Duration;

use decant_coordination::keys::ObservedState;
use decant_model::{ModelVersion, Pending};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::metrics::VersionMeter;
use crate::scoring::{Cost, Costs};
use crate::servable::load::Step;

const RETRY: Retry = Retry {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(1),
    lasting: Duration::from_secs(600),
};

fn place() -> Place {
    Place {
        model: "films".parse().unwrap(),
        slot: Default::default(),
    }
}

fn version(number: u64) -> Prepared {
    Prepared {
        digest: Digest::of(&number.to_le_bytes()),
        version: ModelVersion::new(number).unwrap(),
    }
}

fn active(numbers: &[u64]) -> Vec<Active> {
    let arms = [Arm::Stable, Arm::Canary, Arm::Shadow];
    let active = |(number, arm): (&u64, Arm)| Active {
        digest: version(*number).digest,
        version: version(*number).version,
        arm,
        weight_basis_points: 0,
    };
    numbers.iter().zip(arms).map(active).collect()
}

fn desired(generation: u64, in_service: &[u64], pending: &[u64], prepare: &[u64]) -> DesiredSlot {
    let pending = (!pending.is_empty()).then(|| Pending {
        active: active(pending),
        min_ready_percent: 100,
    });
    DesiredSlot {
        generation: Generation(generation),
        active: active(in_service),
        pending,
        prepare: prepare.iter().copied().map(version).collect(),
        ..DesiredSlot::default()
    }
}

/// A loaded version; bookkeeping needs no session.
fn servable(digest: Digest) -> Servable {
    let schema = crate::fixture::schema();
    Servable::new(
        digest,
        schema,
        None,
        Vec::new(),
        Costs::alike(Cost::measured(1, Duration::from_micros(10))),
        LoadTimes::default(),
        VersionMeter::unread(),
    )
}

fn failure() -> LoadError {
    LoadError::Step {
        step: Step::Replay,
        reason: "wrong".into(),
        lasts: false,
    }
}

/// A place with a loader and a reaper that do one thing at a time, as the real ones do.
#[derive(Default)]
struct World {
    state: PlaceState,
    load: Option<Load>,
    retired: Vec<Retired>,
    /// Everything that was ever taken in.
    history: BTreeMap<Generation, DesiredSlot>,
    /// The generation that answered last.
    answered: Generation,
}

#[derive(Clone, Debug)]
enum Op {
    /// The next generation.
    Want {
        active: Vec<u64>,
        pending: Vec<u64>,
        prepare: Vec<u64>,
    },
    /// An overtaken generation comes again.
    Old,
    /// The loader takes the next version; retries are due.
    Begin,
    Finish {
        well: bool,
    },
    /// The reaper frees the longest retired version.
    Free,
}

impl World {
    fn aspire(&mut self, desired: DesiredSlot) {
        self.state.aspire(&place(), desired);
        self.retired.extend(self.state.settle(&place()));
    }

    fn want(&mut self, active: &[u64], pending: &[u64], prepare: &[u64]) {
        let next = self
            .history
            .keys()
            .next_back()
            .copied()
            .unwrap_or_default()
            .next();
        let desired = desired(next.0, active, pending, prepare);
        self.history.insert(next, desired.clone());
        self.aspire(desired);
    }

    fn begin(&mut self) {
        if self.load.is_none() {
            let late = Instant::now() + Duration::from_secs(3600);
            self.load = self.state.next_load(&place(), Urgency::Prepared, late);
        }
    }

    fn finish(&mut self, well: bool) {
        if let Some(load) = self.load.take() {
            let digest = load.prepared.digest;
            let outcome = if load.superseded.is_set() {
                Err(LoadError::Superseded)
            } else if well {
                Ok(servable(digest))
            } else {
                Err(failure())
            };
            self.retired
                .extend(self.state.loaded(&load, outcome, 0, RETRY));
            self.retired.extend(self.state.settle(&place()));
        }
    }

    fn load_all(&mut self) {
        loop {
            self.begin();
            if self.load.is_none() {
                return;
            }
            self.finish(true);
        }
    }

    fn free(&mut self) {
        if !self.retired.is_empty() {
            let retired = self.retired.remove(0);
            self.state.ended(retired.servable.digest());
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Want {
                active,
                pending,
                prepare,
            } => self.want(active, pending, prepare),
            Op::Old => {
                if let Some(old) = self.history.values().next().cloned() {
                    self.aspire(old);
                }
            }
            Op::Begin => self.begin(),
            Op::Finish { well } => self.finish(*well),
            Op::Free => self.free(),
        }
    }

    fn in_service(&self) -> Vec<Digest> {
        let entry = self.state.entry();
        let digests = entry
            .handles()
            .iter()
            .map(|handle| handle.part().active.digest);
        digests.collect()
    }

    fn resident(&self) -> BTreeSet<Digest> {
        let ready = self.state.observed().versions.into_iter();
        ready
            .filter(|version| version.state == ObservedState::Ready)
            .map(|version| version.digest)
            .collect()
    }

    fn numbers(&self) -> Vec<u64> {
        let observed = self.state.observed().versions.into_iter();
        observed.map(|version| version.version.get()).collect()
    }

    fn check(&mut self) {
        let entry = self.state.entry();
        let observed = self.state.observed();
        let handles = entry.handles();
        if let Some(first) = handles.first() {
            let generation = first.part().generation;
            let expected: Vec<_> = self.history[&generation].active.clone();
            let found: Vec<_> = handles
                .iter()
                .map(|handle| handle.part().active.clone())
                .collect();
            assert_eq!(found, expected, "all of one generation, and nothing else");
            assert!(
                handles
                    .iter()
                    .all(|handle| handle.part().generation == generation)
            );
            assert!(generation >= self.answered, "a generation went back");
            self.answered = generation;
            assert_eq!(observed.serving, generation);
            for handle in handles {
                assert_eq!(handle.servable().digest(), handle.part().active.digest);
            }
        } else if let Some(applied) = self.state.applied() {
            assert!(
                applied.active.is_empty(),
                "in service went to nothing unasked"
            );
        }
        assert_eq!(
            Some(observed.generation),
            self.history
                .keys()
                .next_back()
                .copied()
                .or(Some(Generation::default()))
        );
        assert!(observed.serving <= observed.generation);
        let pinned: BTreeSet<Digest> = self.state.pinned().collect();
        assert!(
            self.resident().is_subset(&pinned),
            "a version stays that nobody needs"
        );
        let in_service = self.in_service();
        assert!(
            self.resident()
                .is_superset(&in_service.into_iter().collect())
        );
    }

    /// Once loads succeed, all that is wanted is there, and nothing else but the previous versions.
    fn settles(&mut self) {
        self.finish(true);
        self.load_all();
        while !self.retired.is_empty() {
            self.free();
        }
        self.check();
        let Some(newest) = self.history.values().next_back() else {
            return;
        };
        let digests: Vec<_> = newest.active.iter().map(|active| active.digest).collect();
        assert_eq!(self.in_service(), digests);
        assert_eq!(self.state.applied(), Some(newest));
        assert!(self.state.is_settled());
        let pinned: BTreeSet<Digest> = self.state.pinned().collect();
        let known: BTreeSet<Digest> = self.state.versions.keys().copied().collect();
        assert!(known.is_subset(&pinned));
        assert_eq!(self.resident(), known);
        let wanted: BTreeSet<Digest> = wanted(newest)
            .iter()
            .map(|prepared| prepared.digest)
            .collect();
        assert!(self.resident().is_superset(&wanted));
        assert!(known.len() <= wanted.len() + self.state.previous.len());
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Each version once in a generation, as the registry makes them.
    let some = |most: usize| {
        vec(1_u64..6, 0..=most).prop_map(|numbers| {
            let once: BTreeSet<u64> = numbers.into_iter().collect();
            once.into_iter().collect::<Vec<_>>()
        })
    };
    let want = (some(2), some(1), some(2)).prop_map(|(active, pending, prepare)| Op::Want {
        active,
        pending,
        prepare,
    });
    let op = prop_oneof![
        3 => want,
        1 => Just(Op::Old),
        4 => Just(Op::Begin),
        4 => any::<bool>().prop_map(|well| Op::Finish { well }),
        2 => Just(Op::Free),
    ];
    vec(op, 0..60)
}

proptest! {
    #[test]
    fn in_service_is_one_generation_whatever_happens(ops in ops()) {
        let mut world = World::default();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.settles();
    }
}

#[test]
fn a_prepared_version_answers_nothing_until_it_is_active_and_then_without_a_load() {
    let mut world = World::default();
    world.want(&[1], &[], &[]);
    world.load_all();
    world.want(&[1], &[2], &[3]);
    world.load_all();
    assert_eq!(world.numbers(), [1, 2, 3]);
    assert_eq!(world.in_service(), [version(1).digest]);
    assert_eq!(world.state.observed().serving, Generation(2));
    world.want(&[2], &[], &[]);
    assert_eq!(world.in_service(), [version(2).digest]);
    world.begin();
    assert!(world.load.is_none());
    // Version 1 is kept for going back, version 3 is not.
    world.free();
    assert_eq!(world.numbers(), [1, 2]);
}

#[test]
fn what_answers_is_loaded_before_what_is_prepared() {
    let mut world = World::default();
    world.want(&[1], &[2], &[3]);
    let mut order = Vec::new();
    for _ in 0..3 {
        world.begin();
        order.push(world.load.as_ref().unwrap().prepared.version.get());
        world.finish(true);
    }
    assert_eq!(order, [1, 2, 3]);
}

#[test]
fn a_prepared_version_that_fails_disturbs_nothing_and_stays_failed_while_it_is_tried_again() {
    let mut world = World::default();
    world.want(&[1], &[], &[]);
    world.load_all();
    world.want(&[1], &[2], &[]);
    world.begin();
    world.finish(false);
    let failed = |world: &World| {
        let observed = world.state.observed();
        assert_eq!(
            (observed.generation, observed.serving),
            (Generation(2), Generation(2))
        );
        let version = observed.versions[1].clone();
        assert_eq!(version.state, ObservedState::Failed);
        assert_eq!(version.error, "replaying golden.json: wrong");
    };
    failed(&world);
    world.begin();
    failed(&world);
    assert_eq!(world.in_service(), [version(1).digest]);
    world.finish(true);
    assert_eq!(
        world.state.observed().versions[1].state,
        ObservedState::Ready
    );
}

#[test]
fn a_failure_that_lasts_is_not_tried_again_soon_unless_the_slot_changes() {
    let mut world = World::default();
    world.want(&[], &[1], &[]);
    world.begin();
    let load = world.load.take().unwrap();
    let lasting = LoadError::Step {
        step: Step::Fetch,
        reason: "corrupt".into(),
        lasts: true,
    };
    let before = Instant::now();
    assert!(world.state.loaded(&load, Err(lasting), 0, RETRY).is_none());
    let due = |world: &World, at| world.state.is_due(Urgency::Prepared, at);
    assert!(!due(&world, before + RETRY.lasting / 2));
    assert!(due(&world, Instant::now() + RETRY.lasting));

    world.want(&[], &[1], &[]);
    assert!(due(&world, Instant::now()), "somebody asks for it anew");
    world.begin();
    world.finish(false);
    let soon = Instant::now() + RETRY.longest;
    assert!(due(&world, soon), "a fault that passes is tried again soon");
}

#[test]
fn other_signers_begin_a_load_anew() {
    let mut world = World::default();
    world.want(&[1], &[], &[]);
    world.begin();
    let signers = vec![decant_model::PublicKey([7; 32])];
    let stricter = DesiredSlot {
        signers: signers.clone(),
        ..desired(2, &[1], &[], &[])
    };
    world.history.insert(Generation(2), stricter.clone());
    world.aspire(stricter);
    world.finish(true);
    assert_eq!(world.in_service(), []);
    world.begin();
    assert_eq!(world.load.as_ref().unwrap().signers, signers);
    world.settles();
}

#[test]
fn the_first_version_of_a_slot_is_prepared_before_anything_answers() {
    let mut world = World::default();
    world.want(&[], &[1], &[]);
    assert!(!world.state.is_settled());
    world.load_all();
    assert!(world.state.is_settled());
    assert_eq!(world.state.observed().serving, Generation(0));
    assert_eq!(
        world.state.entry().route(|_| 0).err(),
        Some("its first version is being prepared")
    );
    world.want(&[1], &[], &[]);
    assert_eq!(world.state.observed().serving, Generation(2));
}
