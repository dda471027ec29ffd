use decant_proto::status::{ErrorCode, bad_request, busy};

use super::*;

const DEADLINE: Duration = Duration::from_millis(100);

fn told(status: &Status, attempts: u32) -> String {
    let tried = Tried {
        attempts,
        scorer: Some(Arc::from("http://10.0.0.1:7430")),
    };
    error(status, DEADLINE, tried).to_string()
}

#[test]
fn errors_say_what_is_wrong_and_who_said_so() {
    let violations = [
        ("columns[age]", "is missing"),
        ("columns[zip]", "is not read"),
    ];
    let owned = violations.map(|(field, reason)| (field.to_owned(), reason.to_owned()));
    assert_eq!(
        told(&bad_request(owned), 1),
        "the request is wrong: columns[age]: is missing; columns[zip]: is not read (1 attempt, at http://10.0.0.1:7430)"
    );
    let status = ErrorCode::NotFound.status("no slot `main` of a model `x`");
    assert_eq!(
        told(&status, 1),
        "no slot `main` of a model `x` (1 attempt, at http://10.0.0.1:7430)"
    );
    assert_eq!(
        told(&ErrorCode::NotReady.status("the scorer is going away"), 3),
        "no scorer is ready: the scorer is going away (3 attempts, the last at http://10.0.0.1:7430)"
    );
    assert_eq!(
        told(&busy("8 rows wait", Duration::from_millis(30)), 2),
        "the scorers are busy, try again after 30ms: 8 rows wait (2 attempts, the last at http://10.0.0.1:7430)"
    );
    assert_eq!(
        told(&ErrorCode::Expired.status("too late"), 1),
        "no answer within 100ms (1 attempt, at http://10.0.0.1:7430)"
    );
    assert_eq!(
        told(&ErrorCode::Internal.status("scoring broke off"), 1),
        "Internal: scoring broke off (1 attempt, at http://10.0.0.1:7430)"
    );
    let nobody = Error::NotReady {
        message: "looking up `scorers:7430`: it has no address".to_owned(),
        tried: Tried::default(),
    };
    assert_eq!(
        nobody.to_string(),
        "no scorer is ready: looking up `scorers:7430`: it has no address (no scorer was asked)"
    );
}

#[test]
fn only_what_passes_by_itself_is_worth_another_call() {
    let retryable = |status: Status| error(&status, DEADLINE, Tried::default()).is_retryable();
    assert!(retryable(ErrorCode::NotReady.status("")));
    assert!(retryable(busy("", Duration::ZERO)));
    for code in [
        ErrorCode::Invalid,
        ErrorCode::NotFound,
        ErrorCode::Precondition,
        ErrorCode::Expired,
        ErrorCode::Internal,
    ] {
        assert!(!retryable(code.status("")), "{code:?}");
    }
}

#[test]
fn details_may_be_missing() {
    let bare = |code| error(&Status::new(code, "so"), DEADLINE, Tried::default());
    let violations = vec![Violation {
        field: "request".to_owned(),
        reason: "so".to_owned(),
    }];
    let invalid = bare(Code::InvalidArgument);
    assert!(matches!(invalid, Error::Invalid { violations: found, .. } if found == violations));
    let busy = bare(Code::ResourceExhausted);
    assert!(matches!(busy, Error::Busy { retry_after, .. } if retry_after == BUSY));
}

#[test]
fn what_was_made_on_this_side_is_no_answer_of_a_scorer() {
    let timeout = Status::from_error(Box::new(TimeoutExpired(())));
    assert!(matches!(Refusal::of(&timeout), Refusal::Silent));
    let broken = std::io::Error::other("connection reset");
    let broken = Status::from_error(Box::new(broken));
    assert!(matches!(Refusal::of(&broken), Refusal::Broken));
    let told = error(&broken, DEADLINE, Tried::default());
    assert!(told.to_string().contains("connection reset"), "{told}");
}
