//! Who asks for a mutation, and how to know the request again.

use decant_chassis::telemetry::propagation;
use decant_coordination::keys::RequestId;
use decant_coordination::{Conflict, Epoch, Expect, Txn};
use decant_model::Digest;
use ulid::Ulid;

use crate::error::CallError;

/// The longest words about a change, in bytes: what is kept of it is to stay small.
const MAX_WORDS: usize = 256;
const MAX_REASON: usize = 1024;

/// A request for a mutation.
#[derive(Clone)]
pub(crate) struct Ask {
    /// What the caller named it; empty for no name.
    pub(crate) request_id: String,
    /// A name of ours for a request that has none.
    drawn: Ulid,
    /// Digest of what is asked for.
    pub(super) asked: Digest,
    pub(crate) actor: String,
    pub(crate) reason: String,
    /// The term of the leader that asks; none for operators.
    epoch: Option<Epoch>,
    /// The trace that it is part of, if it is part of one.
    trace: Option<String>,
}

impl Ask {
    /// The request of an operator or of another service.
    pub(crate) fn operator(
        request_id: String,
        issued_by: String,
        reason: String,
        message: &impl prost::Message,
    ) -> Result<Self, CallError> {
        check_words("request_id", &request_id, MAX_WORDS)?;
        check_words("issued_by", &issued_by, MAX_WORDS)?;
        check_words("reason", &reason, MAX_REASON)?;
        Ok(Self {
            request_id,
            drawn: Ulid::generate(),
            asked: Digest::of(&message.encode_to_vec()),
            actor: issued_by,
            reason,
            epoch: None,
            trace: propagation::current_traceparent(),
        })
    }

    /// What the registry's leader does by itself. `trace` is that of what it goes on with: it stays that of what is written,
    /// though this process itself takes no part in traces.
    pub(crate) fn leader(
        epoch: &Epoch,
        actor: &str,
        reason: impl Into<String>,
        trace: Option<&str>,
    ) -> Self {
        Self {
            request_id: String::new(),
            drawn: Ulid::generate(),
            asked: Digest::of(b""),
            actor: actor.to_owned(),
            reason: reason.into(),
            epoch: Some(epoch.clone()),
            trace: propagation::current_traceparent().or_else(|| trace.map(str::to_owned)),
        }
    }

    /// The same, of somebody who is known by another name.
    pub(crate) fn by(self, actor: String) -> Self {
        Self { actor, ..self }
    }

    /// A step of a larger request, which has no name of its own.
    pub(crate) fn step(&self) -> Self {
        Self {
            request_id: String::new(),
            drawn: Ulid::generate(),
            ..self.clone()
        }
    }

    /// The epoch that makes the mutation; 0 when an operator does.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.as_ref().map_or(0, |epoch| epoch.revision().0)
    }

    /// The trace that what is written for it is part of.
    pub(crate) fn trace(&self) -> Option<String> {
        self.trace.clone()
    }

    pub(super) fn id(&self) -> RequestId {
        // A byte that no text has sets our names apart from the callers'.
        let name = match &*self.request_id {
            "" => [&[0xff], self.drawn.to_string().as_bytes()].concat(),
            named => named.as_bytes().to_vec(),
        };
        RequestId(Digest::of(&name))
    }

    pub(super) fn fence(&self, txn: Txn) -> Txn {
        match &self.epoch {
            Some(epoch) => epoch.fence(txn),
            None => txn,
        }
    }

    /// Whether a conflict says that another leads by now: nothing else is compared by when it came into being.
    pub(super) fn is_fence(&self, conflict: &Conflict) -> bool {
        self.epoch.is_some() && matches!(conflict.expected, Expect::CreatedAt(_))
    }
}

fn check_words(field: &'static str, words: &str, limit: usize) -> Result<(), CallError> {
    if words.len() > limit {
        return Err(CallError::field(
            field,
            format!(
                "it has {} bytes, but at most {limit} are allowed",
                words.len()
            ),
        ));
    }
    Ok(())
}
