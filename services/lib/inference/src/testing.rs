//! Small ONNX graphs made in memory, so that tests need neither a trainer nor files.

use std::path::Path;

use decant_features::Encoded;

use crate::{Error, Runtime, Session, Widths};

/// The graph `sigmoid(bias + sum(table[ids] * weights) + sum(dense))`, over the query's row and the item's together.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Which inputs it has, and how wide.
    pub widths: Widths,
    /// Rows of the table: every id is below it.
    pub vocabulary: usize,
    /// Moves all scores: graphs of different bias are different versions.
    pub bias: f32,
    /// The output's name; `score`, unless the contract is to be broken.
    pub output: &'static str,
    /// Rows written into the shapes; free, unless the contract is to be broken.
    pub rows: Option<u64>,
    /// ONNX's number for the type of ids: 6 (int32), unless the contract is to be broken.
    pub id_type: u64,
    /// The file that is said to hold the table; none, unless the contract is to be broken.
    pub table_file: Option<&'static str>,
    /// What the table holds, if not [`Graph::table`] of each id.
    pub weights: Option<Vec<f32>>,
    /// Where the numbers of `query_dense` add up to more than this, the score is no number; never, unless it is set.
    pub no_score_above: Option<f32>,
    /// So many products of large matrices are computed beside, which nothing depends on: they only take time.
    pub idle_products: usize,
    /// So many numbers are made out of none, as a few bytes can ask for; none, unless too much is to be asked for.
    pub unfolds_to: Option<u64>,
}

impl Default for Graph {
    fn default() -> Self {
        let widths = Widths {
            query_slots: 2,
            query_dense: 1,
            item_slots: 1,
            item_dense: 0,
        };
        Self {
            widths,
            vocabulary: 16,
            bias: 0.0,
            output: "score",
            rows: None,
            id_type: INT32,
            table_file: None,
            weights: None,
            no_score_above: None,
            idle_products: 0,
            unfolds_to: None,
        }
    }
}

/// The runtime that `ORT_DYLIB_PATH` names.
///
/// # Panics
/// When the variable is unset, or names no ONNX Runtime.
pub fn runtime() -> Runtime {
    let Some(path) = std::env::var_os("ORT_DYLIB_PATH") else {
        panic!(
            "ORT_DYLIB_PATH is unset: these tests run real models. Run: eval \"$(deploy/bootstrap.sh env)\""
        );
    };
    Runtime::load(Path::new(&path))
        .unwrap_or_else(|error| panic!("ORT_DYLIB_PATH names no ONNX Runtime: {error}"))
}

/// Opens a graph.
///
/// # Errors
/// As [`Session::open`].
pub fn open(graph: &Graph) -> Result<Session, Error> {
    Session::open(&runtime(), graph.to_onnx())
}

/// Rows of a side, each unlike the others.
pub fn rows(rows: usize, slots: usize, dense_width: usize, seed: usize) -> Encoded {
    Encoded {
        rows,
        slots,
        dense_width,
        ids: (0..rows * slots)
            .map(|position| ((position * 5 + seed) % 16) as i32)
            .collect(),
        weights: (0..rows * slots).map(|_| 1.0 / slots as f32).collect(),
        dense: (0..rows * dense_width)
            .map(|position| (position + seed) as f32 / 8.0 - 0.5)
            .collect(),
    }
}

const FLOAT: u64 = 1;
const INT32: u64 = 6;
const INT64: u64 = 7;

/// Rows and columns of the matrices whose products only take time.
const IDLE_WIDTH: usize = 256;
/// Whatever is finite and not huge, times this and added to a score, leaves the score as it is.
const NOTHING: f32 = 1e-20;

impl Graph {
    /// What the table holds for an id.
    pub fn table(id: usize) -> f32 {
        ((id * 37) % 101) as f32 / 101.0 - 0.5
    }

