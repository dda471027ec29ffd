use std::convert::Infallible;
use std::fs;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::server::Routes;
use bytes::Bytes;
use futures::poll;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use decant_proto::status::ErrorCode;

use super::*;
use crate::server::Peer;
use crate::telemetry::Telemetry;
use crate::telemetry::tests::counted;

const VIEWER: &str = "dct_viewer";
const SCORE: &str = "/decant.scorer.v1.ScorerService/Score";
const STREAM: &str = "/decant.scorer.v1.ScorerService/ScoreStream";
const SET_SLOT: &str = "/decant.rollout.v1.RolloutService/SetSlot";

fn rules(path: &str) -> Option<Permission> {
    match path {
        SCORE | STREAM => Some(Permission::Score),
        SET_SLOT => Some(Permission::Operate),
        _ => None,
    }
}

fn grant(name: &str, role: &str) -> Grant {
    Grant {
        name: name.to_owned(),
        role: role.to_owned(),
        ..Grant::default()
    }
}

fn config() -> Config {
    let by_token = Grant {
        token_sha256: Digest::of(VIEWER.as_bytes()).hex(),
        ..grant("ana", "viewer")
    };
    let by_certificate = Grant {
        identity: "spiffe://decant/ops".to_owned(),
        ..grant("ops", "admin")
    };
    Config {
        enabled: true,
        grants: vec![by_token, by_certificate],
        ..Config::default()
    }
}

/// What a call ends with. Behind the gate nothing is served, which is UNIMPLEMENTED.
async fn call(config: &Config, request: Request<Body>) -> (Code, String) {
    call_knowing(config.access().unwrap(), config, request).await
}

/// The same where others are known than the configuration names.
async fn call_knowing(access: Access, config: &Config, request: Request<Body>) -> (Code, String) {
    let telemetry = Telemetry::none();
    let gate = config.gate(fixed(access), rules, &telemetry.meter());
    let answer = gate.layer(Routes::default()).call(request).await.unwrap();
    let status = Status::from_header_map(answer.headers()).unwrap();
    (status.code(), status.message().to_owned())
}

fn request(path: &str) -> Request<Body> {
    let request = Request::builder().uri(path);
    request.body(Body::empty()).unwrap()
}

fn with_token(path: &str, shown: &str) -> Request<Body> {
    let mut request = request(path);
    let shown = shown.parse().unwrap();
    request.headers_mut().insert("authorization", shown);
    request
}

fn with_identity(path: &str, identity: &str) -> Request<Body> {
    let mut request = request(path);
    request.extensions_mut().insert(Peer {
        identities: [identity.to_owned()].into(),
    });
    request
}

#[tokio::test]
async fn who_shows_nothing_or_something_unknown_is_turned_away() {
    let config = config();
    let (code, words) = call(&config, request(SCORE)).await;
    assert_eq!(code, Code::Unauthenticated);
    assert_eq!(
        words,
        "show who you are: a certificate, or `authorization: Bearer TOKEN`"
    );
    for shown in [
        "Bearer dct_forged",
        "Bearer",
        "Basic dct_viewer",
        "dct_viewer",
    ] {
        let (code, words) = call(&config, with_token(SCORE, shown)).await;
        assert_eq!(code, Code::Unauthenticated, "{shown}");
        assert!(!words.contains("dct_"), "{words}");
    }
    let (_, words) = call(&config, with_token(SCORE, "Bearer dct_forged")).await;
    assert_eq!(words, "nobody has this token");
    let (code, words) = call(&config, with_identity(SCORE, "spiffe://decant/other")).await;
    assert_eq!(code, Code::Unauthenticated);
    assert_eq!(words, "nobody has this certificate's identities");
}

