//! The contract between trainer and scorer: which inputs and outputs a graph has.
//!
//! | input | type | shape | there |
//! |---|---|---|---|
//! | `query_ids`, `query_weights` | int32, float | Q x query slots | when a user or context feature becomes ids |
//! | `query_dense` | float | Q x query dense columns | when a user or context feature stays a number |
//! | `item_ids`, `item_weights` | int32, float | N x item slots | when an item feature becomes ids |
//! | `item_dense` | float | N x item dense columns | when an item feature stays a number |
//!
//! Q is 1 or N. The one output, `score`, is float and has N values.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use crate::Error;

/// One of the graph's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    QueryIds,
    QueryWeights,
    QueryDense,
    ItemIds,
    ItemWeights,
    ItemDense,
}

impl Input {
    const ALL: [Input; 6] = [
        Input::QueryIds,
        Input::QueryWeights,
        Input::QueryDense,
        Input::ItemIds,
        Input::ItemWeights,
        Input::ItemDense,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Input::QueryIds => "query_ids",
            Input::QueryWeights => "query_weights",
            Input::QueryDense => "query_dense",
            Input::ItemIds => "item_ids",
            Input::ItemWeights => "item_weights",
            Input::ItemDense => "item_dense",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|input| input.name() == name)
    }

    /// Whether it is about the user and the context, and not about items.
    pub(crate) fn is_of_query(self) -> bool {
        matches!(
            self,
            Input::QueryIds | Input::QueryWeights | Input::QueryDense
        )
    }

    fn element(self) -> TensorElementType {
        match self {
            Input::QueryIds | Input::ItemIds => TensorElementType::Int32,
            _ => TensorElementType::Float32,
        }
    }
}

/// The name of the one output.
pub(crate) const SCORE: &str = "score";

/// How wide the encoded rows are that a graph takes; 0 where it has no such input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Widths {
    /// Id slots of a query row.
    pub query_slots: usize,
    /// Dense columns of a query row.
    pub query_dense: usize,
    /// Id slots of an item row.
    pub item_slots: usize,
    /// Dense columns of an item row.
    pub item_dense: usize,
}

impl Widths {
    /// Of one input.
    pub(crate) fn of(self, input: Input) -> usize {
        match input {
            Input::QueryIds | Input::QueryWeights => self.query_slots,
            Input::QueryDense => self.query_dense,
            Input::ItemIds | Input::ItemWeights => self.item_slots,
            Input::ItemDense => self.item_dense,
        }
    }
}

/// Holds a graph to the contract: its inputs in the graph's order, and their widths.
pub(crate) fn check(session: &Session) -> Result<(Vec<Input>, Widths), Error> {
    let mut order = Vec::with_capacity(session.inputs().len());
    let mut widths = [0; Input::ALL.len()];
    for outlet in session.inputs() {
        let Some(input) = Input::named(outlet.name()) else {
            let known = Input::ALL.map(Input::name).join(", ");
            return Err(Error::Contract(format!(
                "input `{}` is none of {known}",
                outlet.name()
            )));
        };
        let [rows, width] = shape(outlet, "input", input.element())?;
        free(outlet, "input", rows)?;
        widths[input as usize] = usize::try_from(width)
            .ok()
            .filter(|width| *width > 0)
            .ok_or_else(|| {
                Error::Contract(format!(
                    "input `{}` must say how wide its rows are, but says {width}",
                    input.name()
                ))
            })?;
        order.push(input);
    }
    let width = |input: Input| widths[input as usize];
    for (ids, weights) in [
        (Input::QueryIds, Input::QueryWeights),
        (Input::ItemIds, Input::ItemWeights),
    ] {
        if width(ids) != width(weights) {
            let (ids, weights, found) = (ids.name(), weights.name(), [width(ids), width(weights)]);
            return Err(Error::Contract(format!(
                "`{ids}` and `{weights}` differ in width: {found:?}"
            )));
        }
    }
    if width(Input::ItemIds) == 0 && width(Input::ItemDense) == 0 {
        return Err(Error::Contract(
            "it has neither `item_ids` nor `item_dense`, so nothing says how many rows there are"
                .into(),
        ));
    }
    check_output(session.outputs())?;
    let widths = Widths {
        query_slots: width(Input::QueryIds),
        query_dense: width(Input::QueryDense),
        item_slots: width(Input::ItemIds),
        item_dense: width(Input::ItemDense),
    };
    Ok((order, widths))
}

fn check_output(outputs: &[Outlet]) -> Result<(), Error> {
    let names = || {
        outputs
            .iter()
            .map(|output| format!("`{}`", output.name()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let [output] = outputs else {
        return Err(Error::Contract(format!(
            "one output, `{SCORE}`, is expected, but it has {}: {}",
            outputs.len(),
            names()
        )));
    };
    if output.name() != SCORE {
        return Err(Error::Contract(format!(
            "the output is called {}, not `{SCORE}`",
            names()
        )));
    }
    let [rows] = shape(output, "output", TensorElementType::Float32)?;
    free(output, "output", rows)
}

fn shape<const RANK: usize>(
    outlet: &Outlet,
    what: &str,
    element: TensorElementType,
) -> Result<[i64; RANK], Error> {
    let name = outlet.name();
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(Error::Contract(format!("{what} `{name}` is no tensor")));
    };
    if *ty != element {
        return Err(Error::Contract(format!(
            "{what} `{name}` has type {ty}, but {element} is expected"
        )));
    }
    <[i64; RANK]>::try_from(&shape[..]).map_err(|_| {
        Error::Contract(format!(
            "{what} `{name}` has shape {shape:?}, but {RANK} dimensions are expected"
        ))
    })
}

/// A batch size written into the graph would fit one size of request only.
fn free(outlet: &Outlet, what: &str, rows: i64) -> Result<(), Error> {
    if rows == -1 {
        return Ok(());
    }
    Err(Error::Contract(format!(
        "{what} `{}` is made for {rows} rows; the number of rows must be free",
        outlet.name()
    )))
}
