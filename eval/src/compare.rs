//! One row of logits against its target, or against the same row of another model.
//!
//! Everything after the f32 logits is f64: the KL divergence of a good quantizer is a difference of
//! nearly equal numbers. `exp` is a polynomial over lanes that the compiler turns into vector code of
//! whatever width the machine has; products and sums are never fused, and lanes are summed in one
//! order, so that every machine gets the same bits.

use crate::score::{Better, Metric, Unit};
use multiversion::multiversion;

/// [`Pair::divergence`], averaged.
pub const KL_DIVERGENCE: Metric = Metric {
    name: "kl_divergence",
    label: "KL divergence (mean)",
    summary: "mean over scored tokens or rows of sum p_original log(p_original / p_quantized), nats",
    better: Better::Lower,
    unit: Unit::Significant(4),
    per_model: false,
};
/// [`Pair::agree`], as a share.
pub const TOP1_AGREEMENT: Metric = Metric {
    name: "top1_agreement",
    label: "top-1 agreement",
    summary: "share of scored tokens or rows where both models prefer the same",
    better: Better::Higher,
    unit: Unit::Share,
    per_model: false,
};

/// Logits handled together, each in a lane of its own sum.
const BLOCK: usize = 64;
/// Where `exp` stops falling; what a lane without a logit holds.
const FLOOR: f64 = -708.0;

/// What one row of logits says about its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// `-log p(target)`, nats.
    pub loss: f64,
    /// Index of the first largest logit.
    pub top: usize,
}

/// What two rows say about one target and about each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// `-log p(target)` of the original, nats.
    pub original_loss: f64,
    /// `-log p(target)` of the quantized model, nats.
    pub quantized_loss: f64,
    /// `sum p_original (log p_original - log p_quantized)`, nats.
    pub divergence: f64,
    /// Both have the same first largest logit.
    pub agree: bool,
    /// Index of the first largest logit of the original.
    pub original_top: usize,
    /// Index of the first largest logit of the quantized model.
    pub quantized_top: usize,
}

/// Scores one row; `None` when a logit is not finite.
///
/// # Panics
/// When `target` is outside `logits`.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub fn row(logits: &[f32], target: usize) -> Option<Row> {
    let (top, peak) = peak(logits)?;
    let peak = f64::from(peak);
    let mut sum = [0.0; BLOCK];
    for block in logits.chunks(BLOCK) {
        let powers = exp(&below(block, peak));
        for (total, power) in sum.iter_mut().zip(powers) {
            *total += power;
        }
    }
    let log_sum = sum.iter().sum::<f64>().ln();
    Some(Row {
        loss: peak + log_sum - f64::from(logits[target]),
        top,
    })
}

/// Scores the rows of two models at one position; `None` when a logit is not finite.
///
/// # Panics
/// When the rows differ in length or `target` is outside them.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub fn pair(original: &[f32], quantized: &[f32], target: usize) -> Option<Pair> {
    assert_eq!(
        original.len(),
        quantized.len(),
        "logits over one vocabulary"
    );
    let (original_top, original_peak) = peak(original)?;
    let (quantized_top, quantized_peak) = peak(quantized)?;
    let (o_peak, q_peak) = (f64::from(original_peak), f64::from(quantized_peak));
    let (mut o_sum, mut q_sum, mut cross) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
    for (o, q) in original.chunks(BLOCK).zip(quantized.chunks(BLOCK)) {
        let (o, q) = (below(o, o_peak), below(q, q_peak));
        let (o_power, q_power) = (exp(&o), exp(&q));
        for lane in 0..BLOCK {
            o_sum[lane] += o_power[lane];
            q_sum[lane] += q_power[lane];
            cross[lane] += o_power[lane] * (o[lane] - q[lane]);
        }
    }
    let original_sum: f64 = o_sum.iter().sum();
    let quantized_sum: f64 = q_sum.iter().sum();
    let cross: f64 = cross.iter().sum();
    let (o_log, q_log) = (original_sum.ln(), quantized_sum.ln());
    // log p_o - log p_q = (o - log S_o) - (q - log S_q), averaged over p_o = e^o / S_o.
    // Rounding alone may leave a value just below zero.
    let divergence = (cross / original_sum - (o_log - q_log)).max(0.0);
    Some(Pair {
        original_loss: o_peak + o_log - f64::from(original[target]),
        quantized_loss: q_peak + q_log - f64::from(quantized[target]),
        divergence,
        agree: original_top == quantized_top,
        original_top,
        quantized_top,
    })
}

/// Logits relative to the largest. Lanes beyond the end hold [`FLOOR`]: they add 3e-308 to a sum that is
/// at least 1, and nothing to a difference of two rows.
#[inline]
fn below(block: &[f32], peak: f64) -> [f64; BLOCK] {
    let mut relative = [FLOOR; BLOCK];
    for (relative, &logit) in relative.iter_mut().zip(block) {
        *relative = f64::from(logit) - peak;
    }
    relative
}

/// Index and value of the first largest logit; `None` when there is none or one is not finite.
#[inline]
fn peak(logits: &[f32]) -> Option<(usize, f32)> {
    let mut lanes = [f32::NEG_INFINITY; BLOCK];
    // Zero as long as everything is finite: infinity and NaN times zero are NaN.
    let mut taint = [0.0_f32; BLOCK];
    for block in logits.chunks(BLOCK) {
        for ((lane, taint), &z) in lanes.iter_mut().zip(&mut taint).zip(block) {
            *lane = if z > *lane { z } else { *lane };
            *taint += z * 0.0;
        }
    }
    if taint.iter().any(|taint| taint.is_nan()) {
        return None;
    }
    let largest = lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let top = logits.iter().position(|&z| z >= largest)?;
    Some((top, largest))
}

