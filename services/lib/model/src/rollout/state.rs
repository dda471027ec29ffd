//! Where a rollout stands, and what comes next: a pure state machine, one file for each phase.
//!
//! ```text
//! Pending ─▶ Preparing ─▶ Shadowing ─▶ Progressing ─▶ Promoted ─▶ RolledBack
//!                │            │ ▲          │ ▲
//!                │            ▼ │          ▼ │
//!                │            Paused ◀─────▶ Paused
//!                ▼                │
//!             Aborting ◀──────────┘    from every phase before Promoted: Aborting, or RolledBack when an operator
//!                │ ▲                   rolls the slot back
//!                ▼ │
//!      Aborted ◀─ Degraded
//! ```
//!
//! The registry's leader shows it what it sees, operators tell it what they want, and it says what scorers are to serve.
//! It knows no clock: how long a rollout has been where it is, is part of what the leader sees, so that the time in which
//! nobody looked does not count.

mod pending;
mod preparing;
mod shadowing;
mod progressing;
mod paused;
mod promoted;
mod aborting;
mod degraded;
mod ended;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::gate::{Judgement, Metric, Reading};
use super::plan::{Plan, Share, Step};
use super::span::Span;

/// A release under way, or how one ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// What was asked for.
    pub plan: Plan,
    /// Where it stands.
    pub phase: Phase,
    /// The step under way, from 0; as many as there are steps once all are done.
    pub step: usize,
    /// What the version does.
    pub setting: Setting,
    /// How it was paused; only while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The gates that failed and pause it; going on lets them pass. Only while it is paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Metric>,
    /// The gates that an operator let pass for this step, by going on although they failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waived: Vec<Metric>,
    /// Why it is where it is, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Taken in; the leader has not begun.
    Pending,
    /// Scorers fetch, verify and warm up the version.
    Preparing,
    /// The version scores a copy of the traffic.
    Shadowing,
    /// The version answers a share of the traffic.
    Progressing,
    /// Nothing moves on, until a time has passed or an operator says so.
    Paused,
    /// The version is the stable one.
    Promoted,
    /// All traffic is the stable version's again; some scorers have yet to take that in.
    Aborting,
    /// It ended before the version was promoted: all traffic is the stable version's.
    Aborted,
    /// An operator took the slot back to an earlier version.
    RolledBack,
    /// It was aborted, and some scorers did not take that in for long: somebody has to look.
    Degraded,
}

/// What the version does in the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Nothing.
    #[default]
    Idle,
    /// It scores copies.
    Shadow,
    /// It answers this share.
    Weight(Share),
}

/// How a rollout was paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// By a step of the plan: for this long, or until an operator says so.
    Planned(Option<Span>),
    /// By an operator, in this phase.
    Operator(Phase),
    /// By a gate that failed, in this phase.
    Gate(Phase),
}

/// What happens to a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The leader looks at the fleet and at the gates.
    Look(Sight),
    /// Somebody wants something, and says why.
    Told(Verb, String),
}

/// What operators tell a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Stay where it is.
    Pause,
    /// Go on, whatever a gate said that paused it.
    Resume,
    /// Take the next step now.
    Promote,
    /// Give the version all of the traffic now.
    PromoteFully,
    /// Give all of the traffic back to the stable version.
    Abort,
    /// The same as a rollback: it is over, and nobody waits for scorers.
    RollBack,
}

/// What the leader sees at one moment, of the generation that the rollout wrote last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// How far scorers are with the version.
    pub preparation: Preparation,
    /// Whether every live scorer answers with that generation.
    pub converged: bool,
    /// How long the rollout has been in its phase and step; it begins at nothing when one of the two changes.
    pub elapsed: Duration,
    /// What the gates say; nothing before there is traffic to judge by.
    pub judgement: Judgement,
}

/// How far scorers are with a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preparation {
    /// Too few have it ready.
    #[default]
    Waiting,
    /// Enough have it ready.
    Ready,
    /// So many cannot load it that there will not be enough.
    Impossible(String),
}

/// What scorers are to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// The stable version, with the rollout's made ready beside it.
    Prepare,
    /// The stable version, with the rollout's scoring copies.
    Shadow,
    /// The rollout's version this share, the stable one the rest.
    Split(Share),
    /// The stable version of before the rollout, alone.
    Restore,
    /// The rollout's version, alone.
    Promote,
}

/// A rollout after an event that changed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The rollout from now on.
    pub rollout: Rollout,
    /// What scorers are to serve from now on; nothing when that stays as it is.
    pub intent: Option<Intent>,
}

