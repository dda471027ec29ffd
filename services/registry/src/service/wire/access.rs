//! Principals.

use decant_coordination::access::Principals;
use decant_coordination::keys::AccessRecord;
use decant_model::{Digest, ModelName, PrincipalName};
use decant_proto::access::v1 as proto;

use super::{millis, timestamp};
use crate::access::Adding;
use crate::error::CallError;

pub(in crate::service) fn principal_name(name: &str) -> Result<PrincipalName, CallError> {
    name.parse().map_err(CallError::name("name"))
}

/// The principal that a request asks to add.
pub(in crate::service) fn adding(request: proto::AddPrincipalRequest) -> Result<Adding, CallError> {
    let role = request.role().role();
    let role = role.ok_or_else(|| CallError::field("role", "not given"))?;
    let models = request.models.iter().enumerate().map(|(place, model)| {
        let parsed = model.parse::<ModelName>();
        parsed.map_err(|error| CallError::field(format!("models[{place}]"), error))
    });
    let token = match request.token_digest.as_str() {
        "" => None,
        digest => {
            let digest = digest.parse::<Digest>();
            Some(digest.map_err(|error| CallError::field("token_digest", error))?)
        }
    };
    let expires_at_millis = match request.expire_time {
        None => None,
        Some(time) => Some(millis("expire_time", time)?),
    };
    Adding::check(
        principal_name(&request.name)?,
        role,
        models.collect::<Result<_, _>>()?,
        token,
        request.identities,
        expires_at_millis,
    )
}

pub(in crate::service) fn principals(principals: &Principals) -> Vec<proto::Principal> {
    let principals = principals.iter();
    principals
        .map(|(name, record)| principal(name, record))
        .collect()
}

pub(in crate::service) fn principal(
    name: &PrincipalName,
    record: &AccessRecord,
) -> proto::Principal {
    let token = record.token_sha256;
    proto::Principal {
        name: name.to_string(),
        role: proto::Role::from(record.role).into(),
        models: record.models.iter().map(ToString::to_string).collect(),
        token_digest: token.map(|digest| digest.to_string()).unwrap_or_default(),
        identities: record.identities.clone(),
        expire_time: record.expires_at_millis.and_then(timestamp),
        create_time: timestamp(record.created_at_millis),
        issued_by: record.issued_by.clone(),
    }
}
