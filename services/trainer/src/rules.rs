//! What each call needs before its request is read. On which model it needs that, the service checks when it has read it.

use decant_model::access::Permission;

/// The permission that a call of the trainer needs, by its path; none for a path that is no call of the trainer.
pub fn rules(path: &str) -> Option<Permission> {
    match path.strip_prefix("/decant.trainer.v1.TrainerService/")? {
        "GetJob" | "ListJobs" | "WatchJob" => Some(Permission::View),
        "SubmitJob" | "CancelJob" => Some(Permission::Publish),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_call_has_a_rule() {
        let files = FileDescriptorSet::decode(decant_proto::FILE_DESCRIPTOR_SET).unwrap();
        let trainer = files
            .file
            .iter()
            .filter(|file| file.package() == "decant.trainer.v1");
        let mut calls = 0;
        for service in trainer.flat_map(|file| &file.service) {
            for method in &service.method {
                let path = format!("/decant.trainer.v1.{}/{}", service.name(), method.name());
                assert!(rules(&path).is_some(), "{path}");
                calls += 1;
            }
        }
        assert!(calls >= 5);
        assert_eq!(rules("/decant.trainer.v1.TrainerService/Other"), None);
        assert_eq!(rules("/decant.registry.v1.RegistryService/GetModel"), None);
    }
}
