//! The client: typed calls, and who looks after the scorers meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use decant_proto::scorer::v1 as wire;
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, Binary, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use wire::scorer_service_client::ScorerServiceClient;

use crate::answer::{Answer, Ranked, Recommended, Scores, ranked, recommended, scores};
use crate::balance::ScorerStatus;
use crate::builder::Builder;
use crate::call::call;
use crate::columns::Columns;
use crate::error::{Error, Tried, Violation};
use crate::pool::Pool;
use crate::request::{Rank, Recommend};

/// No deadline is longer.
const LONGEST: Duration = Duration::from_secs(3600);
/// No answer may be larger; the largest are those of many items with many columns.
const LARGEST_ANSWER: usize = 64 << 20;
/// Says how much a request matters.
const PRIORITY: &str = "decant-priority";
/// Says who asks.
const CLIENT: &str = "decant-client";
const AUTHORIZATION: &str = "authorization";
/// Says which requests belong together.
const ROUTING_KEY: &str = "decant-routing-key-bin";

/// The scorers of one model's slot. Clones share connections and what is known of the scorers; the last one that is
/// dropped ends the tasks that look after them.
#[derive(Clone)]
pub struct Scorers {
    shared: Arc<Shared>,
    options: Options,
}

/// How much a request matters when a scorer has too much to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits, and nothing can stand in for the answer.
    Critical,
    /// Like most.
    #[default]
    Normal,
    /// The first to be refused: prefetching, shadow traffic, jobs that try again.
    Sheddable,
}

impl Priority {
    fn header(self) -> MetadataValue<Ascii> {
        MetadataValue::from_static(match self {
            Self::Critical => "critical",
            Self::Normal => "normal",
            Self::Sheddable => "sheddable",
        })
    }
}

/// What can be said for each call.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) deadline: Duration,
    pub(crate) priority: Priority,
    pub(crate) routing_key: Option<MetadataValue<Binary>>,
}

/// What all clones share.
pub(crate) struct Shared {
    pub(crate) pool: Arc<Pool>,
    pub(crate) model: wire::ModelRef,
    pub(crate) client: Option<MetadataValue<Ascii>>,
    pub(crate) token: Option<MetadataValue<Ascii>>,
    /// They end when this is dropped.
    pub(crate) _tasks: JoinSet<()>,
}

impl Scorers {
    /// Says where the scorers are and what they are asked for.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(shared: Shared, options: Options) -> Self {
        Self {
            shared: Arc::new(shared),
            options,
        }
    }

    /// The same scorers, asked with this deadline: the time for a whole call, all attempts together.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let mut changed = self.clone();
        changed.options.deadline = deadline;
        changed
    }

    /// The same scorers, asked with this priority.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        let mut changed = self.clone();
        changed.options.priority = priority;
        changed
    }

    /// The same scorers, asked with this routing key, such as the id of the user for whom they are asked: while a slot's
    /// traffic is split between versions, all requests of one key are answered by the same version, whichever scorer is
    /// asked. Requests without a key, or with an empty one, are shared out by chance. Scorers refuse keys of more than 1 KiB.
    #[must_use]
    pub fn with_routing_key(&self, key: impl AsRef<[u8]>) -> Self {
        let mut changed = self.clone();
        changed.options.routing_key = Some(MetadataValue::from_bytes(key.as_ref()));
        changed
    }

    /// Rows of features to scores. The columns are those of users, contexts and items, one value each for each row.
    ///
    /// # Errors
    /// [`Error`] says what there is.
    pub async fn score(&self, columns: &Columns) -> Result<Scores, Error> {
        valid(columns.violations("columns"))?;
        let send = |channel, left| {
            let request = wire::ScoreRequest {
                model: Some(self.shared.model.clone()),
                columns: columns.to_wire(),
            };
            let request = self.request(request, left);
            async move { client(channel).score(request).await }
        };
        let (response, tried) = self.ask(send).await?;
        scores(response, columns.rows()).map_err(|reason| nonsense(reason, tried))
    }

    /// One user and some candidates to the best of the candidates.
    ///
    /// # Errors
    /// [`Error`] says what there is.
    pub async fn rank(&self, rank: &Rank) -> Result<Ranked, Error> {
        valid(rank.violations())?;
        let send = |channel, left| {
            let request = self.request(rank.to_wire(self.shared.model.clone()), left);
            async move { client(channel).rank(request).await }
        };
        let (response, tried) = self.ask(send).await?;
        ranked(response, rank.candidates()).map_err(|reason| nonsense(reason, tried))
    }

    /// One user to the best items of the version's catalog.
    ///
    /// # Errors
    /// [`Error`] says what there is.
    pub async fn recommend(&self, recommend: &Recommend) -> Result<Recommended, Error> {
        valid(recommend.violations())?;
        let send = |channel, left| {
            let request = self.request(recommend.to_wire(self.shared.model.clone()), left);
            async move { client(channel).recommend(request).await }
        };
        let (response, tried) = self.ask(send).await?;
        recommended(response).map_err(|reason| nonsense(reason, tried))
    }

    /// The scorers that are known now and how they are seen from here, for logs and metrics.
    pub fn statuses(&self) -> Vec<ScorerStatus> {
        self.shared.pool.statuses()
    }

    async fn ask<T, F>(&self, send: impl Fn(Channel, Duration) -> F) -> Result<(T, Tried), Error>
    where
        T: Answer,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = self.options.deadline.min(LONGEST);
        call(&self.shared.pool, deadline, send).await
    }

    /// An attempt's message and headers; the scorer is told the time that is left.
    fn request<T>(&self, message: T, left: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(left);
        let headers = request.metadata_mut();
        headers.insert(PRIORITY, self.options.priority.header());
        if let Some(client) = &self.shared.client {
            headers.insert(CLIENT, client.clone());
        }
        if let Some(token) = &self.shared.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        if let Some(key) = &self.options.routing_key {
            headers.insert_bin(ROUTING_KEY, key.clone());
        }
        request
    }
}

fn client(channel: Channel) -> ScorerServiceClient<Channel> {
    ScorerServiceClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

fn valid(violations: Vec<Violation>) -> Result<(), Error> {
    if violations.is_empty() {
        return Ok(());
    }
    let tried = Tried::default();
    Err(Error::Invalid { violations, tried })
}

fn nonsense(reason: String, tried: Tried) -> Error {
    Error::Unexpected {
        code: Code::Internal,
        message: format!("the answer makes no sense: {reason}"),
        tried,
    }
}
