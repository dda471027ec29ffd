//! A principal that is to be added.

use decant_coordination::keys::AccessRecord;
use decant_model::access::Role;
use decant_model::{Digest, ModelName, PrincipalName};

use crate::clock::now_millis;
use crate::error::{CallError, difference};

/// The most models and identities: what is kept of a principal is to stay small.
const MAX_MODELS: usize = 64;
const MAX_IDENTITIES: usize = 16;
/// The longest identity, in bytes.
const MAX_IDENTITY: usize = 256;

/// A principal that is to be added, checked.
pub(crate) struct Adding {
    pub(crate) name: PrincipalName,
    /// All but who added it, and when.
    pub(super) record: AccessRecord,
}

impl Adding {
    pub(crate) fn check(
        name: PrincipalName,
        role: Role,
        mut models: Vec<ModelName>,
        token_sha256: Option<Digest>,
        mut identities: Vec<String>,
        expires_at_millis: Option<u64>,
    ) -> Result<Self, CallError> {
        check_count("models", models.len(), MAX_MODELS)?;
        check_count("identities", identities.len(), MAX_IDENTITIES)?;
        for (place, identity) in identities.iter().enumerate() {
            if let Some(reason) = senseless(identity) {
                return Err(CallError::field(format!("identities[{place}]"), reason));
            }
        }
        if token_sha256.is_none() && identities.is_empty() {
            let reason = "neither a token nor an identity of a certificate is given: nobody could be known by that";
            return Err(CallError::field("token_digest", reason));
        }
        if expires_at_millis.is_some_and(|end| end <= now_millis()) {
            return Err(CallError::field("expire_time", "it is over already"));
        }
        models.sort();
        models.dedup();
        identities.sort();
        identities.dedup();
        Ok(Self {
            name,
            record: AccessRecord {
                role,
                models,
                token_sha256,
                identities,
                expires_at_millis,
                created_at_millis: 0,
                issued_by: String::new(),
            },
        })
    }

    /// The principal that has the name, if it is just this one.
    pub(super) fn same(&self, existing: AccessRecord) -> Result<AccessRecord, CallError> {
        let wanted = &self.record;
        let difference = difference([
            ("another role", existing.role != wanted.role),
            ("other models", existing.models != wanted.models),
            (
                "another token",
                existing.token_sha256 != wanted.token_sha256,
            ),
            ("other identities", existing.identities != wanted.identities),
            (
                "another end",
                existing.expires_at_millis != wanted.expires_at_millis,
            ),
        ]);
        match difference {
            None => Ok(existing),
            Some(difference) => Err(CallError::PrincipalDiffers {
                name: self.name.clone(),
                difference,
            }),
        }
    }

    /// Refuses a credential that another principal has: one of the two would not be known by it.
    pub(super) fn check_apart(
        &self,
        of: &PrincipalName,
        other: &AccessRecord,
    ) -> Result<(), CallError> {
        let same_token =
            self.record.token_sha256.is_some() && self.record.token_sha256 == other.token_sha256;
        let identities = self.record.identities.iter();
        let same_identity = identities
            .filter(|identity| other.identities.contains(identity))
            .map(|identity| format!("identity `{identity}`"));
        let same = same_token.then(|| "the token".to_owned());
        match same.into_iter().chain(same_identity).next() {
            None => Ok(()),
            Some(credential) => Err(CallError::CredentialTaken {
                credential,
                of: of.clone(),
            }),
        }
    }
}

fn check_count(field: &'static str, found: usize, limit: usize) -> Result<(), CallError> {
    if found > limit {
        let reason = format!("there are {found}, but at most {limit} are allowed");
        return Err(CallError::field(field, reason));
    }
    Ok(())
}

/// Why no certificate could have this identity.
fn senseless(identity: &str) -> Option<String> {
    let shown: String = identity.chars().take(MAX_IDENTITY).collect();
    let is_named = ["dns:", "cn:"].into_iter().any(|kind| {
        identity
            .strip_prefix(kind)
            .is_some_and(|name| !name.is_empty())
    });
    if identity.len() > MAX_IDENTITY {
        Some(format!("it has more than {MAX_IDENTITY} bytes"))
    } else if identity.chars().any(|c| c.is_control() || c == ' ') && !identity.starts_with("cn:") {
        Some(format!("`{}` has spaces in it", shown.escape_debug()))
    } else if !is_named && !identity.contains("://") {
        Some(format!(
            "`{shown}` is no identity: a URI such as spiffe://decant/trainer, dns:NAME or cn:NAME is expected"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adding(identities: &[&str], token: Option<&[u8]>) -> Result<Adding, CallError> {
        let identities = identities.iter().map(|one| (*one).to_owned()).collect();
        let films = vec!["films".parse().unwrap(); 2];
        Adding::check(
            "ci".parse().unwrap(),
            Role::Publisher,
            films,
            token.map(Digest::of),
            identities,
            None,
        )
    }

    #[test]
    fn what_no_certificate_has_is_refused_and_so_is_nothing_at_all() {
        for good in ["spiffe://decant/ci", "dns:ci.internal", "cn:Ana Lima"] {
            assert!(adding(&[good], None).is_ok(), "{good}");
        }
        for bad in ["ci", "dns:", "cn:", "spiffe://a b", &"x".repeat(300)] {
            let error = adding(&[bad], None).err().unwrap().to_string();
            assert!(error.starts_with("identities[0]: "), "{bad}: {error}");
        }
        let error = adding(&[], None).err().unwrap().to_string();
        assert!(error.starts_with("token_digest: neither"), "{error}");
        let known = adding(&["dns:b", "dns:a", "dns:b"], None).unwrap().record;
        assert_eq!((known.models.len(), known.identities.len()), (1, 2));
    }

    #[test]
    fn a_credential_is_of_one_principal_alone() {
        let first = adding(&["dns:a"], Some(b"one")).unwrap();
        let ana = "ana".parse().unwrap();
        let refused = |identities: &[&str], token: Option<&[u8]>| {
            let second = adding(identities, token).unwrap();
            let checked = second.check_apart(&ana, &first.record);
            checked.err().map(|error| error.to_string())
        };
        assert_eq!(refused(&["dns:b"], Some(b"two")), None);
        assert_eq!(refused(&["dns:b"], None), None);
        assert_eq!(
            refused(&["dns:b", "dns:a"], None).unwrap(),
            "identity `dns:a` is that of principal `ana` already"
        );
        assert_eq!(
            refused(&[], Some(b"one")).unwrap(),
            "the token is that of principal `ana` already"
        );
    }
}
