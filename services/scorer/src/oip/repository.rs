//! The versions that are here, and why they are not changed here.

use decant_model::SlotName;
use decant_model::access::Permission;
use decant_proto::inference as wire;
use wire::repository_index_response::ModelIndex;

use super::names;
use crate::error::{CallError, Violation};
use crate::servable::{Manager, State, Status, Table};
use crate::service::caller::Who;

/// There is one repository, and it has no name.
///
/// # Errors
/// When another one is named.
pub(super) fn check(repository: &str) -> Result<(), CallError> {
    if repository.is_empty() {
        return Ok(());
    }
    let reason = format!("`{repository}` is unknown: there is one repository, and it has no name");
    Err(CallError::Invalid(vec![Violation::new(
        "repository_name",
        reason,
    )]))
}

/// Why a model is not loaded or unloaded: it names the commands that do it, to who could give them.
pub(super) fn refused(repository: &str, model: &str, who: Who<'_>) -> CallError {
    if let Err(error) = check(repository) {
        return error;
    }
    let place = match names::place(model) {
        Ok(place) => place,
        Err(error) => {
            let violation = Violation::new("model_name", error.to_string());
            return CallError::Invalid(vec![violation]);
        }
    };
    if let Err(error) = who.may(Permission::Operate, &place.model) {
        return error;
    }
    let mut what = format!("{} VERSION", place.model);
    if place.slot != SlotName::default() {
        what.push_str(&format!(" --slot {}", place.slot));
    }
    CallError::NotDecidedHere(what)
}

/// Every version that is here, is wanted or failed, and that who asks may see; only those that can be asked, if so wished.
pub(super) fn index(manager: &Manager, only_ready: bool, who: Who<'_>) -> Vec<ModelIndex> {
    let table = manager.table();
    let mut entries: Vec<ModelIndex> = Vec::new();
    for status in statuses(manager) {
        let (state, reason) = state(&status, &table);
        if (!only_ready || state == "READY") && who.sees(&status.place.model) {
            entries.push(ModelIndex {
                name: names::name(&status.place),
                version: status.prepared.version.get().to_string(),
                state: state.to_owned(),
                reason,
            });
        }
    }
    entries
}

/// Every version that is here, is wanted or failed, by slot and number.
pub(super) fn statuses(manager: &Manager) -> Vec<Status> {
    let mut statuses = manager.statuses();
    statuses.sort_by(|left, right| {
        let (left_version, right_version) = (left.prepared.version, right.prepared.version);
        (&left.place, left_version).cmp(&(&right.place, right_version))
    });
    statuses
}

fn state(status: &Status, table: &Table) -> (&'static str, String) {
    let in_service = || {
        let entry = table.get(&status.place);
        entry.is_some_and(|entry| entry.numbered(status.prepared.version).is_some())
    };
    match status.state {
        State::Start | State::Loading => ("LOADING", String::new()),
        State::Available if in_service() => ("READY", String::new()),
        State::Available => ("UNAVAILABLE", "loaded, but not in service".to_owned()),
        State::Unloading => ("UNLOADING", String::new()),
        State::End => ("UNAVAILABLE", status.error.clone().unwrap_or_default()),
    }
}
