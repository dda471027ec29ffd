//! From a graph to a plan. Whatever is not understood for certain makes that there is none.

use std::collections::HashMap;
use std::ops::Range;

use super::Plan;
use super::constants::{self, Constant, Known};
use super::shape::{Count, Extent, Ids, Place, Shaped, beside, broadcast, reshaped, run, width};
use super::step::{Binary, Made, Operand, Reduction, Step, Unary};
use crate::contract::{Input, SCORE, Widths};
use crate::onnx::{self, Model, Node};
use crate::{Error, Graph};

/// A value, as far as it is known before anything is computed.
#[derive(Clone)]
enum Value {
    Rows(Shaped),
    Ids(Ids),
    Extents(Vec<Extent>),
    Floats(usize),
    Integers(Vec<i64>),
}

/// A plan in the making.
#[derive(Default)]
struct Reading {
    constants: Vec<Constant>,
    made: Vec<Made>,
    values: HashMap<String, Value>,
    work: [usize; 3],
}

impl Plan {
    /// A plan for the graph, if all of it is understood.
    ///
    /// # Errors
    /// When the bytes are no ONNX model, or ONNX Runtime fails at what depends on no input.
    pub(super) fn read(graph: &Graph, widths: Widths) -> Result<Option<Self>, Error> {
        let model: Model = onnx::read(graph.bytes().clone())?;
        let Some(definition) = &model.graph else {
            return Ok(None);
        };
        if !model.functions.is_empty() || !definition.sparse_initializer.is_empty() {
            return Ok(None);
        }
        let nodes = definition.node.iter().map(|node| onnx::read(node.clone()));
        let nodes: Vec<Node> = nodes.collect::<Result<_, Error>>()?;
        let mut reading = Reading::default();
        for input in &definition.input {
            let name = onnx::read::<onnx::Value>(input.clone())?.name;
            if reading.input(&name, widths).is_none() {
                return Ok(None);
            }
        }
        for (name, known) in constants::known(graph, &model, &nodes)? {
            let value = match known {
                Known::Floats(constant) => Value::Floats(reading.constant(constant)),
                Known::Integers(numbers) => Value::Integers(numbers),
            };
            reading.values.insert(name, value);
        }
        Ok(reading.plan(&nodes))
    }
}

impl Reading {
    fn plan(mut self, nodes: &[Node]) -> Option<Plan> {
        for node in nodes {
            let is_constant = node
                .input()
                .all(|name| !self.values.contains_key(name) || self.is_constant(name));
            if is_constant {
                continue;
            }
            let value = self.node(node)?;
            let [output] = &node.output[..] else {
                return None;
            };
            self.values.insert(output.clone(), value);
        }
        let score = self.rows(SCORE)?;
        let is_score = score.rows == Count::Item && score.sizes.is_empty();
        let score = operand(&score);
        is_score.then_some(Plan {
            constants: self.constants,
            made: self.made,
            score,
            work: self.work,
        })
    }

    fn input(&mut self, name: &str, widths: Widths) -> Option<()> {
        let input = Input::named(name)?;
        let width = width(&[widths.of(input)])?;
        let rows = match input.is_of_query() {
            true => Count::Query,
            false => Count::Item,
        };
        let value = match input {
            Input::QueryIds | Input::ItemIds => Value::Ids(Ids {
                input,
                rows,
                slots: width,
                first: 0,
                count: width,
                less: 0,
            }),
            _ => Value::Rows(Shaped {
                place: Place::Input(input),
                stored: rows,
                rows,
                sizes: vec![width],
            }),
        };
        self.values.insert(input.name().to_owned(), value);
        Some(())
    }

    /// What a node makes of its inputs.
    fn node(&mut self, node: &Node) -> Option<Value> {
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
        let is_standard = node.domain.is_empty() || node.domain == "ai.onnx";
        if !is_standard || node.holds_graphs() {
            return None;
        }
        match (&*node.op_type, &inputs[..]) {
            ("Gather", [table, ids]) => self.gather(node, table, ids),
            ("Add", [left, right]) => self.combine(Binary::Add, left, right),
            ("Mul", [left, right]) => self.combine(Binary::Mul, left, right),
            ("Sub", [left, right]) => self
                .less(left, right)
                .or_else(|| self.combine(Binary::Sub, left, right)),
            ("MatMul", [of, weights]) => self.product(of, self.floats(weights)?, None),
            ("Gemm", [of, weights]) => self.gemm(node, of, weights, None),
            ("Gemm", [of, weights, bias]) => self.gemm(node, of, weights, Some(bias)),
            ("ReduceSum", [of, ..]) => self.reduce(node, Reduction::Sum, of),
            ("ReduceSumSquare", [of, ..]) => self.reduce(node, Reduction::SumOfSquares, of),
            ("Relu", [of]) => self.map(Unary::Relu, of),
            ("Sigmoid", [of]) => self.map(Unary::Sigmoid, of),
            ("Tanh", [of]) => self.map(Unary::Tanh, of),
            ("Identity", [of]) => self.values.get(*of).cloned(),
            ("Concat", parts) => self
                .extents_together(parts)
                .or_else(|| self.concat(node, parts)),
            ("Slice", [of, bounds @ ..]) => self.slice(of, bounds),
            ("Reshape", [of, shape]) if node.attribute.is_empty() => self.reshape(of, shape),
            ("Unsqueeze", [of, ..]) => self.unsqueeze(node, of),
            ("Squeeze", [of, ..]) => self.squeeze(node, of),
            ("Shape", [of]) => self.shape(node, of),
            ("Expand", [of, shape]) => self.expand(of, shape),
            _ => None,
        }
    }

