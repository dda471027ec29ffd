//! What a service depends on to call scorers.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use decant_client::{Rank, Row, Scorers};
//!
//! let scorers = Scorers::builder()
//!     .dns("scorers.ranking.svc:7430") // or .endpoint("http://10.0.0.1:7430"), several times
//!     .model("movielens")
//!     .client("feed")
//!     .build()?;
//! let user = Row::new().text("user_id", "13").int("age", 47);
//! let ranked = scorers.rank(&Rank::items(user, ["50", "181", "258"]).top(2)).await?;
//! for item in &ranked.items {
//!     println!("{} {:.3}, by version {}", item.id, item.score, ranked.served_by.version);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Build one client for each model's slot, keep it, and clone it freely: clones share connections.
//!
//! # Releases
//!
//! While a new version is released it answers a share of the requests. To keep each user with one version, say for whom you
//! ask: `scorers.with_routing_key(user_id).rank(…)`. Each answer says which version it is from.
//!
//! # Deadlines
//!
//! A call has one deadline, 100 ms unless it is told otherwise, in which all attempts must find room. Each attempt tells
//! the scorer, by `grpc-timeout`, what is left of it. Dropping a call cancels it at the scorer.
//!
//! # Retries
//!
//! Score, Rank and Recommend change nothing, so an attempt that failed can be made again. Clients in other languages
//! should do the same:
//!
//! | an attempt ends with | what the client does | when nothing is left to try |
//! |---|---|---|
//! | UNAVAILABLE | asks another scorer at once | [`Error::NotReady`] |
//! | no connection, or one that broke before the answer | asks another scorer at once | [`Error::NotReady`] |
//! | RESOURCE_EXHAUSTED | asks another scorer at once; if there is none, waits for what `google.rpc.RetryInfo` says | [`Error::Busy`] |
//! | no answer when half of the time left has passed | asks another scorer as well; the first answer counts | [`Error::Expired`] |
//! | DEADLINE_EXCEEDED, CANCELLED | gives up, unless another attempt is still at work | [`Error::Expired`] |
//! | INVALID_ARGUMENT, OUT_OF_RANGE | gives up | [`Error::Invalid`], with what `google.rpc.BadRequest` lists |
//! | NOT_FOUND | gives up | [`Error::NotFound`] |
//! | FAILED_PRECONDITION | gives up | [`Error::Precondition`] |
//! | INTERNAL and all others | gives up | [`Error::Unexpected`] |
//!
//! A call makes 4 attempts at most, and asks no scorer again before it has asked the others. When all have failed, it asks
//! them again after a pause of 5 to 10 ms, which doubles. All further attempts of all calls come out of a budget: 0.2 for
//! each call of the last 10 seconds or so, and one a second. When it is spent, a failure is final.
//!
//! # Balancing and ejection
//!
//! Of two scorers drawn at random, weighted by the load that they report in their answers, the one with fewer calls in
//! flight is asked. A scorer leaves the rotation when its connection breaks, or when it says UNAVAILABLE or is silent for
//! half of the deadline three times in a row; silence alone never takes out more than half of the scorers. It is out for
//! up to 0.2 s at first, then twice as long each time, up to 10 s. It comes back when `grpc.health.v1.Health/Check` says
//! that it serves `MODEL/SLOT`; the next failure ejects it again, unless an answer comes first. When all are out, all are
//! asked.

mod scorers;
mod builder;
mod columns;
mod request;
mod answer;
mod error;
mod call;
mod balance;
mod pool;
mod connect;
mod resolve;
mod probe;

pub use answer::{Arm, Ranked, RankedItem, Recommended, RecommendedItem, Scores, ServedBy, Times};
pub use balance::ScorerStatus;
pub use builder::{BuildError, Builder};
pub use columns::{Columns, Row, Value};
pub use connect::Tls;
pub use error::{Error, Tried, Violation};
pub use request::{Rank, Recommend};
pub use resolve::Resolver;
pub use scorers::{Priority, Scorers};
pub use tonic::Code;
