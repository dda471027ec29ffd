//! `decant score`: rows of features to scores. Also what the other two ways of asking a model share.

use clap::Args;
use decant_model::{ModelName, SlotName};
use decant_proto::scorer::v1::{Column, ModelRef, ScoreRequest, ScoreResponse};

use crate::columns::{self, Row};
use crate::commands::read_text;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::Palette;
use crate::output::{json, names};

/// What `score` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// A row such as 'user_id=196,genres=[Drama,War],age=49'; may be given several times. An integer is an int64,
    /// another number a float, a list in brackets a list of strings, anything else, and all that is quoted, a
    /// string; nothing after the = is a missing value.
    #[arg(long = "row", value_name = "ROW", required_unless_present = "json")]
    rows: Vec<String>,
    /// Read rows from a file: a JSON object, an array of objects, or one object a line; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "rows")]
    json: Option<String>,
}

/// Which model is asked.
#[derive(Args)]
pub(crate) struct Target {
    /// The model.
    model: ModelName,
    /// The slot.
    #[arg(long, default_value_t)]
    slot: SlotName,
}

impl Target {
    /// As the scorer's requests spell it.
    pub(crate) fn into_wire(self) -> Option<ModelRef> {
        Some(ModelRef {
            model: self.model.into(),
            slot: self.slot.into(),
        })
    }
}

/// The columns of one row that was given as an option.
pub(crate) fn query(text: &str) -> Result<Vec<Column>, Failure> {
    columns::from_rows(&[parse("--query", text)?]).map_err(Failure::usage)
}

/// Carries out `decant score`.
pub(crate) async fn execute(context: &Context, arguments: Arguments) -> Result<Exit, Failure> {
    let columns = match &arguments.json {
        None => {
            let rows: Vec<Row> = arguments
                .rows
                .iter()
                .map(|text| parse("--row", text))
                .collect::<Result<_, _>>()?;
            columns::from_rows(&rows).map_err(Failure::usage)?
        }
        Some(path) => {
            let in_file = |reason: String| Failure::usage(format!("{path}: {reason}"));
            let rows = columns::json::parse_rows(&read_text(path)?).map_err(in_file)?;
            columns::from_rows(&rows).map_err(in_file)?
        }
    };
    let response = context
        .scorer
        .score(ScoreRequest {
            model: arguments.target.into_wire(),
            columns,
        })
        .await?;
    context.output.result(
        || json::scores(&response),
        |palette| table(&response, palette),
    )?;
    Ok(Exit::Ok)
}

fn parse(option: &str, text: &str) -> Result<Row, Failure> {
    columns::text::parse_row(text)
        .map_err(|error| Failure::usage(format!("{option} '{text}': {error}")))
}

fn table(response: &ScoreResponse, palette: Palette) -> String {
    let mut table = Table::new([">ROW", ">SCORE"]);
    for (number, score) in response.scores.iter().enumerate() {
        table.row([
            Cell::from((number + 1).to_string()),
            Cell::from(format!("{score:.6}")),
        ]);
    }
    format!(
        "{}\n{}\n",
        table.render(palette),
        names::served_by(response.served_by.as_ref())
    )
}
