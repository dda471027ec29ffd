//! `decant.admin.v1.AdminService`.

use decant_model::access::Permission;
use decant_proto::admin::v1 as proto;
use decant_proto::admin::v1::admin_service_server::AdminService;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::caller::Caller;
use super::wire;
use crate::admin::{Care, Collect, Metadatum};
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::{Ask, audit};

/// Bytes of values in one message of an export; a message may have four megabytes.
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Clone)]
pub(crate) struct AdminApi {
    care: Care,
}

impl AdminApi {
    pub(crate) fn new(care: Care) -> Self {
        Self { care }
    }
}

#[async_trait]
impl AdminService for AdminApi {
    async fn get_cluster(
        &self,
        request: Request<proto::GetClusterRequest>,
    ) -> Result<Response<proto::GetClusterResponse>, Status> {
        let (caller, _) = Caller::of(request);
        let overview = self.care.overview().await?;
        let (leader, epoch) = match overview.leader {
            Some((leader, epoch)) => (leader.address, epoch.0),
            None => (String::new(), 0),
        };
        let alarms = overview.alarms.into_iter().filter(|alarm| {
            let model = alarm.about.as_ref();
            model.is_none_or(|model| caller.sees(model))
        });
        Ok(Response::new(proto::GetClusterResponse {
            uuid: overview.cluster.uuid,
            incarnation: overview.cluster.incarnation,
            revision: overview.revision.0,
            leader,
            epoch,
            scorers: u32::try_from(overview.scorers).unwrap_or(u32::MAX),
            alarms: alarms.map(|alarm| alarm.words).collect(),
        }))
    }

    async fn get_diagnosis(
        &self,
        _request: Request<proto::GetDiagnosisRequest>,
    ) -> Result<Response<proto::GetDiagnosisResponse>, Status> {
        let diagnosis = self.care.diagnosis().await?;
        let (audit_entries, head) = diagnosis.audit;
        Ok(Response::new(proto::GetDiagnosisResponse {
            // Read last: whoever compares it with their own clock wants the answer's time.
            time: wire::timestamp(now_millis()),
            build: format!("decant {}", env!("CARGO_PKG_VERSION")),
            cluster: diagnosis.cluster.uuid,
            store: Some(wire::store(diagnosis.store, diagnosis.revision)),
            audit_entries,
            audit_head_hash: wire::hash(head),
        }))
    }

    async fn list_audit(
        &self,
        request: Request<proto::ListAuditRequest>,
    ) -> Result<Response<proto::ListAuditResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may_see_audit(&request.subject)?;
        let page = audit::list(
            &self.care.records,
            &request.subject,
            request.page_size,
            &request.page_token,
        )
        .await?;
        Ok(Response::new(proto::ListAuditResponse {
            entries: page.items.into_iter().map(wire::audit_entry).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn verify_audit(
        &self,
        _request: Request<proto::VerifyAuditRequest>,
    ) -> Result<Response<proto::VerifyAuditResponse>, Status> {
        let verdict = audit::verify(&self.care.records).await?;
        Ok(Response::new(proto::VerifyAuditResponse {
            entries: verdict.entries,
            head_hash: wire::hash(verdict.head),
            broken: verdict.broken.unwrap_or_default(),
        }))
    }

    async fn collect_garbage(
        &self,
        request: Request<proto::CollectGarbageRequest>,
    ) -> Result<Response<proto::CollectGarbageResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may_everywhere(Permission::Administer)?;
        let ask = caller.sign(unnamed(&request.issued_by, &request)?);
        let swept = self
            .care
            .collect(Collect {
                dry_run: request.dry_run,
                grace_seconds: request.grace_seconds,
                ask,
            })
            .await?;
        Ok(Response::new(proto::CollectGarbageResponse {
            bundles: swept.bundles.iter().map(ToString::to_string).collect(),
            blobs: swept.blobs,
            bytes: swept.bytes,
            kept_young: swept.kept_young,
        }))
    }

    type ExportMetadataStream = BoxStream<'static, Result<proto::ExportMetadataResponse, Status>>;

    async fn export_metadata(
        &self,
        request: Request<proto::ExportMetadataRequest>,
    ) -> Result<Response<Self::ExportMetadataStream>, Status> {
        let (caller, _) = Caller::of(request);
        caller.may_everywhere(Permission::Administer)?;
        let records = self.care.export().await?;
        let messages = stream::unfold(records.into_iter(), |mut records| async {
            let mut chunk = Vec::new();
            let mut bytes = 0;
            while bytes < CHUNK_BYTES
                && let Some(record) = records.next()
            {
                bytes += record.key.len() + record.value.len();
                chunk.push(proto::MetadataRecord {
                    key: record.key,
                    value: record.value,
                });
            }
            let message = proto::ExportMetadataResponse { records: chunk };
            (!message.records.is_empty()).then_some((Ok(message), records))
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn import_metadata(
        &self,
        request: Request<Streaming<proto::ImportMetadataRequest>>,
    ) -> Result<Response<proto::ImportMetadataResponse>, Status> {
        let (caller, mut messages) = Caller::of(request);
        caller.may_everywhere(Permission::Administer)?;
        let first = messages.message().await?.unwrap_or_default();
        let ask = Ask::operator(
            String::new(),
            first.issued_by.clone(),
            String::new(),
            &proto::ImportMetadataRequest::default(),
        )?;
        let ask = caller.sign(ask);
        let mut import = self.care.import(ask).await?;
        let mut next = Some(first);
        while let Some(message) = next {
            for record in message.records {
                import
                    .add(Metadatum {
                        key: record.key,
                        value: record.value,
                    })
                    .await?;
            }
            next = messages.message().await?;
        }
        let records = import.finish().await?;
        Ok(Response::new(proto::ImportMetadataResponse { records }))
    }

    async fn rebuild_metadata(
        &self,
        request: Request<proto::RebuildMetadataRequest>,
    ) -> Result<Response<proto::RebuildMetadataResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may_everywhere(Permission::Administer)?;
        let ask = caller.sign(unnamed(&request.issued_by, &request)?);
        let rebuilt = self.care.rebuild(&ask, request.dry_run).await?;
        Ok(Response::new(proto::RebuildMetadataResponse {
            models: rebuilt.models.iter().map(ToString::to_string).collect(),
            versions: rebuilt.versions,
            unreadable: rebuilt.unreadable,
        }))
    }

    async fn adopt_store(
        &self,
        request: Request<proto::AdoptStoreRequest>,
    ) -> Result<Response<proto::AdoptStoreResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may_everywhere(Permission::Administer)?;
        let ask = asked!(caller, request)?;
        let (incarnation, slots) = self.care.adopt(&ask).await?;
        Ok(Response::new(proto::AdoptStoreResponse {
            incarnation,
            slots,
        }))
    }
}

/// A request that has no name and no reason.
fn unnamed(issued_by: &str, message: &impl prost::Message) -> Result<Ask, CallError> {
    Ask::operator(String::new(), issued_by.to_owned(), String::new(), message)
}