    fn gather(&mut self, node: &Node, table: &str, ids: &str) -> Option<Value> {
        let table = self.floats(table)?;
        let Value::Ids(ids) = *self.values.get(ids)? else {
            return None;
        };
        let (entries, sizes) = self.constants[table].dims.split_first()?;
        let made = [&[ids.count][..], sizes].concat();
        let step = Step::Gather {
            table,
            entries: *entries,
            width: width(sizes)?,
            ids,
        };
        (node.integer("axis").unwrap_or(0) == 0)
            .then(|| self.make(step, ids.rows, ids.rows, made))?
    }

    /// Ids, each less by the same.
    fn less(&mut self, ids: &str, by: &str) -> Option<Value> {
        let Value::Ids(ids) = self.values.get(ids)? else {
            return None;
        };
        let [by] = self.integers(by)? else {
            return None;
        };
        let less = ids.less.checked_add(i32::try_from(*by).ok()?)?;
        Some(Value::Ids(Ids { less, ..*ids }))
    }

    fn combine(&mut self, binary: Binary, left: &str, right: &str) -> Option<Value> {
        let rank = [left, right].into_iter().find_map(|name| {
            let Value::Rows(value) = self.values.get(name)? else {
                return None;
            };
            Some(value.sizes.len() + 1)
        })?;
        let (left, right) = (self.beside(left, rank)?, self.beside(right, rank)?);
        let sizes = broadcast(&left.sizes, &right.sizes)?;
        let of = |value: &Shaped| Some((operand(value), run(&value.sizes, &sizes)?));
        let (left_of, right_of) = (of(&left)?, of(&right)?);
        if left_of.1 != 1 && right_of.1 != 1 {
            return None;
        }
        let step = Step::Combine {
            binary,
            left: left_of,
            right: right_of,
        };
        let (stored, rows) = (left.stored.and(right.stored), left.rows.and(right.rows));
        self.make(step, stored, rows, sizes)
    }

    /// A value of this rank, or a constant beside one.
    fn beside(&self, name: &str, rank: usize) -> Option<Shaped> {
        match self.values.get(name)? {
            Value::Rows(value) => (value.sizes.len() + 1 == rank).then(|| value.clone()),
            Value::Floats(constant) => Some(Shaped {
                place: Place::Constant(*constant),
                stored: Count::One,
                rows: Count::One,
                sizes: beside(&self.constants[*constant].dims, rank)?,
            }),
            _ => None,
        }
    }

    fn gemm(&mut self, node: &Node, of: &str, weights: &str, bias: Option<&str>) -> Option<Value> {
        let is_plain = node.float("alpha").unwrap_or(1.0) == 1.0
            && node.float("beta").unwrap_or(1.0) == 1.0
            && node.integer("transA").unwrap_or(0) == 0;
        if !is_plain {
            return None;
        }
        let mut weights = self.floats(weights)?;
        if node.integer("transB").unwrap_or(0) != 0 {
            let transposed = transposed(&self.constants[weights])?;
            weights = self.constant(transposed);
        }
        self.product(of, weights, bias)
    }

    fn product(&mut self, of: &str, weights: usize, bias: Option<&str>) -> Option<Value> {
        let of = self.rows(of)?;
        let &[height, columns] = &self.constants[weights].dims[..] else {
            return None;
        };
        let bias = match bias.filter(|bias| !bias.is_empty()) {
            None => None,
            Some(bias) => {
                let bias = self.floats(bias)?;
                let sizes = beside(&self.constants[bias].dims, 2)?;
                (sizes == [columns]).then_some(Some(bias))?
            }
        };
        let step = Step::Product {
            of: operand(&of),
            weights,
            bias,
        };
        (of.sizes == [height]).then(|| self.make(step, of.stored, of.rows, vec![columns]))?
    }

