//! A cluster whose hosts fail at random, under load, while versions are released and taken back; and afterwards the question
//! whether it kept its promises.
//!
//! Three members of etcd, two registries, four scorers, a trainer and an S3 server run on hosts of their own: network
//! namespaces, joined by a switch. Processes are killed and stalled, hosts are isolated, slow or lossy, scorers lose sight of
//! all but those who ask them, a disk is full. Meanwhile calls come at a steady rate, whether they are answered or not, and an
//! operator releases versions, sets them, aborts them and rolls them back. Every answer is recorded, and `checker` looks for what
//! must not be.
//!
//! `make test` has one minute of it, always the same; `make chaos` ten minutes that no run had before. What is done and when
//! is drawn from a seed, which is printed first and last: `DECANT_CHAOS_SEED=7 DECANT_CHAOS_SECONDS=600 make chaos` does the
//! same again. What comes of it is up to the machine too, so that a rare violation may need several runs of its seed.
//!
//! Reading order: `schedule`, what is to happen; `lan` and `fleet`, to what; `operator`, meanwhile; `journal`, what happened;
//! `checker`, whether that may be.

mod schedule;
mod lan;
mod fleet;
mod operator;
mod journal;
mod checker;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use decant_client::Scorers;
use decant_proto::admin::v1 as admin;
use decant_proto::rollout::v1 as rollout;
use tokio::time::{Instant, sleep_until};

use self::checker::{Evidence, Finding, Window};
use self::fleet::{Addresses, Fleet};
use self::journal::{Journal, print};
use self::operator::{Operator, train, trained_serves};
use self::schedule::Schedule;
use crate::callers::Callers;
use crate::history::{Answer, History, Question, Recorder};
use crate::operated::Operated;
use crate::tiny::{MODEL, Tiny};

/// What a run is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of two runs with the same, the same is done at the same times.
    pub seed: u64,
    /// How long things go wrong, all in all.
    pub length: Duration,
}

impl Options {
    /// As the variables `DECANT_CHAOS_SEED` and `DECANT_CHAOS_SECONDS` say; else a minute of seed 1.
    pub fn from_env() -> Self {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text
                .parse::<u64>()
                .unwrap_or_else(|_| panic!("{name}: `{text}` is no whole number")),
            Err(_) => default,
        };
        Self {
            seed: number("DECANT_CHAOS_SEED", 1),
            length: Duration::from_secs(number("DECANT_CHAOS_SECONDS", 60)),
        }
    }

    /// How to run the same again.
    fn command(self) -> String {
        let Self { seed, length } = self;
        let seconds = length.as_secs();
        format!("DECANT_CHAOS_SEED={seed} DECANT_CHAOS_SECONDS={seconds} make chaos")
    }
}

/// Calls a second through the client.
const CALLS: f64 = 60.0;
/// The time for a call. Half of it is silence for which a scorer is blamed.
const DEADLINE: Duration = Duration::from_secs(3);
/// How often each scorer is asked by a client of its own.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// Users of whom that client knows.
const USERS: u64 = 1_000;

/// Runs a cluster through what its seed says, and panics if it broke a promise.
pub async fn run(options: Options) {
    let schedule = Schedule::draw(options.seed, options.length);
    let journal = Journal::new();
    journal.say(format!("this run again: {}", options.command()));
    let mut fleet = Box::pin(Fleet::start()).await;
    let addresses = fleet.addresses();
    let scorers = client(&addresses);
    let mut operator = Operator::begin(&addresses, &journal).await;

    let asked = Recorder::start_asking(addresses.scorer_addresses(), ASKED_EVERY, user);
    let called = Callers::start(&scorers, CALLS, options.seed);
    let begun = Instant::now();
    journal.restart();
    journal.say("all hosts serve, and are asked");
    let (windows, (), trained) = tokio::join!(
        Box::pin(fail_and_heal(&mut fleet, &schedule, begun, &journal)),
        Box::pin(operator.follow(&schedule.acts, begun)),
        Box::pin(train(&addresses, &journal, begun + options.length / 3)),
    );
    journal.say("all is well again");
    Box::pin(operator.settle()).await;
    let trained = match trained {
        Ok(version) => trained_serves(&addresses, version).await,
        Err(failed) => Err(failed),
    };
    // What was recorded shows the last generation too.
    asked.each_asks_again().await;
    let (asked, called) = (asked.stop().await, called.stop().await);

    let mut failed = std::mem::take(&mut operator.failed);
    failed.extend(trained.err());
    let crashed = fleet.crashed();
    failed.extend(crashed.iter().map(|host| format!("{host} ended unasked")));
    let (audit, audit_broken) = audit(&addresses).await;
    let evidence = Evidence {
        asked,
        called,
        windows,
        deaths: fleet.deaths.clone(),
        bundles: bundles(&operator),
        slots: addresses.intended(0).await,
        rollouts: rollouts(&addresses).await,
        audit,
        audit_broken,
        told: operator.told,
        calm: operator.calm,
        failed,
    };
    let findings = evidence.findings();
    tell(&evidence, &findings, &journal);
    let violated = findings
        .iter()
        .filter(|finding| finding.violation.is_some());
    let violated: Vec<&str> = violated.map(|finding| finding.invariant).collect();
    let kept = fleet.end(!violated.is_empty());
    journal.say(format!("this run was: {}", options.command()));
    if let Some(folder) = kept {
        panic!(
            "violated: {}. What all processes wrote lies in {}. The same again: {}",
            violated.join("; "),
            folder.display(),
            options.command()
        );
    }
}

