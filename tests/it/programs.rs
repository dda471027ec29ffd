//! Services that cannot start say why, and with which exit code.

use std::process::Output;

use decant_tests::run;

const BUNDLES: (&str, &str) = ("DECANT_BUNDLES__URL", "file:///nonexistent/decant");
const ETCD: (&str, &str) = ("DECANT_STORE__ENDPOINTS", "[\"http://127.0.0.1:1\"]");

fn refused(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

#[test]
fn a_bad_configuration_names_the_key_and_the_reason() {
    let registry = |variables: &[(&str, &str)]| run("decant-registry", variables);
    refused(&registry(&[BUNDLES]), 64, &["store.endpoints"]);
    refused(&registry(&[ETCD]), 64, &["bundles.url"]);
    let ftp = ("DECANT_BUNDLES__URL", "ftp://models");
    refused(
        &registry(&[ETCD, ftp]),
        64,
        &["bundles.url", "ftp://models"],
    );
    let pushes = ("DECANT_REGISTRY__PUSHES", "0");
    refused(&registry(&[ETCD, BUNDLES, pushes]), 64, &["pushes"]);
    let lease = ("DECANT_SCORER__LEASE_TTL_MILLIS", "1");
    refused(
        &run("decant-scorer", &[ETCD, BUNDLES, lease]),
        64,
        &["lease_ttl_millis"],
    );
}

#[test]
fn a_registry_without_etcd_says_which_endpoints_it_tried() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let variables = [
        ETCD,
        ("DECANT_BUNDLES__URL", &url),
        ("DECANT_LISTEN", "127.0.0.1:0"),
    ];
    refused(
        &run("decant-registry", &variables),
        1,
        &["http://127.0.0.1:1"],
    );
}
