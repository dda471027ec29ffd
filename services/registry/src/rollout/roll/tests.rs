use decant_coordination::keys::{ObservedState, ScorerRecord};
use decant_model::Active;

use super::*;
use crate::rollout::fleet::tests::{observed, scorer, wanted};

const MEMORY: Duration = Duration::from_secs(45);

fn names(names: &[&str]) -> Vec<ScorerName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A fleet of these, of whom the first so many have the version ready.
fn fleet(live: &[&str], ready: usize) -> Fleet {
    let members: Vec<(ScorerName, ScorerRecord)> = live.iter().map(|name| scorer(name)).collect();
    let said = live[..ready]
        .iter()
        .map(|name| observed(name, ObservedState::Ready, 2));
    Fleet::new(members, said)
}

fn refuses(roll: &Roll, fleet: &Fleet, percent: u8) -> Option<String> {
    let versions: Vec<Active> = wanted();
    roll.refuses(fleet, &fleet.readiness(&versions), percent)
}

#[tokio::test(start_paused = true)]
async fn while_most_scorers_have_just_vanished_the_rest_decides_nothing() {
    let roll = Roll::new(MEMORY);
    let note = |live: &[&str]| roll.known().note(names(live), Instant::now(), MEMORY);
    let rest = fleet(&["a", "b"], 2);
    assert_eq!(refuses(&roll, &rest, 100), None, "nobody else was known");

    note(&["a", "b", "c", "d", "e"]);
    // Before the roll itself has heard that they are gone.
    let words = refuses(&roll, &rest, 100).unwrap();
    assert!(
        words.contains("3 of 5") && words.contains("c, d, e"),
        "{words}"
    );
    note(&["a", "b"]);
    assert!(refuses(&roll, &rest, 100).is_some());
    assert_eq!(
        refuses(&roll, &fleet(&["a", "b", "c"], 3), 100),
        None,
        "the smaller part may be gone"
    );
    assert_eq!(refuses(&roll, &rest, 40), None, "2 of all 5 were asked for");
    assert!(refuses(&roll, &rest, 41).is_some());
    assert!(
        refuses(&roll, &fleet(&[], 0), 100).is_some(),
        "nobody left is most of them, too"
    );

    tokio::time::advance(MEMORY).await;
    assert_eq!(
        refuses(&roll, &rest, 100),
        None,
        "by now they are forgotten"
    );
}

#[test]
fn without_a_memory_nobody_is_missed() {
    let roll = Roll::new(Duration::ZERO);
    let now = Instant::now();
    roll.known().note(names(&["a", "b", "c"]), now, MEMORY);
    assert_eq!(refuses(&roll, &fleet(&["a"], 1), 100), None);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_was_never_gone() {
    let roll = Roll::new(MEMORY);
    let note = |live: &[&str]| roll.known().note(names(live), Instant::now(), MEMORY);
    note(&["a", "b", "c"]);
    note(&["a"]);
    tokio::time::advance(MEMORY / 2).await;
    note(&["a", "b", "c"]);
    tokio::time::advance(MEMORY).await;
    assert_eq!(refuses(&roll, &fleet(&["a", "b", "c"], 3), 100), None);
    assert!(
        refuses(&roll, &fleet(&["a"], 1), 100).is_some(),
        "and is missed anew when it goes again"
    );
}
