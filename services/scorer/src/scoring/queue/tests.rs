use proptest::prelude::*;

use super::*;

const NORMAL: Priority = Priority::Normal;

fn limits() -> Limits {
    Limits {
        runners: 1,
        model_runners: 0,
        rows: 1_000,
        client_rows: 0,
        wait: Duration::from_secs(1),
        batch_rows: 100,
        batch: Duration::from_millis(1),
    }
}

/// Rows that take a microsecond each.
fn offer(version: u64, kind: Kind, rows: usize) -> Offer {
    Offer {
        // Versions from a hundred on are of the same model.
        flow: FlowKey {
            model: version % 100,
            version,
            kind,
        },
        priority: NORMAL,
        client: Client::UNKNOWN,
        deadline: None,
        rows,
        part_rows: rows.max(1),
        row_cost: 1.0,
        until_done: rows as f64,
    }
}

fn paired(version: u64, rows: usize) -> Offer {
    offer(version, Kind::Paired, rows)
}

/// A queue of named work, and what it says.
struct World {
    queue: Queue<&'static str>,
    now: Instant,
}

impl World {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            queue: Queue::new(limits, now),
            now,
        }
    }

    fn offer(&mut self, name: &'static str, offer: &Offer) -> Result<Ticket, Refused> {
        let parts = vec![name; offer.parts()];
        self.queue.offer(self.now, offer, || parts)
    }

    fn put(&mut self, name: &'static str, offer: &Offer) -> Ticket {
        self.offer(name, offer).unwrap()
    }

    /// Takes a batch and finishes it.
    fn take(&mut self) -> Vec<&'static str> {
        let mut expired = Vec::new();
        let batch = self.queue.take(self.now, &mut expired);
        assert!(expired.is_empty());
        let Some(batch) = batch else {
            return Vec::new();
        };
        self.queue.done(self.now, batch.flow);
        batch.jobs.into_iter().map(|taken| taken.job).collect()
    }
}

#[test]
fn a_batch_is_what_waits_as_far_as_it_may_go_together() {
    let mut world = World::new(limits());
    world.put("a", &paired(1, 40));
    world.put("rank", &offer(1, Kind::Alone, 40));
    world.put("b", &paired(1, 40));
    world.put("other", &paired(2, 10));
    world.put("c", &paired(1, 40));
    // What brings its own query goes together, up to a hundred rows; models take turns, and so do the flows of one.
    assert_eq!(world.take(), ["a", "b"]);
    assert_eq!(world.take(), ["other"]);
    assert_eq!(world.take(), ["rank"]);
    assert_eq!(world.take(), ["c"]);
    assert!(world.take().is_empty());
}

#[test]
fn a_batch_ends_before_it_takes_too_long_unless_one_request_alone_does() {
    let mut world = World::new(limits());
    let slow = |rows| Offer {
        row_cost: 400.0,
        ..paired(1, rows)
    };
    for name in ["a", "b", "c"] {
        world.put(name, &slow(1));
    }
    world.put("long", &slow(9));
    assert_eq!(world.take(), ["a", "b"]);
    assert_eq!(world.take(), ["c"]);
    assert_eq!(world.take(), ["long"]);
}

#[test]
fn priorities_come_first_and_the_lowest_is_refused_first() {
    let mut world = World::new(limits());
    let of = |priority, rows| Offer {
        priority,
        ..paired(1, rows)
    };
    world.put("sheddable", &of(Priority::Sheddable, 450));
    world.put("normal", &of(NORMAL, 440));
    let full = |outcome: Result<Ticket, Refused>| {
        matches!(outcome, Err(Refused::Full { waiting: 890, .. }))
    };
    assert!(full(world.offer("late", &of(Priority::Sheddable, 10))));
    assert!(full(world.offer("late", &of(NORMAL, 20))));
    world.put("critical", &of(Priority::Critical, 50));
    assert_eq!(world.take(), ["critical"]);
    assert_eq!(world.take(), ["normal"]);
    assert_eq!(world.take(), ["sheddable"]);
}

#[test]
fn work_larger_than_the_queue_is_taken_in_when_nothing_waits() {
    let mut world = World::new(limits());
    let huge = Offer {
        part_rows: 100,
        ..offer(1, Kind::Part, 5_000)
    };
    world.put("huge", &huge);
    assert!(matches!(
        world.offer("b", &paired(2, 1)),
        Err(Refused::Full { waiting: 5_000, .. })
    ));
    for _ in 0..50 {
        assert_eq!(world.take(), ["huge"]);
    }
    assert!(world.take().is_empty());
    world.put("b", &paired(2, 1));
}

