//! Who may do what: principals, the roles that they have on models, and how a credential finds its principal.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Digest, ModelName};

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// See models, versions, slots, rollouts and jobs.
    View,
    /// Ask for scores.
    Score,
    /// Train, and push versions.
    Publish,
    /// Release versions, and take them back.
    Operate,
    /// Change who may do what, and care for the store.
    Administer,
}

impl Permission {
    /// As errors name it.
    pub fn name(self) -> &'static str {
        match self {
            Permission::View => "view",
            Permission::Score => "score",
            Permission::Publish => "publish",
            Permission::Operate => "operate",
            Permission::Administer => "administer",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A set of permissions with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees and asks for scores.
    Viewer,
    /// Also trains and pushes.
    Publisher,
    /// A viewer who also releases.
    Operator,
    /// May everything.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Publisher, Role::Operator, Role::Admin];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Publisher => "publisher",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// Whether it holds a permission.
    pub fn has(self, permission: Permission) -> bool {
        match permission {
            Permission::View | Permission::Score => true,
            Permission::Publish => matches!(self, Role::Publisher | Role::Admin),
            Permission::Operate => matches!(self, Role::Operator | Role::Admin),
            Permission::Administer => self == Role::Admin,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Role::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| {
            format!("`{text}` is no role; there are viewer, publisher, operator and admin")
        })
    }
}

/// What somebody showed, and is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A token.
    Token,
    /// A certificate with this identity.
    Identity(String),
}

/// Somebody who calls: a person or a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What the audit log calls them.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// The models that the role is for; empty means all.
    pub models: Vec<ModelName>,
    /// When their credentials end, milliseconds since 1970.
    pub expires_at_millis: Option<u64>,
    /// Nobody was asked who they are.
    anonymous: bool,
    /// What they are found by in a table.
    known_by: Option<Credential>,
}

/// What a principal lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` lacks permission `{permission}`{}; {} it", on(.model), holders(*.permission))]
pub struct Denied {
    /// Who.
    pub name: String,
    /// Which.
    pub permission: Permission,
    /// On which model; `None` means on all of them.
    pub model: Option<ModelName>,
}

fn on(model: &Option<ModelName>) -> String {
    match model {
        Some(model) => format!(" on model `{model}`"),
        None => " on all models".to_owned(),
    }
}

fn holders(permission: Permission) -> String {
    let names: Vec<&str> = Role::ALL
        .into_iter()
        .filter(|role| role.has(permission))
        .map(Role::name)
        .collect();
    match names.as_slice() {
        [one] => format!("role {one} has"),
        names => format!("roles {} have", names.join(", ")),
    }
}

impl Principal {
    /// A principal whose credentials do not end.
    pub fn new(name: impl Into<String>, role: Role, models: Vec<ModelName>) -> Self {
        Self {
            name: name.into(),
            role,
            models,
            expires_at_millis: None,
            anonymous: false,
            known_by: None,
        }
    }

    /// The same, whose credentials end then.
    #[must_use]
    pub fn until(self, expires_at_millis: Option<u64>) -> Self {
        Self {
            expires_at_millis,
            ..self
        }
    }

    /// Whoever calls where nobody is asked who they are: may everything.
    pub fn anonymous() -> Self {
        Self {
            anonymous: true,
            ..Self::new("anonymous", Role::Admin, Vec::new())
        }
    }

    /// Whether nobody was asked who they are.
    pub fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// What they showed; none for who was found in no table.
    pub fn known_by(&self) -> Option<&Credential> {
        self.known_by.as_ref()
    }

    /// Whether they have a permission on at least one model: what can be said before a request is read.
    ///
    /// # Errors
    /// What they lack.
    pub fn may_somewhere(&self, permission: Permission) -> Result<(), Denied> {
        if self.role.has(permission) {
            Ok(())
        } else {
            Err(self.denied(permission, None))
        }
    }

    /// Whether they have a permission on this model.
    ///
    /// # Errors
    /// What they lack.
    pub fn may(&self, permission: Permission, model: &ModelName) -> Result<(), Denied> {
        if self.role.has(permission) && (self.models.is_empty() || self.models.contains(model)) {
            Ok(())
        } else {
            Err(self.denied(permission, Some(model.clone())))
        }
    }

