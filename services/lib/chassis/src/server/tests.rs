use std::pin::pin;

use decant_proto::ops::v1::ops_service_client::OpsServiceClient;
use decant_proto::ops::v1::ops_service_server::{OpsService, OpsServiceServer};
use decant_proto::ops::v1::{
    GetLogFilterRequest, GetLogFilterResponse, SetLogFilterRequest, SetLogFilterResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

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

/// Panics at once when it is asked for the filter, and after a while or never where that is to be the filter; answers else.
struct Moody;

#[tonic::async_trait]
impl OpsService for Moody {
    async fn get_log_filter(
        &self,
        _: Request<GetLogFilterRequest>,
    ) -> Result<Response<GetLogFilterResponse>, Status> {
        panic!("as the test wants it")
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        match request.into_inner().filter.as_str() {
            "panic later" => {
                tokio::task::yield_now().await;
                panic!("as the test wants it")
            }
            "wait" => std::future::pending().await,
            _ => Ok(Response::new(SetLogFilterResponse::default())),
        }
    }
}

#[tokio::test]
async fn a_call_that_panics_ends_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, _failures) = Tasks::new();
    let routes = Routes::new(OpsServiceServer::new(Moody));
    let serving = serve(listener, routes, Serving::default(), tasks.stop_token());
    tasks.spawn("server", serving);
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let set = |filter: &str| {
        let mut client = OpsServiceClient::new(channel.clone());
        let filter = filter.to_owned();
        async move { client.set_log_filter(SetLogFilterRequest { filter }).await }
    };

    // Beside them on the same connection, which it needs to the end.
    let mut waiting = pin!(set("wait"));
    assert!(futures::poll!(&mut waiting).is_pending());
    let mut client = OpsServiceClient::new(channel.clone());
    let panicked = client.get_log_filter(GetLogFilterRequest {}).await;
    assert!(panicked.is_err());
    assert!(set("answer").await.is_ok());
    assert!(set("panic later").await.is_err());
    assert!(set("answer").await.is_ok());
    assert!(futures::poll!(&mut waiting).is_pending());
}