#[test]
fn small_work_does_not_wait_for_all_of_a_huge_request() {
    let mut world = World::new(Limits {
        rows: 100_000,
        ..limits()
    });
    let huge = Offer {
        part_rows: 100,
        ..offer(1, Kind::Part, 50_000)
    };
    world.put("huge", &huge);
    assert_eq!(world.take(), ["huge"]);
    // It would wait 50 ms behind all parts; it need not, and so is taken in though it has less time.
    let deadline = Some(world.now + Duration::from_millis(5));
    let small = Offer {
        deadline,
        ..paired(1, 10)
    };
    world.put("small", &small);
    let order = [world.take(), world.take()].concat();
    assert!(order.contains(&"small"), "{order:?}");
}

#[test]
fn what_cannot_be_done_in_time_is_refused_before_anything_is_done() {
    let mut world = World::new(limits());
    let within = |micros: u64, rows: usize| Offer {
        deadline: Some(world.now + Duration::from_micros(micros)),
        ..paired(1, rows)
    };
    let (too_short, tight, enough) = (within(50, 60), within(650, 60), within(700, 60));
    assert_eq!(world.offer("a", &too_short), Err(Refused::Expired));
    world.put("waits", &paired(1, 600));
    let refused = world.offer("b", &tight);
    let expected = Duration::from_micros(600);
    assert!(
        matches!(refused, Err(Refused::Slow { wait, .. }) if wait == expected),
        "{refused:?}"
    );
    world.put("c", &enough);

    let mut world = World::new(Limits {
        wait: Duration::from_micros(500),
        ..limits()
    });
    world.put("waits", &paired(1, 400));
    let sheddable = Offer {
        priority: Priority::Sheddable,
        ..paired(1, 1)
    };
    assert!(matches!(
        world.offer("low", &sheddable),
        Err(Refused::Slow { .. })
    ));
    world.put("usual", &paired(1, 200));
    assert!(matches!(
        world.offer("late", &paired(1, 1)),
        Err(Refused::Slow { .. })
    ));
    // Another version need not wait for all that.
    world.put("other", &paired(2, 100));
}

#[test]
fn a_burst_may_wait_longer_than_what_comes_to_a_flow_that_stands() {
    let wait = Duration::from_micros(400);
    let mut world = World::new(Limits { wait, ..limits() });
    world.put("burst", &paired(1, 100));
    world.put("burst", &paired(1, 200));
    world.put("burst", &paired(1, 10));
    assert_eq!(world.take(), ["burst"]);
    // As much waits as before, but since then something always has.
    world.now += wait;
    world.put("in time", &paired(1, 50));
    world.now += Duration::from_micros(1);
    let refused = world.offer("too many", &paired(1, 1));
    assert!(matches!(refused, Err(Refused::Slow { .. })), "{refused:?}");
    assert!(world.queue.load(world.now).1, "it is pressed");
    // That others stand, or what matters less, is no reason to refuse a burst.
    let critical = Offer {
        priority: Priority::Critical,
        ..paired(1, 120)
    };
    for offer in [paired(2, 120), critical] {
        let first = world.put("another burst", &offer);
        let second = world.put("another burst", &offer);
        world.queue.cancel(world.now, first);
        world.queue.cancel(world.now, second);
    }

    assert_eq!(world.take(), ["burst"]);
    world.put("little waits", &paired(1, 1));
    while !world.take().is_empty() {}
    // More came than could be done a moment ago: that nothing waits now is no reason to let a burst in.
    world.put("in time", &paired(1, 90));
    world.put("in time", &paired(1, 200));
    let refused = world.offer("too many", &paired(1, 1));
    assert!(matches!(refused, Err(Refused::Slow { .. })), "{refused:?}");
    while !world.take().is_empty() {}
    world.now += wait;
    world.put("a burst again", &paired(1, 100));
    world.put("a burst again", &paired(1, 200));
    world.put("a burst again", &paired(1, 1));
}

#[test]
fn what_is_late_is_not_computed() {
    let mut world = World::new(limits());
    let soon = Offer {
        deadline: Some(world.now + Duration::from_millis(1)),
        ..paired(1, 1)
    };
    world.put("late", &soon);
    world.put("timeless", &paired(1, 1));
    let mut expired = Vec::new();
    let batch = world
        .queue
        .take(world.now + Duration::from_millis(2), &mut expired)
        .unwrap();
    assert_eq!(expired, ["late"]);
    assert_eq!(batch.jobs[0].job, "timeless");
    assert_eq!(batch.jobs[0].waited, Duration::from_millis(2));
}

#[test]
fn one_client_may_not_take_the_queue_from_the_others() {
    let mut world = World::new(Limits {
        client_rows: 100,
        ..limits()
    });
    let of = |name: &[u8], rows| Offer {
        client: Client::named(name),
        ..paired(1, rows)
    };
    let first = world.put("a", &of(b"feed", 80));
    let refused = world.offer("b", &of(b"feed", 30));
    assert!(
        matches!(refused, Err(Refused::Client { waiting: 80, .. })),
        "{refused:?}"
    );
    world.put("c", &of(b"mail", 30));
    world.put("d", &paired(1, 300));
    world.queue.cancel(world.now, first);
    world.put("e", &of(b"feed", 100));
}

