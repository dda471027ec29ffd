//! Who calls, and what they may do.

use std::sync::Arc;

use decant_chassis::auth;
use decant_model::access::{Permission, Principal};
use decant_model::{ModelName, PrincipalName};
use tonic::Request;

use super::wire::model_name;
use crate::error::CallError;
use crate::ledger::Ask;

/// Who calls. Where nobody is asked who they are, everybody may everything.
pub(super) struct Caller(Arc<Principal>);

impl Caller {
    /// Who calls, and what they ask.
    pub(super) fn of<M>(request: Request<M>) -> (Self, M) {
        let (_, extensions, message) = request.into_parts();
        (Self(auth::principal(&extensions)), message)
    }

    /// The principal itself.
    pub(super) fn principal(&self) -> &Principal {
        &self.0
    }

    /// The model that a field names; refuses who lacks a permission on it.
    pub(super) fn may(
        &self,
        permission: Permission,
        field: &'static str,
        model: &str,
    ) -> Result<ModelName, CallError> {
        let model = model_name(field, model)?;
        self.0.may(permission, &model)?;
        Ok(model)
    }

    /// Refuses who lacks a permission on all models, as what concerns the whole cluster needs.
    pub(super) fn may_everywhere(&self, permission: Permission) -> Result<(), CallError> {
        Ok(self.0.may_everywhere(permission)?)
    }

    /// Whether a model is there for who calls.
    pub(super) fn sees(&self, model: &ModelName) -> bool {
        self.0.may(Permission::View, model).is_ok()
    }

    /// Refuses who may not see the audit log's entries about a subject: a model, or something of one. All that are about
    /// none are there for who sees all models.
    pub(super) fn may_see_audit(&self, subject: &str) -> Result<(), CallError> {
        let first = subject.split('/').next().unwrap_or_default();
        match first.parse::<ModelName>() {
            Ok(model) => Ok(self.0.may(Permission::View, &model)?),
            Err(_) => self.may_everywhere(Permission::View),
        }
    }

    /// Whether this is the principal of that name.
    pub(super) fn is(&self, name: &PrincipalName) -> bool {
        !self.0.is_anonymous() && self.0.name == name.as_str()
    }

    /// Puts the principal's name on record, if it is known; the word that the client gave is kept beside it.
    pub(super) fn sign(&self, ask: Ask) -> Ask {
        if self.0.is_anonymous() {
            return ask;
        }
        let name = &self.0.name;
        let actor = match ask.actor.as_str() {
            "" => name.clone(),
            word if word == name => name.clone(),
            word => format!("{name} (for {word})"),
        };
        ask.by(actor)
    }
}

#[cfg(test)]
mod tests {
    use decant_model::access::Role;

    use super::*;

    fn ask(issued_by: &str) -> Ask {
        let message = decant_proto::access::v1::RemovePrincipalRequest::default();
        Ask::operator(String::new(), issued_by.into(), String::new(), &message).unwrap()
    }

    #[test]
    fn who_is_known_signs_and_the_clients_word_stays_beside_it() {
        let ana = Caller(Arc::new(Principal::new("ana", Role::Operator, Vec::new())));
        let signed = |word: &str| ana.sign(ask(word)).actor;
        assert_eq!(signed("ci-17"), "ana (for ci-17)");
        assert_eq!((signed(""), signed("ana")), ("ana".into(), "ana".into()));
        let anybody = Caller(Arc::new(Principal::anonymous()));
        assert_eq!(anybody.sign(ask("ci-17")).actor, "ci-17");
    }

    #[test]
    fn the_audit_log_is_seen_by_model() {
        let films = vec!["films".parse().unwrap()];
        let ana = Caller(Arc::new(Principal::new("ana", Role::Viewer, films)));
        for (subject, seen) in [
            ("films", true),
            ("films/main", true),
            ("books/main", false),
            ("access:eve", false),
            ("cluster", false),
            ("", false),
        ] {
            assert_eq!(ana.may_see_audit(subject).is_ok(), seen, "{subject}");
        }
        let eve = Caller(Arc::new(Principal::new("eve", Role::Viewer, Vec::new())));
        assert!(eve.may_see_audit("").is_ok() && eve.may_see_audit("access:eve").is_ok());
    }
}
