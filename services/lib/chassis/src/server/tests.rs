use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

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
