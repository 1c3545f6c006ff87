//! The traits of a method: as recipes name it, and configured.

use super::error::{ParamError, QuantizeError};
use super::plan::{LayerPlan, Quantized};
use super::tuned::TunedLayer;
use crate::statistics::LayerStats;
use crate::{FloatType, MatrixRef};

/// A method as recipes name it.
pub trait Method: Sync {
    /// Name in recipes.
    fn name(&self) -> &'static str;
    /// One line for `quench list methods`.
    fn summary(&self) -> &'static str;
    /// Parameter names accepted by [`Method::configure`], with one line of help each.
    fn parameters(&self) -> &'static [(&'static str, &'static str)];
    /// Turns a recipe rule (without `match` and `method`) into a quantizer.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong type or out of range.
    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError>;
}

/// A configured method.
pub trait Quantizer: Send + Sync {
    /// What will be done to a layer `[rows, cols]` that the checkpoint stores as `stored`: all the planner ever
    /// asks. Checks that the shape suits the parameters.
    ///
    /// # Errors
    /// A shape the parameters do not suit, e.g. a group size that does not divide `cols`.
    fn plan(&self, rows: usize, cols: usize, stored: FloatType)
    -> Result<LayerPlan, QuantizeError>;
    /// Quantizes `weight` as `plan`, made by [`Quantizer::plan`] for its shape, says.
    ///
    /// # Errors
    /// A missing statistic, a value that is not finite or out of range.
    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError>;
    /// Where `weight` starts from when the layers of its block are tuned together, of a `plan` with [`LayerPlan::tuning`];
    /// nothing of a method that does not tune.
    ///
    /// # Errors
    /// A value that is not finite or out of range.
    fn tune<'w>(
        &self,
        _weight: MatrixRef<'w>,
        _plan: &LayerPlan,
    ) -> Result<Option<Box<dyn TunedLayer + 'w>>, QuantizeError> {
        Ok(None)
    }
}
