//! The cluster's care.

use decant_proto::admin::v1::admin_service_server::AdminService;
use decant_proto::admin::v1::*;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Fake, page};

#[tonic::async_trait]
impl AdminService for Fake {
    async fn get_cluster(
        &self,
        _: Request<GetClusterRequest>,
    ) -> Result<Response<GetClusterResponse>, Status> {
        self.answer(self.cluster.clone())
    }

    async fn get_diagnosis(
        &self,
        _: Request<GetDiagnosisRequest>,
    ) -> Result<Response<GetDiagnosisResponse>, Status> {
        let diagnosis = GetDiagnosisResponse {
            time: Some(std::time::SystemTime::now().into()),
            ..self.diagnosis.clone()
        };
        self.answer(diagnosis)
    }

    async fn list_audit(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<ListAuditResponse>, Status> {
        let request = request.into_inner();
        let (entries, next_page_token) = page(&self.audit, request.page_size, &request.page_token);
        self.asked.lock().unwrap().list_audit = Some(request);
        self.answer(ListAuditResponse {
            entries,
            next_page_token,
        })
    }

    async fn verify_audit(
        &self,
        _: Request<VerifyAuditRequest>,
    ) -> Result<Response<VerifyAuditResponse>, Status> {
        self.answer(self.verified.clone())
    }

    async fn collect_garbage(
        &self,
        request: Request<CollectGarbageRequest>,
    ) -> Result<Response<CollectGarbageResponse>, Status> {
        self.asked.lock().unwrap().collect_garbage = Some(request.into_inner());
        self.answer(self.garbage.clone())
    }

    type ExportMetadataStream = BoxStream<ExportMetadataResponse>;

    async fn export_metadata(
        &self,
        _: Request<ExportMetadataRequest>,
    ) -> Result<Response<Self::ExportMetadataStream>, Status> {
        let one_each = self.records.chunks(1).map(|records| {
            Ok(ExportMetadataResponse {
                records: records.to_vec(),
            })
        });
        let cut = self.cuts.then(|| Err(Status::internal("the store broke")));
        let answers: Vec<_> = one_each.chain(cut).collect();
        self.answer(Box::pin(tokio_stream::iter(answers)))
    }

    async fn import_metadata(
        &self,
        request: Request<Streaming<ImportMetadataRequest>>,
    ) -> Result<Response<ImportMetadataResponse>, Status> {
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            self.asked.lock().unwrap().import.push(message);
        }
        let asked = self.asked.lock().unwrap();
        let records = asked.import.iter().map(|one| one.records.len() as u64);
        self.answer(ImportMetadataResponse {
            records: records.sum(),
        })
    }

    async fn rebuild_metadata(
        &self,
        request: Request<RebuildMetadataRequest>,
    ) -> Result<Response<RebuildMetadataResponse>, Status> {
        self.asked.lock().unwrap().rebuild = Some(request.into_inner());
        self.answer(self.rebuilt.clone())
    }

    async fn adopt_store(
        &self,
        request: Request<AdoptStoreRequest>,
    ) -> Result<Response<AdoptStoreResponse>, Status> {
        self.asked.lock().unwrap().adopt = Some(request.into_inner());
        self.answer(AdoptStoreResponse {
            incarnation: 2,
            slots: vec!["movies/main".into()],
        })
    }
}
