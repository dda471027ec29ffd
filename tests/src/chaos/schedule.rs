//! What is to happen in a run, drawn from its seed before anything starts. Pure: the same seed and length give the same
//! schedule.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// etcd's members. Of three, one may be away.
pub(crate) const ETCD: usize = 3;
pub(crate) const REGISTRIES: usize = 2;
pub(crate) const SCORERS: usize = 4;

/// The scorer whose disk is small.
pub(crate) const CRAMPED: usize = 3;

/// For so long after a fault its host counts as touched. In that time a scorer has loaded what it serves, connections that
/// hung have been tried again, and clients that left it out have come back.
pub(crate) const SETTLE: Duration = Duration::from_secs(4);
/// Before the first fault, and after the last one.
const QUIET: Duration = Duration::from_secs(2);
const CALM: Duration = Duration::from_secs(10);

/// How many may be touched at once: a minority of etcd's members, and of the scorers so many that one client's retries still
/// find another in time.
const MOST_ETCD: usize = (ETCD - 1) / 2;
const MOST_SCORERS: usize = 2;

/// How long faults last, and how long after one began the next is drawn, milliseconds.
const LASTS: Range<u64> = 1_000..5_000;
const NEXT_FAULT: Range<u64> = 200..1_200;
/// Clients that are cut off from all scorers are so for a moment only: their calls fail.
const CUT: Range<u64> = 500..2_000;
/// How long after one act of an operator the next comes, milliseconds.
const NEXT_ACT: Range<u64> = 1_500..6_000;
/// How late a slow network is, milliseconds, and of how many pieces a lossy one loses one.
const LATE: Range<u64> = 20..200;
const LOSSY: Range<u64> = 10..60;

/// A machine of the cluster, as far as the network goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    /// A member of etcd.
    Etcd(usize),
    /// A registry.
    Registry(usize),
    /// A scorer.
    Scorer(usize),
    /// The trainer.
    Trainer,
    /// The S3 server.
    Objects,
}

impl Host {
    /// All of them, those first that others need to start.
    pub(crate) fn all() -> Vec<Self> {
        let mut all: Vec<Self> = (0..ETCD).map(Self::Etcd).collect();
        all.push(Self::Objects);
        all.extend((0..REGISTRIES).map(Self::Registry));
        all.extend((0..SCORERS).map(Self::Scorer));
        all.push(Self::Trainer);
        all
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Etcd(place) => write!(formatter, "etcd-{place}"),
            Self::Registry(place) => write!(formatter, "registry-{place}"),
            Self::Scorer(place) => write!(formatter, "scorer-{place}"),
            Self::Trainer => formatter.write_str("trainer"),
            Self::Objects => formatter.write_str("objects"),
        }
    }
}

/// What may be wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process was killed; it starts again when this is over.
    Kill(Host),
    /// The process is stopped, and keeps its connections.
    Stall(Host),
    /// Nothing comes to the host or from it.
    Isolate(Host),
    /// Everything comes to the host, and back from it, this late.
    Slow(Host, Duration),
    /// One piece in so many gets lost on the way to the host or back.
    Lossy(Host, u64),
    /// A scorer reaches neither etcd nor registries nor the object store, and whoever asks it reaches it.
    Blind(usize),
    /// The same of one that is killed and started again while it is so.
    BlindRestart(usize),
    /// The disk of the cramped scorer is full.
    FullDisk,
    /// Clients reach no scorer.
    CutClients,
}

impl Fault {
    /// The host that has it; none where all have.
    pub(crate) fn host(self) -> Option<Host> {
        match self {
            Self::Kill(host)
            | Self::Stall(host)
            | Self::Isolate(host)
            | Self::Slow(host, _)
            | Self::Lossy(host, _) => Some(host),
            Self::Blind(scorer) | Self::BlindRestart(scorer) => Some(Host::Scorer(scorer)),
            Self::FullDisk => Some(Host::Scorer(CRAMPED)),
            Self::CutClients => None,
        }
    }

    /// Whether clients of this scorer may notice it. What a scorer needs to hear of new versions, it does not need to serve.
    pub(crate) fn touches(self, scorer: usize) -> bool {
        match self {
            Self::Blind(_) | Self::FullDisk => false,
            Self::CutClients => true,
            other => other.host() == Some(Host::Scorer(scorer)),
        }
    }

