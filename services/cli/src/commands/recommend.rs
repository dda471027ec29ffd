//! `decant recommend`: the best items of the catalog.

use clap::Args;
use decant_proto::scorer::v1::{RecommendRequest, RecommendResponse};

use crate::commands::read_text;
use crate::commands::score::{Target, query};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::Palette;
use crate::output::{json, names};

/// What `recommend` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// User and context features: one row, written as for `decant score --row`.
    #[arg(long, value_name = "ROW")]
    query: String,
    /// How many items.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Ids of items to leave out, separated by commas.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    exclude: Vec<String>,
    /// A file with ids of items to leave out, separated by commas, spaces or line ends; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    exclude_file: Option<String>,
    /// Columns of the catalog to show with each item, separated by commas, such as title,year.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    show: Vec<String>,
}

/// Carries out `decant recommend`.
pub(crate) async fn execute(context: &Context, arguments: Arguments) -> Result<Exit, Failure> {
    let mut exclude_item_ids = arguments.exclude;
    if let Some(path) = &arguments.exclude_file {
        let is_separator = |c: char| c == ',' || c.is_whitespace();
        let text = read_text(path)?;
        exclude_item_ids.extend(
            text.split(is_separator)
                .filter(|id| !id.is_empty())
                .map(str::to_owned),
        );
    }
    let request = RecommendRequest {
        query: query(&arguments.query)?,
        model: arguments.target.into_wire(),
        top_k: arguments.top,
        exclude_item_ids,
        return_columns: arguments.show.clone(),
    };
    let response = context.scorer.recommend(request).await?;
    context.output.result(
        || json::items(response.served_by.as_ref(), &response.items),
        |palette| table(&response, &arguments.show, palette),
    )?;
    Ok(Exit::Ok)
}

fn table(response: &RecommendResponse, show: &[String], palette: Palette) -> String {
    let shown: Vec<String> = show.iter().map(|column| column.to_uppercase()).collect();
    let mut table = Table::new(
        [">RANK", "ITEM", ">SCORE"]
            .into_iter()
            .chain(shown.iter().map(String::as_str)),
    );
    for (number, item) in response.items.iter().enumerate() {
        let mut cells = vec![
            Cell::from((number + 1).to_string()),
            Cell::from(item.id),
            Cell::from(format!("{:.6}", item.score)),
        ];
        let attribute = |column: &String| item.attributes?.get(column).map(String::as_str);
        cells.extend(
            show.iter()
                .map(|column| Cell::from(attribute(column).unwrap_or_default())),
        );
        table.row(cells);
    }
    format!(
        "{}\n{}\n",
        table.render(palette),
        names::served_by(response.served_by.as_ref())
    )
}
