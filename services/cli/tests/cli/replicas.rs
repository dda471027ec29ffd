//! Several replicas of the registry: one that cannot be reached, or that says it cannot answer, is no reason to give up.

use decant_proto::registry::v1::Model;
use decant_proto::rollout::v1::Slot;
use tonic::Status;

use crate::fakes::Fake;
use crate::running::{Server, decant, run};

const NOBODY: &str = "http://127.0.0.1:1";

fn healthy() -> Fake {
    Fake {
        models: vec![Model {
            name: "movies".into(),
            ..Model::default()
        }],
        slot: Some(Slot {
            model: "movies".into(),
            slot: "main".into(),
            generation: 4,
            ..Slot::default()
        }),
        ..Fake::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_replica_is_asked() {
    let healthy = Server::start(healthy()).await;
    let draining = Server::start(Fake::refusing(Status::unavailable("draining"))).await;
    // It accepts connections, and answers nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    for first in [NOBODY, &draining.url(), &silent] {
        let both = format!("{first}, {}", healthy.url());
        let read = [
            "model",
            "list",
            "-o",
            "name",
            "--registry",
            &both,
            "--timeout",
            "2s",
        ];
        let ran = run(decant(&read)).await;
        assert_eq!(ran.stdout, "movies\n", "{first}: {}", ran.stderr);
        let change = [
            "slot",
            "prepare",
            "movies",
            "2",
            "-o",
            "name",
            "--registry",
            &both,
            "--timeout",
            "2s",
        ];
        let ran = run(decant(&change)).await;
        assert_eq!(ran.stdout, "movies/main\n", "{first}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ends_the_search() {
    let refusing = Server::start(Fake::refusing(Status::not_found(
        "there is no model `movies`",
    )))
    .await;
    let healthy = Server::start(healthy()).await;
    let both = format!("{},{}", refusing.url(), healthy.url());
    let ran = run(decant(&[
        "model",
        "describe",
        "movies",
        "--registry",
        &both,
    ]))
    .await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(3), "error: there is no model `movies` (NOT_FOUND)\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_request_id_goes_to_one_replica_only() {
    let draining = Server::start(Fake::refusing(Status::unavailable("draining"))).await;
    let healthy = Server::start(healthy()).await;
    let both = format!("{},{}", draining.url(), healthy.url());
    let ran = run(decant(&["admin", "rebuild", "--yes", "--registry", &both])).await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(8), "error: draining (UNAVAILABLE)\n")
    );
    assert!(healthy.fake.asked.lock().unwrap().rebuild.is_none());

    // A connection that was refused carried nothing.
    let both = format!("{NOBODY},{}", healthy.url());
    let ran = run(decant(&["admin", "rebuild", "--yes", "--registry", &both])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(healthy.fake.asked.lock().unwrap().rebuild.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_none_can_be_reached_each_is_named() {
    let both = format!("{NOBODY},http://127.0.0.1:2");
    let ran = run(decant(&["model", "list", "--registry", &both])).await;
    assert_eq!(ran.code, Some(8));
    assert_eq!(
        ran.stderr,
        "error: the registry at http://127.0.0.1:2 cannot be reached: Connection refused (os error 111) (UNAVAILABLE)\n  \
           before that: the registry at http://127.0.0.1:1 cannot be reached: Connection refused (os error 111)\n\
         hint: is it running? `make up` starts all of Decant on this machine; --registry or DECANT_REGISTRY names another \
         address\n"
    );
}
