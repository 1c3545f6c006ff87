//! The traits of a transform: as recipes name it, and configured.

use super::edit::BlockEdit;
use super::error::TransformError;
use super::refusals;
use super::rewrite::CheckpointRewrite;
use super::runner::BlockRunner;
use crate::ParamError;
use crate::graph::Graph;
use crate::statistics::Statistic;

/// A transform as recipes name it.
pub trait Transform: Sync {
    /// Name in recipes.
    fn name(&self) -> &'static str;
    /// One line for `quench list transforms`.
    fn summary(&self) -> &'static str;
    /// Parameter names accepted by [`Transform::configure`], with one line of help each.
    fn parameters(&self) -> &'static [(&'static str, &'static str)];
    /// Reads the parameters.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong type or out of range.
    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTransform>, ParamError>;
}

/// A configured transform: without quantization, the block it rewrites computes what it did before,
/// up to the rounding of f32.
pub trait ConfiguredTransform: Send + Sync {
    /// Statistics [`ConfiguredTransform::apply`] reads at the input points of linear layers.
    fn needs(&self) -> &'static [&'static Statistic];
    /// Whether [`ConfiguredTransform::apply`] runs the block.
    fn runs(&self) -> bool {
        false
    }
    /// The checkpoint that stands in the place of the original from now on, for a transform that rewrites more than
    /// single blocks; asked before anything is planned, and only headers are known. `seed` is the recipe's.
    ///
    /// # Errors
    /// A model that cannot be rewritten.
    fn rewrite(
        &self,
        _graph: &Graph,
        _seed: u64,
    ) -> Result<Option<CheckpointRewrite>, TransformError> {
        Ok(None)
    }
    /// What will be left as it is and why; asked while planning. Unless a transform says otherwise it
    /// scales inputs, and leaves what cannot take a factor.
    ///
    /// # Errors
    /// A model in which the transform can change nothing.
    fn plan(&self, graph: &Graph) -> Result<Vec<String>, TransformError> {
        refusals::notes(graph)
    }
    /// Rewrites the block at stage `stage` of `graph` on top of what `edit` has already; returns notes
    /// for the report. Other stages are left as they are.
    ///
    /// # Errors
    /// A statistic that is absent, values that are not finite, a block that cannot be run.
    fn apply(
        &self,
        graph: &Graph,
        stage: usize,
        edit: &mut BlockEdit,
        runner: &dyn BlockRunner,
    ) -> Result<Vec<String>, TransformError>;
}
