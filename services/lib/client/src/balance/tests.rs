use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::SeedableRng;
use rand_pcg::Pcg64;

use super::*;

const SEED: u64 = 7;

fn scorers(count: usize, now: Instant) -> Balancer<()> {
    let mut balancer = Balancer::default();
    for number in 0..count {
        balancer.add(Arc::from(number.to_string()), (), now);
    }
    balancer
}

/// A call that ends at once.
fn call(balancer: &mut Balancer<()>, outcome: Outcome, now: Instant, random: &mut Pcg64) -> Key {
    let key = balancer.pick(&[], now, random).unwrap().key;
    balancer.finish(key, now, outcome, now, random);
    key
}

#[test]
fn loaded_scorers_are_asked_less_often_but_not_never() {
    let (now, mut random) = (Instant::now(), Pcg64::seed_from_u64(SEED));
    let mut balancer = scorers(2, now);
    let mut asked = BTreeMap::new();
    for _ in 0..1000 {
        let key = balancer.pick(&[], now, &mut random).unwrap().key;
        let load = Some(if key == Key(1) { 1.0 } else { 0.0 });
        let outcome = Outcome::Answered { load };
        balancer.finish(key, now, outcome, now, &mut random);
        *asked.entry(key).or_insert(0) += 1;
    }
    // Five times less often: 167 of 1000, give or take three deviations.
    assert!((130..205).contains(&asked[&Key(1)]), "{asked:?}");

    // What was said long ago does not count.
    let later = now + 20 * HALF_LIFE;
    let weight = |key| {
        let known = balancer.scorers.iter().find(|known| known.key == key);
        known.unwrap().weight(later)
    };
    assert!((weight(Key(1)) - weight(Key(2))).abs() < 1e-4);
}

#[test]
fn calls_in_flight_spread_evenly_and_a_loaded_scorer_gets_fewer_of_them() {
    let (now, mut random) = (Instant::now(), Pcg64::seed_from_u64(SEED));
    let mut balancer = scorers(2, now);
    for _ in 0..10 {
        balancer.pick(&[], now, &mut random).unwrap();
    }
    let in_flight = |balancer: &Balancer<()>| {
        let statuses = balancer.statuses();
        (statuses[0].in_flight, statuses[1].in_flight)
    };
    assert_eq!(in_flight(&balancer), (5, 5));

    let mut balancer = scorers(2, now);
    balancer.scorers[0].load = Some((1.0, now));
    for _ in 0..60 {
        balancer.pick(&[], now, &mut random).unwrap();
    }
    assert_eq!(in_flight(&balancer), (10, 50));
}

#[test]
fn nonsense_is_not_believed() {
    let (now, mut random) = (Instant::now(), Pcg64::seed_from_u64(SEED));
    let mut balancer = scorers(1, now);
    for load in [f32::NAN, f32::INFINITY, -3.0, 1e30] {
        let load = Some(load);
        call(&mut balancer, Outcome::Answered { load }, now, &mut random);
        let weight = balancer.scorers[0].weight(now);
        assert!((0.05..=1.0).contains(&weight), "{load:?}: {weight}");
    }
}

#[test]
fn busy_scorers_rest_while_others_do_not_need_to() {
    let (now, mut random) = (Instant::now(), Pcg64::seed_from_u64(SEED));
    let mut balancer = scorers(2, now);
    let rest = Duration::from_millis(50);
    let busy = call(&mut balancer, Outcome::Busy(rest), now, &mut random);
    let answered = Outcome::Answered { load: None };
    for _ in 0..20 {
        assert_ne!(call(&mut balancer, answered, now, &mut random), busy);
    }
    let later = now + rest;
    let asked: BTreeSet<Key> = (0..20)
        .map(|_| call(&mut balancer, answered, later, &mut random))
        .collect();
    assert!(asked.contains(&busy));
    // When all are busy, one of them is asked nevertheless.
    for _ in 0..4 {
        call(&mut balancer, Outcome::Busy(rest), later, &mut random);
    }
    assert!(balancer.pick_ready(&[], later, &mut random).is_none());
    assert!(balancer.pick(&[], later, &mut random).is_some());
}

#[test]
fn refusals_take_out_all_and_then_all_are_asked_again() {
    let (now, mut random) = (Instant::now(), Pcg64::seed_from_u64(SEED));
    let mut balancer = scorers(3, now);
    let broken = Outcome::Failed(Failure::Broken);
    let asked: BTreeSet<Key> = (0..3)
        .map(|_| call(&mut balancer, broken, now, &mut random))
        .collect();
    assert_eq!(
        asked.len(),
        3,
        "a scorer that is out is not asked while another is in"
    );
    assert!(balancer.statuses().iter().all(|status| status.ejected));

    let answered = Outcome::Answered { load: None };
    let survivor = call(&mut balancer, answered, now, &mut random);
    for _ in 0..20 {
        assert_eq!(call(&mut balancer, answered, now, &mut random), survivor);
    }
}