#[tokio::test]
async fn a_credential_that_has_ended_is_told_so() {
    let known_until = |end| {
        let ana = Principal::new("ana", Role::Viewer, Vec::new()).until(Some(end));
        let mut access = Access::default();
        let token = Digest::of(VIEWER.as_bytes());
        access.insert(ana, [token], ["spiffe://decant/ana".to_owned()]);
        access
    };
    let by_token = || with_token(SCORE, &format!("Bearer {VIEWER}"));
    let by_certificate = || with_identity(SCORE, "spiffe://decant/ana");
    for shown in [by_token(), by_certificate()] {
        let (code, words) = call_knowing(known_until(1), &config(), shown).await;
        assert_eq!(code, Code::Unauthenticated);
        assert_eq!(words, "the credential of `ana` has expired");
    }
    for shown in [by_token(), by_certificate()] {
        let (code, _) = call_knowing(known_until(u64::MAX), &config(), shown).await;
        assert_eq!(code, Code::Unimplemented, "let through");
    }
}

#[tokio::test]
async fn a_role_lets_through_what_it_holds_and_names_what_it_lacks() {
    let config = config();
    let shown = format!("bearer {VIEWER}");
    assert_eq!(
        call(&config, with_token(SCORE, &shown)).await.0,
        Code::Unimplemented
    );
    let (code, words) = call(&config, with_token(SET_SLOT, &shown)).await;
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(
        words,
        "`ana` lacks permission `operate` on all models; roles operator, admin have it"
    );
    let by_certificate = with_identity(SET_SLOT, "spiffe://decant/ops");
    assert_eq!(call(&config, by_certificate).await.0, Code::Unimplemented);
}

#[tokio::test]
async fn health_is_open_to_all_and_scoring_where_it_is_said() {
    let config = config();
    let health = call(&config, request("/grpc.health.v1.Health/Check")).await;
    assert_eq!(health.0, Code::Unimplemented, "nobody was asked");
    let ops = call(&config, request("/decant.ops.v1.OpsService/SetLogFilter")).await;
    assert_eq!(ops.0, Code::Unauthenticated);
    let open = Config {
        anonymous_scoring: true,
        ..config
    };
    assert_eq!(call(&open, request(SCORE)).await.0, Code::Unimplemented);
    assert_eq!(
        call(&open, request(SET_SLOT)).await.0,
        Code::Unauthenticated
    );
    let off = Config {
        enabled: false,
        ..open
    };
    assert_eq!(call(&off, request(SET_SLOT)).await.0, Code::Unimplemented);
}

#[test]
fn grants_that_make_no_sense_are_named() {
    let reason = |grant: Grant| {
        let config = Config {
            enabled: true,
            grants: vec![grant],
            ..Config::default()
        };
        config.check(true).unwrap_err().to_string()
    };
    assert!(reason(grant("", "viewer")).contains("`auth.grants[0].name`"));
    assert!(reason(grant("ana", "owner")).contains("`owner` is no role"));
    assert!(reason(grant("ana", "viewer")).contains("an identity or a token_sha256"));
    let short = Grant {
        token_sha256: "abc".to_owned(),
        ..grant("ana", "viewer")
    };
    assert!(reason(short).contains("64 lower-case hex digits"));
    let nobody = Config {
        enabled: true,
        ..Config::default()
    };
    assert!(
        nobody
            .check(true)
            .unwrap_err()
            .to_string()
            .contains("`auth.grants`")
    );
}

#[test]
fn tokens_are_not_taken_in_plain_text_unless_it_is_said() {
    let refused = |config: &Config| config.check(false).unwrap_err().to_string();
    let plain = refused(&config());
    assert!(plain.contains("`auth.allow_plaintext`"), "{plain}");
    // Tokens of those who are added later would be taken all the same.
    let mut by_certificate = config();
    by_certificate.grants.remove(0);
    let plain = refused(&by_certificate);
    assert!(plain.contains("`auth.allow_plaintext`"), "{plain}");
    let allowed = Config {
        allow_plaintext: true,
        ..config()
    };
    allowed.check(false).unwrap();
    config().check(true).unwrap();
}

#[test]
fn a_token_is_read_from_its_file_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "dct_secret\n").unwrap();
    let token = Token::read(file).unwrap();
    assert_eq!(token.header(), "Bearer dct_secret");
    assert_eq!(format!("{:?}", token.header()), "Sensitive");
    fs::write(folder.path().join("empty"), "\n").unwrap();
    let error = Token::read(folder.path().join("empty")).err().unwrap();
    assert!(error.to_string().contains("`auth.token_file`"));
}

