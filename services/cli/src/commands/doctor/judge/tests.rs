use decant_proto::rollout::v1::{Freeze, Rollout, Scorer, Slot};

use super::super::finding::Level;
use super::*;

fn noon(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_777_636_800 + seconds)
}

fn levels(findings: &[Finding]) -> Vec<Level> {
    findings.iter().map(|finding| finding.level).collect()
}

#[test]
fn clocks_are_compared_with_what_is_known_of_the_way() {
    let clock = |there: u64, took: u64| {
        let there = Timestamp::from(noon(there));
        clock("r", Some(&there), noon(0), Duration::from_secs(took))
    };
    assert_eq!(clock(1, 0).level, Level::Ok);
    assert_eq!(clock(6, 0).level, Level::Warn);
    // The answer may have been under way for all of the time.
    assert_eq!(clock(6, 4).level, Level::Ok);
    assert_eq!(
        clock(6, 0).what,
        "its clock is +6.000 s from the one here, give or take 0.000 s"
    );
    let silent = super::clock("r", None, noon(0), Duration::ZERO);
    assert_eq!(silent.level, Level::Skipped);
}

#[test]
fn links_in_clear_are_fine_on_one_machine() {
    let links = |address: &str| links(&[address.to_owned()]).level;
    assert_eq!(links("http://127.0.0.1:7420"), Level::Ok);
    assert_eq!(links("http://localhost:7420"), Level::Ok);
    assert_eq!(links("http://10.0.0.1:7420"), Level::Warn);
}

#[test]
fn a_store_says_what_is_wrong_with_it() {
    let etcd = StoreDiagnosis {
        kind: "etcd".into(),
        version: "3.5.21".into(),
        revision: 42,
        bytes: Some(4_800_000),
        has_leader: Some(true),
        errors: Vec::new(),
    };
    assert_eq!(
        store("r", &etcd),
        [Finding::ok(
            "r",
            "its store: etcd 3.5.21, revision 42, 4.80 MB"
        )]
    );
    let full = StoreDiagnosis {
        has_leader: Some(false),
        errors: vec!["alarm:NOSPACE".into()],
        ..etcd
    };
    assert_eq!(levels(&store("r", &full)), [Level::Fail, Level::Fail]);
    let unknown = store("r", &StoreDiagnosis::default());
    assert_eq!(levels(&unknown), [Level::Skipped]);
}

#[test]
fn registries_of_two_clusters_are_a_mistake() {
    let of = |registry: &str, cluster: &str| (registry.to_owned(), cluster.to_owned());
    assert_eq!(clusters(&[]), None);
    let level = |pairs: &[(String, String)]| clusters(pairs).map(|finding| finding.level);
    assert_eq!(level(&[of("a", "x"), of("b", "x")]), Some(Level::Ok));
    assert_eq!(level(&[of("a", "x"), of("b", "y")]), Some(Level::Fail));
}

fn status() -> SlotStatus {
    let scorer = ScorerStatus {
        scorer: Some(Scorer {
            name: "scorer-1".into(),
            ..Scorer::default()
        }),
        generation: 4,
        serving: 4,
        ..ScorerStatus::default()
    };
    SlotStatus {
        slot: Some(Slot {
            model: "movies".into(),
            slot: "main".into(),
            generation: 4,
            issue_time: Some(Timestamp::from(noon(0))),
            ..Slot::default()
        }),
        scorers: vec![scorer],
        converged: true,
        ..SlotStatus::default()
    }
}

