use decant_model::BASIS_POINTS;
use proptest::prelude::*;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

fn headers(given: &[(&'static str, &[u8])]) -> MetadataMap {
    let header = |(name, value): &(&'static str, &[u8])| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value).unwrap(),
        )
    };
    MetadataMap::from_headers(given.iter().map(header).collect::<HeaderMap>())
}

fn bucket_of(given: &[(&'static str, &[u8])]) -> u32 {
    let metadata = headers(given);
    let routing = Routing::read(&metadata, &Extensions::new()).unwrap();
    let kept = routing.keep();
    let bucket = routing.bucket("salt");
    assert_eq!(kept.routing().bucket("salt"), bucket, "of a stream");
    bucket
}

/// The field and the reason of a refusal.
fn refused(given: &[(&'static str, &[u8])]) -> (String, String) {
    match Routing::read(&headers(given), &Extensions::new()) {
        Err(violation) => (violation.field, violation.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_has_one_bucket_however_it_is_sent() {
    let expected = split::bucket("salt", b"user-1");
    assert_eq!(bucket_of(&[(KEY.as_str(), b"user-1")]), expected);
    assert_eq!(bucket_of(&[(BINARY_KEY.as_str(), b"dXNlci0x")]), expected);
    let padded = split::bucket("salt", b"user-12");
    assert_eq!(bucket_of(&[(BINARY_KEY.as_str(), b"dXNlci0xMg")]), padded);
    assert_eq!(bucket_of(&[(BINARY_KEY.as_str(), b"dXNlci0xMg==")]), padded);
    // The binary one counts, unless it is empty.
    let both = bucket_of(&[
        (KEY.as_str(), b"user-1"),
        (BINARY_KEY.as_str(), b"dXNlci0xMg"),
    ]);
    assert_eq!(both, padded);
    let empty = bucket_of(&[(KEY.as_str(), b"user-1"), (BINARY_KEY.as_str(), b"")]);
    assert_eq!(empty, expected);
}

#[test]
fn without_a_key_the_number_that_was_drawn_counts_and_else_a_new_one() {
    let metadata = headers(&[(KEY.as_str(), b"")]);
    let mut extensions = Extensions::new();
    extensions.insert(Drawn(u64::MAX / 2));
    let routing = Routing::read(&metadata, &extensions).unwrap();
    assert_eq!(routing.bucket("salt"), BASIS_POINTS / 2 - 1);
    assert_eq!(Routing::LAST.bucket(""), BASIS_POINTS - 1);

    let routing = Routing::read(&metadata, &Extensions::new()).unwrap();
    const DRAWS: u32 = 100_000;
    let below = (0..DRAWS)
        .filter(|_| routing.bucket("salt") < 1_000)
        .count();
    // Ten deviations of the binomial distribution.
    let expected = f64::from(DRAWS) * 0.1;
    let deviation = (expected * 0.9).sqrt();
    assert!(
        (below as f64 - expected).abs() < 10.0 * deviation,
        "{below} of {DRAWS}"
    );
}

#[test]
fn what_is_no_key_is_refused_by_name() {
    let longest = [b'a'; LONGEST];
    assert_eq!(
        bucket_of(&[(KEY.as_str(), &longest)]),
        split::bucket("salt", &longest)
    );
    let (field, reason) = refused(&[(KEY.as_str(), &[b'a'; LONGEST + 1])]);
    assert_eq!(field, "decant-routing-key");
    assert_eq!(reason, "1025 bytes, but at most 1024 are allowed");
    // 1366 digits are 1024 bytes.
    let encoded = [b'A'; 1366];
    assert_eq!(
        bucket_of(&[(BINARY_KEY.as_str(), &encoded)]),
        split::bucket("salt", &[0; LONGEST])
    );
    let (field, reason) = refused(&[(BINARY_KEY.as_str(), &[b'A'; 1367])]);
    assert_eq!(field, "decant-routing-key-bin");
    assert_eq!(reason, "1025 bytes, but at most 1024 are allowed");
    let (field, reason) = refused(&[(BINARY_KEY.as_str(), b"user-1")]);
    assert_eq!(field, "decant-routing-key-bin");
    assert_eq!(reason, "is no base 64");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What is taken for base 64 here is what the transport can decode, and as long.
    #[test]
    fn base_64_is_known_before_it_is_decoded(
        digits in prop::collection::vec(prop::sample::select(&b"AEIQgwyz09+/=-"[..]), 0..10),
        padding in 0_usize..4,
    ) {
        let encoded = [digits, vec![b'='; padding]].concat();
        let metadata = headers(&[(BINARY_KEY.as_str(), &encoded)]);
        let decoded = metadata.get_bin(BINARY_KEY.as_str()).unwrap().to_bytes();
        let decoded = decoded.ok().map(|bytes| bytes.len());
        prop_assert_eq!(decoded_bytes(&encoded), decoded, "{}", encoded.escape_ascii());
    }
}
