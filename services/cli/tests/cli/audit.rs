//! `decant audit`.

use decant_proto::admin::v1::{AuditEntry, VerifyAuditResponse};
use serde_json::json;

use crate::fakes::{Fake, noon};
use crate::running::Server;

fn entry(number: u64) -> AuditEntry {
    AuditEntry {
        number,
        time: noon(number as i64),
        actor: "ada".into(),
        action: "slot.set".into(),
        subject: "movies/main".into(),
        before: String::new(),
        after: "{\"generation\":1}".into(),
        reason: "better".into(),
        request_id: "ci-7".into(),
        hash: "sha256:02".into(),
        previous_hash: "sha256:01".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_listed_over_pages() {
    let server = Server::start(Fake {
        audit: (1..=5).rev().map(entry).collect(),
        ..Fake::default()
    })
    .await;
    let arguments = ["audit", "list", "--subject", "movies/main", "--limit", "3"];
    let expected = "\
NUMBER  TIME (UTC)           ACTOR  ACTION    SUBJECT      REASON
     5  2026-05-01 12:00:05  ada    slot.set  movies/main  better
     4  2026-05-01 12:00:04  ada    slot.set  movies/main  better
     3  2026-05-01 12:00:03  ada    slot.set  movies/main  better
";
    let ran = server.run(&arguments).await;
    assert_eq!(ran.stdout, expected);
    assert_eq!(ran.stderr, "there are more; --limit shows them\n");
    assert_eq!(
        server.json(&["audit", "list"]).await[4],
        json!({
            "number": 1, "time": "2026-05-01T12:00:01Z", "actor": "ada", "action": "slot.set", "subject": "movies/main",
            "before": null, "after": {"generation": 1}, "reason": "better", "request_id": "ci-7", "hash": "sha256:02",
            "previous_hash": "sha256:01",
        })
    );
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(asked.list_audit.as_ref().unwrap().subject, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_chain_prints_its_head() {
    let verified = VerifyAuditResponse {
        entries: 42,
        head_hash: "sha256:42".into(),
        broken: String::new(),
    };
    let server = Server::start(Fake {
        verified,
        ..Fake::default()
    })
    .await;
    assert_eq!(
        server.table(&["audit", "verify"]).await,
        "entries  42\nchain    whole\nhead     sha256:42\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chain_fails_the_command() {
    let verified = VerifyAuditResponse {
        entries: 42,
        head_hash: "sha256:42".into(),
        broken: "entry 7 does not hold the hash of entry 6".into(),
    };
    let server = Server::start(Fake {
        verified,
        ..Fake::default()
    })
    .await;
    let ran = server.run(&["audit", "verify"]).await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stdout,
        "entries  42\nchain    BROKEN\nhead     sha256:42\n"
    );
    assert_eq!(
        ran.stderr,
        "error: the audit log is broken: entry 7 does not hold the hash of entry 6\n"
    );
}
