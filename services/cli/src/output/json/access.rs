//! Principals.

use decant_proto::access::v1::who_am_i_response::KnownBy;
use decant_proto::access::v1::{Principal, WhoAmIResponse};
use serde_json::{Value, json};

use super::time;
use crate::output::names;

/// A principal. Its role is as it is typed.
pub(crate) fn principal(principal: &Principal) -> Value {
    json!({
        "name": principal.name,
        "role": names::role(principal.role),
        "models": principal.models,
        "token_digest": principal.token_digest,
        "identities": principal.identities,
        "expire_time": time(principal.expire_time.as_ref()),
        "create_time": time(principal.create_time.as_ref()),
        "issued_by": principal.issued_by,
    })
}

/// A principal that was added, or would be; and its token, if it has one.
pub(crate) fn added_principal(added: &Principal, token: Option<&str>, dry_run: bool) -> Value {
    json!({ "principal": principal(added), "token": token, "dry_run": dry_run })
}

/// Who the user is.
pub(crate) fn who_am_i(me: &WhoAmIResponse) -> Value {
    let (known_by, identity) = match &me.known_by {
        None => (Value::Null, None),
        Some(KnownBy::Token(_)) => ("token".into(), None),
        Some(KnownBy::Identity(identity)) => ("identity".into(), Some(identity)),
        Some(KnownBy::Nothing(_)) => ("nothing".into(), None),
    };
    json!({
        "name": me.name,
        "role": names::role(me.role),
        "models": me.models,
        "expire_time": time(me.expire_time.as_ref()),
        "known_by": known_by,
        "identity": identity,
    })
}
