//! Calls of somebody whom a gate would have let in, without a server between.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use decant_chassis::server::Routes;
use decant_model::access::{Principal, Role};
use tonic::body::Body;
use tonic::codegen::{Service, http};

use super::fixture::Registry;

/// A registry as one principal calls it.
#[derive(Clone)]
pub(crate) struct By {
    routes: Routes,
    principal: Arc<Principal>,
}

/// Somebody who has a role on a model, or on all.
pub(crate) fn somebody(name: &str, role: Role, model: Option<&str>) -> Principal {
    let models = model.map(|model| model.parse().unwrap());
    Principal::new(name, role, models.into_iter().collect())
}

impl Registry {
    /// The registry as this principal calls it.
    pub(crate) fn by(&self, principal: Principal) -> By {
        self.by_known(Arc::new(principal))
    }

    /// The same for one that was found in a table.
    pub(crate) fn by_known(&self, principal: Arc<Principal>) -> By {
        By {
            routes: self.routes(),
            principal,
        }
    }
}

impl Service<http::Request<Body>> for By {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <Routes as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let principal = Arc::clone(&self.principal);
        request.extensions_mut().insert(principal);
        self.routes.call(request)
    }
}