#[test]
fn a_slot_is_well_or_says_who_is_not() {
    assert_eq!(
        slot(&status(), noon(10)),
        [Finding::ok("slot movies/main", "generation 4, converged")]
    );
    let mut behind = status();
    behind.converged = false;
    behind.scorers[0].generation = 3;
    assert_eq!(levels(&slot(&behind, noon(10))), [Level::Warn]);
    let late = slot(&behind, noon(400));
    assert_eq!(levels(&late), [Level::Warn, Level::Warn]);
    assert_eq!(
        late[1].what,
        "not every live scorer answers with generation 4, for 6 min 40 s"
    );
    behind.scorers[0].frozen = "the store is older".into();
    behind.blocked = "scorer-1 is frozen".into();
    let bad = slot(&behind, noon(10));
    assert_eq!(levels(&bad), [Level::Fail, Level::Fail]);
    assert!(bad[1].remedy.contains("decant admin adopt"), "{bad:?}");
}

#[test]
fn a_slot_that_is_kept_as_it_is_says_by_whom() {
    let mut kept = status();
    if let Some(slot) = &mut kept.slot {
        slot.slot = "eu".into();
        slot.frozen = Some(Freeze {
            issued_by: "ada".into(),
            reason: "holidays".into(),
            since: Some(Timestamp::from(noon(0))),
        });
    }
    let findings = slot(&kept, noon(10));
    assert_eq!(
        findings[0].what,
        "frozen by ada since 2026-05-01 12:00:00: holidays"
    );
    assert_eq!(
        findings[0].remedy,
        "`decant slot unfreeze movies --slot eu` lets it change again"
    );
}

#[test]
fn rollouts_that_need_somebody_are_told() {
    let look = |phase: RolloutPhase, by: PausedBy, silent: &[&str]| {
        let rollout = Rollout {
            model: "movies".into(),
            slot: "main".into(),
            phase: phase.into(),
            paused_by: by.into(),
            ..Rollout::default()
        };
        let found = super::rollout(&RolloutStatus {
            rollout: Some(rollout),
            silent_scorers: silent.iter().map(ToString::to_string).collect(),
            ..RolloutStatus::default()
        });
        levels(&found)
    };
    let nobody = PausedBy::Unspecified;
    assert_eq!(look(RolloutPhase::Degraded, nobody, &[]), [Level::Fail]);
    assert_eq!(
        look(RolloutPhase::Paused, PausedBy::Gate, &[]),
        [Level::Warn]
    );
    assert_eq!(look(RolloutPhase::Paused, PausedBy::Plan, &[]), [Level::Ok]);
    assert_eq!(
        look(RolloutPhase::Progressing, nobody, &["scorer-1"]),
        [Level::Ok, Level::Warn]
    );
    assert!(look(RolloutPhase::Promoted, nobody, &[]).is_empty());
}

#[test]
fn a_version_does_not_wait_for_its_verdict_for_ever() {
    let version = |state: VersionState| Version {
        model: "movies".into(),
        version: 3,
        state: state.into(),
        create_time: Some(Timestamp::from(noon(0))),
        ..Version::default()
    };
    let found = |state, seconds| levels(&versions(&[version(state)], noon(seconds)));
    assert_eq!(found(VersionState::Staged, 601), [Level::Warn]);
    assert!(found(VersionState::Staged, 60).is_empty());
    assert!(found(VersionState::Approved, 601).is_empty());
}

#[test]
fn alarms_that_a_slot_has_told_are_not_told_again() {
    let cluster = GetClusterResponse {
        leader: "10.0.0.1:7420".into(),
        epoch: 7,
        alarms: vec![
            "movies/main: scorer-1 cannot load v2".into(),
            "the store looks like an older copy".into(),
        ],
        ..GetClusterResponse::default()
    };
    let told = [String::new(), "scorer-1 cannot load v2".to_owned()];
    let found = alarms(&cluster, &told);
    assert_eq!(levels(&found), [Level::Fail, Level::Ok]);
    assert_eq!(found[0].what, "the store looks like an older copy");
}

#[test]
fn changes_that_a_watch_missed_are_told() {
    assert!(watch("scorer a", 0).is_none());
    let finding = watch("scorer a", 3).unwrap();
    assert_eq!(finding.level, Level::Warn);
    assert!(
        finding.what.contains("missed 3 changes"),
        "{}",
        finding.what
    );
}
