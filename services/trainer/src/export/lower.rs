//! Each part of a network in terms of ONNX operators.
//!
//! Everything linear in the input is split by side: the query's share is computed on Q rows, the item's on N, and the
//! sum broadcasts. For one query and 500 candidates the query's share costs one row, not 500.

use decant_features::{Layout, SideLayout};

use super::graph::{Element, Graph};
use super::users::{Past, Users};
use crate::network::{Affine, Network, Parameter, Parts};

/// The graph's inputs.
pub(super) struct Inputs {
    query: Rows,
    item: Rows,
}

/// The inputs of one side.
struct Rows {
    slots: usize,
    /// Ids and weights.
    ids: Option<[String; 2]>,
    dense: Option<String>,
}

/// One side of one network.
struct Side<'a> {
    layout: &'a SideLayout,
    /// Each slot's vector times its weight, where fields are not pooled: rows x (slots * embedding).
    flat: Option<String>,
    /// The same as rows x slots x embedding, where fields are pooled.
    vectors: Option<String>,
    /// Each field's vector, where fields are pooled: rows x (fields * embedding).
    fields: Option<String>,
    /// The sum of the slots' first-order weights: rows x 1.
    first_order: Option<String>,
    dense: Option<String>,
    /// Where the side's share of the network's input begins.
    first_column: usize,
}

impl Inputs {
    pub(super) fn declare(graph: &mut Graph, layout: &Layout) -> Self {
        let mut side = |prefix: &str, rows: &str, side: &SideLayout| {
            let name = |what: &str| format!("{prefix}_{what}");
            let ids = (side.slots > 0).then(|| {
                graph.input(&name("ids"), Element::Int32, rows, side.slots);
                graph.input(&name("weights"), Element::Float, rows, side.slots);
                [name("ids"), name("weights")]
            });
            let dense = (!side.dense.is_empty()).then(|| {
                graph.input(&name("dense"), Element::Float, rows, side.dense.len());
                name("dense")
            });
            Rows {
                slots: side.slots,
                ids,
                dense,
            }
        };
        Self {
            query: side("query", "Q", &layout.query),
            item: side("item", "N", &layout.item),
        }
    }
}

/// Adds a network; returns its logits, rows x 1. With `users` a history is not among the inputs.
pub(super) fn logit(
    graph: &mut Graph,
    inputs: &Inputs,
    network: &Network,
    users: Option<&Users>,
) -> String {
    let layout = network.layout();
    let table = Tables::new(graph, network);
    let past = users
        .zip(inputs.query.ids.as_ref())
        .and_then(|(users, [ids, _])| users.past(graph, ids, network));
    let item_column =
        layout.query.fields.len() * network.architecture().embedding + layout.query.dense.len();
    let sides = [
        side(
            graph,
            network,
            &table,
            &inputs.query,
            &layout.query,
            0,
            past.as_ref(),
        ),
        side(
            graph,
            network,
            &table,
            &inputs.item,
            &layout.item,
            item_column,
            None,
        ),
    ];
    let Parts {
        first_order,
        cross,
        cross_head,
        hidden,
    } = network.architecture().parts(network.dense());
    let mut terms = Vec::new();
    if let Some(affine) = first_order {
        terms.extend(linear(graph, &sides, &affine));
    }
    if network.architecture().interactions {
        terms.extend(interactions(graph, &sides));
    }
    if let Some(head) = cross_head {
        terms.extend(crossed(graph, &sides, &cross, head));
    }
    if let [first, rest @ ..] = &hidden[..] {
        terms.extend(perceptron(
            graph,
            network.architecture().embedding,
            &sides,
            first,
            rest,
        ));
    }
    add(graph, terms).unwrap_or_else(|| graph.floats("nothing", &[1, 1], &[0.0]))
}

/// The embedding table as constants.
struct Tables {
    vectors: Option<String>,
    first_order: Option<String>,
}

impl Tables {
    fn new(graph: &mut Graph, network: &Network) -> Self {
        let (table, embedding) = (network.table(), network.architecture().embedding);
        let rows: Vec<&[f32]> = table.values.chunks_exact(table.width.max(1)).collect();
        let column = |range: std::ops::Range<usize>| -> Vec<f32> {
            rows.iter()
                .flat_map(|row| &row[range.clone()])
                .copied()
                .collect()
        };
        let vectors = (embedding > 0)
            .then(|| graph.floats("embedding", &[rows.len(), embedding], &column(0..embedding)));
        let first_order = network.architecture().first_order.then(|| {
            graph.floats(
                "first_order",
                &[rows.len()],
                &column(embedding..embedding + 1),
            )
        });
        Self {
            vectors,
            first_order,
        }
    }
}