/// One that follows the retry contract.
fn client(addresses: &Addresses) -> Scorers {
    let scorers = addresses.scorer_addresses().into_iter();
    let builder = Scorers::builder()
        .model(MODEL)
        .client("chaos")
        .deadline(DEADLINE);
    scorers
        .fold(builder, |builder, scorer| {
            builder.endpoint(format!("http://{scorer}"))
        })
        .build()
        .unwrap()
}

/// Whom a scorer is asked about; of five requests, one is about nobody in particular.
fn user(scorer: usize, number: u64) -> Question {
    let user = (number * 7 + scorer as u64) % USERS;
    Question {
        key: (!number.is_multiple_of(5)).then(|| format!("reader-{user}")),
        old: false,
    }
}

/// Does what is scheduled to hosts, until the run is over. Returns when what really was.
async fn fail_and_heal(
    fleet: &mut Fleet,
    schedule: &Schedule,
    begun: Instant,
    journal: &Journal,
) -> Vec<Window> {
    let outages = schedule.outages.iter().enumerate();
    let moments = outages
        .flat_map(|(place, outage)| [(outage.from, place, true), (outage.until, place, false)]);
    let mut moments: Vec<(Duration, usize, bool)> = moments.collect();
    moments.sort_unstable();
    let mut began: BTreeMap<usize, SystemTime> = BTreeMap::new();
    let mut windows = Vec::new();
    for (at, place, begins) in moments {
        sleep_until(begun + at).await;
        let fault = schedule.outages[place].fault;
        if begins {
            journal.say(format!("{fault}"));
            began.insert(place, SystemTime::now());
            fleet.begin(fault).await;
        } else {
            fleet.heal(fault).await;
            journal.say(format!("{fault}: over"));
            windows.push(Window {
                fault,
                from: began[&place],
                until: SystemTime::now(),
            });
        }
    }
    sleep_until(begun + schedule.length).await;
    windows
}

fn bundles(operator: &Operator<'_>) -> Vec<Tiny> {
    let versions = operator.versions.iter();
    versions.map(|(_, tiny)| tiny.clone()).collect()
}

/// The ids of all rollouts.
async fn rollouts(addresses: &Addresses) -> Vec<String> {
    let mut request = rollout::ListRolloutsRequest {
        model: MODEL.to_owned(),
        ..rollout::ListRolloutsRequest::default()
    };
    let mut ids = Vec::new();
    loop {
        let page = addresses.rollout(0).list_rollouts(request.clone()).await;
        let page = page.unwrap().into_inner();
        ids.extend(page.rollouts.into_iter().map(|rollout| rollout.id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

/// The whole audit log, and where its chain is broken.
async fn audit(addresses: &Addresses) -> (Vec<admin::AuditEntry>, String) {
    let mut request = admin::ListAuditRequest::default();
    let mut entries = Vec::new();
    loop {
        let page = addresses.admin(0).list_audit(request.clone()).await;
        let page = page.unwrap().into_inner();
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let request = admin::VerifyAuditRequest {};
    let verified = addresses.admin(0).verify_audit(request).await.unwrap();
    (entries, verified.into_inner().broken)
}

fn tell(evidence: &Evidence, findings: &[Finding], journal: &Journal) {
    let mut faults: BTreeMap<&str, usize> = BTreeMap::new();
    for window in &evidence.windows {
        *faults.entry(window.fault.kind()).or_default() += 1;
    }
    print("\nfault                 times");
    for (kind, times) in faults {
        print(&format!("{kind:20}  {times:5}"));
    }
    print("\nasked                  requests   failed      p50      p99      most");
    tell_times("through the client", &evidence.called);
    tell_times("each scorer", &evidence.asked);
    print(&format!(
        "{} calls failed while faults touched every scorer",
        evidence.excused()
    ));
    print("\ninvariant                                 seen  verdict");
    for finding in findings {
        let verdict = match finding.violation {
            None => "held",
            Some(_) => "VIOLATED",
        };
        print(&format!(
            "{:36}  {:8}  {verdict}",
            finding.invariant, finding.seen
        ));
    }
    for finding in findings {
        let Some(violation) = &finding.violation else {
            continue;
        };
        print(&format!("\n{}: {}", finding.invariant, violation.what));
        if let Some(at) = violation.at {
            let second = journal.since(at).as_secs_f64();
            print(&format!("at {second:.2} s, and around it:"));
            for event in journal.around(at) {
                print(&event);
            }
        }
    }
    print("");
}

fn tell_times(who: &str, history: &History) {
    let took = |answer: &Answer| {
        let took = answer.answered.duration_since(answer.asked);
        took.unwrap_or_default()
    };
    let mut times: Vec<Duration> = history.0.iter().map(took).collect();
    times.sort_unstable();
    let quantile = |share: f64| {
        let last = times.len().saturating_sub(1) as f64;
        let time = times.get((last * share) as usize).copied();
        time.unwrap_or_default().as_secs_f64() * 1e3
    };
    let failed = history.0.iter().filter(|answer| answer.outcome.is_err());
    print(&format!(
        "{who:20}  {:9}  {:7}  {:4.0} ms  {:4.0} ms  {:5.0} ms",
        history.0.len(),
        failed.count(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
    ));
}
