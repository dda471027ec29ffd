//! What versions were asked, as messages.

use std::time::{SystemTime, UNIX_EPOCH};

use decant_model::access::Permission;
use decant_proto::inference as wire;

use super::names::{self, Asked, Fields};
use super::repository;
use crate::error::{CallError, Violation};
use crate::servable::statistics::{Computed, Total, Totals};
use crate::servable::{Manager, Status};
use crate::service::caller::Who;

/// The statistics of one version in memory, of all of a slot, or of all that who asks may see.
///
/// # Errors
/// When no such slot is known, it has no such version, or who asks may not see it.
pub(super) fn select(
    manager: &Manager,
    name: &str,
    version: &str,
    who: Who<'_>,
) -> Result<Vec<wire::ModelStatistics>, CallError> {
    let mut statuses = repository::statuses(manager);
    statuses.retain(|status| status.totals.is_some() && who.sees(&status.place.model));
    if !name.is_empty() {
        let Asked { place, version } = Asked::read(Fields::NAME, name, version)?;
        who.may(Permission::View, &place.model)?;
        let table = manager.table();
        let entry = table.find(&place)?;
        statuses.retain(|status| {
            let same_version = version.is_none_or(|version| status.prepared.version == version);
            status.place == place && same_version
        });
        if let (Some(version), true) = (version, statuses.is_empty()) {
            return Err(CallError::UnknownVersion {
                model: place.model,
                slot: place.slot,
                version,
                in_service: entry.versions().collect(),
            });
        }
    } else if !version.is_empty() {
        let violation = Violation::new("version", "a version of which model? `name` is empty");
        return Err(CallError::Invalid(vec![violation]));
    }
    let messages = statuses.into_iter().filter_map(message);
    Ok(messages.collect())
}

fn message(status: Status) -> Option<wire::ModelStatistics> {
    let Totals {
        succeeded,
        failed,
        queue,
        compute,
        rows,
        last,
        batches,
    } = status.totals?;
    let execution_count = batches.iter().map(|(_, computed)| computed.count).sum();
    let [compute_input, compute_infer, compute_output] = steps(compute);
    Some(wire::ModelStatistics {
        name: names::name(&status.place),
        version: status.prepared.version.get().to_string(),
        last_inference: last.map_or(0, millis),
        inference_count: rows,
        execution_count,
        inference_stats: Some(wire::InferStatistics {
            success: Some(duration(succeeded)),
            fail: Some(duration(failed)),
            queue: Some(duration(queue)),
            compute_input,
            compute_infer,
            compute_output,
        }),
        batch_stats: batches.into_iter().map(batch).collect(),
    })
}

fn batch((batch_size, computed): (u64, Computed)) -> wire::InferBatchStatistics {
    let [compute_input, compute_infer, compute_output] = steps(computed);
    wire::InferBatchStatistics {
        batch_size,
        compute_input,
        compute_infer,
        compute_output,
    }
}

/// Input, infer and output, each as often as all of them.
fn steps(computed: Computed) -> [Option<wire::StatisticDuration>; 3] {
    let Computed { count, times } = computed;
    [times.input, times.infer, times.output].map(|time| Some(duration(Total { count, time })))
}

fn duration(total: Total) -> wire::StatisticDuration {
    wire::StatisticDuration {
        count: total.count,
        ns: u64::try_from(total.time.as_nanos()).unwrap_or(u64::MAX),
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