    /// The graph as the bytes of an ONNX model.
    pub fn to_onnx(&self) -> Vec<u8> {
        let mut graph = Message::default().text(2, "decant-test");
        let mut terms = vec!["bias".to_owned()];
        let sides = [
            (
                "query",
                "Q",
                self.widths.query_slots,
                self.widths.query_dense,
            ),
            ("item", "N", self.widths.item_slots, self.widths.item_dense),
        ];
        for (side, batch, slots, dense) in sides {
            if slots > 0 {
                let [ids, weights] = [format!("{side}_ids"), format!("{side}_weights")];
                let [vectors, weighted, sum] =
                    ["vectors", "weighted", "sum"].map(|what| format!("{side}_{what}"));
                graph = graph
                    .message(11, &self.value_info(&ids, self.id_type, batch, Some(slots)))
                    .message(11, &self.value_info(&weights, FLOAT, batch, Some(slots)))
                    .message(1, &node("Gather", &["table", &ids], &vectors))
                    .message(1, &node("Mul", &[&vectors, &weights], &weighted))
                    .message(1, &node("ReduceSum", &[&weighted, "axes"], &sum));
                terms.push(sum);
            }
            if dense > 0 {
                let [values, sum] = [format!("{side}_dense"), format!("{side}_dense_sum")];
                graph = graph
                    .message(11, &self.value_info(&values, FLOAT, batch, Some(dense)))
                    .message(1, &node("ReduceSum", &[&values, "axes"], &sum));
                terms.push(sum);
            }
        }
        let mut total = terms[0].clone();
        for (position, term) in terms.iter().enumerate().skip(1) {
            let next = format!("total_{position}");
            graph = graph.message(1, &node("Add", &[&total, term], &next));
            total = next;
        }
        let floats = match &self.weights {
            None => little_endian((0..self.vocabulary).map(Graph::table)),
            Some(weights) => little_endian(weights.iter().copied()),
        };
        let table = match self.table_file {
            None => tensor("table", FLOAT, self.vocabulary, &floats),
            Some(file) => external("table", self.vocabulary, file),
        };
        graph = self
            .scored(graph, &total)
            .message(5, &table)
            .message(5, &tensor("bias", FLOAT, 1, &self.bias.to_le_bytes()))
            .message(5, &tensor("axes", INT64, 1, &1_i64.to_le_bytes()))
            .message(12, &self.value_info(self.output, FLOAT, "N", None));
        let opset = Message::default().text(1, "").number(2, 17);
        Message::default()
            .number(1, 8)
            .message(7, &graph)
            .message(8, &opset)
            .0
    }

    /// Makes the sum of all terms the score, and adds what is to go wrong to it: times a number so small that the score
    /// stays what it is, unless that is none.
    fn scored(&self, mut graph: Message, total: &str) -> Message {
        let mut flaws = Vec::new();
        if let Some(limit) = self.no_score_above {
            graph = graph
                .message(5, &tensor("limit", FLOAT, 1, &limit.to_le_bytes()))
                .message(1, &node("Sub", &["limit", "query_dense_sum"], "room"))
                .message(1, &node("Sqrt", &["room"], "root"));
            flaws.push("root");
        }
        if let Some(numbers) = self.unfolds_to {
            graph = graph
                .message(5, &tensor("many", INT64, 1, &numbers.to_le_bytes()))
                .message(5, &tensor("unfolded_axis", INT64, 1, &0_i64.to_le_bytes()))
                .message(1, &node("ConstantOfShape", &["many"], "unfolded"))
                .message(
                    1,
                    &node("ReduceSum", &["unfolded", "unfolded_axis"], "unfolded_sum"),
                );
            flaws.push("unfolded_sum");
        }
        if self.idle_products > 0 {
            // Begins with what is asked, so that ONNX Runtime cannot compute it once and for all; and each entry is the
            // same fraction, so that no product grows.
            let entry = 1.0 / IDLE_WIDTH as f32;
            let entries = little_endian(std::iter::repeat_n(entry, IDLE_WIDTH * IDLE_WIDTH));
            let sizes = [IDLE_WIDTH as u64; 2];
            graph = graph
                .message(5, &weight("idle_matrix", &sizes, &entries))
                .message(5, &tensor("first_axis", INT64, 1, &0_i64.to_le_bytes()))
                .message(1, &node("ReduceSum", &[total, "first_axis"], "idle_seed"))
                .message(1, &node("Mul", &["idle_matrix", "idle_seed"], "idle_0"));
            for product in 0..self.idle_products {
                let [last, next] = [product, product + 1].map(|place| format!("idle_{place}"));
                graph = graph.message(1, &node("MatMul", &[&last, "idle_matrix"], &next));
            }
            let last = format!("idle_{}", self.idle_products);
            graph = graph
                .message(1, &node("ReduceSum", &[&last, "first_axis"], "idle_row"))
                .message(
                    1,
                    &node("ReduceSum", &["idle_row", "first_axis"], "idle_sum"),
                );
            flaws.push("idle_sum");
        }
        if flaws.is_empty() {
            return graph.message(1, &node("Sigmoid", &[total], self.output));
        }
        graph = graph
            .message(1, &node("Sigmoid", &[total], "scored_0"))
            .message(5, &tensor("nothing", FLOAT, 1, &NOTHING.to_le_bytes()));
        for (place, flaw) in flaws.iter().enumerate() {
            let [last, part] = ["scored", "part"].map(|what| format!("{what}_{place}"));
            let next = if place + 1 == flaws.len() {
                self.output.to_owned()
            } else {
                format!("scored_{}", place + 1)
            };
            graph = graph
                .message(1, &node("Mul", &[flaw, "nothing"], &part))
                .message(1, &node("Add", &[&last, &part], &next));
        }
        graph
    }

