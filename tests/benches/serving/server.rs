//! What is measured, and its yardsticks: a bare echo of the same messages, and ONNX Runtime without a server.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use decant_chassis::client::channel;
use decant_features::{Catalog, Column, Columns, Encoded, Schema, Side, Values};
use decant_inference::Session;
use decant_inference::testing::runtime;
use decant_proto::inference;
use decant_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use decant_proto::scorer::v1 as wire;
use decant_proto::scorer::v1::scorer_service_server::{ScorerService, ScorerServiceServer};
use decant_tests::{Job, Standalone, Tiny, tiny};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::open::at;
use crate::{CLIENT, SERVER, pin};

/// Of the job's two students, the larger.
const VERSION: &str = "2";
pub(crate) const MODEL: &str = "movielens";

/// A server that reads a request and answers at once, in a process of its own.
pub(crate) struct Echo {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Echo {
    /// The argument that makes this program the echo.
    pub(crate) const ROLE: &str = "--echo";

    pub(crate) fn start(core: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new("taskset")
            .args(["--cpu-list", &core.to_string()])
            .arg(program)
            .arg(Self::ROLE)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            child,
            address: line.trim().parse().unwrap(),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the echo: tonic as it is, on as many threads as there are cores for it.
pub(crate) fn echo() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .add_service(ScorerServiceServer::new(Echoing))
            .serve_with_incoming(incoming)
            .await
            .unwrap();
    });
}

struct Echoing;

type Answers = tokio_stream::Empty<Result<wire::ScoreStreamResponse, Status>>;

#[tonic::async_trait]
impl ScorerService for Echoing {
    async fn score(
        &self,
        request: Request<wire::ScoreRequest>,
    ) -> Result<Response<wire::ScoreResponse>, Status> {
        // As long as a scorer's answer.
        let model = request.into_inner().model.unwrap_or_default();
        let served_by = wire::ServedBy {
            model: model.model,
            slot: "main".to_owned(),
            version: 1,
            digest: "sha256:".to_owned() + &"0".repeat(64),
            arm: 1,
            generation: 2,
            queue_micros: 100,
            compute_micros: 100,
            load: 0.5,
        };
        Ok(Response::new(wire::ScoreResponse {
            served_by: Some(served_by),
            scores: vec![0.5],
        }))
    }

    type ScoreStreamStream = Answers;

    async fn score_stream(
        &self,
        _request: Request<Streaming<wire::ScoreStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented("an echo of Score"))
    }

    async fn rank(
        &self,
        _request: Request<wire::RankRequest>,
    ) -> Result<Response<wire::RankResponse>, Status> {
        Err(Status::unimplemented("an echo of Score"))
    }

    async fn recommend(
        &self,
        _request: Request<wire::RecommendRequest>,
    ) -> Result<Response<wire::RecommendResponse>, Status> {
        Err(Status::unimplemented("an echo of Score"))
    }

    async fn list_servables(
        &self,
        _request: Request<wire::ListServablesRequest>,
    ) -> Result<Response<wire::ListServablesResponse>, Status> {
        Err(Status::unimplemented("an echo of Score"))
    }

    async fn get_evidence(
        &self,
        _request: Request<wire::GetEvidenceRequest>,
    ) -> Result<Response<wire::GetEvidenceResponse>, Status> {
        Err(Status::unimplemented("an echo of Score"))
    }
}

/// What a scorer says of its own answers: to a load that does not look at them, a refusal is a quick one.
pub(crate) struct Answered {
    address: SocketAddr,
    model: &'static str,
    told: Counts,
}

/// What a scorer has counted.
#[derive(Clone, Copy, Default)]
struct Counts {
    succeeded: u64,
    failed: u64,
    /// How long calls waited for ONNX Runtime, all together.
    infer_nanos: u64,
}

impl Answered {
    pub(crate) fn of(address: SocketAddr, model: &'static str) -> Self {
        Self {
            address,
            model,
            told: Counts::default(),
        }
    }

    /// Of the calls since it was asked last, the share that was answered with scores.
    pub(crate) async fn share(&mut self) -> f64 {
        let new = self.since_last().await;
        new.succeeded as f64 / (new.succeeded + new.failed) as f64
    }

    /// How long each of the calls since it was asked last waited for ONNX Runtime, on average: for all of its batch.
    pub(crate) async fn infer_time(&mut self) -> Duration {
        let new = self.since_last().await;
        Duration::from_nanos(new.infer_nanos / new.succeeded.max(1))
    }

    async fn since_last(&mut self) -> Counts {
        let request = inference::ModelStatisticsRequest {
            name: self.model.to_owned(),
            version: String::new(),
        };
        // Connected anew each time: while calls are made, nobody answers for a connection that is not theirs.
        let channel = channel("scorer", &format!("http://{}", self.address)).unwrap();
        let mut client = GrpcInferenceServiceClient::new(channel);
        let answer = client.model_statistics(request).await.unwrap();
        let mut now = Counts::default();
        for model in answer.into_inner().model_stats {
            let statistics = model.inference_stats.unwrap();
            now.succeeded += statistics.success.unwrap().count;
            now.failed += statistics.fail.unwrap().count;
            now.infer_nanos += statistics.compute_infer.unwrap().ns;
        }
        let before = std::mem::replace(&mut self.told, now);
        Counts {
            succeeded: now.succeeded - before.succeeded,
            failed: now.failed - before.failed,
            infer_nanos: now.infer_nanos - before.infer_nanos,
        }
    }
}

