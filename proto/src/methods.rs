//! What can be called, as the descriptors say.

use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::FILE_DESCRIPTOR_SET;

/// The paths of all methods of all services here: `/package.Service/Method`.
pub fn method_paths() -> Vec<String> {
    // The build wrote them; a test reads them.
    let Ok(descriptors) = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET) else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
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
}
