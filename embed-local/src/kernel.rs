//! The functions between the matrices, row by row, in the widest instructions that the processor
//! has.
//!
//! `pulp` picks the instructions when the program runs; the compiler vectorises the loops for them.

use pulp::{Arch, NullaryFnOnce};

use crate::description::Pooling;

/// How many numbers go side by side: a multiple of every processor's width.
const LANES: usize = 16;

/// Adds `bias` to each row.
pub(crate) fn add_to_rows(rows: &mut [f32], bias: &[f32]) {
    fast(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(bias.len()) {
                for (x, bias) in row.iter_mut().zip(bias) {
                    *x += bias;
                }
            }
        },
    );
}

/// Adds `bias` to each row and applies GELU in its exact form, by the error function.
pub(crate) fn gelu_rows(rows: &mut [f32], bias: &[f32]) {
    fast(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(bias.len()) {
                for (x, bias) in row.iter_mut().zip(bias) {
                    *x = gelu(*x + bias);
                }
            }
        },
    );
}

/// Makes the vector of a text out of the rows of its tokens: their mean, or the first.
pub(crate) fn pool_rows(rows: &[f32], width: usize, pooling: Pooling) -> Vec<f32> {
    let mut vector = rows[..width].to_vec();
    if pooling == Pooling::Mean {
        let count = (rows.len() / width) as f32;
        for row in rows[width..].chunks_exact(width) {
            for (total, x) in vector.iter_mut().zip(row) {
                *total += x;
            }
        }
        vector.iter_mut().for_each(|x| *x /= count);
    }
    vector
}

/// Gives a vector the length one.
pub(crate) fn normalize(vector: &mut [f32]) {
    // The bound is torch's, for a vector of zeros.
    let length = sum(vector, |x| x * x).sqrt().max(1e-12);
    vector.iter_mut().for_each(|x| *x /= length);
}

/// What a layer normalisation has learned.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
    pub(crate) weight: Vec<f32>,
}

impl Norm {
    /// Normalises each row of `rows` to a mean of zero and a variance of one, and then to what was
    /// learned.
    pub(crate) fn rows(&self, rows: &mut [f32]) {
        fast(
            #[inline(always)]
            || {
                for row in rows.chunks_exact_mut(self.bias.len()) {
                    self.row(row);
                }
            },
        );
    }

    /// The same for each row of `rows + bias + residual`.
    pub(crate) fn sum_rows(&self, rows: &mut [f32], bias: &[f32], residual: &[f32]) {
        fast(
            #[inline(always)]
            || {
                let width = bias.len();
                let residuals = residual.chunks_exact(width);
                for (row, residual) in rows.chunks_exact_mut(width).zip(residuals) {
                    for ((x, bias), residual) in row.iter_mut().zip(bias).zip(residual) {
                        *x += bias + residual;
                    }
                    self.row(row);
                }
            },
        );
    }

    #[inline(always)]
    fn row(&self, row: &mut [f32]) {
        let count = row.len() as f32;
        let mean = sum(row, |x| x) / count;
        let variance = sum(
            row,
            #[inline(always)]
            |x| (x - mean) * (x - mean),
        ) / count;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        for ((x, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
            *x = (*x - mean) * scale * weight + bias;
        }
    }
}

/// Makes each row of scores, times `scale`, into shares that add up to one.
pub(crate) fn softmax_rows(rows: &mut [f32], width: usize, scale: f32) {
    fast(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(width) {
                softmax(row, scale);
            }
        },
    );
}

/// Runs `work` compiled for this processor, as far as it is inlined here.
#[inline(always)]
fn fast<F: FnOnce()>(work: F) {
    struct Work<F>(F);
    impl<F: FnOnce()> NullaryFnOnce for Work<F> {
        type Output = ();
        #[inline(always)]
        fn call(self) {
            (self.0)();
        }
    }
    Arch::new().dispatch(Work(work));
}

#[inline(always)]
fn softmax(row: &mut [f32], scale: f32) {
    let greatest = greatest(row);
    for x in row.iter_mut() {
        *x = exp((*x - greatest) * scale);
    }
    let share = 1.0 / sum(row, |x| x);
    for x in row.iter_mut() {
        *x *= share;
    }
}

/// Adds up in several lanes: floating-point addition may not be reordered by the compiler.
#[inline(always)]
fn sum(numbers: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += of(*x);
        }
    }
    let rest: f32 = rest.iter().map(|x| of(*x)).sum();
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn greatest(numbers: &[f32]) -> f32 {
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max)
}

/// `x/2 (1 + erf(x/√2))`; the error function by Abramowitz and Stegun 7.1.26, off by 1.5e-7.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let polynomial = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t
        + 0.254_829_6)
        * t;
    let tail = polynomial * exp(-z * z);
    // erf is odd: of the tail, one side has it and the other has what is left.
    let half = 0.5 * x * tail;
    if x < 0.0 { half } else { x - half }
}

/// `e` to the power of `x`, off by two units in the last place; zero and infinity are cut off to
/// the least and the greatest normal numbers.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding this number rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = (x - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let mut power = 1.388_889e-3;
    for coefficient in [8.333_333e-3, 4.166_666_8e-2, 0.166_666_67, 0.5, 1.0, 1.0] {
        power = power * rest + coefficient;
    }
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127)
        << 23;
    power * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> impl Iterator<Item = f32> {
        (-8700..=8700_i16).map(|step| f32::from(step) / 100.0)
    }

    #[test]
    fn exp_is_the_exponential_function() {
        for x in steps() {
            let (ours, expect) = (exp(x), x.exp());
            assert!(
                (ours - expect).abs() <= expect * 3e-7,
                "{x}: {ours}, not {expect}"
            );
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn gelu_is_x_times_the_normal_distribution() {
        // By erf in double precision.
        let cases = [
            (-5.0, -1.433_257_9e-6),
            (-1.0, -0.158_655_26),
            (-0.1, -0.046_017_22),
            (0.0, 0.0),
            (0.5, 0.345_731_23),
            (2.0, 1.954_499_7),
            (6.0, 6.0),
        ];
        for (x, expect) in cases {
            assert!((gelu(x) - expect).abs() < 5e-7, "{x}: {}", gelu(x));
        }
        assert!(steps().all(|x| gelu(x).is_finite()));
    }

    #[test]
    fn shares_add_up_to_one_and_keep_their_order() {
        let mut rows: Vec<f32> = (0..74_u8).map(|x| f32::from(x) * 3.0 - 111.0).collect();
        softmax_rows(&mut rows, 37, 0.5);
        for row in rows.chunks(37) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(row.is_sorted());
            assert!((row[36] / row[35] - 1.5f32.exp()).abs() < 1e-4);
        }
    }

    #[test]
    fn a_normalised_row_has_a_mean_of_zero_and_a_variance_of_one() {
        let norm = Norm {
            bias: vec![0.0; 21],
            epsilon: 1e-12,
            weight: vec![1.0; 21],
        };
        let mut row: Vec<f32> = (0..21_u8).map(f32::from).collect();
        let (bias, residual) = (vec![5.0; 21], row.clone());
        norm.sum_rows(&mut row, &bias, &residual);
        assert!(sum(&row, |x| x).abs() < 1e-5);
        assert!((sum(&row, |x| x * x) / 21.0 - 1.0).abs() < 1e-5);
        assert!(row.is_sorted());
    }
}
