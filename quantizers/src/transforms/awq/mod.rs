//! AWQ (Lin et al. 2024): salient input channels are scaled up before weights are rounded, and grids
//! end before the largest weight where that loses less.
//!
//! In front of each set of layers `s = (mean |x|)^ratio`, divided by `sqrt(max(s) min(s))`, with the
//! ratio of least squared error at the output of the half the layers belong to (attention, feed-forward;
//! the layer itself for output and down). Then every group of every layer but queries and keys is
//! clipped to the share of its largest weight that loses least.

mod scale;
mod clip;
mod product;

use super::edit::BlockEdit;
use super::error::TransformError;
use super::runner::BlockRunner;
use super::scaling::calibrated;
use super::transform::{ConfiguredTransform, Transform};
use crate::ParamError;
use crate::graph::Graph;
use crate::methods::parameters::Parameters;
use crate::statistics::{INPUT_ABS_MEAN, Statistic};

/// The registry entry.
pub(super) struct Awq;

/// Ratios tried unless a recipe says otherwise, as published.
const RATIOS: usize = 20;
/// Tokens the searches run the block on unless a recipe says otherwise.
const SEARCH_TOKENS: usize = 8192;

/// What the search reads.
const NEEDS: &[&Statistic] = &[&INPUT_ABS_MEAN];

const PARAMETERS: &[(&str, &str)] = &[
    (
        "ratios",
        "how many ratios 0/n, 1/n .. (n-1)/n the scale search tries (default 20; 1 tries ratio 0 alone and scales nothing)",
    ),
    (
        "clip",
        "whether groups may end before their largest weight (default true)",
    ),
    (
        "search_tokens",
        "calibration tokens the searches run each block on (default 8192)",
    ),
];

impl Transform for Awq {
    fn name(&self) -> &'static str {
        "awq"
    }

    fn summary(&self) -> &'static str {
        "input channels with large activations scaled up before rounding, weights clipped, by search"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTransform>, ParamError> {
        let parameters = Parameters::new(self.name(), PARAMETERS, table)?;
        let count = |key: &str, most: i64| -> Result<Option<usize>, ParamError> {
            let found = parameters.integer(key, 1..=most)?;
            Ok(found.and_then(|count| usize::try_from(count).ok()))
        };
        Ok(Box::new(Search {
            ratios: count("ratios", 1000)?.unwrap_or(RATIOS),
            clip: parameters.boolean("clip")?.unwrap_or(true),
            tokens: count("search_tokens", 1 << 32)?.unwrap_or(SEARCH_TOKENS),
        }))
    }
}

struct Search {
    ratios: usize,
    clip: bool,
    tokens: usize,
}

impl ConfiguredTransform for Search {
    fn needs(&self) -> &'static [&'static Statistic] {
        NEEDS
    }

    fn runs(&self) -> bool {
        true
    }

    fn apply(
        &self,
        graph: &Graph,
        stage: usize,
        edit: &mut BlockEdit,
        runner: &dyn BlockRunner,
    ) -> Result<Vec<String>, TransformError> {
        let Some(block) = graph.block_at(stage) else {
            return Ok(Vec::new());
        };
        let mut notes = Vec::new();
        for scaling in calibrated(graph, stage, runner) {
            let found = scale::search(&scaling, self.ratios, self.tokens, edit, runner)?;
            if let Some(found) = found {
                notes.push(format!("`{}`: ratio {:.2}", scaling.point(), found));
            }
        }
        if self.clip {
            let layers = clip::layers(block).into_iter();
            for layer in layers.filter(|layer| runner.is_calibrated(&layer.input_point)) {
                clip::search(layer, self.tokens, edit, runner)?;
            }
        }
        Ok(notes)
    }
}