#[test]
fn one_model_leaves_runners_to_the_others() {
    let mut world = World::new(Limits {
        runners: 2,
        model_runners: 1,
        ..limits()
    });
    for (name, version) in [("a", 1), ("b", 101), ("c", 1)] {
        world.put(name, &offer(version, Kind::Alone, 1));
    }
    world.put("other", &paired(2, 1));
    let (mut expired, now) = (Vec::new(), world.now);
    let mut take = || world.queue.take(now, &mut expired);
    let (first, second) = (take().unwrap(), take().unwrap());
    assert_eq!([first.jobs[0].job, second.jobs[0].job], ["a", "other"]);
    assert!(take().is_none());
    world.queue.done(now, first.flow);
    assert_eq!(world.take(), ["b"]);
}

#[test]
fn what_passes_is_admitted_and_counted_as_what_is_taken() {
    let mut world = World::new(Limits {
        runners: 2,
        model_runners: 1,
        ..limits()
    });
    let (now, one) = (world.now, paired(1, 1));
    let split = Offer {
        part_rows: 1,
        ..paired(1, 2)
    };
    assert_eq!(world.queue.pass(now, &split), Ok(false));
    assert_eq!(world.queue.pass(now, &one), Ok(true));
    assert_eq!(
        world.queue.pass(now, &one),
        Ok(false),
        "its model is at work"
    );
    assert_eq!(world.queue.pass(now, &paired(2, 1)), Ok(true));
    let soon = now + Duration::from_secs(10);
    assert!(world.queue.load(soon).0 > 0.9, "both runners were busy");
    world.queue.done(soon, one.flow);
    world.queue.done(soon, paired(2, 1).flow);
    assert!(world.queue.models.is_empty());

    let late = Offer {
        deadline: Some(now),
        ..paired(1, 1)
    };
    assert_eq!(world.queue.pass(now, &late), Err(Refused::Expired));
    let ticket = world.put("waits", &paired(2, 1));
    assert_eq!(world.queue.pass(now, &one), Ok(false), "something waits");
    world.queue.cancel(now, ticket);
    world.queue.close();
    assert_eq!(world.queue.pass(now, &one), Err(Refused::Closed));
}

#[test]
fn a_closed_queue_gives_out_what_it_has() {
    let mut world = World::new(limits());
    world.put("a", &paired(1, 1));
    world.queue.close();
    assert_eq!(world.offer("b", &paired(1, 1)), Err(Refused::Closed));
    assert!(!world.queue.is_over());
    assert_eq!(world.take(), ["a"]);
    assert!(world.queue.is_over());
}

#[test]
fn load_is_the_share_of_busy_time_and_what_waits() {
    let mut world = World::new(limits());
    assert_eq!(world.queue.load(world.now).0, 0.0);
    world.put("a", &paired(1, 500));
    let waits = world.queue.load(world.now).0;
    assert!((waits - 0.0005).abs() < 1e-6, "{waits}");
    let mut expired = Vec::new();
    let batch = world.queue.take(world.now, &mut expired).unwrap();
    let later = world.now + Duration::from_secs(5);
    let busy = world.queue.load(later).0;
    assert!((busy - 1.0).abs() < 0.01, "{busy}");
    world.queue.done(later, batch.flow);
    let idle = world.queue.load(later + Duration::from_secs(5)).0;
    assert!(idle < 0.01, "{idle}");
}

/// What may happen to a queue.
#[derive(Clone, Debug)]
enum Event {
    Offer {
        version: u64,
        kind: Kind,
        priority: usize,
        rows: usize,
        part_rows: usize,
        client: u8,
    },
    Cancel(usize),
    Pass(u64),
    Take,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let kind = prop_oneof![Just(Kind::Paired), Just(Kind::Alone), Just(Kind::Part)];
    let offered = (
        0_u64..4,
        kind,
        0_usize..3,
        1_usize..200,
        1_usize..200,
        0_u8..3,
    );
    let offered =
        offered.prop_map(
            |(version, kind, priority, rows, part_rows, client)| Event::Offer {
                version,
                kind,
                priority,
                rows,
                part_rows,
                client,
            },
        );
    let event = prop_oneof![
        3 => offered,
        1 => (0_usize..50).prop_map(Event::Cancel),
        1 => (0_u64..4).prop_map(Event::Pass),
        3 => Just(Event::Take),
    ];
    prop::collection::vec(event, 1..120)
}

