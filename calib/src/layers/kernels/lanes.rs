//! Reductions over a row as vector loops: partial results side by side, joined in a fixed order.

/// Partial results kept.
const LANES: usize = 16;

/// Sum of all entries.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    reduce(x, 0.0, |sum, x| sum + x).iter().sum()
}

/// Sum of the products of entries at equal places.
#[inline(always)]
pub fn sum_of_products(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for ((lane, a), b) in lanes
        .iter_mut()
        .zip(left.remainder())
        .zip(right.remainder())
    {
        *lane += a * b;
    }
    for (a, b) in left.zip(right) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}

/// The largest entry; NaN is passed over.
#[inline(always)]
pub fn highest(x: &[f32]) -> f32 {
    let lanes = reduce(
        x,
        f32::NEG_INFINITY,
        |high, x| if x > high { x } else { high },
    );
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
fn reduce(x: &[f32], start: f32, step: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut lanes = [start; LANES];
    let chunks = x.chunks_exact(LANES);
    for (lane, x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = step(*lane, *x);
    }
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, *x);
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_of_any_length() {
        for length in [0_u16, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..length).map(f32::from).collect();
            let (n, squares) = (f32::from(length), x.iter().map(|x| x * x).sum::<f32>());
            assert!((sum(&x) - n * (n - 1.0) / 2.0).abs() < f32::EPSILON);
            assert!((sum_of_products(&x, &x) - squares).abs() < f32::EPSILON);
            let last = x.last().copied().unwrap_or(f32::NEG_INFINITY);
            assert!(highest(&x).total_cmp(&last).is_eq());
        }
    }
}
