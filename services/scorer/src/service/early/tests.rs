use bytes::{BufMut, BytesMut};
use decant_chassis::tasks::Tasks;
use decant_proto::scorer::v1 as wire;
use futures::future::join_all;
use http_body::Frame;
use prost::Message;
use tokio::time::timeout;
use tonic::{Code, Request};
use wire::column::Values;
use wire::scorer_service_server::ScorerService;

use super::*;
use crate::config::Config;
use crate::servable::Place;

fn films() -> Option<wire::ModelRef> {
    Some(wire::ModelRef {
        model: "films".to_owned(),
        slot: String::new(),
    })
}

/// A sound request, which shares a batch with no other.
fn request() -> wire::RecommendRequest {
    let column = |name: &str, values| wire::Column {
        name: name.to_owned(),
        values: Some(values),
        ..wire::Column::default()
    };
    let (user, age) = (vec![1], vec![30.0]);
    wire::RecommendRequest {
        model: films(),
        query: vec![
            column(
                "user",
                Values::Int64Values(wire::Int64Values { values: user }),
            ),
            column(
                "age",
                Values::FloatValues(wire::FloatValues { values: age }),
            ),
        ],
        top_k: 1,
        ..wire::RecommendRequest::default()
    }
}

/// A request to rank whose model can be read, and whose candidates cannot: their message ends before its string does.
fn unreadable() -> Bytes {
    let addressed = wire::RankRequest {
        model: films(),
        ..wire::RankRequest::default()
    };
    let mut message = BytesMut::from(&addressed.encode_to_vec()[..]);
    let item_ids = [3 << 3 | 2, 2, 1 << 3 | 2, 100];
    message.put_slice(&item_ids);
    assert!(wire::RankRequest::decode(&message[..]).is_err());
    message.freeze()
}

fn call(path: &str, message: &Bytes) -> http::Request<Body> {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.len() as u32);
    body.put_slice(message);
    let first = Some(Ok(Frame::data(body.freeze())));
    let body = Begun::new(first, Body::empty());
    http::Request::post(format!("http://films{path}"))
        .header("content-type", "application/grpc")
        .header("decant-priority", "sheddable")
        .body(Body::new(body))
        .unwrap()
}

async fn code(early: &mut Early) -> Code {
    let answer = early.call(call(RANK, &unreadable())).await.unwrap();
    let status = answer.headers().get("grpc-status").unwrap();
    Code::from_bytes(status.as_bytes())
}

const RANK: &str = "/decant.scorer.v1.ScorerService/Rank";

#[tokio::test]
async fn under_pressure_a_call_is_refused_before_it_is_read() {
    let config = Config {
        workers: 1,
        // Little, so that a few thousand requests are too much; but several batches long, as the network is not looked at
        // after each of them.
        queue_millis: 10,
        ..Config::default()
    };
    let (tasks, _failures) = Tasks::new();
    let service = Service::for_tests(&tasks, config);
    let mut early = Early::new(service.clone(), 1 << 20);
    assert_eq!(code(&mut early).await, Code::Internal, "it is read");

    let requests = (0..4_000).map(|_| service.recommend(Request::new(request())));
    let pressing = join_all(requests);
    let asking = async {
        // The runner takes its first batch, and finds the others behind it.
        while code(&mut early).await != Code::ResourceExhausted {
            tokio::task::yield_now().await;
        }
    };
    let asking = timeout(Duration::from_secs(10), asking);
    let (answers, refused) = tokio::join!(pressing, asking);
    refused.unwrap();
    assert!(answers.iter().any(Result::is_ok));
    // It counts as much as one that was refused after it was read.
    let codes = answers.iter().filter_map(|answer| answer.as_ref().err());
    let busy = codes.filter(|status| status.code() == Code::ResourceExhausted);
    let place = Place {
        model: "films".parse().unwrap(),
        slot: Default::default(),
    };
    let counted = service.manager().table().find(&place).unwrap().evidence();
    let failed = counted.arms[0].failed[&(Code::ResourceExhausted as i32)];
    assert_eq!(failed, busy.count() as u64 + 1);

    while service.pool().is_pressed() {
        let _ = service.recommend(Request::new(request())).await;
    }
    assert_eq!(code(&mut early).await, Code::Internal, "it is read");
    service.pool().close();
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn what_was_told_before_is_told_again_only_to_whom_it_applies() {
    let (tasks, _failures) = Tasks::new();
    let service = Service::for_tests(&tasks, Config::default());
    let early = Early::new(service.clone(), 1 << 20);
    let busy = |reason: &str, millis: u64| CallError::Busy {
        reason: reason.to_owned(),
        retry_after: Duration::from_millis(millis),
        limit: Refusal::QueueFull,
    };
    let refusals: [&dyn Fn() -> CallError; 7] = [
        &|| CallError::Expired,
        &|| busy("5 ms", 7),
        &|| busy("5 ms", 7),
        &|| busy("6 ms", 7),
        &|| busy("6 ms", 8),
        &|| CallError::Expired,
        &|| busy("6 ms", 8),
    ];
    for refusal in refusals {
        let fresh = Status::from(refusal()).into_http::<Body>();
        let told = early.refused(refusal());
        assert_eq!(told.headers(), fresh.headers());
        assert_eq!(told.status(), fresh.status());
    }
    service.pool().close();
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}
