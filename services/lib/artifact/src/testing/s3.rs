//! A real server that speaks S3, as a process of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::StoreConfig;

/// The server's only bucket.
const BUCKET: &str = "models";

/// An S3 server with one empty bucket. It keeps objects in memory and ends with this value.
#[derive(Debug)]
pub struct S3Server {
    process: Child,
    address: SocketAddr,
}

impl S3Server {
    /// Starts the server that `deploy/bootstrap.sh s3` brings, on a free port.
    ///
    /// # Panics
    /// When it is not there or does not start.
    pub fn start() -> Self {
        let program = std::env::var_os("DECANT_S3_SERVER").expect(
            "DECANT_S3_SERVER is not set: run `deploy/bootstrap.sh s3` and `eval \"$(deploy/bootstrap.sh env)\"`",
        );
        let mut process = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("http://")?.1.trim().parse().ok())
            .expect("the S3 server ended before it listened");
        // A line for each request; nobody else empties the pipe.
        std::thread::spawn(move || log.for_each(drop));
        let server = Self { process, address };
        let answer = put_bucket(server.address, BUCKET).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A store in the server's bucket, below a prefix.
    pub fn config(&self, prefix: &str) -> StoreConfig {
        self.config_through(self.address, prefix)
    }

    /// The same store, reached through another address, such as a proxy's.
    pub fn config_through(&self, address: SocketAddr, prefix: &str) -> StoreConfig {
        StoreConfig {
            url: format!("s3://{BUCKET}/{prefix}"),
            endpoint: Some(format!("http://{address}")),
            region: Some("us-east-1".into()),
            allow_http: true,
            ..StoreConfig::default()
        }
    }

    /// The variables that a process needs to use it, as credentials are not configuration.
    pub fn env(&self) -> [(String, String); 2] {
        [
            ("AWS_ACCESS_KEY_ID".into(), "decant".into()),
            ("AWS_SECRET_ACCESS_KEY".into(), "decant-secret".into()),
        ]
    }
}

/// Makes a bucket, and returns what the server answers. Blocks.
///
/// # Errors
/// When the server cannot be reached.
pub fn put_bucket(server: SocketAddr, bucket: &str) -> io::Result<String> {
    let timeout = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&server, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let request = format!(
        "PUT /{bucket} HTTP/1.1\r\nHost: {server}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Only this very process: its id is not given to another one before it was waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
