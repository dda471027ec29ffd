use super::*;

const MILLI: Duration = Duration::from_millis(1);

/// Out of rotation from the start.
fn ejected() -> (Health, Instant) {
    let start = Instant::now();
    let mut health = Health::new(start);
    let length = health.failed(Failure::Broken, start, start, true, 0.0);
    assert_eq!(length, Some(FIRST));
    (health, start)
}

#[test]
fn failures_in_a_row_eject_and_an_answer_in_between_does_not_let_them() {
    let start = Instant::now();
    let mut health = Health::new(start);
    let fail = |health: &mut Health, millis: u32| {
        let now = start + millis * MILLI;
        health.failed(Failure::Unavailable, now, now, true, 0.5)
    };
    assert_eq!(fail(&mut health, 1), None);
    assert_eq!(fail(&mut health, 2), None);
    assert!(!health.answered(start + 3 * MILLI, start + 3 * MILLI));
    assert_eq!(fail(&mut health, 4), None);
    assert_eq!(fail(&mut health, 5), None);
    assert_eq!(fail(&mut health, 6), Some(FIRST.mul_f64(0.75)));
    assert!(!health.is_in());
}

#[test]
fn answers_to_calls_that_began_before_a_failure_do_not_excuse_it() {
    let start = Instant::now();
    let mut health = Health::new(start);
    for millis in 1..FAILURES {
        let now = start + millis * MILLI;
        assert_eq!(
            health.failed(Failure::Unavailable, now, now, true, 0.0),
            None
        );
        health.answered(start, now);
    }
    let now = start + FAILURES * MILLI;
    let length = health.failed(Failure::Unavailable, now, now, true, 0.0);
    assert_eq!(length, Some(FIRST));
    // What was taken in earlier is still answered, and brings nobody back.
    assert!(!health.answered(start, now + MILLI));
    assert!(!health.is_in());
}

#[test]
fn ejections_grow_to_the_longest_and_a_calm_time_forgets_them() {
    let (mut health, mut now) = ejected();
    let mut lengths = Vec::new();
    for _ in 0..10 {
        let until = health.probe_at().unwrap();
        lengths.push(until - now);
        now = until;
        health.probe();
        assert_eq!(health.probe_at(), None);
        assert!(!health.probed(false, now, 0.0));
    }
    assert_eq!(lengths[..4], [1, 2, 4, 8].map(|times| times * FIRST));
    assert_eq!(lengths[9], LONGEST);

    now = health.probe_at().unwrap();
    health.probe();
    assert!(health.probed(true, now, 0.0));
    now += LONGEST + MILLI;
    let length = health.failed(Failure::Broken, now, now, true, 0.0);
    assert_eq!(length, Some(FIRST));
}

#[test]
fn after_a_probe_the_next_call_decides() {
    let (mut health, start) = ejected();
    let now = start + FIRST;
    health.probe();
    assert!(health.probed(true, now, 0.0));
    let mut relapsed = health.clone();
    let length = relapsed.failed(Failure::Silent, now, now, true, 0.0);
    assert_eq!(length, Some(2 * FIRST));

    assert!(!health.answered(now, now));
    assert_eq!(health.failed(Failure::Silent, now, now, true, 0.0), None);
}

#[test]
fn an_answer_is_as_good_as_a_probe_and_overtakes_it() {
    let (mut health, start) = ejected();
    health.probe();
    assert!(health.answered(start + MILLI, start + 2 * MILLI));
    assert!(!health.probed(false, start + 3 * MILLI, 0.0));
    assert!(health.is_in());
}

#[test]
fn who_must_not_be_ejected_stays_in() {
    let start = Instant::now();
    let mut health = Health::new(start);
    for _ in 0..10 {
        assert_eq!(
            health.failed(Failure::Silent, start, start, false, 0.0),
            None
        );
    }
    assert!(
        health
            .failed(Failure::Silent, start, start, true, 0.0)
            .is_some()
    );
}