/// `e^x` for `x <= 0`, within 2 ulp (measured in the tests); below -708 the value of -708 (3e-308).
///
/// Cody and Waite: `x = n ln 2 + r`, `|r| <= ln 2 / 2`, Taylor to degree 12 (remainder 2e-16), then
/// the exponent field is raised by `n`.
#[inline]
fn exp(x: &[f64; BLOCK]) -> [f64; BLOCK] {
    /// 1.5 * 2^52: adding it rounds to an integer that lands in the low mantissa bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts; the upper has 32 trailing zero bits, so `n * LN2_HIGH` is exact.
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// 1/12!, 1/11!, ..., 1/1!, 1/0!
    const TAYLOR: [f64; 13] = [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let mut power = [0.0; BLOCK];
    for (power, &x) in power.iter_mut().zip(x) {
        let x = if x > FLOOR { x } else { FLOOR };
        let shifted = x * std::f64::consts::LOG2_E + SHIFT;
        let n = shifted - SHIFT;
        let rest = (x - n * LN2_HIGH) - n * LN2_LOW;
        let mut taylor = TAYLOR[0];
        for coefficient in &TAYLOR[1..] {
            taylor = taylor * rest + coefficient;
        }
        let scale = shifted.to_bits() << 52;
        *power = f64::from_bits(taylor.to_bits().wrapping_add(scale));
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Textbook log-softmax in f64 with the library's `exp`.
    fn log_softmax(logits: &[f32]) -> Vec<f64> {
        let peak = logits
            .iter()
            .copied()
            .map(f64::from)
            .fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|&z| (f64::from(z) - peak).exp()).sum();
        logits
            .iter()
            .map(|&z| f64::from(z) - peak - sum.ln())
            .collect()
    }

    #[test]
    fn exp_is_within_two_ulp_of_the_library() {
        for step in 0..70_000_u32 {
            let x = -f64::from(step) * 0.010_1;
            let (ours, theirs) = (exp(&[x; BLOCK])[0], x.exp());
            assert!(
                (ours - theirs).abs() <= 4.5e-16 * theirs,
                "{x}: {ours} {theirs}"
            );
        }
        assert!((exp(&[0.0; BLOCK])[0] - 1.0).abs() <= 0.0);
        assert!(exp(&[-1e9; BLOCK])[0] < 1e-300);
    }

    #[test]
    fn two_classes_by_hand() {
        // p = (3/4, 1/4), q = (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2)
        let original = [3.0_f32.ln(), 0.0];
        let quantized = [0.0, 0.0];
        let pair = pair(&original, &quantized, 1).unwrap();
        let expected = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
        assert!(
            (pair.divergence - expected).abs() < 1e-7,
            "ln 3 is rounded to f32"
        );
        assert!((pair.original_loss - 4.0_f64.ln()).abs() < 1e-7);
        assert!((pair.quantized_loss - 2.0_f64.ln()).abs() < 1e-15);
        assert!(pair.agree, "the first of equals is the top");
    }

    #[test]
    fn identical_rows_diverge_by_exactly_nothing() {
        let logits: Vec<f32> = (0..1003_u16)
            .map(|i| f32::from(i * 37 % 101) * 0.173)
            .collect();
        let pair = pair(&logits, &logits, 7).unwrap();
        assert!(pair.divergence <= 0.0 && pair.agree);
        assert!((pair.original_loss - pair.quantized_loss).abs() <= 0.0);
    }

    #[test]
    fn tiny_divergence_keeps_its_digits() {
        // d = 1e-4 on one logit of 4096 equal ones: KL = d^2 / 2 * p (1 - p) + O(d^3).
        let original = vec![0.0_f32; 4096];
        let mut quantized = original.clone();
        quantized[11] = 1e-4;
        let found = pair(&original, &quantized, 0).unwrap().divergence;
        let d = f64::from(1e-4_f32);
        let p = 1.0 / 4096.0;
        let expected = (1.0 + p * d.exp_m1()).ln() - p * d;
        assert!((found - expected).abs() < 2e-15, "{found:e} {expected:e}");
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        assert_eq!(row(&[0.0, f32::NAN, 1.0], 0), None);
        assert_eq!(pair(&[0.0; 9], &[f32::INFINITY; 9], 0), None);
        assert_eq!(row(&[], 0), None);
    }

    proptest! {
        #[test]
        fn rows_and_pairs_agree_with_the_textbook(
            logits in prop::collection::vec((-40.0_f32..40.0, -0.5_f32..0.5), 1..70),
            target in 0_usize..70,
        ) {
            let original: Vec<f32> = logits.iter().map(|&(z, _)| z).collect();
            let quantized: Vec<f32> = logits.iter().map(|&(z, e)| z + e).collect();
            let target = target % original.len();
            let (o, q) = (log_softmax(&original), log_softmax(&quantized));
            let divergence: f64 = o.iter().zip(&q).map(|(o, q)| o.exp() * (o - q)).sum();
            let pair = pair(&original, &quantized, target).unwrap();
            prop_assert!((pair.original_loss + o[target]).abs() < 1e-12);
            prop_assert!((pair.quantized_loss + q[target]).abs() < 1e-12);
            prop_assert!((pair.divergence - divergence).abs() < 1e-12);
            let row = row(&original, target).unwrap();
            prop_assert!((row.loss - pair.original_loss).abs() < 1e-13);
            prop_assert_eq!(row.top, pair.original_top);
            prop_assert_eq!(pair.agree, pair.original_top == pair.quantized_top);
            prop_assert!(original.iter().all(|&z| z <= original[row.top]));
        }
    }
}
