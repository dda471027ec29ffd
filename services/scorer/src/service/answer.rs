//! What was found, as messages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use decant_model::{Arm, Generation, Prepared, Texts};
use decant_proto::rollout::v1::Arm as WireArm;
use decant_proto::scorer::{Attributes, v1 as wire};
use decant_proto::status::details;
use tonic::Status as GrpcStatus;
use wire::score_stream_response::Outcome;

use crate::error::CallError;
use crate::scoring::Scored;
use crate::servable::{Handle, LoadTimes, Place, State, Status};

pub(super) fn score(handle: &Handle, scored: Scored) -> Result<wire::ScoreResponse, CallError> {
    let served_by = Some(served_by(handle, &scored));
    let scores = scored.into_scores()?;
    Ok(wire::ScoreResponse { served_by, scores })
}

pub(super) fn stream(
    id: u64,
    outcome: Result<wire::ScoreResponse, CallError>,
) -> wire::ScoreStreamResponse {
    let outcome = match outcome {
        Ok(response) => Outcome::Response(response),
        Err(error) => {
            let status = GrpcStatus::from(error);
            Outcome::Error(wire::StreamError {
                code: status.code().into(),
                message: status.message().to_owned(),
                details: details(&status),
            })
        }
    };
    wire::ScoreStreamResponse {
        id,
        outcome: Some(outcome),
    }
}

/// The best candidates; `ids` are theirs, and empty when they came by columns.
pub(super) fn rank(
    handle: &Handle,
    scored: Scored,
    ids: &Texts,
) -> Result<wire::RankResponse, CallError> {
    let served_by = Some(served_by(handle, &scored));
    let ranked = scored.into_ranked()?;
    let mut items = wire::ScoredItems::with_capacity(ranked.len());
    for best in ranked {
        let id = ids.get(best.row() as usize).unwrap_or("".into());
        items.push(id, best.row(), best.score(), Attributes::new());
    }
    Ok(wire::RankResponse { served_by, items })
}

/// The best of the catalog, with the columns that were asked for.
pub(super) fn recommend(
    handle: &Handle,
    scored: Scored,
    columns: &[String],
) -> Result<wire::RecommendResponse, CallError> {
    let items = handle.servable().items().ok_or(CallError::NoCatalog)?;
    let catalog = items.catalog();
    let served_by = Some(served_by(handle, &scored));
    let ranked = scored.into_ranked()?;
    let mut items = wire::ScoredItems::with_capacity(ranked.len());
    for best in ranked {
        let row = best.row() as usize;
        let attribute = |column: &String| Some((column.clone(), catalog.display(row, column)?));
        let attributes = columns.iter().filter_map(attribute).collect();
        items.push(catalog.id(row), 0, best.score(), attributes);
    }
    Ok(wire::RecommendResponse { served_by, items })
}

/// A version as operators see it.
pub(super) fn servable(status: Status) -> wire::Servable {
    let state = match status.state {
        State::Start => wire::ServableState::Start,
        State::Loading => wire::ServableState::Loading,
        State::Available => wire::ServableState::Available,
        State::Unloading => wire::ServableState::Unloading,
        State::End => wire::ServableState::End,
    };
    wire::Servable {
        served_by: Some(part(
            &status.place,
            status.prepared,
            status.arm,
            status.generation,
        )),
        state: state.into(),
        error: status.error.unwrap_or_default(),
        state_time: Some(timestamp(status.since)),
        answered: status.answered,
        load_times: Some(load_times(status.load_times)),
    }
}

fn served_by(handle: &Handle, scored: &Scored) -> wire::ServedBy {
    let known = handle.part();
    let prepared = Prepared {
        digest: known.active.digest,
        version: known.active.version,
    };
    let arm = Some(known.active.arm);
    wire::ServedBy {
        queue_micros: micros(scored.queue),
        compute_micros: micros(scored.compute.until_scored()),
        load: scored.load,
        ..part(&known.place, prepared, arm, known.generation)
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

fn part(
    place: &Place,
    prepared: Prepared,
    arm: Option<Arm>,
    generation: Generation,
) -> wire::ServedBy {
    let arm = arm.map_or(WireArm::Unspecified, WireArm::from);
    wire::ServedBy {
        model: place.model.to_string(),
        slot: place.slot.to_string(),
        version: prepared.version.get(),
        digest: prepared.digest.to_string(),
        arm: arm.into(),
        generation: generation.0,
        ..wire::ServedBy::default()
    }
}

fn load_times(times: LoadTimes) -> wire::LoadTimes {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    wire::LoadTimes {
        fetch_micros: micros(times.fetch),
        open_micros: micros(times.open),
        replay_micros: micros(times.replay),
        warm_up_micros: micros(times.warm_up),
    }
}

fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}