    /// Its kind, for tables.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Kill(_) => "killed",
            Self::Stall(_) => "stalled",
            Self::Isolate(_) => "isolated",
            Self::Slow(..) => "slow network",
            Self::Lossy(..) => "lossy network",
            Self::Blind(_) => "blind",
            Self::BlindRestart(_) => "restarted blind",
            Self::FullDisk => "full disk",
            Self::CutClients => "clients cut off",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host(), self) {
            (Some(host), Self::Slow(_, late)) => write!(formatter, "{host} {late:?} late"),
            (Some(host), Self::Lossy(_, one_in)) => {
                write!(formatter, "{host} loses one piece in {one_in}")
            }
            (Some(host), _) => write!(formatter, "{host} {}", self.kind()),
            (None, _) => formatter.write_str(self.kind()),
        }
    }
}

/// A fault with its times, from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    /// When it begins.
    pub(crate) from: Duration,
    /// When it is healed.
    pub(crate) until: Duration,
    /// What is wrong meanwhile.
    pub(crate) fault: Fault,
}

impl Outage {
    /// Whether a host that has the one is still touched when it gets the other.
    fn meets(&self, other: &Self) -> bool {
        self.from < other.until + SETTLE && other.from < self.until + SETTLE
    }
}

/// What an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Pushes a new version and serves it.
    Set,
    /// Pushes a new version and releases it step by step.
    Release,
    /// Goes back to the version of before.
    RollBack,
    /// Serves an older version, by its place among those that were pushed.
    SetOld(usize),
    /// Aborts what is being released.
    Abort,
}

/// An act with its time, from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// When it is done, or as soon as the one before is.
    pub(crate) at: Duration,
    /// Which registry is asked first.
    pub(crate) registry: usize,
    /// What is done.
    pub(crate) act: Act,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// How long it takes.
    pub(crate) length: Duration,
    /// What goes wrong, by when it begins.
    pub(crate) outages: Vec<Outage>,
    /// What operators do, by when.
    pub(crate) acts: Vec<Planned>,
}

impl Schedule {
    /// Draws a run.
    pub(crate) fn draw(seed: u64, length: Duration) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        Self {
            length,
            outages: outages(&mut random, length),
            acts: acts(&mut random, length),
        }
    }
}

fn outages(random: &mut Pcg64Mcg, length: Duration) -> Vec<Outage> {
    let mut outages = Vec::new();
    let mut from = QUIET;
    while from + CALM < length {
        let fault = fault(random);
        let lasts = match fault {
            Fault::CutClients => CUT,
            _ => LASTS,
        };
        let outage = Outage {
            from,
            until: from + millis(random, lasts),
            fault,
        };
        if outage.until + CALM <= length && fits(&outages, &outage) {
            outages.push(outage);
        }
        from += millis(random, NEXT_FAULT);
    }
    outages
}

/// Whether a fault may come on top of these.
fn fits(outages: &[Outage], next: &Outage) -> bool {
    let met: Vec<Fault> = outages
        .iter()
        .filter(|outage| outage.meets(next))
        .map(|outage| outage.fault)
        .collect();
    let same_host = met.iter().any(|fault| fault.host() == next.fault.host());
    let room = |is_one: fn(Fault) -> bool, most: usize| {
        !is_one(next.fault) || met.iter().filter(|fault| is_one(**fault)).count() < most
    };
    !same_host && room(is_of_etcd, MOST_ETCD) && room(is_of_a_scorer, MOST_SCORERS)
}

fn is_of_etcd(fault: Fault) -> bool {
    matches!(fault.host(), Some(Host::Etcd(_)))
}

/// Whether clients may notice it of one scorer. That they are cut off for a moment concerns all, and is no scorer's fault.
fn is_of_a_scorer(fault: Fault) -> bool {
    fault.host().is_some() && (0..SCORERS).any(|scorer| fault.touches(scorer))
}

