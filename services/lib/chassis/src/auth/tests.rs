use std::fs;

use tonic::Code;
use tonic::codegen::http::Request;
use tonic::service::Routes;
use tower::{Layer as _, Service as _};

use super::*;
use crate::server::Peer;
use crate::telemetry::Telemetry;

const VIEWER: &str = "dct_viewer";
const SCORE: &str = "/decant.scorer.v1.ScorerService/Score";
const SET_SLOT: &str = "/decant.rollout.v1.RolloutService/SetSlot";

fn rules(path: &str) -> Option<Permission> {
    match path {
        SCORE => Some(Permission::Score),
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
async fn call(config: &Config, request: Request<tonic::body::Body>) -> (Code, String) {
    call_knowing(config.access().unwrap(), config, request).await
}

/// The same where others are known than the configuration names.
async fn call_knowing(
    access: Access,
    config: &Config,
    request: Request<tonic::body::Body>,
) -> (Code, String) {
    let telemetry = Telemetry::none();
    let gate = config.gate(fixed(access), rules, &telemetry.meter());
    let answer = gate.layer(Routes::default()).call(request).await.unwrap();
    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
    (status.code(), status.message().to_owned())
}

fn request(path: &str) -> Request<tonic::body::Body> {
    let request = Request::builder().uri(path);
    request.body(tonic::body::Body::empty()).unwrap()
}

fn with_token(path: &str, shown: &str) -> Request<tonic::body::Body> {
    let mut request = request(path);
    let shown = shown.parse().unwrap();
    request.headers_mut().insert("authorization", shown);
    request
}

fn with_identity(path: &str, identity: &str) -> Request<tonic::body::Body> {
    let mut request = request(path);
    request.extensions_mut().insert(Peer {
        address: None,
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
