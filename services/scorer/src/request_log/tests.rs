use super::*;
use decant_features::Columns;
use tempfile::TempDir;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const ROWS: usize = 1;

fn work() -> Work {
    Work::Score {
        columns: Columns::default(),
    }
}

/// A log with the key that a file holds.
fn log(ratio: f64, key: Option<&str>) -> Result<RequestLog, ConfigError> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key");
    if let Some(key) = key {
        fs::write(&file, key).unwrap();
    }
    RequestLog::open(&RequestLogConfig {
        ratio,
        user_key_file: file,
    })
}

/// Who stands in the log for a user, if the request is logged.
fn logged(log: &RequestLog, routing: Routing<'_>) -> Option<Option<String>> {
    let logged = log.pick(routing, &work(), ROWS)?;
    Some(logged.user.map(|user| user.to_string()))
}

#[test]
fn a_user_is_what_any_hmac_says() {
    // `printf %s 196 | openssl dgst -sha256 -hmac "$KEY"`, the first half; the line's end is not the key's.
    let expected = Some(Some("6f9fc0ff464dc325475556abb16f4563".to_owned()));
    for text in [KEY.to_owned(), format!("{KEY}\n"), format!("{KEY}\n\n")] {
        let log = log(1.0, Some(&text)).unwrap();
        assert_eq!(logged(&log, Routing::Key(b"196")), expected);
        assert_eq!(logged(&log, Routing::Random), Some(None));
    }
}

#[test]
fn without_a_key_nobody_stands_there() {
    let config = RequestLogConfig {
        ratio: 1.0,
        ..RequestLogConfig::default()
    };
    let log = RequestLog::open(&config).unwrap();
    assert_eq!(logged(&log, Routing::Key(b"196")), Some(None));
    assert_eq!(logged(&RequestLog::default(), Routing::Key(b"196")), None);
}

#[test]
fn of_a_user_all_is_logged_or_nothing() {
    const USERS: u32 = 10_000;
    let (few, more) = (log(0.1, Some(KEY)).unwrap(), log(0.2, Some(KEY)).unwrap());
    let mut found = 0;
    for user in 0..USERS {
        let user = user.to_string();
        let routing = Routing::Key(user.as_bytes());
        let here = logged(&few, routing);
        assert_eq!(logged(&few, routing), here, "asked again");
        assert!(here.is_none() || logged(&more, routing) == here);
        found += u32::from(here.is_some());
    }
    // Four standard deviations of 30.
    assert!((880..=1120).contains(&found), "{found}");
}

/// While traffic is split, a request without a key goes by a number; a canary has the lowest ones.
#[test]
fn which_version_answers_does_not_decide_on_what_is_logged() {
    let log = log(0.5, Some(KEY)).unwrap();
    let found = (0..1_000).filter(|_| logged(&log, Routing::Number(0)).is_some());
    // Eight standard deviations of 16.
    let found = found.count();
    assert!((370..=630).contains(&found), "{found}");
}

#[test]
fn a_key_that_is_none_is_refused_by_name() {
    let short = log(1.0, Some("short\n")).err().unwrap().to_string();
    let missing = log(1.0, None).err().unwrap().to_string();
    for (error, reason) in [
        (&short, "5 bytes, but a key has at least 32"),
        (&missing, "No such file"),
    ] {
        assert!(error.contains("`request_log.user_key_file`"), "{error}");
        assert!(error.contains(reason), "{error}");
    }
    assert!(!short.contains("short\n"), "{short}");
}
