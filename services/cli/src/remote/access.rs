//! Calls of `decant.access.v1`, which the registry serves.

use decant_proto::access::v1::access_service_client::AccessServiceClient;
use decant_proto::access::v1::{
    AddPrincipalRequest, ListPrincipalsRequest, Principal, RemovePrincipalRequest, WhoAmIRequest,
    WhoAmIResponse,
};

use super::Registry;
use super::attempts::Repeat;
use crate::failure::Failure;

impl Registry {
    /// Adds a principal, or says what would be added.
    pub(crate) async fn add_principal(
        &self,
        request: AddPrincipalRequest,
    ) -> Result<Principal, Failure> {
        let id = request.request_id.clone();
        let answer = self
            .0
            .change(&id, request, async |channel, request| {
                AccessServiceClient::new(channel)
                    .add_principal(request)
                    .await
            })
            .await?;
        self.0.require(answer.principal, "principal")
    }

    /// Removes a principal, and returns what it was.
    pub(crate) async fn remove_principal(
        &self,
        request: RemovePrincipalRequest,
    ) -> Result<Principal, Failure> {
        let id = request.request_id.clone();
        let answer = self
            .0
            .change(&id, request, async |channel, request| {
                AccessServiceClient::new(channel)
                    .remove_principal(request)
                    .await
            })
            .await?;
        self.0.require(answer.principal, "principal")
    }

    /// All principals, by name.
    pub(crate) async fn list_principals(&self) -> Result<Vec<Principal>, Failure> {
        let answer = self
            .0
            .ask(
                Repeat::Freely,
                ListPrincipalsRequest {},
                async |channel, request| {
                    AccessServiceClient::new(channel)
                        .list_principals(request)
                        .await
                },
            )
            .await?;
        Ok(answer.principals)
    }

    /// Who the user is to the registry.
    pub(crate) async fn who_am_i(&self) -> Result<WhoAmIResponse, Failure> {
        self.0
            .ask(
                Repeat::Freely,
                WhoAmIRequest {},
                async |channel, request| AccessServiceClient::new(channel).who_am_i(request).await,
            )
            .await
    }
}
