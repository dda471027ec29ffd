//! Who calls, and what the call's metadata says of its caller.

use std::sync::Arc;
use std::time::Instant;

use decant_chassis::auth;
use decant_model::ModelName;
use decant_model::access::{Permission, Principal};
use tonic::Extensions;
use tonic::codegen::http::{HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;

use super::deadline::deadline;
use crate::error::{CallError, Violation};
use crate::scoring::{Client, Priority};

/// What comes first under load: `critical`, `normal` (the default) or `sheddable`.
static PRIORITY: HeaderName = HeaderName::from_static("decant-priority");
/// The caller's name, for limits that count by client, where nobody is asked who they are.
static CLIENT: HeaderName = HeaderName::from_static("decant-client");

/// How a call is to be treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) deadline: Option<Instant>,
    pub(crate) priority: Priority,
    pub(crate) client: Client,
}

impl Caller {
    /// Reads the metadata, and notes what is wrong with it.
    pub(super) fn read(metadata: &MetadataMap, wrong: &mut Vec<Violation>) -> Self {
        let headers = metadata.as_ref();
        let priority = headers.get(&PRIORITY).map(HeaderValue::as_bytes);
        let priority = priority.and_then(|name| {
            let named = Priority::named(name);
            if named.is_none() {
                let reason = format!(
                    "`{}` is none of critical, normal and sheddable",
                    name.escape_ascii()
                );
                wrong.push(Violation::new(PRIORITY.as_str(), reason));
            }
            named
        });
        let client = headers.get(&CLIENT);
        Self {
            deadline: deadline(metadata),
            priority: priority.unwrap_or_default(),
            client: client.map_or(Client::UNKNOWN, |name| Client::named(name.as_bytes())),
        }
    }
}

/// Who calls; nobody where nobody is asked who they are, and then everything is allowed.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a>(Option<&'a Arc<Principal>>);

/// The same for all messages of a stream, which outlive what came with the call.
#[derive(Clone)]
pub(crate) struct KeptWho(Option<Arc<Principal>>);

impl<'a> Who<'a> {
    /// Who a call was found to be of, before it came here.
    pub(crate) fn read(extensions: &'a Extensions) -> Self {
        Self(auth::known(extensions))
    }

    /// Refuses who lacks a permission on a model.
    pub(crate) fn may(self, permission: Permission, model: &ModelName) -> Result<(), CallError> {
        match self.0 {
            None => Ok(()),
            Some(principal) => Ok(principal.may(permission, model)?),
        }
    }

    /// Whose limits count: a name that a caller gives itself is none that holds it to anything.
    pub(super) fn client(self) -> Option<Client> {
        let principal = self.0.filter(|principal| !principal.is_anonymous())?;
        Some(Client::named(principal.name.as_bytes()))
    }

    /// Whether a model is there for who calls.
    pub(crate) fn sees(self, model: &ModelName) -> bool {
        self.may(Permission::View, model).is_ok()
    }

    /// The same for each message of a stream.
    pub(crate) fn keep(self) -> KeptWho {
        KeptWho(self.0.cloned())
    }
}

impl KeptWho {
    pub(crate) fn who(&self) -> Who<'_> {
        Who(self.0.as_ref())
    }
}
