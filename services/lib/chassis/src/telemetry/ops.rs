//! `decant.ops.v1`: a process as its operators need it, whichever service it is.

use decant_proto::ops::v1::ops_service_server::{OpsService, OpsServiceServer};
use decant_proto::ops::v1::{
    GetLogFilterRequest, GetLogFilterResponse, SetLogFilterRequest, SetLogFilterResponse,
};
use decant_proto::status::ErrorCode;
use tonic::{Request, Response, Status};

use super::{LogControl, TelemetryError};

/// Answers for one process.
pub struct Ops {
    logs: LogControl,
}

/// The service, for the process whose logs these are.
pub fn service(logs: LogControl) -> OpsServiceServer<Ops> {
    OpsServiceServer::new(Ops { logs })
}

#[tonic::async_trait]
impl OpsService for Ops {
    async fn get_log_filter(
        &self,
        _: Request<GetLogFilterRequest>,
    ) -> Result<Response<GetLogFilterResponse>, Status> {
        let filter = self.logs.get();
        Ok(Response::new(GetLogFilterResponse { filter }))
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        let wanted = request.into_inner().filter;
        let previous = self.logs.get();
        self.logs.set(&wanted).map_err(|error| refuse(&error))?;
        let filter = self.logs.get();
        tracing::info!(filter, previous, "the log filter was changed");
        Ok(Response::new(SetLogFilterResponse { filter, previous }))
    }
}

fn refuse(error: &TelemetryError) -> Status {
    let code = match error {
        TelemetryError::Filter { .. } => ErrorCode::Invalid,
        _ => ErrorCode::Precondition,
    };
    code.status(error.to_string())
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::telemetry::{Format, logs};

    fn request(filter: &str) -> Request<SetLogFilterRequest> {
        Request::new(SetLogFilterRequest {
            filter: filter.to_owned(),
        })
    }

    #[tokio::test]
    async fn the_filter_is_shown_and_changed() {
        let filter = logs::parse("info").unwrap();
        let (_lines, control) = logs::lines(Format::Text, filter, false, std::io::sink);
        let ops = Ops { logs: control };
        let changed = ops.set_log_filter(request("warn")).await.unwrap();
        let changed = changed.into_inner();
        assert_eq!(
            (changed.filter.as_str(), changed.previous.as_str()),
            ("warn", "info")
        );
        let shown = ops
            .get_log_filter(Request::new(GetLogFilterRequest {}))
            .await
            .unwrap();
        assert_eq!(shown.into_inner().filter, "warn");

        let refused = ops
            .set_log_filter(request("decant=loud"))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with("log filter `decant=loud`: "));
    }

    #[tokio::test]
    async fn who_embeds_a_service_decides_on_its_logs() {
        let ops = Ops {
            logs: LogControl::foreign(),
        };
        let refused = ops.set_log_filter(request("warn")).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
    }
}
