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
    use super::*;

    #[test]
    fn every_call_has_a_rule() {
        let mut calls = 0;
        for path in decant_proto::method_paths() {
            if path.starts_with("/decant.trainer.v1.") {
                assert!(rules(&path).is_some(), "{path}");
                calls += 1;
            }
        }
        assert!(calls >= 5);
        assert_eq!(rules("/decant.trainer.v1.TrainerService/Other"), None);
        assert_eq!(rules("/decant.registry.v1.RegistryService/GetModel"), None);
    }
}
