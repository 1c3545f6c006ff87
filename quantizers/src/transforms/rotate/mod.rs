//! Rotations folded into the weights (`QuaRot`, Ashkboos et al. 2024; `SpinQuant`, Liu et al. 2024): no channel of the
//! residual stream and of values stands out any more, so weights spread over their grids evenly.
//!
//! The factors of every norm go into the layers that read it. Then the stream `x` becomes `x Q` with one orthogonal
//! `Q`: token vectors and biases of what writes into it are multiplied with `Q`, layers that write become `Qᵀ W`,
//! layers that read `W Q`; an RMS norm without factors commutes with `Q`. In every block the values of a head are
//! rotated by another matrix, and the layer behind the attention takes that back. Nothing is left to do when the model
//! runs.

mod rotation;
mod tensor;
mod stream;
mod heads;
mod folding;

use super::edit::BlockEdit;
use super::error::TransformError;
use super::rewrite::CheckpointRewrite;
use super::runner::BlockRunner;
use super::transform::{ConfiguredTransform, Transform};
use crate::ParamError;
use crate::graph::Graph;
use crate::methods::parameters::Parameters;
use crate::statistics::Statistic;
use folding::Wanted;

/// The registry entry.
pub(super) struct Rotate;

const PARAMETERS: &[(&str, &str)] = &[
    (
        "rotation",
        "`hadamard`: the residual stream by a random Hadamard matrix; `v`: the values of every head alone, which caches of few bits hold better; `none`: factors of norms go into the layers behind them, and nothing is rotated (default `hadamard`)",
    ),
    (
        "heads",
        "whether the values of every head are rotated too (default true; not possible with `none`)",
    ),
];

impl Transform for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn summary(&self) -> &'static str {
        "the residual stream and the values of every head rotated, so that no channel stands out; once, before other transforms"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTransform>, ParamError> {
        let parameters = Parameters::new(self.name(), PARAMETERS, table)?;
        let wanted = |norms, stream, heads| Wanted {
            norms,
            stream,
            heads,
        };
        let kinds = [
            ("hadamard", wanted(true, true, true)),
            ("v", wanted(false, false, true)),
            ("none", wanted(true, false, false)),
        ];
        let kind = parameters.choice("rotation", &kinds)?;
        let mut wanted = kind.unwrap_or(kinds[0].1);
        match parameters.boolean("heads")? {
            Some(heads) if wanted.stream => wanted.heads = heads,
            Some(true) if !wanted.heads => {
                return Err(parameters.refuse("heads", "`false` with `rotation = \"none\"`"));
            }
            Some(false) if wanted.heads => {
                return Err(parameters.refuse("heads", "`true` with `rotation = \"v\"`"));
            }
            _ => {}
        }
        Ok(Box::new(Rotating(wanted)))
    }
}

struct Rotating(Wanted);

impl ConfiguredTransform for Rotating {
    fn needs(&self) -> &'static [&'static Statistic] {
        &[]
    }

    fn rewrite(
        &self,
        graph: &Graph,
        seed: u64,
    ) -> Result<Option<CheckpointRewrite>, TransformError> {
        folding::rewrite(graph, seed, self.0).map(Some)
    }

    /// Everything is in the checkpoint already.
    fn plan(&self, _graph: &Graph) -> Result<Vec<String>, TransformError> {
        Ok(Vec::new())
    }

    fn apply(
        &self,
        _graph: &Graph,
        _stage: usize,
        _edit: &mut BlockEdit,
        _runner: &dyn BlockRunner,
    ) -> Result<Vec<String>, TransformError> {
        Ok(Vec::new())
    }
}
