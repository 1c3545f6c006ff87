//! What a quantizer will do to one layer, known before a weight is read.

use crate::QuantizedTensor;
use crate::statistics::{Stat, SurveyRequest};
use crate::tensor::{FloatType, Scheme};
use serde::{Deserialize, Serialize};

/// Everything the planner asks of a quantizer about one layer `[rows, cols]`. What is decided here is
/// read again by [`super::Quantizer::quantize`], the writer and the report; nobody derives it twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerPlan {
    /// What the layer will look like on disk.
    pub scheme: Scheme,
    /// Float type the checkpoint stores the weight in.
    pub weight_type: FloatType,
    /// Float type scales are stored in, where the scheme has scales.
    pub scale_type: FloatType,
    /// Sparse values expected; 0 without a sparse part.
    pub outliers: usize,
    /// Statistics [`super::Quantizer::quantize`] reads.
    pub needs: Vec<Stat>,
    /// What must be known about all layers before the first is quantized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survey: Option<SurveyRequest>,
    /// Which weights the statistics are measured with.
    pub sequential: Sequential,
    /// How long the layer is tuned together with the others of its block, by what the block makes of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
    /// Predicted work.
    pub cost: Cost,
    /// What a reader of the plan should know: a group size that had to change, for example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Which weights run while the statistics of a layer are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sequential {
    /// The original ones everywhere.
    No,
    /// Quantized ones in the blocks before, original ones in the layer's own block.
    Blocks,
    /// Quantized ones in everything that runs before the layer.
    Layers,
}

/// How long the layers of a block are tuned, all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// Steps against the gradient.
    pub steps: usize,
    /// Sequences that each step sees.
    pub batch: usize,
}

/// Predicted work of quantizing one layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Seconds on one thread, roughly.
    pub thread_seconds: f64,
    /// Bytes of memory while it runs, besides the weight, the statistics and the result.
    pub scratch_bytes: u64,
}

/// A quantized layer and what its reader should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// The result.
    pub tensor: QuantizedTensor,
    /// What happened on the way: damping raised, dead inputs found.
    pub notes: Vec<String>,
}

impl From<QuantizedTensor> for Quantized {
    fn from(tensor: QuantizedTensor) -> Self {
        Self {
            tensor,
            notes: Vec::new(),
        }
    }
}

impl LayerPlan {
    /// A plan for `scheme` on weights stored as `weight_type` that needs nothing and depends on no other
    /// layer. `weights` is the number of weights, `weights_per_second` what one thread gets through.
    pub fn new(
        scheme: Scheme,
        weight_type: FloatType,
        weights: usize,
        weights_per_second: f64,
    ) -> Self {
        Self {
            scheme,
            weight_type,
            scale_type: weight_type,
            outliers: 0,
            needs: Vec::new(),
            survey: None,
            sequential: Sequential::No,
            tuning: None,
            cost: Cost {
                thread_seconds: weights as f64 / weights_per_second,
                scratch_bytes: 0,
            },
            notes: Vec::new(),
        }
    }

    /// Whether the quantizer reads `statistic`.
    pub fn reads(&self, statistic: &crate::Statistic) -> bool {
        self.needs.iter().any(|stat| stat.0 == statistic)
    }
}
