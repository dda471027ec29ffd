//! A cluster that trusts nobody whom it does not know: TLS on every link, and callers by certificate or token.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use decant_chassis::client::Caller;
use decant_chassis::tls;
use decant_client::{Columns, Scorers, Tls};
use decant_coordination::testing::Etcd;
use decant_model::Digest;
use decant_proto::registry::push::push_version;
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_tests::tiny::{MODEL, model};
use decant_tests::{Process, Tiny, decant_with, eventually, free_address};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const VIEWER: &str = "dct_of_a_viewer";
const OUT_OF_DATE: &str = "dct_that_was_revoked";

/// Who signs the certificates of a cluster, and the folder of all of them.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::create_dir_all(folder).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            folder: folder.to_owned(),
        }
    }

    /// A certificate for whoever has this name, good for `localhost` too.
    fn sign(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let uri = format!("spiffe://decant/{name}");
        let uri = SanType::URI(uri.as_str().try_into().unwrap());
        params.subject_alt_names.push(uri);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(name, "pem"), certificate.pem()).unwrap();
        fs::write(self.file(name, "key"), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str, suffix: &str) -> PathBuf {
        self.folder.join(format!("{name}.{suffix}"))
    }

    fn text(&self, name: &str, suffix: &str) -> String {
        self.file(name, suffix).to_str().unwrap().to_owned()
    }

    /// What a process of this name is told of certificates.
    fn variables(&self, name: &str) -> Vec<(&'static str, String)> {
        self.sign(name);
        vec![
            ("DECANT_TLS__CERTIFICATE", self.text(name, "pem")),
            ("DECANT_TLS__KEY", self.text(name, "key")),
            ("DECANT_TLS__CA", self.text("ca", "pem")),
            ("DECANT_TLS__SERVER_NAME", "localhost".to_owned()),
        ]
    }
}

/// etcd, a registry and a scorer.
struct Cluster {
    folder: TempDir,
    authority: Authority,
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
        authority.sign("ops");
        let etcd = Etcd::cluster(1).await;
        let hex = Digest::of(VIEWER.as_bytes()).hex();
        let grants = format!(
            r#"[{{ name = "ops", identity = "spiffe://decant/ops", role = "admin" }},
                {{ name = "registry", identity = "spiffe://decant/registry", role = "viewer" }},
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
            ("DECANT_AUTH__GRANTS", grants),
        ];
        let start = |name: &str, own: Vec<(&'static str, String)>| {
            Process::start(name, &[], common.clone().into_iter().chain(own))
        };
        let registry = start("decant-registry", authority.variables("registry"));
        let metrics = free_address();
        let mut own = authority.variables("scorer");
        own.push(("DECANT_TELEMETRY__METRICS_LISTEN", metrics.to_string()));
        let scorer = start("decant-scorer", own);
        Self {
            folder,
            authority,
            _etcd: etcd,
            registry,
            scorer,
            metrics,
        }
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
        let configuration = self.folder.path().join("no-contexts.toml");
        let mut variables = vec![
            ("DECANT_CONFIG", configuration.to_str().unwrap()),
            ("DECANT_SERVER_NAME", "localhost"),
        ];
        variables.extend_from_slice(shown);
        decant_with(&variables, &addresses, arguments)
    }

    fn as_ops(&self, arguments: &[&str]) -> Output {
        let (ca, certificate, key) = (
            self.authority.text("ca", "pem"),
            self.authority.text("ops", "pem"),
            self.authority.text("ops", "key"),
        );
        let shown = [
            ("DECANT_CA", &*ca),
            ("DECANT_CERTIFICATE", &certificate),
            ("DECANT_KEY", &key),
        ];
        self.decant(&shown, arguments)
    }

    fn with_token(&self, token: &str, arguments: &[&str]) -> Output {
        let ca = self.authority.text("ca", "pem");
        self.decant(&[("DECANT_CA", &ca), ("DECANT_TOKEN", token)], arguments)
    }

    async fn push(&self, tiny: &Tiny) {
        let config = tls::Config {
            certificate: self.authority.file("ops", "pem"),
            key: self.authority.file("ops", "key"),
            ca: self.authority.file("ca", "pem"),
            ..tls::Config::default()
        };
        let caller = Caller::new(tls::Identity::load(&config).unwrap());
        let channel = caller.channel("registry", &self.registry()).unwrap();
        let mut registry = RegistryServiceClient::new(channel);
        let (manifest, files) = (tiny.manifest.clone(), tiny.files.clone());
        push_version(&mut registry, &model(), manifest, None, files)
            .await
            .unwrap();
    }

    /// A service that asks for scores.
    fn app(&self, token: Option<&str>) -> Scorers {
        let ca = fs::read(self.authority.file("ca", "pem")).unwrap();
        let builder = Scorers::builder()
            .endpoint(self.scorer())
            .model(MODEL)
            .deadline(std::time::Duration::from_secs(5))
            .tls(Tls::trusting(ca));
        let builder = match token {
            Some(token) => builder.token(token),
            None => builder,
        };
        builder.build().unwrap()
    }
}

/// What an address says over plain HTTP.
async fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
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
    let stranger = other.text("ca", "pem");
    let doubtful = cluster.decant(
        &[("DECANT_CA", &stranger), ("DECANT_TOKEN", VIEWER)],
        &["model", "list"],
    );
    assert_eq!(doubtful.status.code(), Some(8), "{}", told(&doubtful));

    // Somebody is added while all is running, known everywhere, and no longer known once removed.
    let added = cluster.as_ops(&["access", "add", "ana", "--role", "viewer", "--token"]);
    assert!(added.status.success(), "{}", told(&added));
    let token = String::from_utf8_lossy(&added.stdout);
    let token = token
        .split_whitespace()
        .find(|word| word.starts_with("dct_"))
        .unwrap_or_else(|| panic!("{token}"));
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
    succeeded(&cluster.as_ops(&["access", "remove", "ana"]));
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
        let metrics = fetch(cluster.metrics, "/metrics").await;
        let asked = metrics.lines().any(|line| line.contains(asked));
        asked.then_some(()).ok_or(metrics)
    })
    .await;
    let ready = fetch(
        cluster.metrics,
        "/readyz?service=decant.scorer.v1.ScorerService",
    )
    .await;
    assert!(ready.contains(" 200 "), "{ready}");

    for process in [cluster.scorer, cluster.registry] {
        let (status, log) = process.end("TERM");
        assert!(status.success(), "{log:?}");
        assert!(!log.iter().any(|line| line.contains("dct_")), "{log:?}");
    }
}
