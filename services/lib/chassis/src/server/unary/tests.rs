use std::collections::VecDeque;
use std::sync::Mutex;

use decant_proto::ops::v1::{GetLogFilterResponse, SetLogFilterRequest};
use futures::FutureExt as _;
use futures::task::noop_waker;
use proptest::prelude::*;
use tonic::Code;
use tower::service_fn;

use super::*;

const LARGEST: usize = 100;

/// What comes of a body.
#[derive(Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    Trailers,
    Fails,
    /// Nothing has come yet.
    Waits,
}

/// A body as its client sends it.
struct Sent {
    steps: VecDeque<Step>,
    /// Whether it is known with the last step that it is the last one.
    says_so: bool,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(match self.steps.pop_front() {
            Some(Step::Data(data)) => Some(Ok(Frame::data(data.into()))),
            Some(Step::Trailers) => Some(Ok(Frame::trailers(HeaderMap::new()))),
            Some(Step::Fails) => Some(Err(Status::cancelled("reset"))),
            Some(Step::Waits) => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.says_so && self.steps.is_empty()
    }
}

/// All that a body has, without what it waits for.
fn gather(mut body: Body) -> (Vec<u8>, usize, Option<Code>) {
    let (mut data, mut trailers) = (Vec::new(), 0);
    let waker = noop_waker();
    let mut context = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Pending => {}
            Poll::Ready(None) => return (data, trailers, None),
            Poll::Ready(Some(Err(status))) => return (data, trailers, Some(status.code())),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(more) => data.extend_from_slice(&more),
                Err(_) => trailers += 1,
            },
        }
    }
}

/// The filter that was asked to be set, or what the server was given instead.
fn ask(steps: &[Step], says_so: bool) -> Result<String, (Vec<u8>, usize, Option<Code>)> {
    let steps = steps.iter().cloned().collect();
    let sent = http::Request::new(Body::new(Sent { steps, says_so }));
    let (asked, given) = (Mutex::new(None), Mutex::new(None));
    let answer = |request: Request<SetLogFilterRequest>| {
        *asked.lock().unwrap() = Some(request.into_inner().filter);
        std::future::ready(Ok(GetLogFilterResponse::default()))
    };
    let server = service_fn(|request: http::Request<Body>| {
        *given.lock().unwrap() = Some(gather(request.into_body()));
        std::future::ready(Ok(http::Response::new(Body::empty())))
    });
    let called = unary(sent, LARGEST, answer, server).now_or_never();
    assert!(called.is_some(), "nothing is waited for here");
    match (asked.into_inner().unwrap(), given.into_inner().unwrap()) {
        (Some(filter), None) => Ok(filter),
        (None, Some(given)) => Err(given),
        other => panic!("{other:?}"),
    }
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// A request to set the filter to so many letters.
fn message(letters: usize) -> (String, Vec<u8>) {
    let filter = "f".repeat(letters);
    let request = SetLogFilterRequest {
        filter: filter.clone(),
    };
    (filter, request.encode_to_vec())
}

#[test]
fn a_message_that_is_there_is_answered() {
    let (filter, message) = message(3);
    let data = Step::Data(framed(0, &message));
    let end = Step::Data(Vec::new());
    for (steps, says_so) in [
        (vec![data.clone()], true),
        (vec![data.clone()], false),
        (vec![data.clone(), end], true),
    ] {
        assert_eq!(ask(&steps, says_so), Ok(filter.clone()), "{steps:?}");
    }
}

#[test]
fn everything_else_goes_to_the_server() {
    let (_, small) = message(3);
    let (_, large) = message(LARGEST);
    let data = Step::Data(framed(0, &small));
    let end = Step::Data(Vec::new());
    for steps in [
        vec![],
        vec![Step::Data(framed(1, &small))],
        vec![Step::Data(framed(0, &large))],
        vec![Step::Data(framed(0, b"\xff"))],
        vec![Step::Data([framed(0, &small), framed(0, &small)].concat())],
        vec![data.clone(), data.clone()],
        vec![data.clone(), Step::Waits, end.clone()],
        vec![Step::Waits, data.clone()],
        vec![data.clone(), Step::Trailers],
        vec![data.clone(), end, Step::Fails],
        vec![data, Step::Fails],
        vec![Step::Fails],
    ] {
        let sent = Sent {
            steps: steps.iter().cloned().collect(),
            says_so: true,
        };
        assert_eq!(ask(&steps, true), Err(gather(Body::new(sent))), "{steps:?}");
    }
}

proptest! {
    #[test]
    fn the_server_gets_all_that_was_sent_when_it_came_in_pieces(
        letters in 0..LARGEST / 2,
        cuts in prop::collection::vec(0..LARGEST, 1..4),
        says_so: bool,
    ) {
        let (filter, message) = message(letters);
        let whole = framed(0, &message);
        let mut steps = Vec::new();
        let mut rest = &whole[..];
        for cut in cuts {
            let (piece, others) = rest.split_at(cut.min(rest.len()));
            steps.push(Step::Data(piece.to_vec()));
            rest = others;
        }
        steps.push(Step::Data(rest.to_vec()));
        match ask(&steps, says_so) {
            Ok(asked) => prop_assert_eq!(asked, filter),
            Err(given) => prop_assert_eq!(given, (whole, 0, None)),
        }
    }
}

#[test]
fn an_answer_is_one_message_and_how_it_ended() {
    let answer = GetLogFilterResponse {
        filter: "info".to_owned(),
    };
    let mut response = response(Ok(answer.clone()));
    assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    let waker = noop_waker();
    let mut context = Context::from_waker(&waker);
    let mut frame = || {
        let body = Pin::new(response.body_mut());
        let Poll::Ready(frame) = body.poll_frame(&mut context) else {
            panic!("it is all there");
        };
        frame.transpose().unwrap()
    };
    let data = frame().unwrap().into_data().unwrap();
    assert_eq!(data, framed(0, &answer.encode_to_vec()));
    let trailers = frame().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert!(frame().is_none());

    let refused = super::response::<GetLogFilterResponse>(Err(Status::not_found("no model")));
    let status = Status::from_header_map(refused.headers()).unwrap();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "no model")
    );
    assert!(refused.body().is_end_stream());
}