fn side<'a>(
    graph: &mut Graph,
    network: &Network,
    tables: &Tables,
    rows: &Rows,
    layout: &'a SideLayout,
    first_column: usize,
    past: Option<&Past<'_>>,
) -> Side<'a> {
    let mut side = Side {
        layout,
        flat: None,
        vectors: None,
        fields: None,
        first_order: None,
        dense: rows.dense.clone(),
        first_column,
    };
    let Some([ids, weights]) = &rows.ids else {
        return side;
    };
    // What the rows hold of it.
    let read: &SideLayout = past.map_or(layout, |past| past.layout);
    if read.slots == 0 {
        return side;
    }
    // In an ensemble a member may read fewer slots than the graph has.
    let [ids, weights] = [ids, weights].map(|input| {
        if rows.slots == read.slots {
            input.clone()
        } else {
            slice(graph, input, 0, read.slots)
        }
    });
    if let Some(table) = &tables.first_order {
        let gathered = graph.node("Gather", &[table, &ids]);
        let weighted = graph.node("Mul", &[&gathered, &weights]);
        let slots = graph.integers("slots", &[1]);
        side.first_order = Some(graph.node("ReduceSum", &[&weighted, &slots]));
    }
    if let Some(table) = &tables.vectors {
        let gathered = graph.node("Gather", &[table, &ids]);
        let embedding = network.architecture().embedding;
        if past.is_some() || needs_fields(network, read) {
            let last = graph.integers("last", &[2]);
            let column = graph.node("Unsqueeze", &[&weights, &last]);
            let vectors = graph.node("Mul", &[&gathered, &column]);
            side.fields = Some(pool(graph, &vectors, read, embedding));
            side.vectors = Some(vectors);
        } else {
            let shape = graph.integers("flat", &[0, (read.slots * embedding) as i64]);
            let flat = graph.node("Reshape", &[&gathered, &shape]);
            let weights = repeat_columns(graph, &weights, read.slots, embedding);
            side.flat = Some(graph.node("Mul", &[&flat, &weights]));
        }
    }
    if let Some(past) = past {
        append(graph, &mut side, past, network.architecture().embedding);
    }
    side
}

/// Puts the history's fields behind the others, where the network has learnt them.
fn append(graph: &mut Graph, side: &mut Side<'_>, past: &Past<'_>, embedding: usize) {
    let first_order = [side.first_order.take(), past.first_order.clone()];
    side.first_order = add(graph, first_order.into_iter().flatten().collect());
    let Some(history) = &past.fields else {
        return;
    };
    let fields = [side.fields.take(), Some(history.clone())];
    side.fields = concat(graph, fields.into_iter().flatten().collect());
    // Each field counts as one slot: what was summed is only summed again.
    let shape = graph.integers("vectors", &[0, 2, embedding as i64]);
    let history = graph.node("Reshape", &[history, &shape]);
    let vectors = [side.vectors.take(), Some(history)];
    side.vectors = concat(graph, vectors.into_iter().flatten().collect());
}

/// Whether the fields' vectors must be pooled. Hidden layers alone can do without: the first layer is linear, so its
/// weights may be repeated for each of a field's slots instead, as long as those are few.
fn needs_fields(network: &Network, layout: &SideLayout) -> bool {
    const FEW: usize = 4;
    let architecture = network.architecture();
    architecture.interactions || architecture.cross > 0 || layout.slots > FEW * layout.fields.len()
}

/// Each of `columns` columns `times` times. A product with a matrix of zeros and ones, which the runtime makes when it
/// opens the file: several times faster than broadcasting over a last dimension as short as an embedding.
fn repeat_columns(graph: &mut Graph, value: &str, columns: usize, times: usize) -> String {
    let identity: Vec<f32> = (0..columns * columns)
        .map(|place| {
            if place % columns == place / columns {
                1.0
            } else {
                0.0
            }
        })
        .collect();
    let identity = graph.floats("identity", &[columns, columns, 1], &identity);
    let [columns, times] = [columns as i64, times as i64];
    let shape = graph.integers("repeated", &[columns, columns, times]);
    let repeated = graph.node("Expand", &[&identity, &shape]);
    let shape = graph.integers("matrix", &[columns, columns * times]);
    let matrix = graph.node("Reshape", &[&repeated, &shape]);
    graph.node("MatMul", &[value, &matrix])
}