fn fault(random: &mut Pcg64Mcg) -> Fault {
    let hosts = Host::all();
    // Scorers have most ways to fail, and one draw in twenty or so is nobody's.
    let place = random.random_range(0..hosts.len() + SCORERS + 1);
    let host = match place.checked_sub(hosts.len()) {
        None => hosts[place],
        Some(scorer) if scorer < SCORERS => Host::Scorer(scorer),
        Some(_) => return Fault::CutClients,
    };
    let late = millis(random, LATE);
    let one_in = random.random_range(LOSSY);
    // The trainer loses a job with its process, and the S3 server all objects: those are not killed.
    let mut faults = vec![Fault::Stall(host), Fault::Isolate(host)];
    if host != Host::Trainer {
        faults.extend([Fault::Slow(host, late), Fault::Lossy(host, one_in)]);
    }
    if let Host::Etcd(_) | Host::Registry(_) | Host::Scorer(_) = host {
        faults.push(Fault::Kill(host));
    }
    if let Host::Scorer(scorer) = host {
        faults.extend([Fault::Blind(scorer), Fault::BlindRestart(scorer)]);
    }
    if host == Host::Scorer(CRAMPED) {
        faults.extend([Fault::FullDisk; 3]);
    }
    faults[random.random_range(0..faults.len())]
}

fn acts(random: &mut Pcg64Mcg, length: Duration) -> Vec<Planned> {
    let mut acts = Vec::new();
    let mut at = Duration::ZERO;
    while at + CALM < length {
        let act = match random.random_range(0..10_u32) {
            0..4 => Act::Release,
            4..6 => Act::Set,
            6..8 => Act::RollBack,
            8 => Act::SetOld(random.random_range(0..1_000)),
            _ => Act::Abort,
        };
        acts.push(Planned {
            at,
            registry: random.random_range(0..REGISTRIES),
            act,
        });
        at += millis(random, NEXT_ACT);
    }
    acts
}

fn millis(random: &mut Pcg64Mcg, range: Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use proptest::prelude::*;

    use super::*;

    /// How many such faults touch their hosts at this time.
    fn at_once(outages: &[Outage], at: Duration, is_one: fn(Fault) -> bool) -> usize {
        let touched = |outage: &&Outage| outage.from <= at && at < outage.until + SETTLE;
        let met = outages.iter().filter(touched);
        met.filter(|outage| is_one(outage.fault)).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_seed_draws_one_schedule(seed: u64, seconds in 0_u64..700) {
            let length = Duration::from_secs(seconds);
            prop_assert_eq!(Schedule::draw(seed, length), Schedule::draw(seed, length));
        }

        #[test]
        fn every_fault_is_healed_in_time_for_calm(seed: u64, seconds in 0_u64..700) {
            let length = Duration::from_secs(seconds);
            let schedule = Schedule::draw(seed, length);
            for outage in &schedule.outages {
                prop_assert!(outage.from < outage.until, "{outage:?}");
                prop_assert!(outage.until + CALM <= length, "{outage:?}");
            }
            prop_assert!(schedule.outages.is_sorted_by_key(|outage| outage.from));
            prop_assert!(schedule.acts.is_sorted_by_key(|planned| planned.at));
            prop_assert!(schedule.acts.iter().all(|planned| planned.at + CALM < length));
        }

        #[test]
        fn most_of_etcd_and_half_of_the_scorers_are_always_sound(seed: u64, seconds in 0_u64..700) {
            let outages = Schedule::draw(seed, Duration::from_secs(seconds)).outages;
            // The number grows only where an outage begins.
            for at in outages.iter().map(|outage| outage.from) {
                let members = at_once(&outages, at, is_of_etcd);
                prop_assert!(2 * members < ETCD, "{members} members at {at:?}");
                let scorers = at_once(&outages, at, is_of_a_scorer);
                prop_assert!(2 * scorers <= SCORERS, "{scorers} scorers at {at:?}");
            }
        }

        #[test]
        fn no_host_has_two_faults_at_once(seed: u64) {
            let outages = Schedule::draw(seed, Duration::from_secs(600)).outages;
            for (place, outage) in outages.iter().enumerate() {
                for other in &outages[place + 1..] {
                    let same = outage.fault.host() == other.fault.host();
                    prop_assert!(!same || !outage.meets(other), "{outage:?}, {other:?}");
                }
            }
        }
    }

    #[test]
    fn ten_minutes_have_every_kind_of_fault_and_of_act() {
        let schedule = Schedule::draw(1, Duration::from_secs(600));
        let faults = schedule.outages.iter().map(|outage| outage.fault.kind());
        assert_eq!(faults.collect::<BTreeSet<_>>().len(), 9);
        let acts = schedule.acts.iter();
        let kinds = acts.map(|planned| std::mem::discriminant(&planned.act));
        assert_eq!(kinds.collect::<HashSet<_>>().len(), 5);
        assert_ne!(schedule, Schedule::draw(2, schedule.length));
    }
}