    fn value_info(&self, name: &str, element: u64, batch: &str, width: Option<usize>) -> Message {
        let rows = match self.rows {
            Some(rows) => Message::default().number(1, rows),
            None => Message::default().text(2, batch),
        };
        let mut shape = Message::default().message(1, &rows);
        if let Some(width) = width {
            shape = shape.message(1, &Message::default().number(1, width as u64));
        }
        let tensor_type = Message::default().number(1, element).message(2, &shape);
        Message::default()
            .text(1, name)
            .message(2, &Message::default().message(1, &tensor_type))
    }
}

/// The graph of a multi-layer perceptron over `item_dense`, with rectifiers between the layers and a sigmoid at the end, as
/// the bytes of an ONNX model; the seed makes the weights.
pub fn perceptron(widths: &[usize], seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let shape = |sizes: &[Message]| {
        let sizes = sizes.iter();
        let shape = sizes.fold(Message::default(), |shape, size| shape.message(1, size));
        let tensor_type = Message::default().number(1, FLOAT).message(2, &shape);
        Message::default().message(1, &tensor_type)
    };
    let (rows, width) = (
        Message::default().text(2, "N"),
        Message::default().number(1, widths[0] as u64),
    );
    let value = |name: &str, shape: Message| Message::default().text(1, name).message(2, &shape);
    let mut graph = Message::default()
        .text(2, "perceptron")
        .message(11, &value("item_dense", shape(&[rows.clone(), width])));
    let mut last = "item_dense".to_owned();
    for (layer, pair) in widths.windows(2).enumerate() {
        let [weights, bias, linear] =
            ["weights", "bias", "linear"].map(|part| format!("{part}_{layer}"));
        let scale = (12.0 / pair[0] as f32).sqrt();
        let mut floats = |count: usize| -> Vec<u8> {
            (0..count)
                .flat_map(|_| (random() * scale).to_le_bytes())
                .collect()
        };
        let sizes = [pair[0] as u64, pair[1] as u64];
        graph = graph
            .message(5, &weight(&weights, &sizes, &floats(pair[0] * pair[1])))
            .message(5, &weight(&bias, &sizes[1..], &floats(pair[1])))
            .message(1, &node("Gemm", &[&last, &weights, &bias], &linear));
        last = linear;
        if layer + 2 < widths.len() {
            let rectified = format!("rectified_{layer}");
            graph = graph.message(1, &node("Relu", &[&last], &rectified));
            last = rectified;
        }
    }
    graph = graph
        .message(5, &tensor("flat", INT64, 1, &(-1_i64).to_le_bytes()))
        .message(1, &node("Sigmoid", &[&last], "probability"))
        .message(1, &node("Reshape", &["probability", "flat"], "score"))
        .message(12, &value("score", shape(&[rows])));
    let opset = Message::default().text(1, "").number(2, 17);
    Message::default()
        .number(1, 8)
        .message(7, &graph)
        .message(8, &opset)
        .0
}

fn weight(name: &str, sizes: &[u64], little_endian: &[u8]) -> Message {
    let sizes = sizes.iter();
    sizes
        .fold(Message::default(), |tensor, size| tensor.number(1, *size))
        .number(2, FLOAT)
        .text(8, name)
        .bytes(9, little_endian)
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Message {
    let mut node = inputs
        .iter()
        .fold(Message::default(), |node, input| node.text(1, input));
    node = node.text(2, output).text(4, operator);
    if operator == "ReduceSum" {
        let keep_dimensions = Message::default()
            .text(1, "keepdims")
            .number(3, 0)
            .number(20, 2);
        node = node.message(5, &keep_dimensions);
    }
    node
}

fn tensor(name: &str, element: u64, length: usize, little_endian: &[u8]) -> Message {
    Message::default()
        .number(1, length as u64)
        .number(2, element)
        .text(8, name)
        .bytes(9, little_endian)
}

fn little_endian(floats: impl IntoIterator<Item = f32>) -> Vec<u8> {
    floats.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// Floats that lie at the start of a file.
fn external(name: &str, length: usize, file: &str) -> Message {
    let location = Message::default().text(1, "location").text(2, file);
    Message::default()
        .number(1, length as u64)
        .number(2, FLOAT)
        .text(8, name)
        .message(13, &location)
        .number(14, 1)
}

/// A protobuf message in the making; the numbers are those of `onnx.proto`.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
