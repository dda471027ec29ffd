//! Calls of `decant.ops.v1`, which every service serves.

use decant_proto::ops::v1::ops_service_client::OpsServiceClient;
use decant_proto::ops::v1::{GetLogFilterRequest, SetLogFilterRequest, SetLogFilterResponse};

use super::Remote;
use super::attempts::Repeat;
use crate::failure::Failure;

impl Remote {
    /// What the process logs.
    pub(crate) async fn log_filter(&self) -> Result<String, Failure> {
        let answer = self
            .ask(
                Repeat::Freely,
                GetLogFilterRequest {},
                async |channel, request| {
                    OpsServiceClient::new(channel).get_log_filter(request).await
                },
            )
            .await?;
        Ok(answer.filter)
    }

    /// Changes what the process logs. Twice is as good as once.
    pub(crate) async fn set_log_filter(
        &self,
        filter: &str,
    ) -> Result<SetLogFilterResponse, Failure> {
        let request = SetLogFilterRequest {
            filter: filter.to_owned(),
        };
        self.ask(Repeat::Freely, request, async |channel, request| {
            OpsServiceClient::new(channel).set_log_filter(request).await
        })
        .await
    }
}
