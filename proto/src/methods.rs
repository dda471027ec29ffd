//! What can be called, as the descriptors say.

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};

use crate::FILE_DESCRIPTOR_SET;

/// The paths of all methods of all services here: `/package.Service/Method`.
pub fn method_paths() -> Vec<String> {
    paths(|_| true)
}

/// The paths of those that take or answer a stream of messages.
pub fn stream_paths() -> Vec<String> {
    paths(|method| method.client_streaming() || method.server_streaming())
}

fn paths(wanted: impl Fn(&MethodDescriptorProto) -> bool) -> Vec<String> {
    // The build wrote them; a test reads them.
    let Ok(descriptors) = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET) else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in service.method.iter().filter(|method| wanted(method)) {
                paths.push(format!(
                    "/{}.{}/{}",
                    file.package(),
                    service.name(),
                    method.name()
                ));
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_there() {
        let paths = method_paths();
        for path in [
            "/decant.scorer.v1.ScorerService/Score",
            "/decant.registry.v1.RegistryService/GetModel",
            "/decant.trainer.v1.TrainerService/SubmitJob",
            "/decant.ops.v1.OpsService/SetLogFilter",
            "/inference.GRPCInferenceService/ModelInfer",
        ] {
            assert!(paths.iter().any(|one| one == path), "{path}: {paths:?}");
        }
    }

    #[test]
    fn streams_of_either_side_are_told_from_the_others() {
        let streams = stream_paths();
        for (path, is_stream) in [
            ("/decant.scorer.v1.ScorerService/ScoreStream", true),
            ("/decant.registry.v1.RegistryService/PushVersion", true),
            ("/decant.registry.v1.RegistryService/FetchBundle", true),
            ("/decant.scorer.v1.ScorerService/Score", false),
        ] {
            assert_eq!(streams.iter().any(|one| one == path), is_stream, "{path}");
        }
    }
}
