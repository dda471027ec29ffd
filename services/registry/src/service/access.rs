//! `decant.access.v1.AccessService`.

use decant_model::access::{Credential, Permission};
use decant_proto::access::v1 as proto;
use decant_proto::access::v1::access_service_server::AccessService;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use super::caller::Caller;
use super::{until_stop, wire};
use crate::access::Access;
use crate::error::CallError;

#[derive(Clone)]
pub(crate) struct AccessApi {
    access: Access,
    stop: CancellationToken,
}

impl AccessApi {
    pub(crate) fn new(access: Access, stop: CancellationToken) -> Self {
        Self { access, stop }
    }
}

#[async_trait]
impl AccessService for AccessApi {
    async fn add_principal(
        &self,
        request: Request<proto::AddPrincipalRequest>,
    ) -> Result<Response<proto::AddPrincipalResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may_everywhere(Permission::Administer)?;
        let ask = asked!(caller, request)?;
        let dry_run = request.dry_run;
        let adding = wire::adding(request)?;
        let record = self.access.add(&ask, &adding, dry_run).await?;
        Ok(Response::new(proto::AddPrincipalResponse {
            principal: Some(wire::principal(&adding.name, &record)),
        }))
    }

    async fn remove_principal(
        &self,
        request: Request<proto::RemovePrincipalRequest>,
    ) -> Result<Response<proto::RemovePrincipalResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may_everywhere(Permission::Administer)?;
        let ask = asked!(caller, request)?;
        let name = wire::principal_name(&request.name)?;
        if caller.is(&name) {
            return Err(CallError::RemovesSelf(name).into());
        }
        let record = self.access.remove(&ask, &name).await?;
        Ok(Response::new(proto::RemovePrincipalResponse {
            principal: Some(wire::principal(&name, &record)),
        }))
    }

    async fn list_principals(
        &self,
        request: Request<proto::ListPrincipalsRequest>,
    ) -> Result<Response<proto::ListPrincipalsResponse>, Status> {
        let (caller, _) = Caller::of(request);
        caller.may_everywhere(Permission::View)?;
        Ok(Response::new(proto::ListPrincipalsResponse {
            principals: wire::principals(&self.access.all().await?),
        }))
    }

    type WatchAccessStream = BoxStream<'static, Result<proto::WatchAccessResponse, Status>>;

    async fn watch_access(
        &self,
        request: Request<proto::WatchAccessRequest>,
    ) -> Result<Response<Self::WatchAccessStream>, Status> {
        let (caller, _) = Caller::of(request);
        caller.may_everywhere(Permission::View)?;
        let tables = self.access.watch().map(|principals| {
            Ok(proto::WatchAccessResponse {
                principals: wire::principals(&principals),
            })
        });
        Ok(Response::new(until_stop(tables, &self.stop)))
    }

    async fn who_am_i(
        &self,
        request: Request<proto::WhoAmIRequest>,
    ) -> Result<Response<proto::WhoAmIResponse>, Status> {
        let (caller, _) = Caller::of(request);
        let principal = caller.principal();
        let known_by = match principal.known_by() {
            Some(Credential::Token) => proto::who_am_i_response::KnownBy::Token(true),
            Some(Credential::Identity(identity)) => {
                proto::who_am_i_response::KnownBy::Identity(identity.clone())
            }
            None => proto::who_am_i_response::KnownBy::Nothing(true),
        };
        Ok(Response::new(proto::WhoAmIResponse {
            name: principal.name.clone(),
            role: proto::Role::from(principal.role).into(),
            models: principal.models.iter().map(ToString::to_string).collect(),
            expire_time: principal.expires_at_millis.and_then(wire::timestamp),
            known_by: Some(known_by),
        }))
    }
}
