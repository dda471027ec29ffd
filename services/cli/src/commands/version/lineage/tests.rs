use decant_proto::registry::v1::VersionState;
use prost_types::Timestamp;

use super::*;

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

fn node(version: u64, state: VersionState, parent: &str) -> LineageNode {
    LineageNode {
        version,
        digest: digest("ab"),
        state: state.into(),
        create_time: Some(Timestamp {
            seconds: 1_777_636_800,
            nanos: 0,
        }),
        student: "d8".into(),
        teachers: vec![
            Teacher {
                name: "deepfm".into(),
                digest: digest("01"),
                weight: 0.6,
            },
            Teacher {
                name: "dcn".into(),
                digest: digest("02"),
                weight: 0.4,
            },
        ],
        dataset: digest("dd"),
        job: "01JOB".into(),
        spec: digest("5e"),
        code_revision: "0.1.0".into(),
        parent: parent.into(),
        metrics: [("logloss".to_owned(), 0.61), ("auc".to_owned(), 0.80123)].into(),
    }
}

#[test]
fn a_line_is_drawn_one_version_below_the_other() {
    let parent = LineageNode {
        teachers: vec![],
        metrics: [].into(),
        ..node(2, VersionState::Retired, "")
    };
    let nodes = [node(3, VersionState::Approved, &parent.digest), parent];
    assert_eq!(
        render(&nodes, Palette::new(false)),
        "\
● v3  APPROVED  abababababab  2026-05-01 12:00:00
│ ├─ student     d8
│ ├─ job         01JOB
│ ├─ spec        5e5e5e5e5e5e
│ ├─ dataset     dddddddddddd
│ ├─ trained by  0.1.0
│ ├─ metrics     auc 0.8012, logloss 0.6100
│ ├─ teacher     deepfm, weight 0.6000, 010101010101
│ └─ teacher     dcn, weight 0.4000, 020202020202
● v2  RETIRED  abababababab  2026-05-01 12:00:00
  ├─ student     d8
  ├─ job         01JOB
  ├─ spec        5e5e5e5e5e5e
  ├─ dataset     dddddddddddd
  └─ trained by  0.1.0
"
    );
}

#[test]
fn a_line_may_end_in_what_is_not_known() {
    let foreign = LineageNode {
        version: 0,
        digest: digest("ff"),
        ..LineageNode::default()
    };
    let known = LineageNode {
        student: "d8".into(),
        ..LineageNode {
            version: 1,
            digest: digest("ab"),
            parent: digest("ff"),
            state: VersionState::Approved.into(),
            ..LineageNode::default()
        }
    };
    assert_eq!(
        render(&[known.clone(), foreign], Palette::new(false)),
        "● v1  APPROVED  abababababab\n│ └─ student     d8\n○ ffffffffffff is no version of this model\n"
    );
    assert_eq!(
        render(&[known], Palette::new(false)),
        "● v1  APPROVED  abababababab\n│ └─ student     d8\n○ ffffffffffff is not in the registry\n"
    );
}
