//! Waiting until the scorer serves what a slot was set to.

use std::time::Duration;

use decant_proto::rollout::v1::Slot;
use decant_proto::scorer::v1::{Servable, ServableState};
use tokio::time::Instant;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::names;

/// How often the scorer is asked. Loading takes tenths of a second; asking costs it microseconds.
const POLL: Duration = Duration::from_millis(50);

/// Returns once the version is available in the slot's generation, or says why that will not be.
pub(crate) async fn until_available(
    context: &Context,
    slot: &Slot,
    version: u64,
    patience: Duration,
) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    loop {
        // A scorer that restarts is away for a moment: only at the deadline is that a failure.
        let seen = match context.scorer.list_servables().await {
            Ok(servables) => judge(&servables, slot, version),
            Err(failure) if Instant::now() >= deadline => {
                let what = format!(
                    "{}/{} is set, but whether it is served is not known",
                    slot.model, slot.slot
                );
                return Err(failure.context(&what));
            }
            Err(_) => Seen::Pending("not asked yet".to_owned()),
        };
        match seen {
            Seen::Available => return Ok(()),
            Seen::Failed(error) => {
                let what = format!("{} {}", slot.model, names::version(version));
                return Err(Failure::new(format!("the scorer cannot serve {what}: {error}"))
                    .hint("the version that served before goes on serving; `decant scorer list` shows both"));
            }
            Seen::Overtaken(generation) => {
                return Err(Failure::new(format!(
                    "{}/{} was set again, to generation {generation}, before generation {} was served",
                    slot.model, slot.slot, slot.generation
                ))
                .hint("`decant slot get` shows who did, and why"));
            }
            Seen::Pending(state) if Instant::now() >= deadline => {
                return Err(Failure::new(format!(
                    "{}/{} is set, but {} is not available after {} s: {state}",
                    slot.model,
                    slot.slot,
                    names::version(version),
                    patience.as_secs_f64()
                ))
                .hint("it may still become so; `decant scorer list` shows it"));
            }
            Seen::Pending(_) => tokio::time::sleep(POLL).await,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Available,
    Failed(String),
    /// A later change of the slot is being served or has failed.
    Overtaken(u64),
    Pending(String),
}

fn judge(servables: &[Servable], slot: &Slot, version: u64) -> Seen {
    let in_slot = servables.iter().filter_map(|servable| {
        let by = servable.served_by.as_ref()?;
        (by.model == slot.model && by.slot == slot.slot).then_some((by, servable))
    });
    let mut pending = "the scorer does not know of it yet".to_owned();
    let mut overtaken = None;
    for (by, servable) in in_slot {
        // What is left of earlier generations says nothing: the same version may have failed then.
        if by.generation > slot.generation {
            overtaken = overtaken.max(Some(by.generation));
        }
        if by.generation != slot.generation || by.version != version {
            continue;
        }
        match servable.state() {
            ServableState::Available => return Seen::Available,
            ServableState::End if !servable.error.is_empty() => {
                return Seen::Failed(servable.error.clone());
            }
            _ => pending = format!("it is {}", names::servable_state(servable.state)),
        }
    }
    overtaken.map_or(Seen::Pending(pending), Seen::Overtaken)
}

#[cfg(test)]
mod tests {
    use decant_proto::scorer::v1::ServedBy;

    use super::*;

    fn servable(version: u64, generation: u64, state: ServableState, error: &str) -> Servable {
        let served_by = ServedBy {
            model: "movies".into(),
            slot: "main".into(),
            version,
            generation,
            ..ServedBy::default()
        };
        Servable {
            served_by: Some(served_by),
            state: state.into(),
            error: error.into(),
            ..Servable::default()
        }
    }

    fn judged(servables: &[Servable]) -> Seen {
        let slot = Slot {
            model: "movies".into(),
            slot: "main".into(),
            generation: 4,
            ..Slot::default()
        };
        judge(servables, &slot, 2)
    }

    #[test]
    fn only_the_generation_that_was_set_counts() {
        let earlier = [
            servable(1, 3, ServableState::Available, ""),
            servable(2, 2, ServableState::End, "corrupt"),
        ];
        assert_eq!(
            judged(&earlier),
            Seen::Pending("the scorer does not know of it yet".into())
        );
        assert_eq!(
            judged(&[servable(2, 4, ServableState::Available, "")]),
            Seen::Available
        );
        assert_eq!(
            judged(&[servable(2, 4, ServableState::Loading, "")]),
            Seen::Pending("it is LOADING".into())
        );
        assert_eq!(
            judged(&[servable(2, 4, ServableState::End, "corrupt")]),
            Seen::Failed("corrupt".into())
        );
    }

    #[test]
    fn a_later_change_ends_the_waiting() {
        assert_eq!(
            judged(&[servable(3, 5, ServableState::Loading, "")]),
            Seen::Overtaken(5)
        );
    }

    #[test]
    fn other_slots_say_nothing() {
        let mut other = servable(2, 4, ServableState::Available, "");
        other.served_by.as_mut().unwrap().slot = "test".into();
        assert_eq!(
            judged(&[other]),
            Seen::Pending("the scorer does not know of it yet".into())
        );
    }
}
