//! A cluster that trusts nobody whom it does not know: TLS on every link, and callers by certificate or token.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use decant_chassis::auth::Token;
use decant_chassis::client::{Caller, Channel};
use decant_chassis::tls;
use decant_client::{Columns, Scorers, Tls};
use decant_coordination::testing::{Authority, Etcd, Signed};
use decant_model::Digest;
use decant_proto::registry::push::{messages, push_version};
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use decant_proto::rollout::v1::{WatchSlotRequest, WatchSlotResponse};
use decant_tests::tiny::{MODEL, model};
use decant_tests::{
    Deployment, Job, Operated as _, Process, Shape, Tiny, datasets, decant_with, eventually, fetch,
    free_address,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

const VIEWER: &str = "dct_of_a_viewer";
const OUT_OF_DATE: &str = "dct_that_was_revoked";

/// What a process is told of certificates.
fn variables(signed: &Signed) -> [(&'static str, String); 4] {
    let path = |file: &Path| file.display().to_string();
    [
        ("DECANT_TLS__CERTIFICATE", path(&signed.certificate)),
        ("DECANT_TLS__KEY", path(&signed.key)),
        ("DECANT_TLS__CA", path(&signed.ca)),
        ("DECANT_TLS__SERVER_NAME", "localhost".to_owned()),
    ]
}

/// What the command line is told to show.
fn shown(signed: &Signed) -> [(&'static str, &str); 3] {
    [
        ("DECANT_CA", &signed.ca),
        ("DECANT_CERTIFICATE", &signed.certificate),
        ("DECANT_KEY", &signed.key),
    ]
    .map(|(variable, file)| (variable, file.to_str().unwrap()))
}

/// etcd, a registry and a scorer.
struct Cluster {
    folder: TempDir,
    authority: Authority,
    /// What somebody who may do everything shows.
    ops: Signed,
    /// Who may what, as processes are told.
    grants: String,
    _etcd: Etcd,
    registry: Process,
    scorer: Process,
    /// Where the scorer's metrics are.
    metrics: SocketAddr,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(&folder.path().join("certificates"));
        let ops = authority.sign("ops");
        let etcd = Etcd::cluster(1).await;
        let hex = Digest::of(VIEWER.as_bytes()).hex();
        let grants = format!(
            r#"[{{ name = "ops", identity = "spiffe://decant/ops", role = "admin" }},
                {{ name = "registry", identity = "spiffe://decant/registry", role = "viewer" }},
                {{ name = "trainer", identity = "spiffe://decant/trainer", role = "publisher" }},
                {{ name = "app", token_sha256 = "{hex}", role = "viewer" }}]"#
        );
        let bundles = folder.path().join("bundles");
        fs::create_dir_all(&bundles).unwrap();
        let common = [
            ("DECANT_LISTEN", "127.0.0.1:0".to_owned()),
            ("DECANT_STORE__ENDPOINTS", format!("{:?}", etcd.endpoints())),
            (
                "DECANT_BUNDLES__URL",
                format!("file://{}", bundles.display()),
            ),
            ("DECANT_AUTH__ENABLED", "true".to_owned()),
            ("DECANT_AUTH__GRANTS", grants.clone()),
        ];
        let start = |name: &str, own: &[(&'static str, String)]| {
            let own = own.iter().cloned();
            Process::start(name, &[], common.clone().into_iter().chain(own))
        };
        let own = variables(&authority.sign("registry"));
        let registry = start("decant-registry", &own);
        let metrics = free_address();
        let mut own = variables(&authority.sign("scorer")).to_vec();
        own.push(("DECANT_TELEMETRY__METRICS_LISTEN", metrics.to_string()));
        let scorer = start("decant-scorer", &own);
        Self {
            folder,
            authority,
            ops,
            grants,
            _etcd: etcd,
            registry,
            scorer,
            metrics,
        }
    }

    fn start_trainer(&self) -> Process {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let own = [
            ("DECANT_LISTEN", "127.0.0.1:0".to_owned()),
            (
                "DECANT_TRAINER__JOBS",
                text(&self.folder.path().join("jobs")),
            ),
            ("DECANT_TRAINER__DATASETS", text(&datasets())),
            ("DECANT_TRAINER__REGISTRY", self.registry()),
            ("DECANT_AUTH__ENABLED", "true".to_owned()),
            ("DECANT_AUTH__GRANTS", self.grants.clone()),
        ];
        let shown = variables(&self.authority.sign("trainer"));
        Process::start("decant-trainer", &[], own.into_iter().chain(shown))
    }

    fn registry(&self) -> String {
        format!("https://localhost:{}", self.registry.address().port())
    }

    fn scorer(&self) -> String {
        format!("https://localhost:{}", self.scorer.address().port())
    }

    /// Runs `decant` with what somebody shows.
    fn decant(&self, shown: &[(&str, &str)], arguments: &[&str]) -> Output {
        let addresses = [("registry", self.registry()), ("scorer", self.scorer())];
        self.decant_at(&addresses, shown, arguments)
    }

    /// The same at these addresses.
    fn decant_at(
        &self,
        addresses: &[(&'static str, String)],
        shown: &[(&str, &str)],
        arguments: &[&str],
    ) -> Output {
        let configuration = self.folder.path().join("no-contexts.toml");
        let mut variables = vec![
            ("DECANT_CONFIG", configuration.to_str().unwrap()),
            ("DECANT_SERVER_NAME", "localhost"),
        ];
        variables.extend_from_slice(shown);
        decant_with(&variables, addresses, arguments)
    }

    fn as_ops(&self, arguments: &[&str]) -> Output {
        let shown = shown(&self.ops);
        self.decant(&shown, arguments)
    }

    fn with_token(&self, token: &str, arguments: &[&str]) -> Output {
        let ca = self.ops.ca.to_str().unwrap();
        self.decant(&[("DECANT_CA", ca), ("DECANT_TOKEN", token)], arguments)
    }

    async fn push(&self, tiny: &Tiny) -> u64 {
        let ops = self.ops.clone();
        let config = tls::Config {
            certificate: ops.certificate,
            key: ops.key,
            ca: ops.ca,
            ..tls::Config::default()
        };
        let mut registry = RegistryServiceClient::new(self.channel(&config, None));
        let (manifest, files) = (tiny.manifest.clone(), tiny.files.clone());
        let pushed = push_version(&mut registry, &model(), manifest, None, files).await;
        pushed.unwrap().version
    }

    /// Adds somebody, whose token this is.
    fn add(&self, name: &str, role: &str) -> String {
        let added = self.as_ops(&["access", "add", name, "--role", role, "--token"]);
        let printed = succeeded(&added);
        let token = printed
            .split_whitespace()
            .find(|word| word.starts_with("dct_"));
        token.unwrap_or_else(|| panic!("{printed}")).to_owned()
    }

    /// To the registry, as somebody who shows a certificate or a token.
    fn channel(&self, config: &tls::Config, token: Option<Token>) -> Channel {
        let caller = Caller::new(tls::Identity::load(config).unwrap()).with_token(token);
        caller.channel("registry", &self.registry()).unwrap()
    }

    fn channel_with(&self, token: &str) -> Channel {
        let config = tls::Config {
            ca: self.ops.ca.clone(),
            ..tls::Config::default()
        };
        self.channel(&config, Some(Token::new(token).unwrap()))
    }

    /// Follows the slot with a token.
    async fn watch(&self, token: &str) -> Streaming<WatchSlotResponse> {
        let channel = self.channel_with(token);
        let request = WatchSlotRequest {
            model: MODEL.to_owned(),
            slot: String::new(),
        };
        let answer = RolloutServiceClient::new(channel).watch_slot(request).await;
        answer.unwrap().into_inner()
    }

    /// A service that asks for scores.
    fn app(&self, token: Option<&str>) -> Scorers {
        let ca = fs::read(&self.ops.ca).unwrap();
        let builder = Scorers::builder()
            .endpoint(self.scorer())
            .model(MODEL)
            .deadline(Duration::from_secs(5))
            .tls(Tls::trusting(ca));
        let builder = match token {
            Some(token) => builder.token(token),
            None => builder,
        };
        builder.build().unwrap()
    }
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn succeeded(output: &Output) -> String {
    let told = told(output);
    assert!(output.status.success(), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_cluster_serves_those_it_knows_and_nobody_else() {
    let cluster = Cluster::start().await;
    succeeded(&cluster.as_ops(&["model", "create", MODEL]));
    cluster.push(&Tiny::new(0.25)).await;
    succeeded(&cluster.as_ops(&["slot", "set", MODEL, "1", "--reason", "first"]));

    // A token of a viewer: sees and asks for scores, and may not release.
    let seen = succeeded(&cluster.with_token(VIEWER, &["slot", "status", MODEL]));
    assert!(seen.contains("v1"), "{seen}");
    let refused = cluster.with_token(VIEWER, &["slot", "freeze", MODEL, "--reason", "x"]);
    let words = told(&refused);
    assert_eq!(refused.status.code(), Some(4), "{words}");
    assert!(
        words.contains("`app` lacks permission `operate`"),
        "{words}"
    );

    // Nobody, somebody unknown, and somebody who trusts others.
    let nobody = cluster.with_token("", &["model", "list"]);
    assert_eq!(nobody.status.code(), Some(4), "{}", told(&nobody));
    let forged = cluster.with_token(OUT_OF_DATE, &["model", "list"]);
    assert_eq!(forged.status.code(), Some(4), "{}", told(&forged));
    assert!(!told(&forged).contains(OUT_OF_DATE), "{}", told(&forged));
    let other = Authority::new(&cluster.folder.path().join("others"));
    let stranger = other.ca.to_str().unwrap();
    let doubtful = cluster.decant(
        &[("DECANT_CA", stranger), ("DECANT_TOKEN", VIEWER)],
        &["model", "list"],
    );
    assert_eq!(doubtful.status.code(), Some(8), "{}", told(&doubtful));

    // Somebody is added while all is running, known everywhere, and no longer known once removed.
    let token = &*cluster.add("ana", "viewer");
    let knows = |asked: &'static [&'static str], code: i32| {
        let cluster = &cluster;
        async move {
            let answered = cluster.with_token(token, asked);
            let is_so = answered.status.code() == Some(code);
            is_so.then_some(()).ok_or_else(|| told(&answered))
        }
    };
    for asked in [&["access", "whoami"][..], &["scorer", "servables"]] {
        eventually("ana is known", || knows(asked, 0)).await;
    }
    let mut watch = cluster.watch(token).await;
    watch.message().await.unwrap().unwrap();
    succeeded(&cluster.as_ops(&["access", "remove", "ana"]));
    let ended = timeout(Duration::from_secs(20), watch.message()).await;
    assert_eq!(ended.unwrap().unwrap_err().code(), Code::Unauthenticated);
    for asked in [&["access", "whoami"][..], &["scorer", "servables"]] {
        eventually("ana is no longer known", || knows(asked, 4)).await;
    }

    // The audit log names who it was.
    let log = succeeded(&cluster.as_ops(&["audit", "list"]));
    assert!(log.contains("ops"), "{log}");

    // A service asks for scores with the client that it depends on.
    let row = Columns::new()
        .ints("user", [1])
        .floats("age", [30.0])
        .ints("film", [1]);
    let scores = cluster.app(Some(VIEWER)).score(&row).await.unwrap();
    assert_eq!(scores.scores.len(), 1);
    let refused = cluster.app(None).score(&row).await.unwrap_err();
    let words = refused.to_string();
    assert!(words.contains("authorization: Bearer"), "{words}");

    // While a version is released, the registry's leader asks the scorer what it counted, with its certificate.
    cluster.push(&Tiny::new(-0.5)).await;
    let reason = ["--reason", "second", "--steps", "50%,pause"];
    let start = ["rollout", "start", MODEL, "2"].into_iter().chain(reason);
    succeeded(&cluster.as_ops(&start.collect::<Vec<_>>()));
    let asked =
        r#"rpc_method="decant.scorer.v1.ScorerService/GetEvidence",rpc_response_status_code="OK""#;
    eventually("the leader asks for evidence", || async {
        let metrics = fetch(cluster.metrics, "/metrics").await.unwrap();
        let asked = metrics.lines().any(|line| line.contains(asked));
        asked.then_some(()).ok_or(metrics)
    })
    .await;
    let metrics = fetch(cluster.metrics, "/metrics").await.unwrap();
    for told in [
        r#"decant_certificate_expiry_timestamp_seconds{file="certificate""#,
        r#"decant_auth_refused_total{reason="missing""#,
        r#"decant_auth_refused_total{reason="unknown""#,
    ] {
        assert!(metrics.contains(told), "{told}: {metrics}");
    }
    let ready = fetch(
        cluster.metrics,
        "/readyz?service=decant.scorer.v1.ScorerService",
    )
    .await
    .unwrap();
    assert!(ready.contains(" 200 "), "{ready}");

    for process in [cluster.scorer, cluster.registry] {
        let (status, log) = process.end("TERM");
        assert!(status.success(), "{log:?}");
        assert!(!log.iter().any(|line| line.contains("dct_")), "{log:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_an_upload_ends_with_its_callers_permission_though_the_client_goes_on() {
    let cluster = Cluster::start().await;
    succeeded(&cluster.as_ops(&["model", "create", MODEL]));
    let token = cluster.add("eve", "publisher");
    let tiny = Tiny::new(0.25);
    let (manifest, files) = (tiny.manifest.clone(), tiny.files.clone());
    let mut messages = messages(&model(), manifest, None, files);
    let (sender, sent) = mpsc::channel(1);
    let mut registry = RegistryServiceClient::new(cluster.channel_with(&token));
    // Nobody who is not known yet may begin.
    eventually("eve is known", || async {
        let seen = cluster.with_token(&token, &["model", "list"]);
        seen.status
            .success()
            .then_some(())
            .ok_or_else(|| told(&seen))
    })
    .await;
    let uploading = registry.push_version(ReceiverStream::new(sent));
    let removing = async {
        let header = messages.next().unwrap();
        sender.send(header).await.unwrap();
        // Only what the registry reads makes room for the next.
        let manifest_is_read = sender.reserve().await.unwrap();
        drop(manifest_is_read);
        succeeded(&cluster.as_ops(&["access", "remove", "eve"]));
    };
    let (ended, ()) = tokio::join!(timeout(Duration::from_secs(20), uploading), removing);
    assert_eq!(ended.unwrap().unwrap_err().code(), Code::Unauthenticated);
    for message in messages {
        if sender.send(message).await.is_err() {
            break;
        }
    }
    drop(sender);
    assert_eq!(cluster.push(&Tiny::new(-0.5)).await, 1);
    let versions = succeeded(&cluster.as_ops(&["version", "list", MODEL, "--output", "name"]));
    assert_eq!(versions.trim(), format!("{MODEL}/1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_trainer_pushes_what_it_trained_as_who_it_is() {
    let cluster = Cluster::start().await;
    let trainer = cluster.start_trainer();
    let address = format!("https://localhost:{}", trainer.address().port());
    let at_the_trainer = [("trainer", address)];
    let job = cluster.folder.path().join("job.toml");
    fs::write(&job, Job::quick()).unwrap();
    let submit = ["train", "submit", job.to_str().unwrap(), "--watch"];

    // A viewer may look at jobs, and nobody who is unknown may even do that.
    let ca = cluster.ops.ca.to_str().unwrap();
    let as_viewer = [("DECANT_CA", ca), ("DECANT_TOKEN", VIEWER)];
    succeeded(&cluster.decant_at(&at_the_trainer, &as_viewer, &["train", "list"]));
    let refused = cluster.decant_at(&at_the_trainer, &as_viewer, &submit);
    let words = told(&refused);
    assert_eq!(refused.status.code(), Some(4), "{words}");
    assert!(
        words.contains("`app` lacks permission `publish`"),
        "{words}"
    );
    let nobody = cluster.decant_at(&at_the_trainer, &[("DECANT_CA", ca)], &["train", "list"]);
    assert_eq!(nobody.status.code(), Some(4), "{}", told(&nobody));

    succeeded(&cluster.decant_at(&at_the_trainer, &shown(&cluster.ops), &submit));
    let log = succeeded(&cluster.as_ops(&["audit", "list"]));
    assert!(log.contains("trainer"), "{log}");
    succeeded(&cluster.as_ops(&["slot", "set", "movielens", "1", "--reason", "trained"]));
    let (status, log) = trainer.end("TERM");
    assert!(status.success(), "{log:?}");
}

/// Who a request is about is nobody's business but the model's: what is logged of requests has a name for users that is
/// nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn process_no_log_holds_what_a_request_says_of_a_user() {
    const USER: i64 = 4_711_471_147;
    const KEY: &str = "reader-of-the-secret-diary";
    // `printf %s "$KEY" | openssl dgst -sha256 -hmac "$HASHED_UNDER"`, the first half.
    const PSEUDONYM: &str = "7c69825e6002a3746bcb19e0630fa8c5";
    const HASHED_UNDER: &str = "0123456789abcdef0123456789abcdef";
    let secrets = TempDir::new().unwrap();
    let file = secrets.path().join("user-key");
    fs::write(&file, HASHED_UNDER).unwrap();
    let everything = |name: &str| {
        let mut variables = vec![("DECANT_LOG__FILTER", "debug".to_owned())];
        if name == "scorer-0" {
            let file = file.display().to_string();
            variables.extend([
                ("DECANT_SCORER__REQUEST_LOG__RATIO", "1".to_owned()),
                ("DECANT_SCORER__REQUEST_LOG__USER_KEY_FILE", file),
            ]);
        }
        variables
    };
    let shape = Shape {
        etcd: 1,
        registries: 1,
        scorers: 1,
    };
    let mut cluster = Deployment::start_with(shape, &everything).await;
    cluster.serve(&Tiny::new(0.25)).await;
    let scorers = Scorers::builder()
        .endpoint(format!("http://{}", cluster.scorers[0].address()))
        .model(MODEL)
        .deadline(Duration::from_secs(5))
        .build()
        .unwrap()
        .with_routing_key(KEY);
    let row = |age: &[f32]| {
        let row = Columns::new().ints("user", [USER]).ints("film", [1]);
        row.floats("age", age.iter().copied())
    };
    scorers.score(&row(&[30.0])).await.unwrap();
    // What is wrong with a request is said to its caller.
    scorers.score(&row(&[30.0, 31.0])).await.unwrap_err();
    let (status, log) = cluster.scorers.remove(0).end("TERM");
    assert!(status.success(), "{log:?}");
    assert!(log.iter().any(|line| line.contains("DEBUG")), "{log:?}");
    let user = USER.to_string();
    for line in &log {
        assert!(!line.contains(&user) && !line.contains(KEY), "{line}");
        assert!(!line.contains(HASHED_UNDER), "{line}");
    }
    let lines = log
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    let requests: Vec<serde_json::Value> = lines
        .filter(|line: &serde_json::Value| line["message"] == "request")
        .collect();
    // The one that a version was asked to answer.
    let [request] = &requests[..] else {
        panic!("{requests:#?}")
    };
    assert_eq!(request["user"], PSEUDONYM);
    assert_eq!(request["model"], MODEL);
    let said = ["rpc", "arm", "code"].map(|field| request[field].as_str().unwrap());
    assert_eq!(said, ["score", "stable", "OK"]);
    assert_eq!(
        (&request["version"], &request["rows"]),
        (&1.into(), &1.into())
    );
    assert!(request["total_micros"].as_u64() >= request["compute_micros"].as_u64());
}
