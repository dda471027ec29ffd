//! What is read when somebody asks for it. The callbacks hold nothing: a registry that was stopped tells nothing more.

use std::sync::{Arc, Weak};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use super::board::labels;
use super::{Board, Inner, Pushes};

pub(super) fn observe(meter: &Meter, inner: &Arc<Inner>, pushes: Pushes) {
    process(meter, &Arc::downgrade(inner), pushes);
    leader(meter, &Arc::downgrade(inner));
}

/// What any replica tells.
fn process(meter: &Meter, inner: &Weak<Inner>, (pushes, places): Pushes) {
    let of = Weak::clone(inner);
    meter
        .u64_observable_gauge("decant.registry.leader")
        .with_description("1 while this replica leads, else 0.")
        .with_callback(move |told| {
            if let Some(inner) = of.upgrade() {
                told.observe(u64::from(inner.board().is_some()), &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("decant.registry.pushes_in_progress")
        .with_description("Pushes that are at work.")
        .with_callback(move |told| {
            if let Some(pushes) = pushes.upgrade() {
                let at_work = places.saturating_sub(pushes.available_permits());
                told.observe(at_work as u64, &[]);
            }
        })
        .build();
    let of = Weak::clone(inner);
    meter
        .u64_observable_counter("decant.registry.watch_divergences")
        .with_description("How often the store's listing showed what its watch did not tell.")
        .with_callback(move |told| {
            if let Some(inner) = of.upgrade() {
                told.observe(inner.watched.divergences(), &[]);
            }
        })
        .build();
}

/// What the leader alone tells.
fn leader(meter: &Meter, inner: &Weak<Inner>) {
    meter
        .u64_observable_gauge("decant.registry.scorers_live")
        .with_description("Scorers whose lease lives, as the leader sees it.")
        .with_callback(reading(inner, |board, told| {
            if let Some(live) = board.scorers {
                told.observe(live as u64, &[]);
            }
        }))
        .build();
    meter
        .u64_observable_gauge("decant.registry.slot_generation")
        .with_description("The slot's newest generation.")
        .with_callback(reading(inner, |board, told| {
            for (place, slot) in &board.slots {
                told.observe(slot.generation.0, &labels(place));
            }
        }))
        .build();
    meter
        .u64_observable_gauge("decant.registry.slot_converged")
        .with_description("1 when every live scorer answers with the slot as intended, else 0.")
        .with_callback(reading(inner, |board, told| {
            for (place, slot) in &board.slots {
                told.observe(u64::from(slot.converged), &labels(place));
            }
        }))
        .build();
    rollouts(meter, inner);
}

fn rollouts(meter: &Meter, inner: &Weak<Inner>) {
    meter
        .u64_observable_gauge("decant.registry.rollout_info")
        .with_description("1 for the rollout that has the slot, by its phase and step.")
        .with_callback(reading(inner, |board, told| {
            for (place, rollout) in &board.rollouts {
                let [model, slot] = labels(place);
                let phase = KeyValue::new("phase", rollout.phase.to_string());
                let step = KeyValue::new("step", rollout.step.to_string());
                told.observe(1, &[model, slot, phase, step]);
            }
        }))
        .build();
    meter
        .f64_observable_gauge("decant.registry.rollout_share")
        .with_description(
            "The share of the traffic that the rollout's version is to answer, 0 to 1.",
        )
        .with_callback(reading(inner, |board, told| {
            for (place, rollout) in &board.rollouts {
                told.observe(rollout.share, &labels(place));
            }
        }))
        .build();
    meter
        .i64_observable_gauge("decant.registry.gate_verdict")
        .with_description("What a gate of the rollout says: 1 passed, 0 not yet, -1 failed.")
        .with_callback(reading(inner, |board, told| {
            for (place, rollout) in &board.rollouts {
                for (gate, verdict) in &rollout.gates {
                    let [model, slot] = labels(place);
                    told.observe(*verdict, &[model, slot, KeyValue::new("gate", *gate)]);
                }
            }
        }))
        .build();
    meter
        .u64_observable_counter("decant.registry.rollouts_ended")
        .with_description("Rollouts that ended since this replica leads, by how they ended.")
        .with_callback(reading(inner, |board, told| {
            for ((place, ended), count) in &board.ended {
                let [model, slot] = labels(place);
                let outcome = KeyValue::new("outcome", ended.as_str());
                told.observe(*count, &[model, slot, outcome]);
            }
        }))
        .build();
}

/// A callback that reads the board while there is one.
fn reading<T: 'static>(
    inner: &Weak<Inner>,
    read: impl Fn(&Board, &dyn AsyncInstrument<T>) + Send + Sync + 'static,
) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static {
    let inner = Weak::clone(inner);
    move |told: &dyn AsyncInstrument<T>| {
        let Some(inner) = inner.upgrade() else {
            return;
        };
        let board = inner.board();
        if let Some(board) = &*board {
            read(board, told);
        }
    }
}
