//! What each call needs.

use decant_model::access::Permission;

/// The permission that a call needs, by the path of its method; `None` for what nobody serves. What everybody may, such as to
/// ask for health, is not asked for here.
pub(super) fn permission(path: &str) -> Option<Permission> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let permission = match (service, method) {
        ("decant.scorer.v1.ScorerService", "ListServables" | "GetEvidence") => Permission::View,
        ("decant.scorer.v1.ScorerService", _) => Permission::Score,
        // They are refused by the service itself, which says what to do instead.
        ("inference.GRPCInferenceService", _) => Permission::Score,
        ("decant.trainer.v1.TrainerService", "SubmitJob" | "CancelJob") => Permission::Publish,
        ("decant.registry.v1.RegistryService", "CreateModel" | "PushVersion") => {
            Permission::Publish
        }
        ("decant.registry.v1.RegistryService", "UpdateModel" | "RetireVersion") => {
            Permission::Operate
        }
        (
            "decant.rollout.v1.RolloutService",
            "SetSlot" | "PrepareSlot" | "FreezeSlot" | "Rollback" | "StartRollout" | "SteerRollout"
            | "PutPlan",
        ) => Permission::Operate,
        (
            "decant.admin.v1.AdminService",
            "GetCluster" | "GetDiagnosis" | "ListAudit" | "VerifyAudit",
        ) => Permission::View,
        ("decant.admin.v1.AdminService" | "decant.ops.v1.OpsService", _) => Permission::Administer,
        ("decant.access.v1.AccessService", "AddPrincipal" | "RemovePrincipal") => {
            Permission::Administer
        }
        ("decant.access.v1.AccessService", "WhoAmI") => Permission::View,
        (
            "decant.access.v1.AccessService"
            | "decant.trainer.v1.TrainerService"
            | "decant.registry.v1.RegistryService"
            | "decant.rollout.v1.RolloutService",
            method,
        ) if ["Get", "List", "Watch", "Fetch"]
            .iter()
            .any(|reads| method.starts_with(reads)) =>
        {
            Permission::View
        }
        _ => return None,
    };
    Some(permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_needs_something_and_only_reading_needs_little() {
        for path in decant_proto::method_paths() {
            let needed = permission(&path).unwrap_or_else(|| panic!("{path} needs nothing"));
            let (_, method) = path.rsplit_once('/').unwrap();
            let reads = ["Get", "List", "Watch", "Fetch", "Verify", "WhoAmI"];
            let reads = reads.iter().any(|word| method.starts_with(word));
            assert!(
                needed != Permission::View || reads,
                "{path} changes something and needs `view` only"
            );
        }
        assert_eq!(
            permission("/decant.trainer.v1.TrainerService/DropTables"),
            None
        );
        assert_eq!(permission("nonsense"), None);
    }
}
