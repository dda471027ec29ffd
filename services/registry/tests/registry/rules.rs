//! What each call needs: of all calls that the protocol has, whatever is added to it.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _};
use decant_model::access::{Permission, Role};
use decant_registry::rules;
use futures::stream;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use super::callers::{By, somebody};
use super::fixture::Registry;

const OURS: [&str; 4] = [
    "decant.registry.v1",
    "decant.rollout.v1",
    "decant.admin.v1",
    "decant.access.v1",
];

/// A call of the registry.
struct Call {
    path: String,
    /// Its request, with the model `films` named where requests name one; none for a call that names no model.
    about_films: Option<Vec<u8>>,
}

fn calls() -> Vec<Call> {
    let set = FileDescriptorSet::decode(decant_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut messages = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            let name = format!(".{}.{}", file.package(), message.name());
            messages.insert(name, message.clone());
        }
    }
    let mut calls = Vec::new();
    for file in set
        .file
        .iter()
        .filter(|file| OURS.contains(&file.package()))
    {
        for service in &file.service {
            for method in &service.method {
                calls.push(Call {
                    path: format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                    about_films: naming(&messages, method.input_type()),
                });
            }
        }
    }
    calls
}

/// A message with all left out but the first name of a model in it.
fn naming(messages: &BTreeMap<String, DescriptorProto>, message: &str) -> Option<Vec<u8>> {
    messages.get(message)?.field.iter().find_map(|field| {
        let content = match field.r#type() {
            Type::String if matches!(field.name(), "model" | "name") => b"films".to_vec(),
            Type::Message if field.label() != Label::Repeated => {
                naming(messages, field.type_name())?
            }
            _ => return None,
        };
        let tag = ((field.number() << 3) | 2) as u8;
        Some([&[tag, content.len() as u8], content.as_slice()].concat())
    })
}

/// Messages as bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}

/// Makes a call, whatever its kind, and returns the code of what comes first.
async fn code(by: &By, path: &str, message: Vec<u8>) -> Code {
    let mut client = Grpc::new(by.clone());
    client.ready().await.unwrap();
    let request = Request::new(stream::iter([message]));
    let called = client.streaming(request, path.parse().unwrap(), Raw).await;
    let first = match called {
        Ok(mut answers) => answers.get_mut().message().await.map(drop),
        Err(status) => Err(status),
    };
    first.err().map_or(Code::Ok, |status| status.code())
}

#[test]
fn every_call_has_a_rule() {
    let calls = calls();
    assert!(calls.len() >= 42, "{}", calls.len());
    for Call { path, .. } in calls {
        assert!(rules(&path).is_some(), "{path}");
    }
    for path in [
        "/decant.registry.v1.RegistryService/Other",
        "/decant.scorer.v1.ScorerService/Score",
        "/decant.registry.v1.RegistryService/GetModel/",
        "decant.registry.v1.RegistryService/GetModel",
        "",
    ] {
        assert_eq!(rules(path), None, "{path}");
    }
}

#[tokio::test]
async fn whoever_is_of_another_model_is_refused_wherever_a_model_is_named() {
    let registry = Registry::start().await;
    registry.create("films", vec![]).await;
    let books = registry.by(somebody("ana", Role::Admin, Some("books")));
    let mut refused = 0;
    for Call { path, about_films } in calls() {
        if let Some(message) = about_films {
            let code = code(&books, &path, message).await;
            assert_eq!(code, Code::PermissionDenied, "{path}");
            refused += 1;
        }
    }
    assert!(refused >= 28, "{refused}");
}

#[tokio::test]
async fn what_concerns_all_models_is_for_those_of_all_models() {
    let registry = Registry::start().await;
    let books = registry.by(somebody("ana", Role::Admin, Some("books")));
    for Call { path, .. } in calls().iter().filter(|call| call.about_films.is_none()) {
        let (_, method) = path.rsplit_once('/').unwrap();
        let expected = match method {
            // Their answers tell of the models that may be seen, or of none.
            "ListModels" | "ListScorers" | "GetCluster" | "GetDiagnosis" | "VerifyAudit"
            | "WhoAmI" => Code::Ok,
            _ => Code::PermissionDenied,
        };
        assert_eq!(code(&books, path, Vec::new()).await, expected, "{path}");
    }
}

#[tokio::test]
async fn each_call_is_refused_to_roles_without_its_permission() {
    let registry = Registry::start().await;
    registry.create("films", vec![]).await;
    for role in Role::ALL {
        let by = registry.by(somebody("ana", role, None));
        for Call { path, about_films } in calls() {
            let permission = rules(&path).unwrap();
            // A gate sees to these before the call is read; here it is the call itself that must not fail open.
            if role.has(permission) || permission == Permission::View {
                continue;
            }
            let message = about_films.unwrap_or_default();
            let code = code(&by, &path, message).await;
            assert_eq!(code, Code::PermissionDenied, "{role}: {path}");
        }
    }
}
