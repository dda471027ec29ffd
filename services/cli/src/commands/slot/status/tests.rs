use decant_proto::rollout::v1::{
    ObservedState, ObservedVersion, Scorer, ScorerStatus, Slot, SlotVersion,
};

use super::*;

fn scorer(name: &str, serving: u64, versions: &[(u64, ObservedState, &str)]) -> ScorerStatus {
    let version = |&(version, state, error): &(u64, ObservedState, &str)| ObservedVersion {
        version,
        state: state.into(),
        error: error.into(),
        ..ObservedVersion::default()
    };
    ScorerStatus {
        scorer: Some(Scorer {
            name: name.into(),
            zone: "eu-1".into(),
            ..Scorer::default()
        }),
        generation: serving.max(6),
        serving,
        versions: versions.iter().map(version).collect(),
        frozen: String::new(),
    }
}

#[test]
fn every_state_has_its_word() {
    use ObservedState::{Failed, Loading, Ready};
    let version = |version| SlotVersion {
        version,
        ..SlotVersion::default()
    };
    let frozen = ScorerStatus {
        frozen: "the store is an older copy".into(),
        ..scorer("scorer-5", 6, &[(1, Ready, "")])
    };
    let behind = ScorerStatus {
        generation: 5,
        ..scorer("scorer-6", 5, &[(1, Ready, "")])
    };
    let status = SlotStatus {
        slot: Some(Slot {
            model: "movies".into(),
            slot: "main".into(),
            generation: 6,
            active: vec![version(1)],
            pending: vec![version(2)],
            min_ready_percent: 90,
            ..Slot::default()
        }),
        scorers: vec![
            scorer("scorer-1", 6, &[(1, Ready, ""), (2, Ready, "")]),
            scorer("scorer-2", 6, &[(1, Ready, ""), (2, Loading, "")]),
            scorer(
                "scorer-3",
                6,
                &[(1, Ready, ""), (2, Failed, "golden vector 3 differs")],
            ),
            scorer("scorer-4", 0, &[(1, Loading, "")]),
            frozen,
            behind,
        ],
        converged: false,
        blocked: "v2 failed on scorer-3".into(),
    };
    assert_eq!(
        render(&status, Palette::new(false)),
        "\
slot        movies/main
generation  6
active      v1
pending     v2, once 90 % of the scorers have it ready
converged   no
blocked     v2 failed on scorer-3

NAME      ZONE  GENERATION  SERVING  VERSIONS              STATE        ERROR
scorer-1  eu-1           6        6  v1 READY, v2 READY    SERVING      -
scorer-2  eu-1           6        6  v1 READY, v2 LOADING  PREPARING    -
scorer-3  eu-1           6        6  v1 READY, v2 FAILED   FAILED       v2: golden vector 3 differs
scorer-4  eu-1           6        0  v1 LOADING            NOT SERVING  -
scorer-5  eu-1           6        6  v1 READY              FROZEN       the store is an older copy
scorer-6  eu-1           5        5  v1 READY              BEHIND       -
"
    );
}

#[test]
fn a_slot_without_scorers_says_so() {
    let status = SlotStatus {
        slot: Some(Slot {
            model: "movies".into(),
            slot: "main".into(),
            generation: 1,
            ..Slot::default()
        }),
        converged: true,
        ..SlotStatus::default()
    };
    assert_eq!(
        render(&status, Palette::new(false)),
        "slot        movies/main\ngeneration  1\nconverged   yes: no scorer is live\n"
    );
}
