//! Principals on the wire and in the domain.

use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use decant_model::access::{Access, Principal, Role};
use decant_model::{Digest, ModelName};

use super::v1 as wire;

impl From<Role> for wire::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Publisher => Self::Publisher,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

impl wire::Role {
    /// The role that is meant; none when none was set.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Unspecified => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Publisher => Some(Role::Publisher),
            Self::Operator => Some(Role::Operator),
            Self::Admin => Some(Role::Admin),
        }
    }
}

/// A principal that cannot be understood, as from a newer registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalError {
    name: String,
    reason: String,
}

impl fmt::Display for PrincipalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason } = self;
        write!(
            formatter,
            "principal `{name}` cannot be understood: {reason}"
        )
    }
}

impl Error for PrincipalError {}

/// Adds a principal to those that may call. One that cannot be understood as a whole is not added: what is left of it might
/// be allowed more than was meant.
///
/// # Errors
/// What cannot be understood of it.
pub fn insert(access: &mut Access, told: wire::Principal) -> Result<(), PrincipalError> {
    let refuse = |reason: String| PrincipalError {
        name: told.name.clone(),
        reason,
    };
    let role = told.role().role();
    let role = role.ok_or_else(|| refuse(format!("its role is {}", told.role)))?;
    let models = told.models.iter().map(|model| model.parse::<ModelName>());
    let models = models
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refuse(error.to_string()))?;
    let token = match told.token_digest.as_str() {
        "" => None,
        digest => {
            let digest = digest.parse::<Digest>();
            Some(digest.map_err(|error| refuse(error.to_string()))?)
        }
    };
    let expires_at_millis = match told.expire_time {
        None => None,
        Some(time) => {
            let time = SystemTime::try_from(time).map_err(|error| refuse(error.to_string()))?;
            let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
            // Before 1970 is long over.
            let millis = since_1970.unwrap_or_default().as_millis();
            Some(u64::try_from(millis).unwrap_or(u64::MAX))
        }
    };
    let principal = Principal::new(told.name, role, models).until(expires_at_millis);
    access.insert(principal, token, told.identities);
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn each_role_comes_back_as_it_went() {
        for role in Role::ALL {
            assert_eq!(wire::Role::from(role).role(), Some(role));
        }
        assert_eq!(wire::Role::Unspecified.role(), None);
    }

    fn told() -> wire::Principal {
        wire::Principal {
            name: "ci".into(),
            role: wire::Role::Publisher.into(),
            models: vec!["films".into()],
            token_digest: Digest::of(b"dct_secret").to_string(),
            identities: vec!["spiffe://decant/ci".into()],
            expire_time: Some(Timestamp {
                seconds: 5,
                nanos: 0,
            }),
            ..wire::Principal::default()
        }
    }

    #[test]
    fn a_principal_is_found_by_all_that_it_shows() {
        let mut access = Access::default();
        insert(&mut access, told()).unwrap();
        let by_token = access.by_token("dct_secret").unwrap();
        assert_eq!(
            (by_token.name.as_str(), by_token.role),
            ("ci", Role::Publisher)
        );
        assert_eq!(by_token.expires_at_millis, Some(5_000));
        assert!(access.by_identities(["spiffe://decant/ci"]).is_some());
    }

    #[test]
    fn what_cannot_be_understood_is_allowed_nothing() {
        let with = |change: fn(&mut wire::Principal)| {
            let mut principal = told();
            change(&mut principal);
            let mut access = Access::default();
            let error = insert(&mut access, principal).unwrap_err().to_string();
            assert_eq!(access, Access::default());
            error
        };
        assert!(with(|told| told.role = 9).contains("`ci`"));
        assert!(with(|told| told.models.push("No".into())).contains("`No`"));
        assert!(with(|told| told.token_digest = "abc".into()).contains("abc"));
    }
}
