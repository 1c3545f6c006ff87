//! Reading the table of an attention method: numbers with a default.

use crate::ParamError;
use crate::methods::parameters::Parameters;

/// Sinks where a method does not say otherwise: those of the Cascading KV cache.
pub(super) const SINK: usize = 64;
/// Window where a method does not say otherwise: the one Delta Attention corrects.
pub(super) const WINDOW: usize = 2048;
/// Layers that attend exactly where a method keeps its first ones dense (HiP: the first three or four).
pub(super) const DENSE_LAYERS: usize = 3;
/// The most a count can be: a million million tokens are nobody's.
const MOST: i64 = 1 << 40;

/// The keys of a table, checked against the names a method knows.
pub(super) struct Settings<'t>(Parameters<'t>);

impl<'t> Settings<'t> {
    /// Refuses keys that are not in `known`.
    pub(super) fn new(
        method: &'static str,
        known: &[(&'static str, &'static str)],
        table: &'t toml::Table,
    ) -> Result<Self, ParamError> {
        Parameters::new(method, known, table).map(Self)
    }

    /// A whole number of at least `least`.
    pub(super) fn count(&self, key: &str, least: i64, default: usize) -> Result<usize, ParamError> {
        self.at_most(key, least, MOST, default)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn at_most(
        &self,
        key: &str,
        least: i64,
        most: i64,
        default: usize,
    ) -> Result<usize, ParamError> {
        let number = self.0.integer(key, least..=most)?;
        Ok(number.map_or(default, whole))
    }

    /// A whole number, or nothing.
    pub(super) fn maybe_count(&self, key: &str) -> Result<Option<usize>, ParamError> {
        Ok(self.0.integer(key, 0..=MOST)?.map(whole))
    }

    /// A number in `range`.
    pub(super) fn number(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<f64>,
        default: f64,
    ) -> Result<f64, ParamError> {
        Ok(self.0.number(key, range)?.unwrap_or(default))
    }

    /// A number in `range`, or nothing.
    pub(super) fn maybe(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<f64>,
    ) -> Result<Option<f64>, ParamError> {
        self.0.number(key, range)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, ParamError> {
        Ok(self.0.boolean(key)?.unwrap_or(default))
    }

    /// The key `seed`.
    pub(super) fn seed(&self) -> Result<u64, ParamError> {
        let number = self.0.integer("seed", 0..=i64::MAX)?;
        Ok(number.map_or(0, i64::unsigned_abs))
    }

    /// One of `choices`; the first where the key is absent.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<T, ParamError> {
        Ok(self.0.choice(key, choices)?.unwrap_or(choices[0].1))
    }

    /// The error for a key whose value does not go with the others.
    pub(super) fn refuse(&self, key: &str, expected: &str) -> ParamError {
        self.0.refuse(key, expected)
    }
}

/// A number that has been found not to be negative.
fn whole(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
