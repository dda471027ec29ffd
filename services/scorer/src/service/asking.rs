//! What a call says beside its message.

use tonic::Extensions;
use tonic::metadata::MetadataMap;

use super::caller::{Caller, KeptWho, Who};
use super::routing::{Kept, Routing};
use crate::error::{CallError, Violation};

/// A call's metadata, and what is wrong with it: that is told in one answer with what is wrong with the message.
pub(crate) struct Asking<'a> {
    pub(crate) caller: Caller,
    pub(crate) routing: Routing<'a>,
    pub(crate) who: Who<'a>,
    pub(crate) wrong: Vec<Violation>,
}

/// The same for all messages of a stream, which outlive what came with the call.
#[derive(Clone)]
pub(crate) struct KeptAsking {
    caller: Caller,
    routing: Kept,
    who: KeptWho,
}

impl<'a> Asking<'a> {
    pub(crate) fn read(metadata: &'a MetadataMap, extensions: &'a Extensions) -> Self {
        let mut wrong = Vec::new();
        let who = Who::read(extensions);
        let mut caller = Caller::read(metadata, &mut wrong);
        if let Some(client) = who.client() {
            caller.client = client;
        }
        let routing = Routing::read(metadata, extensions);
        let routing = routing.unwrap_or_else(|violation| {
            wrong.push(violation);
            Routing::Random
        });
        Self {
            caller,
            routing,
            who,
            wrong,
        }
    }

    /// The same for each message of a stream.
    ///
    /// # Errors
    /// What is wrong with the metadata, before there is any message.
    pub(crate) fn keep(self) -> Result<KeptAsking, CallError> {
        match self.wrong.is_empty() {
            false => Err(CallError::Invalid(self.wrong)),
            true => Ok(KeptAsking {
                caller: self.caller,
                routing: self.routing.keep(),
                who: self.who.keep(),
            }),
        }
    }

    /// What is wrong with the metadata before what is wrong with the message.
    pub(crate) fn with_wrong<T>(&mut self, read: Result<T, CallError>) -> Result<T, CallError> {
        read.map_err(|error| match error {
            CallError::Invalid(violations) => {
                self.wrong.extend(violations);
                CallError::Invalid(std::mem::take(&mut self.wrong))
            }
            other => other,
        })
    }
}

impl KeptAsking {
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking {
            caller: self.caller,
            routing: self.routing.routing(),
            who: self.who.who(),
            wrong: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use decant_model::access::{Principal, Role};

    use super::*;
    use crate::scoring::Client;

    #[test]
    fn limits_count_by_who_a_caller_is_and_else_by_the_name_that_it_gives() {
        let mut metadata = MetadataMap::new();
        let client = |metadata: &MetadataMap, principal: Option<Principal>| {
            let mut extensions = Extensions::new();
            if let Some(principal) = principal {
                extensions.insert(Arc::new(principal));
            }
            Asking::read(metadata, &extensions).caller.client
        };
        let ana = || Some(Principal::new("ana", Role::Viewer, Vec::new()));
        assert_eq!(client(&metadata, None), Client::UNKNOWN);
        assert_eq!(client(&metadata, ana()), Client::named(b"ana"));
        metadata.insert("decant-client", "feed".parse().unwrap());
        let feed = Client::named(b"feed");
        assert_eq!(client(&metadata, None), feed);
        assert_eq!(client(&metadata, Some(Principal::anonymous())), feed);
        assert_eq!(client(&metadata, ana()), Client::named(b"ana"));
    }
}
