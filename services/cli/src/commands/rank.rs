//! `decant rank`: candidate items in order, best first.

use clap::Args;
use decant_proto::scorer::v1::RankRequest;
use decant_proto::scorer::v1::rank_request::Candidates;

use crate::commands::score::{Target, query};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::{json, names};

/// What `rank` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// User and context features: one row, written as for `decant score --row`.
    #[arg(long, value_name = "ROW")]
    query: String,
    /// The candidates' ids, from the version's catalog; separated by commas.
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    items: Vec<String>,
    /// How many of the best to show; 0 shows all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    top: u32,
}

/// Carries out `decant rank`.
pub(crate) async fn execute(context: &Context, arguments: Arguments) -> Result<Exit, Failure> {
    let request = RankRequest {
        query: query(&arguments.query)?,
        model: arguments.target.into_wire(),
        candidates: Some(Candidates::ItemIds(arguments.items.iter().collect())),
        top_k: arguments.top,
    };
    let response = context.scorer.rank(request).await?;
    let by = response.served_by.as_ref();
    context.output.result(
        || json::items(by, &response.items),
        |palette| {
            let mut table = Table::new([">RANK", "ITEM", ">SCORE"]);
            for (number, item) in response.items.iter().enumerate() {
                let rank = (number + 1).to_string();
                table.row([
                    Cell::from(rank),
                    Cell::from(item.id),
                    Cell::from(format!("{:.6}", item.score)),
                ]);
            }
            format!("{}\n{}\n", table.render(palette), names::served_by(by))
        },
    )?;
    Ok(Exit::Ok)
}
