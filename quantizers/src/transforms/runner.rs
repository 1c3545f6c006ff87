//! What a transform can ask of the block it rewrites.

use super::edit::{BlockEdit, EditedTensor};
use super::error::TransformError;
use crate::statistics::Statistic;
use crate::{FloatType, Granularity, MatrixRef};

/// A block with calibration data in front of it.
pub trait BlockRunner {
    /// Tensor `name` as the checkpoint has it.
    ///
    /// # Errors
    /// No such tensor.
    fn tensor(&self, name: &str) -> Result<EditedTensor, TransformError>;
    /// The type `name` is stored in: values that are written back are rounded to it.
    fn float_type(&self, name: &str) -> FloatType;
    /// A statistic of the inputs seen at `point` over all calibration tokens, before any edit.
    fn statistic(&self, point: &str, stat: &'static Statistic) -> Option<&[f32]>;
    /// Whether the statistics at `point` are of enough tokens to be acted on: an expert may have seen few.
    fn is_calibrated(&self, _point: &str) -> bool {
        true
    }
    /// Runs the block as `edit` has it over the first calibration sequences, `max_tokens` tokens at
    /// most (one sequence at least), and returns what is seen at each of `points`, `[tokens, width]`.
    /// The same sequences every time.
    ///
    /// # Errors
    /// A tensor of another shape, a point the block does not have.
    fn run(
        &self,
        edit: &BlockEdit,
        points: &[&str],
        max_tokens: usize,
    ) -> Result<Vec<Vec<f32>>, TransformError>;
    /// Which weights of `layer` will share a scale; `None` where the plan keeps the layer as it is.
    fn granularity(&self, layer: &str) -> Option<Granularity>;
    /// `weight` `[rows, cols]` rounded to nearest on the grid the plan has for `layer`, decoded: what
    /// a search measures. The weight itself where the plan keeps the layer as it is.
    ///
    /// # Errors
    /// A weight that cannot be quantized.
    fn quantize(&self, layer: &str, weight: MatrixRef<'_>) -> Result<Vec<f32>, TransformError>;
}
