//! Ranks candidates for a user, as a service that serves a feed would: a client for the whole life of the service, and one
//! call for each page.
//!
//! `cargo run --package decant-client --example rank -- http://127.0.0.1:7430`

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use decant_client::{Error, Priority, Rank, Row, Scorers};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    let scorers = connect(&addresses)?;
    print_page(&scorers, &mut io::stdout()).await
}

/// The client. One is enough for the whole process; clones share its connections.
pub(crate) fn connect(addresses: &[String]) -> anyhow::Result<Scorers> {
    let mut builder = Scorers::builder()
        .model("movielens")
        .client("rank-example")
        .deadline(Duration::from_secs(1));
    for address in addresses {
        builder = builder.endpoint(address);
    }
    builder
        .build()
        .context("usage: rank http://HOST:PORT [http://HOST:PORT...]")
}

/// Ranks some films for a user, best first.
pub(crate) async fn print_page(scorers: &Scorers, out: &mut impl Write) -> anyhow::Result<()> {
    let user = Row::new()
        .text("user_id", "13")
        .int("age", 47)
        .text("gender", "M")
        .text("occupation", "educator");
    let page = Rank::items(user, ["50", "181", "258", "100"]).top(3);
    // Somebody waits for this page: a scorer with too much to do refuses others first.
    match scorers.with_priority(Priority::Critical).rank(&page).await {
        Ok(ranked) => {
            let by = &ranked.served_by;
            writeln!(
                out,
                "{}/{}, version {}, {}",
                by.model, by.slot, by.version, by.arm
            )?;
            for item in &ranked.items {
                writeln!(out, "{:>6}  {:.3}", item.id, item.score)?;
            }
        }
        // The client has tried all that its deadline allows. A feed has something else to show then.
        Err(error @ (Error::NotReady { .. } | Error::Busy { .. } | Error::Expired { .. })) => {
            writeln!(out, "unranked: {error}")?;
        }
        // A request that is wrong, or a model that is not there, is a fault of this program.
        Err(error) => return Err(error).context("rank the page"),
    }
    Ok(())
}
