//! Who may do what.

use decant_proto::access::v1::access_service_server::AccessService;
use decant_proto::access::v1::*;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{Fake, noon};

#[tonic::async_trait]
impl AccessService for Fake {
    async fn add_principal(
        &self,
        request: Request<AddPrincipalRequest>,
    ) -> Result<Response<AddPrincipalResponse>, Status> {
        let request = request.into_inner();
        let principal = Principal {
            name: request.name.clone(),
            role: request.role,
            models: request.models.clone(),
            token_digest: request.token_digest.clone(),
            identities: request.identities.clone(),
            expire_time: request.expire_time,
            create_time: noon(0),
            issued_by: request.issued_by.clone(),
        };
        self.asked.lock().unwrap().add_principal = Some(request);
        self.answer(AddPrincipalResponse {
            principal: Some(principal),
        })
    }

    async fn remove_principal(
        &self,
        request: Request<RemovePrincipalRequest>,
    ) -> Result<Response<RemovePrincipalResponse>, Status> {
        let request = request.into_inner();
        let mut principals = self.principals.iter();
        let principal = principals.find(|one| one.name == request.name).cloned();
        self.asked.lock().unwrap().remove_principal = Some(request);
        self.answer(RemovePrincipalResponse { principal })
    }

    async fn list_principals(
        &self,
        _: Request<ListPrincipalsRequest>,
    ) -> Result<Response<ListPrincipalsResponse>, Status> {
        self.answer(ListPrincipalsResponse {
            principals: self.principals.clone(),
        })
    }

    type WatchAccessStream = BoxStream<WatchAccessResponse>;

    async fn watch_access(
        &self,
        _: Request<WatchAccessRequest>,
    ) -> Result<Response<Self::WatchAccessStream>, Status> {
        Err(Status::unimplemented("the command line watches nobody"))
    }

    async fn who_am_i(
        &self,
        request: Request<WhoAmIRequest>,
    ) -> Result<Response<WhoAmIResponse>, Status> {
        let shown = request.metadata().get("authorization");
        let shown = shown.map(|value| value.to_str().unwrap().to_owned());
        self.asked.lock().unwrap().authorization = shown;
        self.answer(self.who_am_i.clone())
    }
}
