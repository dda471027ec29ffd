//! What each call needs before its request is read. On which model it needs that, the services check when they have read it.

use decant_model::access::Permission;

/// The permission that a call of the scorer needs, by its path; none for a path that is no call of the scorer.
pub fn rules(path: &str) -> Option<Permission> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    match service {
        "decant.scorer.v1.ScorerService" => scorer(method),
        "inference.GRPCInferenceService" => inference(method),
        _ => None,
    }
}

fn scorer(method: &str) -> Option<Permission> {
    match method {
        "Score" | "ScoreStream" | "Rank" | "Recommend" => Some(Permission::Score),
        "ListServables" | "GetEvidence" => Some(Permission::View),
        _ => None,
    }
}

fn inference(method: &str) -> Option<Permission> {
    match method {
        // Clients ask the first four before they infer anything: whoever may have scores may ask.
        "ServerLive" | "ServerReady" | "ServerMetadata" | "ModelReady" => Some(Permission::Score),
        "ModelInfer" | "ModelStreamInfer" => Some(Permission::Score),
        "ModelMetadata" | "ModelConfig" | "ModelStatistics" | "RepositoryIndex" => {
            Some(Permission::View)
        }
        // Refused in any case, with the command that does it.
        "RepositoryModelLoad" | "RepositoryModelUnload" => Some(Permission::Operate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_rule() {
        let ours = ["/decant.scorer.v1.", "/inference."];
        let mut calls = 0;
        for path in decant_proto::method_paths() {
            if ours.iter().any(|package| path.starts_with(package)) {
                assert!(rules(&path).is_some(), "{path}");
                calls += 1;
            }
        }
        assert!(calls >= 18);
        assert_eq!(rules("/decant.scorer.v1.ScorerService/Other"), None);
        assert_eq!(rules("/decant.registry.v1.RegistryService/GetModel"), None);
    }
}