#[test]
fn those_that_stay_keep_what_is_known_of_them() {
    let (now, mut random) = (Instant::now(), Pcg64::seed_from_u64(SEED));
    let mut balancer = scorers(2, now);
    let out = call(
        &mut balancer,
        Outcome::Failed(Failure::Broken),
        now,
        &mut random,
    );
    let running = balancer.pick(&[], now, &mut random).unwrap();
    balancer.retain(|address| *address != *running.address);
    assert_eq!(balancer.statuses().len(), 1);
    assert!(balancer.statuses()[0].ejected);

    // One that comes back is another: the call that began before does not count for it.
    balancer.add(Arc::clone(&running.address), (), now);
    let outcome = Outcome::Failed(Failure::Broken);
    assert_eq!(
        balancer.finish(running.key, now, outcome, now, &mut random),
        None
    );
    let fresh = balancer.pick(&[out], now, &mut random).unwrap();
    assert_eq!(fresh.address, running.address);
    assert_ne!(fresh.key, running.key);
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    /// A call is made that has tried the scorers whose bits are set.
    Pick(u8),
    /// The call of this place among those in flight ends.
    Finish(usize, Outcome),
    Wait(u64),
    Add,
    Remove(usize),
    BeginProbes,
    /// The probe of this place among those at work ends.
    Probed(usize, bool),
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        1 => (0.0_f32..2.0).prop_map(|load| Outcome::Answered { load: Some(load) }),
        1 => (1_u64..2000).prop_map(|millis| Outcome::Busy(Duration::from_millis(millis))),
        1 => Just(Outcome::Failed(Failure::Unavailable)),
        1 => Just(Outcome::Failed(Failure::Broken)),
        3 => Just(Outcome::Failed(Failure::Silent)),
        1 => Just(Outcome::Abandoned),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => any::<u8>().prop_map(Event::Pick),
        8 => (any::<usize>(), outcomes()).prop_map(|(place, outcome)| Event::Finish(place, outcome)),
        3 => (0_u64..3000).prop_map(Event::Wait),
        1 => Just(Event::Add),
        1 => any::<usize>().prop_map(Event::Remove),
        3 => Just(Event::BeginProbes),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(place, passed)| Event::Probed(place, passed)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_accounts_are_right(
        count in 1_usize..6,
        happens in prop::collection::vec(events(), 1..200),
        seed in any::<u64>(),
    ) {
        let mut now = Instant::now();
        let mut random = Pcg64::seed_from_u64(seed);
        let mut balancer = scorers(count, now);
        let mut added = count;
        let mut running: Vec<(Key, Instant)> = Vec::new();
        let mut probes: Vec<Key> = Vec::new();
        for event in happens {
            let before = balancer.statuses();
            let is_in = |balancer: &Balancer<()>, key: Key| {
                balancer.scorers.iter().any(|known| known.key == key && known.health.is_in())
            };
            match event {
                Event::Pick(bits) => {
                    let keys: Vec<Key> = balancer.scorers.iter().map(|known| known.key).collect();
                    let tried: Vec<Key> = keys
                        .iter()
                        .enumerate()
                        .filter(|(place, _)| bits >> (place % 8) & 1 == 1)
                        .map(|(_, key)| *key)
                        .collect();
                    let any_in = keys.iter().any(|key| is_in(&balancer, *key));
                    let left = keys
                        .iter()
                        .any(|key| !tried.contains(key) && (!any_in || is_in(&balancer, *key)));
                    let picked = balancer.pick(&tried, now, &mut random);
                    prop_assert_eq!(picked.is_some(), left);
                    if let Some(picked) = picked {
                        prop_assert!(!tried.contains(&picked.key));
                        prop_assert!(!any_in || is_in(&balancer, picked.key));
                        running.push((picked.key, now));
                    }
                }
                Event::Finish(place, outcome) => {
                    if running.is_empty() {
                        continue;
                    }
                    let (key, began) = running.swap_remove(place % running.len());
                    let change = balancer.finish(key, began, outcome, now, &mut random);
                    let after = balancer.statuses();
                    let out = after.iter().filter(|status| status.ejected).count();
                    match (&change, outcome) {
                        (Some(Change::Ejected { failure, length, .. }), Outcome::Failed(failed)) => {
                            prop_assert_eq!(*failure, failed);
                            prop_assert!(*length >= Duration::from_millis(100));
                            prop_assert!(*length <= Duration::from_secs(10));
                            prop_assert!(failed.refuses() || 2 * out <= after.len());
                        }
                        (Some(Change::Readmitted { .. }), Outcome::Answered { .. } | Outcome::Busy(_)) => {}
                        (None, _) => {
                            let ejected = |statuses: &[ScorerStatus]| -> Vec<bool> {
                                statuses.iter().map(|status| status.ejected).collect()
                            };
                            prop_assert_eq!(ejected(&before), ejected(&after));
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Event::Wait(millis) => now += Duration::from_millis(millis),
                Event::Add => {
                    balancer.add(Arc::from(added.to_string()), (), now);
                    added += 1;
                }
                Event::Remove(place) => {
                    if !before.is_empty() {
                        let gone = &before[place % before.len()].address;
                        balancer.retain(|address| *address != **gone);
                    }
                }
                Event::BeginProbes => {
                    for (key, ()) in balancer.begin_probes(now) {
                        prop_assert!(!is_in(&balancer, key));
                        probes.push(key);
                    }
                    prop_assert!(balancer.probe_at().is_none_or(|at| at > now));
                }
                Event::Probed(place, passed) => {
                    if !probes.is_empty() {
                        let key = probes.swap_remove(place % probes.len());
                        balancer.probed(key, passed, now, &mut random);
                    }
                }
            }
            for known in &balancer.scorers {
                let calls = running.iter().filter(|(key, _)| *key == known.key).count();
                prop_assert_eq!(known.in_flight as usize, calls);
                // A scorer that is out waits for its time, or is being probed: it is never forgotten.
                let probed = probes.contains(&known.key);
                prop_assert!(known.health.is_in() || known.health.probe_at().is_some() || probed);
            }
        }
    }
}