/// Slots to fields: fields of one slot pass as they are, the others are summed.
fn pool(graph: &mut Graph, vectors: &str, layout: &SideLayout, embedding: usize) -> String {
    let mut parts = Vec::new();
    let mut fields = layout.fields.iter().peekable();
    while let Some(field) = fields.next() {
        let mut end = field.first_slot + field.slots;
        while field.slots == 1 && fields.peek().is_some_and(|next| next.slots == 1) {
            end += 1;
            fields.next();
        }
        let all = field.first_slot == 0 && end == layout.slots;
        let run = if all {
            vectors.to_owned()
        } else {
            slice(graph, vectors, field.first_slot, end)
        };
        parts.push(if field.slots == 1 {
            let shape = graph.integers("flat", &[0, ((end - field.first_slot) * embedding) as i64]);
            graph.node("Reshape", &[&run, &shape])
        } else {
            let slots = graph.integers("slots", &[1]);
            graph.node_with("ReduceSum", &[&run, &slots], "keepdims", 0)
        });
    }
    concat(graph, parts).unwrap_or_else(|| vectors.to_owned())
}

/// First-order weights of ids and dense columns, and the bias.
fn linear(graph: &mut Graph, sides: &[Side<'_>; 2], affine: &Affine<'_, Parameter>) -> Vec<String> {
    let mut terms = vec![graph.floats("bias", &[1, 1], &affine.bias.values)];
    let mut first_row = 0;
    for side in sides {
        terms.extend(side.first_order.clone());
        let columns = side.layout.dense.len();
        if let Some(dense) = &side.dense {
            let weight = rows(graph, affine.weight, first_row, columns);
            terms.push(graph.node("MatMul", &[dense, &weight]));
        }
        first_row += columns;
    }
    terms
}

/// Half of (square of the sum - sum of the squares) of the fields' vectors.
fn interactions(graph: &mut Graph, sides: &[Side<'_>; 2]) -> Option<String> {
    let slots = graph.integers("slots", &[1]);
    let sums: Vec<String> = sides
        .iter()
        .filter_map(|side| side.vectors.as_ref())
        .map(|vectors| graph.node_with("ReduceSum", &[vectors, &slots], "keepdims", 0))
        .collect();
    let sum = add(graph, sums)?;
    let square_of_sum = graph.reduce("ReduceSumSquare", &sum, &[1]);
    let squares: Vec<String> = sides
        .iter()
        .filter_map(|side| side.fields.as_ref())
        .map(|fields| graph.reduce("ReduceSumSquare", fields, &[1]))
        .collect();
    let sum_of_squares = add(graph, squares)?;
    let difference = graph.node("Sub", &[&square_of_sum, &sum_of_squares]);
    let half = graph.scalar("half", 0.5);
    Some(graph.node("Mul", &[&difference, &half]))
}

/// Cross layers need the whole input in each of N rows.
fn crossed(
    graph: &mut Graph,
    sides: &[Side<'_>; 2],
    layers: &[Affine<'_, Parameter>],
    head: &Parameter,
) -> Option<String> {
    let [query, item] = sides.each_ref().map(|side| {
        let columns = [&side.fields, &side.dense]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        concat(graph, columns)
    });
    let item = item?;
    let input = match query {
        None => item,
        Some(query) => {
            let count = graph.node_with("Shape", &[&item], "end", 1);
            let one = graph.integers("one", &[1]);
            let shape = graph.node_with("Concat", &[&count, &one], "axis", 0);
            let query = graph.node("Expand", &[&query, &shape]);
            graph.node_with("Concat", &[&query, &item], "axis", 1)
        }
    };
    let mut current = input.clone();
    for layer in layers {
        let affine = gemm(graph, &current, layer);
        let product = graph.node("Mul", &[&input, &affine]);
        current = graph.node("Add", &[&product, &current]);
    }
    let head = graph.floats("head", &head.shape, &head.values);
    Some(graph.node("MatMul", &[&current, &head]))
}

/// Hidden layers; the first is the sum of the sides' shares.
fn perceptron(
    graph: &mut Graph,
    embedding: usize,
    sides: &[Side<'_>; 2],
    first: &Affine<'_, Parameter>,
    rest: &[Affine<'_, Parameter>],
) -> Option<String> {
    let width = first.weight.shape[1];
    let bias = graph.floats("bias", &[1, width], &first.bias.values);
    // The bias goes with the query: one row, most of the time. The items' shares are one sum, which a scorer computes once for
    // each item of a catalog.
    let mut sums = [vec![bias], Vec::new()];
    for (side, shares) in sides.iter().zip(&mut sums) {
        let fields = side.layout.fields.len();
        if let Some(pooled) = &side.fields {
            let weight = rows(graph, first.weight, side.first_column, fields * embedding);
            shares.push(graph.node("MatMul", &[pooled, &weight]));
        } else if let Some(flat) = &side.flat {
            let weight = slot_rows(graph, first.weight, side, embedding);
            shares.push(graph.node("MatMul", &[flat, &weight]));
        }
        if let Some(dense) = &side.dense {
            let weight = rows(
                graph,
                first.weight,
                side.first_column + fields * embedding,
                side.layout.dense.len(),
            );
            shares.push(graph.node("MatMul", &[dense, &weight]));
        }
    }
    let sums = sums.map(|shares| add(graph, shares));
    let mut current = add(graph, sums.into_iter().flatten().collect())?;
    for layer in rest {
        let active = graph.node("Relu", &[&current]);
        current = gemm(graph, &active, layer);
    }
    Some(current)
}

/// The first layer's weights with a field's rows repeated for each of its slots. The file holds them once; the runtime
/// repeats them when it opens the file.
fn slot_rows(graph: &mut Graph, weight: &Parameter, side: &Side<'_>, embedding: usize) -> String {
    let (fields, width) = (side.layout.fields.len(), weight.shape[1]);
    let compact = rows(graph, weight, side.first_column, fields * embedding);
    if side.layout.slots == fields {
        return compact;
    }
    let of_slots = side
        .layout
        .fields
        .iter()
        .enumerate()
        .flat_map(|(field, of)| vec![field as i64; of.slots]);
    let of_slots: Vec<i64> = of_slots.collect();
    let by_field = graph.integers("by_field", &[fields as i64, (embedding * width) as i64]);
    let by_field = graph.node("Reshape", &[&compact, &by_field]);
    let index = graph.integers("field_of_slot", &of_slots);
    let by_slot = graph.node("Gather", &[&by_field, &index]);
    let matrix = graph.integers(
        "matrix",
        &[(of_slots.len() * embedding) as i64, width as i64],
    );
    graph.node("Reshape", &[&by_slot, &matrix])
}

/// Some rows of a parameter.
fn rows(graph: &mut Graph, parameter: &Parameter, first: usize, count: usize) -> String {
    let width = parameter.shape[1];
    graph.floats(
        "weight",
        &[count, width],
        &parameter.values[first * width..(first + count) * width],
    )
}

fn gemm(graph: &mut Graph, input: &str, layer: &Affine<'_, Parameter>) -> String {
    let weight = graph.floats("weight", &layer.weight.shape, &layer.weight.values);
    let bias = graph.floats("bias", &[layer.bias.shape[1]], &layer.bias.values);
    graph.node("Gemm", &[input, &weight, &bias])
}

/// A range of the second dimension.
pub(super) fn slice(graph: &mut Graph, value: &str, start: usize, end: usize) -> String {
    let [start, end, axis] = [("start", start), ("end", end), ("axis", 1)]
        .map(|(name, at)| graph.integers(name, &[at as i64]));
    graph.node("Slice", &[value, &start, &end, &axis])
}

fn add(graph: &mut Graph, terms: Vec<String>) -> Option<String> {
    terms
        .into_iter()
        .reduce(|sum, term| graph.node("Add", &[&sum, &term]))
}

fn concat(graph: &mut Graph, columns: Vec<String>) -> Option<String> {
    if columns.len() <= 1 {
        return columns.into_iter().next();
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    Some(graph.node_with("Concat", &columns, "axis", 1))
}
