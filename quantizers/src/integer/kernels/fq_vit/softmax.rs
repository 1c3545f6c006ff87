//! Log-int-softmax: i-exp, and the binary logarithm of the ratio to its sum.

use crate::integer::kernel::{KernelConstants, saturate};
use crate::integer::kernels::i_bert::Exponential;
use crate::integer::kernels::rounded_quotient::rounded_quotient;
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// Largest exponent of a probability that is not zero.
pub const LARGEST_EXPONENT: i64 = 15;

/// With `e` of [`Exponential`] at `q - max q`:
///
/// ```text
/// R = round(sum e / e), half to even
/// k = floor(log2 R), one more if the bit below the leading one is set
/// code = 2^(15 - k), 0 for k > 15; scale 2^-15
/// ```
///
/// Published are the 4-bit `k` and attended values `sum_j (v_j 2^(15 - k_j)) / 2^15`, a shift per key
/// and one at the end. The code is that power of two, so that an ordinary integer product gives the
/// same sum; only the final division is left to the requantization that follows, which rounds it once
/// instead of truncating it first. The zero point of the scores cancels.
///
/// | intermediate | bits with sign, `N` values in a row |
/// |---|---|
/// | `q - max q` | 33 |
/// | `e` | 63 |
/// | sum | `63 + ceil(log2 N)`, refused above 63: `q_c N < 2^32` |
/// | `R` | 63 |
/// | code | 17 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// i-exp.
    pub exponential: Exponential,
}

impl Softmax {
    /// The 4-bit exponent `k` of each code, [`None`] for a probability of exactly zero.
    pub fn exponents<A: Arithmetic>(&self, arithmetic: &A, input: &[i32]) -> Vec<Option<u8>> {
        let mut exponents = Vec::with_capacity(input.len());
        self.visit(arithmetic, input, |_, exponent| {
            let kept = exponent.filter(|exponent| *exponent <= LARGEST_EXPONENT);
            exponents.push(kept.and_then(|exponent| u8::try_from(exponent).ok()));
        });
        exponents
    }

    fn visit<A: Arithmetic>(
        &self,
        arithmetic: &A,
        input: &[i32],
        mut found: impl FnMut(usize, Option<i64>),
    ) {
        let largest = i64::from(input.iter().copied().max().unwrap_or(0));
        let exponential = |code: i32| {
            let difference = arithmetic.sub(i64::from(code), largest);
            self.exponential.value(arithmetic, difference)
        };
        let sum = input
            .iter()
            .fold(0, |sum, code| arithmetic.add(sum, exponential(*code)));
        let sum = arithmetic.declared(sum, 63);
        for (position, code) in input.iter().enumerate() {
            let value = exponential(*code);
            let exponent = (value > 0).then(|| {
                let ratio = rounded_quotient(arithmetic, sum, value);
                rounded_logarithm(arithmetic, ratio)
            });
            found(position, exponent);
        }
    }
}

/// The leading bit of a ratio of at least 1, one more where the bit below it is set.
fn rounded_logarithm<A: Arithmetic>(arithmetic: &A, ratio: i64) -> i64 {
    let leading = 63 - ratio.max(1).leading_zeros();
    let next = leading > 0 && arithmetic.shr(ratio, leading - 1) & 1 == 1;
    i64::from(leading + u32::from(next))
}

impl KernelConstants for Softmax {
    const KIND: &'static str = "softmax.fq-vit";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        self.visit(arithmetic, input, |position, exponent| {
            let power = match exponent.and_then(|k| u32::try_from(LARGEST_EXPONENT - k).ok()) {
                Some(bits) => arithmetic.shl(1, bits),
                None => 0,
            };
            output[position] = saturate(arithmetic, power, 0, 1 << LARGEST_EXPONENT);
        });
    }

    fn bounds(&self, input: Interval, width: usize) -> Result<Interval, WidthError> {
        Interval::new(input.low - input.high, 0).within(33, "difference to the maximum")?;
        self.exponential.bounds()?;
        let values = i128::try_from(width).unwrap_or(i128::MAX >> 64);
        Interval::new(0, self.exponential.largest() * values)
            .within(63, "sum of log-int-softmax")?;
        Ok(Interval::new(0, 1 << LARGEST_EXPONENT))
    }

    fn invalid(&self) -> Option<&'static str> {
        self.exponential.invalid()
    }
}