    fn reduce(&mut self, node: &Node, reduction: Reduction, of: &str) -> Option<Value> {
        let of = self.rows(of)?;
        let axes = self.axes(node, of.sizes.len() + 1)?;
        // The first dimensions after the rows.
        let reduced = axes.len();
        let is_prefix =
            (1..=of.sizes.len()).contains(&reduced) && axes.iter().copied().eq(1..=reduced);
        if !is_prefix {
            return None;
        }
        let mut sizes = match node.integer("keepdims").unwrap_or(1) {
            0 => Vec::new(),
            _ => vec![1; reduced],
        };
        sizes.extend_from_slice(&of.sizes[reduced..]);
        let step = Step::Reduce {
            reduction,
            of: operand(&of),
        };
        self.make(step, of.stored, of.rows, sizes)
    }

    fn map(&mut self, unary: Unary, of: &str) -> Option<Value> {
        let of = self.rows(of)?;
        let step = Step::Map {
            unary,
            of: operand(&of),
        };
        self.make(step, of.stored, of.rows, of.sizes)
    }

    fn concat(&mut self, node: &Node, parts: &[&str]) -> Option<Value> {
        let parts = parts.iter().map(|name| self.rows(name));
        let parts: Vec<Shaped> = parts.collect::<Option<_>>()?;
        let first = parts.first()?;
        let (_, rest) = first.sizes.split_first()?;
        let rank = first.sizes.len() as i64 + 1;
        let axis = node.integer("axis")?;
        let alike = |part: &Shaped| part.rows == first.rows && part.sizes.get(1..) == Some(rest);
        if (axis != 1 && axis != 1 - rank) || !parts.iter().all(alike) {
            return None;
        }
        let columns = parts.iter().map(|part| part.sizes[0]).sum();
        let stored = parts.iter().map(|part| part.stored);
        let stored = stored.fold(Count::One, Count::and);
        let sizes = [&[columns][..], rest].concat();
        let step = Step::Concat(parts.iter().map(operand).collect());
        self.make(step, stored, first.rows, sizes)
    }

    /// A range of the first dimension after the rows.
    fn slice(&mut self, of: &str, bounds: &[&str]) -> Option<Value> {
        let bounds = bounds.iter().map(|name| match self.integers(name)? {
            [bound] => Some(*bound),
            _ => None,
        });
        let bounds: Vec<i64> = bounds.collect::<Option<_>>()?;
        let (start, end) = match bounds[..] {
            [start, end, 1] | [start, end, 1, 1] => (start, end),
            _ => return None,
        };
        match self.values.get(of)?.clone() {
            Value::Ids(ids) => {
                let range = within(start, end, ids.count)?;
                Some(Value::Ids(Ids {
                    first: ids.first + range.start,
                    count: range.len(),
                    ..ids
                }))
            }
            Value::Rows(of) => {
                let (columns, rest) = of.sizes.split_first()?;
                let range = within(start, end, *columns)?;
                let width = width(rest)?;
                let sizes = [&[range.len()][..], rest].concat();
                let step = Step::Slice {
                    of: operand(&of),
                    range: range.start * width..range.end * width,
                };
                self.make(step, of.stored, of.rows, sizes)
            }
            _ => None,
        }
    }

    fn reshape(&self, of: &str, shape: &str) -> Option<Value> {
        let of = self.rows(of)?;
        let sizes = reshaped(&of.sizes, self.integers(shape)?)?;
        Some(Value::Rows(Shaped { sizes, ..of }))
    }

    fn unsqueeze(&self, node: &Node, of: &str) -> Option<Value> {
        let mut of = self.rows(of)?;
        let count = match node.input.get(1) {
            Some(axes) => self.integers(axes)?.len(),
            None => node.integers("axes")?.len(),
        };
        for axis in self.axes(node, of.sizes.len() + 1 + count)? {
            let place = axis.checked_sub(1)?;
            (place <= of.sizes.len()).then(|| of.sizes.insert(place, 1))?;
        }
        Some(Value::Rows(of))
    }

    fn squeeze(&self, node: &Node, of: &str) -> Option<Value> {
        let mut of = self.rows(of)?;
        for axis in self.axes(node, of.sizes.len() + 1)?.into_iter().rev() {
            let place = axis.checked_sub(1)?;
            (of.sizes.get(place) == Some(&1)).then(|| of.sizes.remove(place))?;
        }
        Some(Value::Rows(of))
    }