/// A rollout is not where it could do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a rollout that is {phase} cannot be {verb}{hint}")]
pub struct NotNow {
    /// Where it stands.
    pub phase: Phase,
    /// What was wanted.
    pub verb: Verb,
    /// What to do instead; empty or beginning with a colon.
    hint: &'static str,
}

/// How long scorers may take to give up an aborted version before that is called degraded. Taking in a generation is a
/// pointer move, so that a scorer that needs longer is in trouble.
const RESTORE_WITHIN: Duration = Duration::from_secs(30);

impl Rollout {
    /// A rollout that begins.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            phase: Phase::Pending,
            step: 0,
            setting: Setting::Idle,
            pause: None,
            held: Vec::new(),
            waived: Vec::new(),
            why: String::new(),
        }
    }

    /// What becomes of it; `None` when it stays as it is.
    ///
    /// # Errors
    /// When it is told what it cannot do where it stands. Looking never fails.
    pub fn on(&self, event: &Event) -> Result<Option<Changed>, NotNow> {
        match event {
            Event::Look(sight) => Ok(self.look(sight)),
            Event::Told(verb, why) => self.told(*verb, why).map(Some),
        }
    }

    fn look(&self, sight: &Sight) -> Option<Changed> {
        match self.phase {
            Phase::Pending => pending::look(self),
            Phase::Preparing => preparing::look(self, sight),
            Phase::Shadowing => shadowing::look(self, sight),
            Phase::Progressing => progressing::look(self, sight),
            Phase::Paused => paused::look(self, sight),
            Phase::Aborting => aborting::look(self, sight),
            Phase::Degraded => degraded::look(self, sight),
            Phase::Promoted | Phase::Aborted | Phase::RolledBack => None,
        }
    }

    fn told(&self, verb: Verb, why: &str) -> Result<Changed, NotNow> {
        match self.phase {
            Phase::Pending => pending::told(self, verb, why),
            Phase::Preparing => preparing::told(self, verb, why),
            Phase::Shadowing => shadowing::told(self, verb, why),
            Phase::Progressing => progressing::told(self, verb, why),
            Phase::Paused => paused::told(self, verb, why),
            Phase::Promoted => promoted::told(self, verb, why),
            Phase::Aborting => aborting::told(self, verb),
            Phase::Degraded => degraded::told(self, verb),
            Phase::Aborted | Phase::RolledBack => ended::told(self, verb),
        }
    }

    /// The step under way; none once all are done.
    pub fn current_step(&self) -> Option<Step> {
        self.plan.steps.get(self.step).copied()
    }

    /// Takes a step up, and what follows from it.
    fn enter(&self, step: usize) -> Changed {
        let entered = Self {
            step,
            pause: None,
            held: Vec::new(),
            waived: Vec::new(),
            why: String::new(),
            ..self.clone()
        };
        match self.plan.steps.get(step).copied() {
            None => entered.promoted(""),
            Some(Step::Shadow) => Changed {
                rollout: Self {
                    phase: Phase::Shadowing,
                    setting: Setting::Shadow,
                    ..entered
                },
                intent: Some(Intent::Shadow),
            },
            Some(Step::Weight(share)) => Changed {
                rollout: Self {
                    phase: Phase::Progressing,
                    setting: Setting::Weight(share),
                    ..entered
                },
                intent: Some(Intent::Split(share)),
            },
            Some(Step::Pause(span)) => entered.paused(Pause::Planned(span), ""),
            // The plan is as it was checked; an analysis of no traffic is passed by.
            Some(Step::Analysis(_)) if self.setting == Setting::Idle => self.enter(step + 1),
            Some(Step::Analysis(_)) => entered.back_to_work().unchanged_traffic(),
        }
    }

    /// The phase that goes with what the version does.
    fn back_to_work(self) -> Self {
        let phase = match self.setting {
            Setting::Idle => Phase::Preparing,
            Setting::Shadow => Phase::Shadowing,
            Setting::Weight(_) => Phase::Progressing,
        };
        Self {
            phase,
            pause: None,
            ..self
        }
    }

    fn unchanged_traffic(self) -> Changed {
        Changed {
            rollout: self,
            intent: None,
        }
    }

    fn paused(&self, pause: Pause, why: &str) -> Changed {
        Self {
            phase: Phase::Paused,
            pause: Some(pause),
            why: why.to_owned(),
            ..self.clone()
        }
        .unchanged_traffic()
    }

    fn promoted(&self, why: &str) -> Changed {
        Changed {
            rollout: Self {
                phase: Phase::Promoted,
                step: self.plan.steps.len(),
                setting: Setting::Weight(Share::ALL),
                pause: None,
                held: Vec::new(),
                why: why.to_owned(),
                ..self.clone()
            },
            intent: Some(Intent::Promote),
        }
    }

    /// Gives the traffic back. Nothing is waited for: that intent is written with this very change.
    fn given_back(&self, phase: Phase, why: impl Into<String>) -> Changed {
        Changed {
            rollout: Self {
                phase,
                setting: Setting::Idle,
                pause: None,
                held: Vec::new(),
                why: why.into(),
                ..self.clone()
            },
            intent: Some(Intent::Restore),
        }
    }

    /// What failed gates make of a rollout whose version sees traffic, if any did.
    fn judged(&self, sight: &Sight) -> Option<Changed> {
        if let Some(failed) = sight.judgement.aborts() {
            return Some(self.given_back(Phase::Aborting, failed.words()));
        }
        // Whoever resumes it finds the gate failed still, and it is held then.
        if matches!(self.pause, Some(Pause::Gate(_) | Pause::Operator(_))) {
            return None;
        }
        let failed: Vec<&Reading> = sight.judgement.holds(&self.waived).collect();
        if failed.is_empty() {
            return None;
        }
        let words: Vec<String> = failed.iter().map(|reading| reading.words()).collect();
        let held = Self {
            held: failed.iter().map(|reading| reading.gate.metric).collect(),
            ..self.clone()
        };
        let pause = Pause::Gate(self.working_phase());
        Some(held.paused(pause, &words.join("; ")))
    }

    fn working_phase(&self) -> Phase {
        self.clone().back_to_work().phase
    }

    /// How a step that scorers take up, or that gates decide, goes on.
    fn advance(&self, sight: &Sight) -> Option<Changed> {
        let late = |limit: Span| sight.elapsed >= limit.duration();
        match self.current_step() {
            // The plan is as it was checked; a step that does not belong here is passed by.
            None | Some(Step::Pause(_)) => Some(self.enter(self.step + 1)),
            Some(Step::Shadow | Step::Weight(_)) if sight.converged => {
                Some(self.enter(self.step + 1))
            }
            Some(Step::Shadow | Step::Weight(_)) => late(self.plan.prepare_within).then(|| {
                let why = format!(
                    "some scorers did not take the step in within {}",
                    self.plan.prepare_within
                );
                self.given_back(Phase::Aborting, why)
            }),
            Some(Step::Analysis(_)) if sight.judgement.has_passed(&self.waived) => {
                Some(self.enter(self.step + 1))
            }
            Some(Step::Analysis(limit)) => late(limit).then(|| {
                let why = format!("within {limit} {}", sight.judgement.undecided(&self.waived));
                self.given_back(Phase::Aborting, why)
            }),
        }
    }

    /// What an operator may tell a version that sees traffic.
    fn told_at_work(&self, verb: Verb, why: &str) -> Result<Changed, NotNow> {
        match verb {
            Verb::Pause => Ok(self.paused(Pause::Operator(self.phase), why)),
            Verb::Resume => Err(self.cannot(verb, ": it is not paused")),
            Verb::Promote => Ok(self.enter(self.step + 1)),
            Verb::PromoteFully => Ok(self.promoted(why)),
            Verb::Abort => Ok(self.given_back(Phase::Aborting, why)),
            Verb::RollBack => Ok(self.given_back(Phase::RolledBack, why)),
        }
    }

    fn cannot(&self, verb: Verb, hint: &'static str) -> NotNow {
        NotNow {
            phase: self.phase,
            verb,
            hint,
        }
    }
}

impl Phase {
    /// Whether nothing is left to be done.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Promoted | Self::Aborted | Self::RolledBack)
    }

    /// Whether the rollout has the slot: no other may begin, and the slot is not set by hand.
    pub fn holds_slot(self) -> bool {
        matches!(
            self,
            Self::Pending | Self::Preparing | Self::Shadowing | Self::Progressing | Self::Paused
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pending => "pending",
            Self::Preparing => "preparing",
            Self::Shadowing => "shadowing",
            Self::Progressing => "progressing",
            Self::Paused => "paused",
            Self::Promoted => "promoted",
            Self::Aborting => "aborting",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled back",
            Self::Degraded => "degraded",
        })
    }
}

impl fmt::Display for Verb {
    /// What it makes of a rollout.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Promote | Self::PromoteFully => "promoted",
            Self::Abort => "aborted",
            Self::RollBack => "rolled back",
        })
    }
}

#[cfg(test)]
mod tests;