/// ONNX Runtime in this process, on the core of what it is compared with, and on rows that are encoded already.
pub(crate) struct Alone(Vec<Duration>);

impl Alone {
    pub(crate) fn wide(tiny: &Tiny) -> Self {
        let item = Encoded {
            rows: 1,
            dense_width: tiny::WIDE,
            dense: (0..tiny::WIDE).map(tiny::wide_value).collect(),
            ..Encoded::default()
        };
        let query = Encoded {
            rows: 1,
            ..Encoded::default()
        };
        let onnx = tiny.files[&"model.onnx".parse().unwrap()].clone();
        Self::measure(onnx.to_vec(), &query, &item)
    }

    pub(crate) fn rank(bundle: &Bundle, rows: usize) -> Self {
        let query = bundle.schema.encode(Side::Query, &bundle.query()).unwrap();
        let items = bundle.schema.encode(Side::Item, bundle.catalog.columns());
        let rows: Vec<usize> = (0..rows).collect();
        Self::measure(bundle.onnx.clone(), &query, &items.unwrap().select(&rows))
    }

    fn measure(onnx: Vec<u8>, query: &Encoded, item: &Encoded) -> Self {
        let mut session = Session::open(&runtime(), onnx).unwrap();
        let mut scores = Vec::new();
        let mut times = Vec::new();
        // Cores differ, as other tenants of the machine take more of one than of the other.
        pin(SERVER);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            let before = Instant::now();
            session.score(query, item, &mut scores).unwrap();
            times.push(before.elapsed());
        }
        pin(CLIENT);
        // The first ones fill caches.
        Self(times.split_off(times.len() / 4))
    }

    pub(crate) fn mean(&self) -> Duration {
        self.0.iter().sum::<Duration>() / self.0.len() as u32
    }

    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        at(self.0.iter().copied(), quantile)
    }
}

/// Trains students of the size of the example's, quickly: how good they are makes no difference to how fast they are.
pub(crate) fn train(data: &Path) {
    let job = data.join("job.toml");
    let job_text = Job::quick().replace("hidden = [16, 8]", "hidden = [32, 16]");
    std::fs::write(&job, job_text).unwrap();
    let standalone = Standalone::start(data);
    succeeded(standalone.decant(&["train", "submit", job.to_str().unwrap(), "--watch"]));
    let (status, log) = standalone.end("TERM");
    assert!(status.success(), "{log:#?}");
}

fn succeeded(output: Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A student that serves, with what a client knows of it.
pub(crate) struct Bundle {
    schema: Schema,
    catalog: Catalog,
    onnx: Vec<u8>,
}

impl Bundle {
    /// Puts the student into service.
    pub(crate) fn serve(standalone: &Standalone, data: &Path) -> Self {
        succeeded(standalone.decant(&["slot", "set", MODEL, VERSION]));
        let folder: PathBuf = data.join("fetched");
        let to = folder.to_str().unwrap();
        succeeded(standalone.decant(&["version", "fetch", MODEL, VERSION, "--to", to]));
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        Self {
            schema: Schema::from_json(&read("features.json")).unwrap(),
            catalog: Catalog::from_arrow(&read("catalog.arrow")).unwrap(),
            onnx: read("model.onnx"),
        }
    }

    fn query(&self) -> Columns {
        let text = |name: &str, value: &str| Column::new(name, Values::Text([value].into()));
        Columns::new(vec![
            text("user_id", "13"),
            Column::new("age", Values::Int(vec![47])),
            text("gender", "M"),
            text("occupation", "educator"),
        ])
        .unwrap()
    }

    /// One user, and the first so many films.
    pub(crate) fn request(&self, candidates: usize) -> wire::RankRequest {
        let ids = (0..candidates).map(|row| self.catalog.id(row)).collect();
        wire::RankRequest {
            model: model(),
            query: self.wire_query(),
            candidates: Some(wire::rank_request::Candidates::ItemIds(ids)),
            top_k: 0,
        }
    }

    /// The same user, and all films.
    pub(crate) fn recommend(&self, top_k: u32) -> wire::RecommendRequest {
        wire::RecommendRequest {
            model: model(),
            query: self.wire_query(),
            top_k,
            ..wire::RecommendRequest::default()
        }
    }

    fn wire_query(&self) -> Vec<wire::Column> {
        let column = |column: &Column| wire::Column {
            name: column.name.clone(),
            values: Some(match column.values.clone() {
                Values::Int(values) => {
                    wire::column::Values::Int64Values(wire::Int64Values { values })
                }
                Values::Float(values) => {
                    wire::column::Values::FloatValues(wire::FloatValues { values })
                }
                Values::Text(values) => {
                    wire::column::Values::StringValues(wire::StringValues { values })
                }
            }),
            ..wire::Column::default()
        };
        self.query().iter().map(column).collect()
    }
}

fn model() -> Option<wire::ModelRef> {
    Some(wire::ModelRef {
        model: MODEL.to_owned(),
        slot: String::new(),
    })
}
