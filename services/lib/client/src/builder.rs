//! Where the scorers are, what they are asked for, and how.

use std::sync::Arc;
use std::time::Duration;

use decant_proto::scorer::v1 as wire;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};

use crate::connect::{Address, Connector, Tls};
use crate::pool::Pool;
use crate::probe::keep_probing;
use crate::resolve::{Dns, Resolver, keep_resolving};
use crate::scorers::{Options, Priority, Scorers, Shared};

/// The slot that is asked unless another is named.
const MAIN: &str = "main";

/// Says where the scorers are and what they are asked for. Needed are [`model`](Self::model), and either
/// [`endpoint`](Self::endpoint)s or one of [`dns`](Self::dns) and [`resolver`](Self::resolver).
pub struct Builder {
    endpoints: Vec<String>,
    name: Option<(String, Box<dyn Resolver>)>,
    refresh: Duration,
    model: String,
    slot: String,
    client: Option<String>,
    tls: Option<Tls>,
    token: Option<String>,
    allow_plaintext: bool,
    deadline: Duration,
    priority: Priority,
    retry_share: f64,
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// Nothing says where the scorers are, or two things do.
    #[error("say where the scorers are: by endpoints, or by a name that is looked up")]
    NoScorers,
    /// An endpoint, or the name of all scorers, is no address.
    #[error("`{address}` is no address of a scorer: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing says which model is asked.
    #[error("say which model is asked")]
    NoModel,
    /// The certificates cannot be used.
    #[error("certificates: {0}")]
    Tls(String),
    /// An address is of https, and nobody says which certificates to trust; or the other way round.
    #[error("addresses of https and certificates to trust go together: give both or neither")]
    Scheme,
    /// The token fits into no header; it is not repeated here.
    #[error("the token must be visible ASCII")]
    Token,
    /// Whoever listens on the way to this address would read the token.
    #[error(
        "`{0}` is not over TLS, and whoever listens on the way would read the token: give certificates, or say that nobody \
         does by `allow_plaintext`"
    )]
    Plaintext(String),
    /// The name of the client fits into no header.
    #[error("the client's name `{0}` must be visible ASCII")]
    Client(String),
    /// There is no runtime for the tasks that look after the scorers.
    #[error("a client is built on a Tokio runtime")]
    NoRuntime,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            name: None,
            refresh: Duration::from_secs(10),
            model: String::new(),
            slot: MAIN.to_owned(),
            client: None,
            tls: None,
            token: None,
            allow_plaintext: false,
            deadline: Duration::from_millis(100),
            priority: Priority::Normal,
            retry_share: 0.2,
        }
    }
}

impl Builder {
    /// A scorer, as `http://host:port` or `https://host:port`; may be said several times. A host with several addresses
    /// counts as one scorer: use [`dns`](Self::dns) for those.
    #[must_use]
    pub fn endpoint(mut self, address: impl Into<String>) -> Self {
        self.endpoints.push(address.into());
        self
    }

    /// All scorers: each address of `host:port` is one, such as those of a headless Kubernetes service.
    #[must_use]
    pub fn dns(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.resolver(name.clone(), Dns(name))
    }

    /// All scorers, as somebody else finds them. They all go by `name`, a `host:port`.
    #[must_use]
    pub fn resolver(mut self, name: impl Into<String>, resolver: impl Resolver) -> Self {
        self.name = Some((name.into(), Box::new(resolver)));
        self
    }

    /// How often the name is looked up again; every 10 seconds, and at most a second after a connection broke.
    #[must_use]
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.refresh = interval;
        self
    }

    /// Which model is asked.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// Which slot of it; `main`, also when this is empty.
    #[must_use]
    pub fn slot(mut self, slot: impl Into<String>) -> Self {
        self.slot = slot.into();
        if self.slot.is_empty() {
            self.slot.push_str(MAIN);
        }
        self
    }

    /// Who asks, by which scorers tell their callers apart: the name of your service. Visible ASCII.
    #[must_use]
    pub fn client(mut self, name: impl Into<String>) -> Self {
        self.client = Some(name.into());
        self
    }

    /// Over TLS, with these certificates; names that are looked up are then of https.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The token that says who calls: over TLS, or to this machine.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Shows the token to other machines without TLS too, where whoever listens on the way can read and use it: inside a mesh
    /// that encrypts by itself.
    #[must_use]
    pub fn allow_plaintext(mut self) -> Self {
        self.allow_plaintext = true;
        self
    }

    /// The time for a call, all attempts together; 100 milliseconds.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How much calls matter; [`Priority::Normal`].
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// How many further attempts there may be for each call on the long run; 0.2. One a second is always allowed.
    #[must_use]
    pub fn retry_share(mut self, share: f64) -> Self {
        self.retry_share = share.clamp(0.0, 1.0);
        self
    }

    /// The client. It connects with its first calls, so scorers need not be there yet; names are looked up at once, and
    /// calls wait for the first result.
    ///
    /// # Errors
    /// When something is missing or malformed.
    pub fn build(self) -> Result<Scorers, BuildError> {
        if self.model.is_empty() {
            return Err(BuildError::NoModel);
        }
        if Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        let client = self.client.map(header).transpose()?;
        let token = self.token.map(bearer).transpose()?;
        if let Some(tls) = &self.tls {
            tls.check().map_err(BuildError::Tls)?;
        }
        let is_secure = self.tls.is_some();
        let must_stay_here = token.is_some() && !is_secure && !self.allow_plaintext;
        let scheme = if is_secure { "https" } else { "http" };
        let mut tasks = JoinSet::new();
        let pool = match (self.name, self.endpoints.is_empty()) {
            (None, false) => {
                let addresses = self
                    .endpoints
                    .iter()
                    .map(|endpoint| parse(endpoint, endpoint));
                let addresses: Vec<Address> = addresses.collect::<Result<_, _>>()?;
                if addresses.iter().any(|one| one.is_secure() != is_secure) {
                    return Err(BuildError::Scheme);
                }
                if must_stay_here {
                    addresses.iter().try_for_each(stays_here)?;
                }
                let pool = Arc::new(Pool::new(Connector::new(self.tls), self.retry_share));
                pool.replace(&addresses);
                pool
            }
            (Some((name, resolver)), true) => {
                let shared_name = parse(&name, &format!("{scheme}://{name}"))?;
                // Nobody knows yet which addresses it will have.
                if must_stay_here {
                    return Err(BuildError::Plaintext(shared_name.name.to_string()));
                }
                let connector = Connector::going_by(shared_name, self.tls);
                let pool = Arc::new(Pool::new(connector, self.retry_share));
                tasks.spawn(keep_resolving(
                    Arc::clone(&pool),
                    name,
                    resolver,
                    self.refresh,
                ));
                pool
            }
            (None, true) | (Some(_), false) => return Err(BuildError::NoScorers),
        };
        // The name under which scorers report that they serve the slot.
        let service = format!("{}/{}", self.model, self.slot);
        tasks.spawn(keep_probing(Arc::clone(&pool), service));
        let shared = Shared {
            pool,
            model: wire::ModelRef {
                model: self.model,
                slot: self.slot,
            },
            client,
            token,
            _tasks: tasks,
        };
        let options = Options {
            deadline: self.deadline,
            priority: self.priority,
            routing_key: None,
        };
        Ok(Scorers::new(shared, options))
    }
}

