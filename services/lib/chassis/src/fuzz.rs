//! Whatever bytes come as a credential or as a configuration, they end in an answer: never a panic, and nobody is let in who
//! is not known.

use std::sync::Arc;

use crate::server::Routes;
use decant_fuzz::{Format, Target};
use decant_model::access::Permission;
use http::{HeaderValue, Request, header};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer as _, Service as _};

use crate::auth::{self, fixed};
use crate::config;
use crate::host::Drain;
use crate::server::Limits;
use crate::telemetry::{self, Telemetry};
use crate::tls;

/// The token that is known; the corpus has it in what must be taken in.
const TOKEN: &str = "dct_known";

#[test]
fn authorization() {
    let config = auth::Config {
        enabled: true,
        grants: vec![auth::Grant {
            name: "ana".to_owned(),
            token_sha256: decant_model::Digest::of(TOKEN.as_bytes()).hex(),
            role: "viewer".to_owned(),
            ..auth::Grant::default()
        }],
        ..auth::Config::default()
    };
    let runtime = Builder::new_current_thread().build().unwrap();
    let telemetry = Telemetry::none();
    let access = fixed(config.access().unwrap());
    let rules: auth::Rules = |_| Some(Permission::View);
    let gate = config.gate(access, rules, &telemetry.meter());
    Target::new("authorization", Format::Bytes).run(30_000, |bytes| {
        let Ok(shown) = HeaderValue::from_bytes(bytes) else {
            return false;
        };
        let knows = bytes.ends_with(TOKEN.as_bytes());
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "/decant.trainer.v1.TrainerService/GetJob".parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, shown);
        let mut served = gate.layer(Routes::default());
        let answer = runtime.block_on(served.call(request)).unwrap();
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        match status.code() {
            // Nothing is served behind this gate.
            Code::Unimplemented => {
                assert!(knows, "somebody unknown was let in");
                true
            }
            Code::Unauthenticated => {
                assert!(!status.message().contains(TOKEN), "the token is repeated");
                false
            }
            other => panic!("{other:?}"),
        }
    });
}

/// What every service has in its configuration.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    log: telemetry::Config,
    telemetry: telemetry::Export,
    tls: tls::Config,
    auth: auth::Config,
    limits: Limits,
    drain: Drain,
}

#[test]
fn configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = Arc::new(folder.path().join("decant.toml"));
    Target::new("configuration", Format::Text).run(10_000, |bytes| {
        std::fs::write(&*file, bytes).unwrap();
        let loaded = config::load::<Settings>(Some(&file), std::iter::empty());
        let Ok(settings) = loaded else {
            return false;
        };
        let sound = settings.tls.check().is_ok()
            && settings.limits.check().is_ok()
            && settings.auth.check(settings.tls.is_secure()).is_ok();
        // What is printed is read back as it is.
        let printed = toml::to_string_pretty(&settings).unwrap();
        let again: Settings = toml::from_str(&printed).unwrap();
        assert_eq!(toml::to_string_pretty(&again).unwrap(), printed);
        sound
    });
}