/// Messages that never end, nor come.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Pending
    }
}

/// Who is known as ana.
fn knowing(ana: Principal) -> Arc<Access> {
    let mut access = Access::default();
    access.insert(ana, [Digest::of(VIEWER.as_bytes())], None);
    Arc::new(access)
}

/// A stream that ana has begun.
async fn stream(access: watch::Receiver<Arc<Access>>) -> Body {
    let gate = config().gate(access, rules, &Telemetry::none().meter());
    let endless =
        |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::new(Endless))) };
    let begun = with_token(STREAM, &format!("Bearer {VIEWER}"));
    let Ok(answer) = gate.layer(service_fn(endless)).oneshot(begun).await;
    answer.into_body()
}

/// How it ends.
async fn end(mut stream: Body) -> Status {
    let mut next = async || poll_fn(|context| Pin::new(&mut stream).poll_frame(context)).await;
    let bound = Duration::from_secs(10);
    let last = timeout(bound, next()).await.unwrap().unwrap().unwrap();
    assert!(next().await.is_none(), "something comes after the end");
    Status::from_header_map(last.trailers_ref().unwrap()).unwrap()
}

#[tokio::test]
async fn a_stream_ends_when_its_caller_may_not_go_on() {
    let ana = || Principal::new("ana", Role::Viewer, Vec::new());
    let other = Principal::new("ana", Role::Viewer, vec!["movies".parse().unwrap()]);
    for (then, code, words) in [
        (
            Access::default().into(),
            Code::Unauthenticated,
            "nobody has this token",
        ),
        (
            knowing(other),
            Code::Unavailable,
            "what `ana` may has changed; call again",
        ),
    ] {
        let (sender, access) = watch::channel(knowing(ana()));
        let stream = stream(access).await;
        // Changes that do not concern the caller.
        sender.send_replace(knowing(ana()));
        let mut ended = Box::pin(end(stream));
        assert!(poll!(&mut ended).is_pending());
        sender.send_replace(then);
        let status = ended.await;
        assert_eq!((status.code(), status.message()), (code, words));
    }
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_millis(50);
    let ana = ana().until(Some(soon.as_millis() as u64));
    let status = end(stream(fixed(Access::clone(&knowing(ana)))).await).await;
    assert_eq!(status.message(), "the credential of `ana` has expired");
}

#[tokio::test]
async fn whoever_refuses_a_caller_is_counted() {
    let telemetry = Telemetry::none();
    let config = config();
    let access = fixed(config.access().unwrap());
    let gate = config.gate(access, rules, &telemetry.meter());
    let refusing = |_: Request<Body>| async {
        Ok::<_, Infallible>(ErrorCode::Denied.status("not this model").into_http())
    };
    let gate = gate.layer(service_fn(refusing));
    let shown = format!("Bearer {VIEWER}");
    for path in [SCORE, STREAM, SET_SLOT] {
        let Ok(_) = gate.clone().oneshot(with_token(path, &shown)).await;
    }
    let Ok(_) = gate.oneshot(request(SCORE)).await;
    let count = |reason| counted(&telemetry, "decant_auth_refused_total", reason);
    assert_eq!((count("denied"), count("missing")), (3.0, 1.0));
}

#[test]
fn a_token_is_shown_to_other_machines_over_tls_alone_unless_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    fs::write(&token_file, "dct_secret").unwrap();
    let config = Config {
        token_file,
        ..Config::default()
    };
    let caller = |config: &Config| config.caller(Identity::none()).unwrap();
    let address = "http://registry:7420";
    let refused = caller(&config).channel("registry", address).err().unwrap();
    assert!(
        refused.to_string().contains("`allow_plaintext`"),
        "{refused}"
    );
    // Channels are made inside a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    for here in ["localhost:1", "127.0.0.9:1", "[::1]:1"] {
        caller(&config)
            .channel("registry", &format!("http://{here}"))
            .unwrap();
    }
    let allowed = Config {
        allow_plaintext: true,
        ..config
    };
    caller(&allowed).channel("registry", address).unwrap();
    Caller::plain().channel("registry", address).unwrap();
}
