//! What each call needs before its request is read. On which model it needs that, the services check when they have read it.

use decant_model::access::Permission;

/// The permission that a call of the registry needs, by its path; none for a path that is no call of the registry.
pub fn rules(path: &str) -> Option<Permission> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    match service {
        "decant.registry.v1.RegistryService" => registry(method),
        "decant.rollout.v1.RolloutService" => rollout(method),
        "decant.admin.v1.AdminService" => admin(method),
        "decant.access.v1.AccessService" => access(method),
        _ => None,
    }
}

fn registry(method: &str) -> Option<Permission> {
    match method {
        "GetModel" | "ListModels" | "GetVersion" | "ListVersions" | "GetLineage"
        | "FetchBundle" => Some(Permission::View),
        "CreateModel" | "PushVersion" => Some(Permission::Publish),
        // What a model asks of its versions is not up to those who publish them.
        "UpdateModel" | "RetireVersion" => Some(Permission::Operate),
        _ => None,
    }
}

fn rollout(method: &str) -> Option<Permission> {
    match method {
        "GetSlot" | "WatchSlot" | "GetSlotStatus" | "WatchSlotStatus" | "ListSlotHistory"
        | "ListScorers" | "GetRollout" | "WatchRollout" | "ListRollouts" | "GetPlan"
        | "ListPlans" => Some(Permission::View),
        "SetSlot" | "PrepareSlot" | "FreezeSlot" | "Rollback" | "StartRollout" | "SteerRollout"
        | "PutPlan" => Some(Permission::Operate),
        _ => None,
    }
}

fn admin(method: &str) -> Option<Permission> {
    match method {
        "GetCluster" | "GetDiagnosis" | "ListAudit" | "VerifyAudit" => Some(Permission::View),
        "CollectGarbage" | "ExportMetadata" | "ImportMetadata" | "RebuildMetadata"
        | "AdoptStore" => Some(Permission::Administer),
        _ => None,
    }
}

fn access(method: &str) -> Option<Permission> {
    match method {
        "ListPrincipals" | "WatchAccess" | "WhoAmI" => Some(Permission::View),
        "AddPrincipal" | "RemovePrincipal" => Some(Permission::Administer),
        _ => None,
    }
}
