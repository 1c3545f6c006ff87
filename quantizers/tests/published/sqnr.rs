//! Errors written as the tables write them.

/// Largest and mean absolute error, and `10 log10(sum ref^2 / sum err^2)`.
pub(crate) struct Errors {
    pub(crate) largest: f64,
    pub(crate) mean: f64,
    pub(crate) db: f64,
}

impl Errors {
    pub(crate) fn of(reference: &[f64], found: &[f64]) -> Self {
        assert_eq!(reference.len(), found.len());
        assert!(!reference.is_empty());
        let errors = || reference.iter().zip(found).map(|(r, f)| (f - r).abs());
        let squares: f64 = errors().map(|error| error * error).sum();
        let signal: f64 = reference.iter().map(|value| value * value).sum();
        Self {
            largest: errors().fold(0.0, f64::max),
            mean: errors().sum::<f64>() / reference.len() as f64,
            db: 10.0 * (signal / squares).log10(),
        }
    }

    /// `2.709e-2/3.694e-3/27.67`: a digit more than the tables, which were rounded from these.
    pub(crate) fn row(&self) -> String {
        format!("{:.3e}/{:.3e}/{:.2}", self.largest, self.mean, self.db)
    }

    /// `27.67`.
    pub(crate) fn decibels(&self) -> String {
        format!("{:.2}", self.db)
    }
}

/// `values` rounded to unsigned codes of scale 1/255.
pub(crate) fn bytes(values: &[f64]) -> Vec<f64> {
    let rounded = |value: f64| (value * 255.0).round_ties_even().clamp(0.0, 255.0) / 255.0;
    values.iter().map(|value| rounded(*value)).collect()
}

/// Scale of 8-bit codes that hold `reference`.
pub(crate) fn byte_scale(reference: &[f64]) -> f64 {
    reference
        .iter()
        .fold(0.0_f64, |most, value| most.max(value.abs()))
        / 127.0
}

/// Signed codes of at most `largest` for `values`, and their scale.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
pub(crate) fn codes(values: &[f64], largest: i32) -> (Vec<i32>, f64) {
    let most = values
        .iter()
        .fold(0.0_f64, |most, value| most.max(value.abs()));
    let scale = most / f64::from(largest);
    let (low, high) = (f64::from(-largest - 1), f64::from(largest));
    let code = |value: f64| (value / scale).round_ties_even().clamp(low, high) as i32;
    (values.iter().map(|value| code(*value)).collect(), scale)
}

/// Signed codes of 8 bits that hold `reference`, for `values`; as real numbers again.
pub(crate) fn signed_bytes(reference: &[f64], values: &[f64]) -> Vec<f64> {
    let scale = byte_scale(reference);
    let code = |value: f64| (value / scale).round_ties_even().clamp(-128.0, 127.0);
    values.iter().map(|value| code(*value) * scale).collect()
}

/// Integers of one scale as real numbers.
pub(crate) fn scaled(values: &[i64], scale: f64) -> Vec<f64> {
    values.iter().map(|value| *value as f64 * scale).collect()
}