fn parse(given: &str, address: &str) -> Result<Address, BuildError> {
    Address::parse(address).map_err(|reason| BuildError::Address {
        address: given.to_owned(),
        reason,
    })
}

fn stays_here(address: &Address) -> Result<(), BuildError> {
    let refused = || BuildError::Plaintext(address.name.to_string());
    address.is_here().then_some(()).ok_or_else(refused)
}

fn bearer(token: String) -> Result<MetadataValue<Ascii>, BuildError> {
    let visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
    let mut header = header.ok().filter(|_| visible).ok_or(BuildError::Token)?;
    header.set_sensitive(true);
    Ok(header)
}

fn header(name: String) -> Result<MetadataValue<Ascii>, BuildError> {
    let visible = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    let header = name.parse().ok().filter(|_| visible);
    header.ok_or(BuildError::Client(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(builder: Builder) -> Result<(), BuildError> {
        builder.build().map(drop)
    }

    #[tokio::test]
    async fn a_client_needs_a_model_and_one_way_to_its_scorers() {
        let at = |address: &str| Scorers::builder().model("films").endpoint(address);
        assert_eq!(built(at("http://127.0.0.1:7430")), Ok(()));
        assert_eq!(
            built(Scorers::builder().model("films")),
            Err(BuildError::NoScorers)
        );
        assert_eq!(
            built(at("http://127.0.0.1:7430").dns("scorers:7430")),
            Err(BuildError::NoScorers)
        );
        assert_eq!(
            built(Scorers::builder().endpoint("http://127.0.0.1:7430")),
            Err(BuildError::NoModel)
        );
        for name in ["", "my feed", "fütter"] {
            let named = at("http://127.0.0.1:7430").client(name);
            assert_eq!(built(named), Err(BuildError::Client(name.to_owned())));
        }
    }

    #[tokio::test]
    async fn addresses_that_are_none_are_told_so() {
        let refused = |built: Result<(), BuildError>| built.unwrap_err().to_string();
        let at = |address: &str| refused(built(Scorers::builder().model("m").endpoint(address)));
        let prefix = |address: &str| format!("`{address}` is no address of a scorer: ");
        for (address, reason) in [
            ("scorer:7430", "it begins with neither http:// nor https://"),
            ("http://scorer", "it names no port"),
            ("http://scorer:7430/films", "something follows the port"),
            ("http://sco rer:7430", "it is no URI"),
        ] {
            assert_eq!(at(address), prefix(address) + reason);
        }
        let dns = Scorers::builder().model("m").dns("scorers");
        assert_eq!(refused(built(dns)), prefix("scorers") + "it names no port");
    }

    #[tokio::test]
    async fn certificates_and_tokens_that_cannot_be_used_are_told_so() {
        let at = |address: &str| Scorers::builder().model("m").endpoint(address);
        assert_eq!(
            built(at("https://scorer:7430")),
            Err(BuildError::Scheme),
            "nobody says whom to trust"
        );
        let nonsense = at("https://scorer:7430").tls(Tls::trusting("no certificate"));
        assert!(matches!(built(nonsense), Err(BuildError::Tls(_))));
        for token in ["", "two words"] {
            let error = built(at("http://scorer:7430").token(token)).unwrap_err();
            assert_eq!(error, BuildError::Token);
        }
        let refused = BuildError::Plaintext("http://scorer:7430".to_owned());
        let by_name = || Scorers::builder().model("m").dns("scorer:7430");
        for elsewhere in [at("http://scorer:7430"), by_name()] {
            assert_eq!(built(elsewhere.token("dct_1")), Err(refused.clone()));
        }
        assert_eq!(built(by_name().token("dct_1").allow_plaintext()), Ok(()));
        for here in ["http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"] {
            assert_eq!(built(at(here).token("dct_1")), Ok(()), "{here}");
        }
    }

    #[test]
    fn without_a_runtime_there_is_no_client() {
        let builder = Scorers::builder().model("m").endpoint("http://scorer:1");
        assert_eq!(built(builder), Err(BuildError::NoRuntime));
    }
}
