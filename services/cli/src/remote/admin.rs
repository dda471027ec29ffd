//! Calls of `decant.admin.v1`, which the registry serves. Those that look at everything there is may take long.

use decant_proto::admin::v1::admin_service_client::AdminServiceClient;
use decant_proto::admin::v1::{
    AdoptStoreRequest, AdoptStoreResponse, AuditEntry, CollectGarbageRequest,
    CollectGarbageResponse, ExportMetadataRequest, ExportMetadataResponse, GetClusterRequest,
    GetClusterResponse, GetDiagnosisRequest, GetDiagnosisResponse, ImportMetadataRequest,
    ListAuditRequest, RebuildMetadataRequest, RebuildMetadataResponse, VerifyAuditRequest,
    VerifyAuditResponse,
};

use super::attempts::Repeat;
use super::{Answers, Paged, Registry, pages};
use crate::failure::Failure;

impl Registry {
    /// The cluster.
    pub(crate) async fn get_cluster(&self) -> Result<GetClusterResponse, Failure> {
        self.0
            .ask(
                Repeat::Freely,
                GetClusterRequest {},
                async |channel, request| {
                    AdminServiceClient::new(channel).get_cluster(request).await
                },
            )
            .await
    }

    /// The registry and its store, for whoever looks for what is wrong.
    pub(crate) async fn get_diagnosis(&self) -> Result<GetDiagnosisResponse, Failure> {
        self.0
            .ask(
                Repeat::Freely,
                GetDiagnosisRequest {},
                async |channel, request| {
                    AdminServiceClient::new(channel)
                        .get_diagnosis(request)
                        .await
                },
            )
            .await
    }

    /// Audit entries, the newest first; about all subjects when none is named.
    pub(crate) async fn list_audit(
        &self,
        subject: &str,
        limit: usize,
    ) -> Result<Paged<AuditEntry>, Failure> {
        pages::collect(limit, async |page_size, page_token| {
            let request = ListAuditRequest {
                subject: subject.to_owned(),
                page_size,
                page_token,
            };
            let answer = self
                .0
                .ask(Repeat::Freely, request, async |channel, request| {
                    AdminServiceClient::new(channel).list_audit(request).await
                })
                .await?;
            Ok((answer.entries, answer.next_page_token))
        })
        .await
    }

    /// Checks the audit log from its beginning.
    pub(crate) async fn verify_audit(&self) -> Result<VerifyAuditResponse, Failure> {
        self.0
            .patient()
            .ask(
                Repeat::Freely,
                VerifyAuditRequest {},
                async |channel, request| {
                    AdminServiceClient::new(channel).verify_audit(request).await
                },
            )
            .await
    }

    /// Deletes what nothing names.
    pub(crate) async fn collect_garbage(
        &self,
        request: CollectGarbageRequest,
    ) -> Result<CollectGarbageResponse, Failure> {
        self.0
            .patient()
            .ask(Repeat::Unsent, request, async |channel, request| {
                AdminServiceClient::new(channel)
                    .collect_garbage(request)
                    .await
            })
            .await
    }

    /// All metadata. The deadline holds for each message.
    pub(crate) async fn export_metadata(&self) -> Result<Answers<ExportMetadataResponse>, Failure> {
        self.0
            .open(
                ExportMetadataRequest {},
                Some(self.0.timeout),
                async |channel, request| {
                    AdminServiceClient::new(channel)
                        .export_metadata(request)
                        .await
                },
            )
            .await
    }

    /// Writes metadata into an empty cluster, and says how many records that were.
    pub(crate) async fn import_metadata(
        &self,
        messages: Vec<ImportMetadataRequest>,
    ) -> Result<u64, Failure> {
        let answer = self
            .0
            .patient()
            .ask(Repeat::Unsent, messages, async |channel, request| {
                AdminServiceClient::new(channel)
                    .import_metadata(request.map(tokio_stream::iter))
                    .await
            })
            .await?;
        Ok(answer.records)
    }

    /// Makes metadata anew from the stored bundles.
    pub(crate) async fn rebuild_metadata(
        &self,
        request: RebuildMetadataRequest,
    ) -> Result<RebuildMetadataResponse, Failure> {
        self.0
            .patient()
            .ask(Repeat::Unsent, request, async |channel, request| {
                AdminServiceClient::new(channel)
                    .rebuild_metadata(request)
                    .await
            })
            .await
    }

    /// Says that the store as it is now is the truth.
    pub(crate) async fn adopt_store(
        &self,
        request: AdoptStoreRequest,
    ) -> Result<AdoptStoreResponse, Failure> {
        let id = request.request_id.clone();
        self.0
            .change(&id, request, async |channel, request| {
                AdminServiceClient::new(channel).adopt_store(request).await
            })
            .await
    }
}