    fn shape(&self, node: &Node, of: &str) -> Option<Value> {
        let of = self.rows(of)?;
        let sizes = of.sizes.iter().map(|size| Extent::Number(*size as i64));
        let extents: Vec<Extent> = std::iter::once(Extent::Rows(of.rows))
            .chain(sizes)
            .collect();
        let start = node.integer("start").unwrap_or(0);
        let end = node.integer("end").unwrap_or(extents.len() as i64);
        let range = within(start, end, extents.len())?;
        Some(Value::Extents(extents[range].to_vec()))
    }

    /// Lists of extents, one behind the other.
    fn extents_together(&self, parts: &[&str]) -> Option<Value> {
        let mut extents = Vec::new();
        for part in parts {
            match self.values.get(*part)? {
                Value::Extents(part) => extents.extend_from_slice(part),
                Value::Integers(numbers) => {
                    extents.extend(numbers.iter().copied().map(Extent::Number));
                }
                _ => return None,
            }
        }
        Some(Value::Extents(extents))
    }

    /// Rows repeated, which are not written again.
    fn expand(&self, of: &str, shape: &str) -> Option<Value> {
        let of = self.rows(of)?;
        let Value::Extents(extents) = self.values.get(shape)? else {
            return None;
        };
        let (Extent::Rows(rows), sizes) = extents.split_first()? else {
            return None;
        };
        let same = |(extent, size): (&Extent, &usize)| matches!(extent, Extent::Number(number) if *number == 1 || *number == *size as i64);
        let same = sizes.len() == of.sizes.len() && sizes.iter().zip(&of.sizes).all(same);
        same.then(|| {
            Value::Rows(Shaped {
                rows: rows.and(of.rows),
                ..of
            })
        })
    }

    /// The axes that a node is told, in order; of a value of this rank.
    fn axes(&self, node: &Node, rank: usize) -> Option<Vec<usize>> {
        let axes = match node.input.get(1) {
            Some(axes) => self.integers(axes)?,
            None => node.integers("axes")?,
        };
        let axes = axes.iter().map(|axis| match *axis {
            axis if axis < 0 => usize::try_from(axis + rank as i64).ok(),
            axis => usize::try_from(axis).ok(),
        });
        let mut axes: Vec<usize> = axes.collect::<Option<_>>()?;
        axes.sort_unstable();
        Some(axes)
    }

    fn rows(&self, name: &str) -> Option<Shaped> {
        match self.values.get(name)? {
            Value::Rows(value) => Some(value.clone()),
            _ => None,
        }
    }

    fn integers(&self, name: &str) -> Option<&[i64]> {
        match self.values.get(name)? {
            Value::Integers(numbers) => Some(numbers),
            _ => None,
        }
    }

    fn floats(&self, name: &str) -> Option<usize> {
        match self.values.get(name)? {
            Value::Floats(constant) => Some(*constant),
            _ => None,
        }
    }

    fn is_constant(&self, name: &str) -> bool {
        let value = self.values.get(name);
        matches!(value, Some(Value::Floats(_) | Value::Integers(_)))
    }

    fn constant(&mut self, constant: Constant) -> usize {
        self.constants.push(constant);
        self.constants.len() - 1
    }

    /// Adds a step.
    fn make(&mut self, step: Step, stored: Count, rows: Count, sizes: Vec<usize>) -> Option<Value> {
        let width = width(&sizes)?;
        let work = match &step {
            Step::Product { of, .. } => of.width * width,
            Step::Reduce { of, .. } => of.width,
            _ => width,
        };
        self.work[stored as usize] = self.work[stored as usize].saturating_add(work);
        let place = Place::Made(self.made.len());
        self.made.push(Made {
            step,
            rows: stored,
            width,
        });
        Some(Value::Rows(Shaped {
            place,
            stored,
            rows,
            sizes,
        }))
    }
}

fn operand(value: &Shaped) -> Operand {
    Operand {
        place: value.place,
        width: value.sizes.iter().product(),
    }
}

/// A range of so many, as ONNX counts: from the end when it is negative, and no farther than there is something.
fn within(start: i64, end: i64, count: usize) -> Option<Range<usize>> {
    let count = i64::try_from(count).ok()?;
    let [start, end] = [start, end].map(|bound| match bound {
        bound if bound < 0 => (bound + count).max(0) as usize,
        bound => bound.min(count) as usize,
    });
    (start < end).then_some(start..end)
}

fn transposed(matrix: &Constant) -> Option<Constant> {
    let &[height, width] = &matrix.dims[..] else {
        return None;
    };
    self::width(&matrix.dims)?;
    let numbers = matrix.numbers();
    let columns = (0..width).flat_map(|column| numbers[column..].iter().step_by(width));
    let columns: Vec<f32> = columns.copied().collect();
    (columns.len() == height * width).then(|| Constant::own(vec![width, height], columns))
}
