use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::*;
use crate::tasks::Tasks;

/// The types of HTTP/2 frames (RFC 9113, section 6).
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

#[tokio::test]
async fn an_old_connection_is_told_to_go() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, _failures) = Tasks::new();
    let serving = Serving {
        max_connection_age: Some(Duration::from_millis(20)),
        ..Serving::default()
    };
    let serving = serve(listener, Routes::default(), serving, tasks.stop_token());
    tasks.spawn("server", serving);

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream
        .write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let told = timeout(Duration::from_secs(20), async {
        loop {
            let mut header = [0; 9];
            stream.read_exact(&mut header).await.unwrap();
            if header[3] == GOAWAY {
                return;
            }
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
        }
    });
    told.await.unwrap();
    drop(stream);
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

/// Answers calls of three methods, each in its way.
#[derive(Clone)]
struct Moody;

impl NamedService for Moody {
    const NAME: &'static str = "test.Moody";
}

impl Service<http::Request<Body>> for Moody {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        Box::pin(async move {
            match method.as_str() {
                "Panic" => panic!("as the test wants it"),
                "PanicLater" => {
                    tokio::task::yield_now().await;
                    panic!("as the test wants it");
                }
                "Wait" => std::future::pending().await,
                _ => Ok(Status::already_exists("it is there").into_http()),
            }
        })
    }
}

async fn call(channel: &Channel, method: &str) -> Code {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = format!("/test.Moody/{method}").parse().unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let answer = client.unary(tonic::Request::new(()), path, codec).await;
    answer.unwrap_err().code()
}

#[tokio::test]
async fn a_call_that_panics_ends_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, _failures) = Tasks::new();
    let routes = Routes::new(Moody);
    let serving = serve(listener, routes, Serving::default(), tasks.stop_token());
    tasks.spawn("server", serving);
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();

    // Beside them on the same connection, which it needs to the end.
    let mut waiting = pin!(call(&channel, "Wait"));
    assert!(futures::poll!(&mut waiting).is_pending());
    for method in ["Panic", "PanicLater"] {
        assert_ne!(call(&channel, method).await, Code::AlreadyExists);
        assert_eq!(call(&channel, "Answer").await, Code::AlreadyExists);
    }
    assert!(futures::poll!(&mut waiting).is_pending());
}
