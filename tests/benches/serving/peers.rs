//! Other model servers, as `tests/peers/` sets them up.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use decant_proto::inference as wire;
use decant_tests::tiny;
use serde_json::Value;
use wire::model_infer_request::InferInputTensor;

pub(crate) const NAMES: [&str; 5] = ["mlserver", "kserve", "pytriton", "triton", "grpcio"];

/// A running peer.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it says that it runs.
    pub(crate) versions: String,
}

impl Peer {
    /// Starts a peer on one core; `None` when it is not set up here.
    pub(crate) fn start(name: &str, core: usize, model: &Path) -> Option<Self> {
        let python = std::env::var_os(format!("DECANT_PEER_{}", name.to_uppercase()))?;
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("peers/{name}_peer.py"));
        // Free a moment ago; the peers take no listener from others.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut child = Command::new("taskset")
            .args(["--cpu-list", &core.to_string()])
            .arg(python)
            .arg(program)
            .arg("--model")
            .arg(model)
            .args(["--port", &address.port().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let version = ready["versions"].get(name).and_then(Value::as_str);
        Some(Self {
            child,
            address,
            versions: format!("{name} {}", version.unwrap_or_default()),
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.child.wait();
    }
}

/// One row of numbers for a model of this name.
pub(crate) fn request(model: &str) -> wire::ModelInferRequest {
    let values = (0..tiny::WIDE).flat_map(|place| tiny::wide_value(place).to_le_bytes());
    wire::ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![InferInputTensor {
            name: "features".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, tiny::WIDE as i64],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![values.collect()],
        ..wire::ModelInferRequest::default()
    }
}
