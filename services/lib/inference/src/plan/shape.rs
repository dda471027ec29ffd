//! What is known of a value before it is computed.

use super::MOST_WORK;
use crate::contract::Input;

/// How many rows a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    One,
    Query,
    Item,
}

impl Count {
    /// Of what is computed of two values, of which each row goes with one of the other's, or the only one with all.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Item, _) | (_, Self::Item) => Self::Item,
            (Self::Query, _) | (_, Self::Query) => Self::Query,
            (Self::One, Self::One) => Self::One,
        }
    }
}

/// Where a value's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Input(Input),
    Constant(usize),
    Made(usize),
}

/// A value of the graph that has rows.
#[derive(Clone, Debug)]
pub(super) struct Shaped {
    pub(super) place: Place,
    /// As many rows as are there.
    pub(super) stored: Count,
    /// As many as the graph speaks of: rows that it repeats are there once.
    pub(super) rows: Count,
    /// The sizes of the other dimensions.
    pub(super) sizes: Vec<usize>,
}

/// Ids of a graph's input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub(super) input: Input,
    pub(super) rows: Count,
    /// Slots of each row that the input has.
    pub(super) slots: usize,
    /// The first that is taken, and how many are.
    pub(super) first: usize,
    pub(super) count: usize,
    /// What each is less.
    pub(super) less: i32,
}

/// One dimension, in a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Rows(Count),
    Number(i64),
}

/// For how many numbers of a result each number of an operand counts, where the operand is broadcast over the last of the
/// result's dimensions; nothing where it is broadcast over others.
pub(super) fn run(sizes: &[usize], result: &[usize]) -> Option<usize> {
    let same = sizes.iter().zip(result);
    let same = same.take_while(|(size, result)| size == result).count();
    let (rest, result) = (&sizes[same..], &result[same..]);
    let is_last = rest.iter().all(|size| *size == 1);
    (rest.len() == result.len() && is_last).then(|| result.iter().product())
}

/// How many numbers a row of these sizes has; nothing, when that is none or more than a plan may take.
pub(super) fn width(sizes: &[usize]) -> Option<usize> {
    let mut sizes = sizes.iter();
    let width = sizes.try_fold(1_usize, |width, size| width.checked_mul(*size))?;
    (1..=MOST_WORK).contains(&width).then_some(width)
}

/// The sizes of what two operands are broadcast to.
pub(super) fn broadcast(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    if left.len() != right.len() {
        return None;
    }
    let sizes = left.iter().zip(right).map(|sizes| match sizes {
        (left, right) if left == right => Some(*left),
        (1, size) | (size, 1) => Some(*size),
        _ => None,
    });
    sizes.collect()
}

/// The sizes of a constant beside a value of so many dimensions, of which the first are rows.
pub(super) fn beside(dims: &[usize], rank: usize) -> Option<Vec<usize>> {
    let missing = rank.checked_sub(dims.len())?;
    let mut sizes = vec![1; missing];
    sizes.extend_from_slice(dims);
    let is_row = sizes.first() == Some(&1);
    is_row.then(|| sizes.split_off(1))
}

/// The sizes of each row after a reshape to these dimensions.
pub(super) fn reshaped(sizes: &[usize], wanted: &[i64]) -> Option<Vec<usize>> {
    let width = width(sizes)?;
    let (first, rest) = wanted.split_first()?;
    let given = rest.iter().filter(|size| **size != -1);
    let given = given.enumerate().map(|(place, size)| match size {
        // The same as before.
        0 => sizes.get(place).copied(),
        size => usize::try_from(*size).ok(),
    });
    let given: Vec<usize> = given.collect::<Option<_>>()?;
    let known = self::width(&given)?;
    let is_open = given.len() < rest.len();
    match (first, is_open) {
        (0 | -1, false) => (known == width).then_some(given),
        (0, true) => {
            let open = width / known;
            let has_zero = rest.contains(&0);
            let is_only = given.len() + 1 == rest.len();
            let sizes = rest.iter().map(|size| match size {
                -1 => open,
                size => *size as usize,
            });
            (!has_zero && is_only && known * open == width).then(|| sizes.collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operand_is_broadcast_over_the_last_dimensions_only() {
        assert_eq!(run(&[3, 2], &[3, 2]), Some(1));
        assert_eq!(run(&[3, 1], &[3, 2]), Some(2));
        assert_eq!(run(&[1, 1], &[3, 2]), Some(6));
        assert_eq!(run(&[1, 2], &[3, 2]), None);
        assert_eq!(run(&[], &[]), Some(1));
        assert_eq!(broadcast(&[3, 1], &[1, 2]), Some(vec![3, 2]));
        assert_eq!(broadcast(&[3], &[2]), None);
        assert_eq!(broadcast(&[3], &[3, 1]), None);
    }

    #[test]
    fn a_row_has_some_numbers_and_not_too_many() {
        assert_eq!(width(&[]), Some(1));
        assert_eq!(width(&[3, 2]), Some(6));
        assert_eq!(width(&[MOST_WORK]), Some(MOST_WORK));
        assert_eq!(width(&[MOST_WORK, 2]), None);
        assert_eq!(width(&[0]), None);
        assert_eq!(width(&[usize::MAX, 2]), None);
    }

    #[test]
    fn a_constant_has_no_rows_beside_a_value_that_has() {
        assert_eq!(beside(&[], 3), Some(vec![1, 1]));
        assert_eq!(beside(&[4], 2), Some(vec![4]));
        assert_eq!(beside(&[1, 4], 2), Some(vec![4]));
        assert_eq!(beside(&[2, 4], 2), None);
        assert_eq!(beside(&[4], 1), None);
        assert_eq!(beside(&[1, 1, 1], 2), None);
    }

    #[test]
    fn rows_stay_rows_when_a_value_is_reshaped() {
        assert_eq!(reshaped(&[3, 2], &[0, 6]), Some(vec![6]));
        assert_eq!(reshaped(&[3, 2], &[-1, 6]), Some(vec![6]));
        assert_eq!(reshaped(&[3, 2], &[0, -1]), Some(vec![6]));
        assert_eq!(reshaped(&[6], &[0, -1, 2]), Some(vec![3, 2]));
        assert_eq!(reshaped(&[3, 2], &[0, 0, 2]), Some(vec![3, 2]));
        assert_eq!(reshaped(&[1], &[-1]), Some(vec![]));
        // Two rows would become one, or one would become two.
        assert_eq!(reshaped(&[6], &[-1, 12]), None);
        assert_eq!(reshaped(&[6], &[-1]), None);
        assert_eq!(reshaped(&[6], &[4, 6]), None);
        assert_eq!(reshaped(&[6], &[0, -1, 4]), None);
        assert_eq!(reshaped(&[6], &[-1, -1]), None);
        assert_eq!(reshaped(&[6], &[]), None);
    }
}
