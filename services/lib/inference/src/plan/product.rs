//! A row times a matrix: the loop in which a student spends most of its time.

use pulp::{Arch, Simd, WithSimd};

/// Vectors of sums that are kept in registers while the row is gone through, in two chains each: an addition waits for the one
/// before it, and two vectors can be multiplied meanwhile.
const WIDE: usize = 4;

/// Adds the row times the matrix, which is stored row by row, to the sums, of which there are as many as it has columns.
pub(super) fn add_product(vectors: Arch, row: &[f32], matrix: &[f32], sums: &mut [f32]) {
    vectors.dispatch(Product { row, matrix, sums });
}

struct Product<'a> {
    row: &'a [f32],
    matrix: &'a [f32],
    sums: &'a mut [f32],
}

// What becomes of it depends on the vectors that the processor has, so all of it must be inlined into where they are known.
impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { row, matrix, sums } = self;
        let width = sums.len();
        if width == 1 {
            sums[0] += dot(simd, row, matrix);
            return;
        }
        let (whole, rest) = S::as_mut_simd_f32s(sums);
        let from = whole.len() * S::F32_LANES;
        let (wide, narrow) = whole.as_chunks_mut::<WIDE>();
        let narrow_from = wide.len() * WIDE;
        for (tile, sums) in wide.iter_mut().enumerate() {
            *sums = columns(simd, (row, matrix, width), tile * WIDE, *sums);
        }
        for (vector, sums) in narrow.iter_mut().enumerate() {
            [*sums] = columns(simd, (row, matrix, width), narrow_from + vector, [*sums]);
        }
        if !rest.is_empty() {
            let mut sums = simd.partial_load_f32s(rest);
            for (number, weights) in row.iter().zip(matrix.chunks_exact(width)) {
                let weights = simd.partial_load_f32s(&weights[from..]);
                sums = simd.mul_add_e_f32s(simd.splat_f32s(*number), weights, sums);
            }
            simd.partial_store_f32s(rest, sums);
        }
    }
}

/// The sums of the columns from a vector on.
#[inline(always)]
fn columns<S: Simd, const N: usize>(
    simd: S,
    (row, matrix, width): (&[f32], &[f32], usize),
    from: usize,
    sums: [S::f32s; N],
) -> [S::f32s; N] {
    let (mut even, mut odd) = (sums, [simd.splat_f32s(0.0); N]);
    let (pairs, last) = row.as_chunks::<2>();
    let mut weights = matrix.chunks_exact(2 * width);
    for ([one, other], weights) in pairs.iter().zip(&mut weights) {
        let (ones, others) = weights.split_at(width);
        even = add(simd, *one, ones, from, even);
        odd = add(simd, *other, others, from, odd);
    }
    for (number, weights) in last.iter().zip(weights.remainder().chunks_exact(width)) {
        even = add(simd, *number, weights, from, even);
    }
    for (sum, odd) in even.iter_mut().zip(odd) {
        *sum = simd.add_f32s(*sum, odd);
    }
    even
}

/// Adds a number times a row of the matrix.
#[inline(always)]
fn add<S: Simd, const N: usize>(
    simd: S,
    number: f32,
    weights: &[f32],
    from: usize,
    mut sums: [S::f32s; N],
) -> [S::f32s; N] {
    let number = simd.splat_f32s(number);
    let (weights, _) = S::as_simd_f32s(weights);
    for (sum, weights) in sums.iter_mut().zip(&weights[from..from + N]) {
        *sum = simd.mul_add_e_f32s(number, *weights, *sum);
    }
    sums
}

#[inline(always)]
fn dot<S: Simd>(simd: S, left: &[f32], right: &[f32]) -> f32 {
    let ((left, l_rest), (right, r_rest)) = (S::as_simd_f32s(left), S::as_simd_f32s(right));
    let mut sums = [simd.splat_f32s(0.0); WIDE];
    let ((l_wide, left), (r_wide, right)) = (left.as_chunks::<WIDE>(), right.as_chunks::<WIDE>());
    for (left, right) in l_wide.iter().zip(r_wide) {
        for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum = simd.mul_add_e_f32s(*left, *right, *sum);
        }
    }
    for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
        *sum = simd.mul_add_e_f32s(*left, *right, *sum);
    }
    let [a, b, c, d] = sums;
    let sum = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
    let (left, right) = (
        simd.partial_load_f32s(l_rest),
        simd.partial_load_f32s(r_rest),
    );
    simd.reduce_sum_f32s(simd.mul_add_e_f32s(left, right, sum))
}

#[cfg(test)]
mod tests {
    use pulp::Scalar;

    use super::*;

    #[test]
    fn it_is_the_sum_of_products_whatever_the_sizes_are() {
        for width in (1..=20).chain([31, 32, 33, 40, 63, 64, 65, 100]) {
            for length in (0..10).chain([16, 31, 32, 33, 64, 65, 100]) {
                // Small integers: all sums are exact, in any order.
                let number = |at: usize| (at * 7 % 13) as f32 - 6.0;
                let row: Vec<f32> = (0..length).map(number).collect();
                let matrix: Vec<f32> = (0..length * width).map(|at| number(at + 3)).collect();
                let biases: Vec<f32> = (0..width).map(|at| number(at + 5)).collect();
                let column = |column: usize| -> f32 {
                    let weights = matrix.iter().skip(column).step_by(width);
                    row.iter()
                        .zip(weights)
                        .map(|(left, right)| left * right)
                        .sum()
                };
                let expected: Vec<f32> = biases
                    .iter()
                    .enumerate()
                    .map(|(at, bias)| bias + column(at))
                    .collect();

                let check = |name: &str, add: &dyn Fn(Product<'_>)| {
                    let mut sums = biases.clone();
                    let (row, matrix, sums) = (&row[..], &matrix[..], &mut sums);
                    add(Product { row, matrix, sums });
                    assert_eq!(*sums, expected, "{length} by {width}, {name}");
                };
                check("as it is used", &|Product { row, matrix, sums }| {
                    add_product(Arch::new(), row, matrix, sums);
                });
                check("number by number", &|product| product.with_simd(Scalar));
                #[cfg(target_arch = "x86_64")]
                if let Some(vectors) = pulp::x86::V3::try_new() {
                    check("eight at once", &|product| {
                        Simd::vectorize(vectors, product)
                    });
                }
            }
        }
    }
}