#[test]
fn a_model_that_is_idle_is_forgotten_though_others_are_busy() {
    let mut world = World::new(limits());
    world.put("idle", &paired(1, 5));
    for _ in 0..2 {
        world.put("busy", &paired(2, 100));
    }
    assert_eq!(world.take(), ["idle"]);
    for _ in 0..3 {
        assert_eq!(world.take(), ["busy"]);
        world.put("busy", &paired(2, 100));
    }
    assert_eq!((world.queue.flows.len(), world.queue.models.len()), (1, 1));
}

proptest! {
    /// Whatever happens: each part that was taken in leaves once, by a batch or taken back; batches keep to their limits;
    /// nothing of lower priority goes first; and an empty queue has forgotten everything.
    #[test]
    fn work_leaves_once_and_in_order(events in events()) {
        let limits = Limits { client_rows: 300, ..limits() };
        let (batch_rows, now) = (limits.batch_rows, Instant::now());
        let mut queue: Queue<(usize, usize)> = Queue::new(limits, now);
        let mut tickets = Vec::new();
        let mut inside = std::collections::BTreeMap::new();
        let priorities = [Priority::Critical, Priority::Normal, Priority::Sheddable];
        for event in events.into_iter().chain(std::iter::repeat_n(Event::Take, 3_000)) {
            match event {
                Event::Offer { version, kind, priority, rows, part_rows, client } => {
                    let client = if client == 0 { Client::UNKNOWN } else { Client::named(&[client]) };
                    let offer = Offer { priority: priorities[priority], client, part_rows, ..offer(version, kind, rows) };
                    let id = tickets.len();
                    if let Ok(ticket) = queue.offer(now, &offer, || (0..offer.parts()).map(move |part| (id, part))) {
                        tickets.push(ticket);
                        for part in 0..offer.parts() {
                            inside.insert((id, part), (priority, kind, version));
                        }
                    }
                }
                Event::Cancel(position) => {
                    if let Some(ticket) = tickets.get(position) {
                        queue.cancel(now, *ticket);
                        inside.retain(|(id, _), _| *id != position);
                    }
                }
                Event::Pass(version) => {
                    let offer = paired(version, 1);
                    let passed = queue.pass(now, &offer);
                    prop_assert_eq!(passed, Ok(inside.is_empty()));
                    if inside.is_empty() {
                        queue.done(now, offer.flow);
                    }
                }
                Event::Take => {
                    let mut expired = Vec::new();
                    let Some(batch) = queue.take(now, &mut expired) else {
                        prop_assert!(inside.is_empty());
                        continue;
                    };
                    prop_assert!(expired.is_empty());
                    prop_assert!(batch.jobs.len() == 1 || batch.rows <= batch_rows);
                    prop_assert!(batch.jobs.len() == 1 || batch.flow.kind == Kind::Paired);
                    let highest = inside.values().map(|(priority, ..)| *priority).min();
                    for taken in &batch.jobs {
                        let (priority, kind, version) = inside.remove(&taken.job).unwrap();
                        prop_assert_eq!(Some(priority), highest);
                        prop_assert_eq!((version, kind), (batch.flow.version, batch.flow.kind));
                    }
                    queue.done(now, batch.flow);
                }
            }
        }
        prop_assert!(inside.is_empty());
        prop_assert_eq!((queue.rows, queue.waiting), (0, 0));
        prop_assert!(queue.flows.is_empty() && queue.clients.is_empty() && queue.models.is_empty());
    }

    /// Two models that always have work get the same time, however large their requests are, and of however many kinds and
    /// versions; and so do a model's flows.
    #[test]
    fn busy_models_share_the_time(
        rows in prop::collection::vec(1_usize..100, 4),
        is_of_another_version in any::<bool>(),
    ) {
        let mut world = World::new(Limits {
            rows: 10_000,
            ..limits()
        });
        let beside = if is_of_another_version { 101 } else { 1 };
        let offers = [
            offer(1, Kind::Alone, rows[0]),
            offer(1, Kind::Part, rows[1]),
            offer(beside, Kind::Paired, rows[2]),
            offer(2, Kind::Alone, rows[3]),
        ];
        let names = ["alone", "part", "paired", "other"];
        let mut served = [0_usize; 4];
        for (name, offer) in names.iter().zip(&offers) {
            for _ in 0..3 {
                world.put(name, offer);
            }
        }
        while served.iter().sum::<usize>() < 20_000 {
            for name in world.take() {
                let which = names.iter().position(|other| *other == name).unwrap();
                served[which] += offers[which].rows;
                world.put(name, &offers[which]);
            }
        }
        // A batch of pairs takes as many as fit.
        let most = 3 * 100;
        let of_model = served[..3].iter().sum::<usize>();
        prop_assert!(of_model.abs_diff(served[3]) <= 2 * most, "{served:?}");
        for one in 0..2 {
            prop_assert!(served[one].abs_diff(served[one + 1]) <= 2 * most, "{served:?}");
        }
    }
}