    /// Whether they have a permission on all models, as what concerns the whole cluster needs.
    ///
    /// # Errors
    /// What they lack.
    pub fn may_everywhere(&self, permission: Permission) -> Result<(), Denied> {
        if self.role.has(permission) && self.models.is_empty() {
            Ok(())
        } else {
            Err(self.denied(permission, None))
        }
    }

    fn denied(&self, permission: Permission, model: Option<ModelName>) -> Denied {
        Denied {
            name: self.name.clone(),
            permission,
            model,
        }
    }
}

/// All principals, found by what they show: the sha256 of a token, or an identity of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    by_token: BTreeMap<Digest, Arc<Principal>>,
    by_identity: BTreeMap<String, Arc<Principal>>,
}

impl Access {
    /// Adds a principal with what it shows. What was known by the same credential before is known no more.
    pub fn insert(
        &mut self,
        principal: Principal,
        tokens: impl IntoIterator<Item = Digest>,
        identities: impl IntoIterator<Item = String>,
    ) {
        let known_by = |credential| {
            Arc::new(Principal {
                known_by: Some(credential),
                ..principal.clone()
            })
        };
        for token in tokens {
            self.by_token.insert(token, known_by(Credential::Token));
        }
        for identity in identities {
            let found = known_by(Credential::Identity(identity.clone()));
            self.by_identity.insert(identity, found);
        }
    }

    /// Adds another table to this one.
    pub fn extend(&mut self, other: &Access) {
        let tokens = other.by_token.iter();
        self.by_token
            .extend(tokens.map(|(key, one)| (*key, Arc::clone(one))));
        let identities = other.by_identity.iter();
        self.by_identity
            .extend(identities.map(|(key, one)| (key.clone(), Arc::clone(one))));
    }

    /// Whose token this is. Only its digest is compared: what it takes tells nothing of the token.
    pub fn by_token(&self, token: &str) -> Option<&Arc<Principal>> {
        self.by_token.get(&Digest::of(token.as_bytes()))
    }

    /// Whose certificate this is, by the first of its identities that is known.
    pub fn by_identities<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a str>,
    ) -> Option<&Arc<Principal>> {
        identities
            .into_iter()
            .find_map(|identity| self.by_identity.get(identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> ModelName {
        name.parse().unwrap()
    }

    #[test]
    fn a_role_is_for_its_models_and_what_is_missing_is_named() {
        let ana = Principal::new("ana", Role::Operator, vec![model("films")]);
        assert_eq!(ana.may(Permission::Operate, &model("films")), Ok(()));
        assert_eq!(
            ana.may(Permission::Operate, &model("books"))
                .unwrap_err()
                .to_string(),
            "`ana` lacks permission `operate` on model `books`; roles operator, admin have it"
        );
        assert_eq!(
            ana.may_everywhere(Permission::Administer)
                .unwrap_err()
                .to_string(),
            "`ana` lacks permission `administer` on all models; role admin has it"
        );
        assert!(ana.may_everywhere(Permission::View).is_err());
        assert!(ana.may_somewhere(Permission::View).is_ok());
        assert!(ana.may(Permission::Publish, &model("films")).is_err());
    }

    #[test]
    fn credentials_find_their_principal_only() {
        let mut access = Access::default();
        let token = Digest::of(b"dct_secret");
        let ci = Principal::new("ci", Role::Publisher, Vec::new());
        access.insert(ci, [token], ["spiffe://decant/ci".to_owned()]);
        let by_token = access.by_token("dct_secret").unwrap();
        assert_eq!(by_token.name, "ci");
        assert_eq!(by_token.known_by(), Some(&Credential::Token));
        assert!(access.by_token("dct_secreu").is_none());
        let shown = ["dns:ci", "spiffe://decant/ci"];
        let by_identity = access.by_identities(shown).unwrap();
        assert_eq!(by_identity.name, "ci");
        let identity = Credential::Identity("spiffe://decant/ci".to_owned());
        assert_eq!(by_identity.known_by(), Some(&identity));
        assert!(access.by_identities(["dns:ci"]).is_none());
    }
}
