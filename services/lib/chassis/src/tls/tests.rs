use std::fs;
use std::time::Duration;

use crate::server::Routes;
use decant_coordination::testing::{Authority, Signed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::client::Caller;
use crate::server::{self, Limits, Serving};
use crate::tasks::{Failures, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::tests::counted;

const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration that shows this certificate, trusts who signed it, and is looked at often.
fn config(signed: Signed) -> Config {
    Config {
        certificate: signed.certificate,
        key: signed.key,
        ca: signed.ca,
        reload_millis: 20,
        ..Config::default()
    }
}

struct Running {
    port: u16,
    telemetry: Telemetry,
    tasks: Tasks,
    _failures: Failures,
}

async fn start(identity: Identity, limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tasks, failures) = Tasks::new();
    let telemetry = Telemetry::none();
    let serving = Serving {
        meter: telemetry.meter(),
        tls: identity.clone(),
        limits,
        ..Serving::default()
    };
    let (reporter, common) = server::common(&telemetry).unwrap();
    server::set_status(&reporter, "", true).await;
    let serve = server::serve(
        listener,
        common(Routes::default()),
        serving,
        tasks.stop_token(),
    );
    tasks.spawn("server", serve);
    tasks.spawn("certificates", identity.follow(tasks.stop_token()));
    Running {
        port,
        telemetry,
        tasks,
        _failures: failures,
    }
}

impl Running {
    /// How many connections were closed for a reason.
    fn closed(&self, reason: &str) -> f64 {
        counted(&self.telemetry, "decant_connections_closed_total", reason)
    }
}

/// Asks for the server's health, over a new connection.
async fn ask(caller: &Caller, scheme: &str, port: u16) -> Result<(), tonic::Status> {
    let address = format!("{scheme}://localhost:{port}");
    let channel = caller.channel("server", &address).unwrap();
    let asking = HealthClient::new(channel);
    let mut asking = asking;
    let answer = timeout(PATIENCE, asking.check(HealthCheckRequest::default()));
    answer.await.unwrap().map(|_| ())
}

fn caller(config: &Config) -> Caller {
    Caller::new(Identity::load(config).unwrap())
}

#[tokio::test]
async fn both_sides_know_each_other_and_strangers_are_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::new(&folder.path().join(name)));
    let server = Config {
        require_client: true,
        ..config(ours.sign("server"))
    };
    let running = start(Identity::load(&server).unwrap(), Limits::default()).await;

    let friend = caller(&config(ours.sign("friend")));
    ask(&friend, "https", running.port).await.unwrap();

    // Trusts us, and shows what we do not trust.
    let stranger = config(theirs.sign("stranger"));
    let stranger = Config {
        ca: server.ca.clone(),
        ..stranger
    };
    let refused = ask(&caller(&stranger), "https", running.port).await;
    assert!(refused.is_err(), "{refused:?}");
    // Shows nothing.
    let nobody = Config {
        ca: server.ca.clone(),
        ..Config::default()
    };
    let refused = ask(&caller(&nobody), "https", running.port).await;
    assert!(refused.is_err(), "{refused:?}");
    // Shows what has ended.
    let late = config(ours.sign_until("late", 2020));
    let refused = ask(&caller(&late), "https", running.port).await;
    assert!(refused.is_err(), "{refused:?}");
    // Does not trust us.
    let doubter = config(theirs.sign("doubter"));
    let refused = ask(&caller(&doubter), "https", running.port).await;
    assert!(refused.is_err(), "{refused:?}");
    // Speaks in plain text.
    let refused = ask(&Caller::plain(), "http", running.port).await;
    assert!(refused.is_err());

    ask(&friend, "https", running.port).await.unwrap();
    // Whoever shows nothing learns it after the handshake; the others are turned away in it.
    assert!(running.closed("handshake") >= 4.0);
    running.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn renewed_certificates_are_taken_without_a_restart_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| Authority::new(&folder.path().join(name)));
    let server = config(old.sign("server"));
    let running = start(Identity::load(&server).unwrap(), Limits::default()).await;
    let before = caller(&config(old.sign("before")));
    ask(&before, "https", running.port).await.unwrap();

    fs::write(&server.certificate, "no certificate").unwrap();
    sleep(Duration::from_millis(100)).await;
    ask(&before, "https", running.port).await.unwrap();
    fs::remove_file(&server.certificate).unwrap();
    sleep(Duration::from_millis(100)).await;
    ask(&before, "https", running.port).await.unwrap();

    let after = caller(&Config {
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        ..config(new.sign("after"))
    });
    assert!(ask(&after, "https", running.port).await.is_err());
    let renewed = new.sign("server");
    fs::copy(&renewed.key, &server.key).unwrap();
    fs::copy(&renewed.certificate, &server.certificate).unwrap();
    timeout(PATIENCE, async {
        while ask(&after, "https", running.port).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    running.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn who_does_not_speak_is_given_up_and_garbage_hurts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = config(Authority::new(folder.path()).sign("server"));
    let limits = Limits {
        handshake_millis: 200,
        ..Limits::default()
    };
    let plain = start(Identity::none(), limits.clone()).await;
    let secure = start(Identity::load(&server).unwrap(), limits).await;
    for port in [plain.port, secure.port] {
        let mut silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut bytes = Vec::new();
        // Closed by the server, whatever it says before.
        let closed = timeout(PATIENCE, silent.read_to_end(&mut bytes)).await;
        assert!(closed.is_ok(), "port {port}");
        for number in 0..5_000_u32 {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let garbage = number.to_be_bytes().repeat(16);
            // The server may have closed it already.
            let _ = stream.try_write(&garbage);
        }
    }
    ask(&Caller::plain(), "http", plain.port).await.unwrap();
    ask(&caller(&server), "https", secure.port).await.unwrap();
    for server in [&plain, &secure] {
        assert!(server.closed("silent") >= 1.0, "port {}", server.port);
    }
    plain.tasks.stop(PATIENCE).await.unwrap();
    secure.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn handshakes_that_stay_half_open_keep_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let server = config(Authority::new(folder.path()).sign("server"));
    let running = start(Identity::load(&server).unwrap(), Limits::default()).await;
    let mut half_open = Vec::new();
    for _ in 0..300 {
        let stream = TcpStream::connect(("127.0.0.1", running.port))
            .await
            .unwrap();
        stream.writable().await.unwrap();
        // The beginning of a handshake (RFC 8446, section 5.1), of which no more comes.
        stream.try_write(&[22, 3, 1]).unwrap();
        half_open.push(stream);
    }
    // Sooner than the first of them is given up.
    let asking = caller(&server);
    let asked = ask(&asking, "https", running.port);
    timeout(Duration::from_secs(5), asked)
        .await
        .unwrap()
        .unwrap();
    drop(half_open);
    running.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_until_there_is_room() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let running = start(Identity::none(), limits).await;
    let connect = || TcpStream::connect(("127.0.0.1", running.port));
    let held = [connect().await.unwrap(), connect().await.unwrap()];
    let mut third = connect().await.unwrap();
    let closed = timeout(PATIENCE, third.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    assert_eq!(running.closed("full"), 1.0);
    drop(held);
    timeout(PATIENCE, async {
        while ask(&Caller::plain(), "http", running.port).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    running.tasks.stop(PATIENCE).await.unwrap();
}

#[test]
fn what_is_wrong_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path());
    let good = config(ours.sign("good"));
    let reason = |config: &Config| match Identity::load(config) {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    };
    let missing = Config {
        certificate: folder.path().join("nowhere.pem"),
        ..good.clone()
    };
    let told = reason(&missing);
    assert!(
        told.contains("`tls.certificate`") && told.contains("nowhere.pem"),
        "{told}"
    );
    let swapped = Config {
        certificate: good.key.clone(),
        ..good.clone()
    };
    assert!(reason(&swapped).contains("holds no certificate in PEM"));
    let other = config(ours.sign("other"));
    let foreign = Config {
        key: other.key,
        ..good.clone()
    };
    let told = reason(&foreign);
    assert!(
        told.contains("`tls.key`") && told.contains("other.key"),
        "{told}"
    );
    let lonely = Config {
        key: PathBuf::new(),
        ..good
    };
    assert!(reason(&lonely).contains("go together"));
}

#[test]
fn a_certificate_that_has_ended_is_known_as_such_and_taken() {
    let folder = tempfile::tempdir().unwrap();
    let late = config(Authority::new(folder.path()).sign_until("late", 2020));
    Identity::load(&late).unwrap();
    let loaded = Loaded::read(&late).unwrap();
    let [in_2019, in_2021] = [1_560_000_000, 1_620_000_000];
    assert_eq!(loaded.ended(in_2019).count(), 0);
    assert_eq!(loaded.ended(in_2021).collect::<Vec<_>>(), ["certificate"]);
}

#[test]
fn a_certificate_says_who_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let signed = Authority::new(folder.path()).sign("ci");
    let der = CertificateDer::from_pem_file(&signed.certificate).unwrap();
    let shown = identities(&der);
    assert_eq!(shown[..2], ["spiffe://decant/ci", "dns:localhost"]);
}
