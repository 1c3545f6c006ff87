//! `kmeans`: the optimal codebook per output row or per matrix, plain or weighted with the diagonal Fisher.

use super::parameters::Parameters;
use super::table_parameters::{TABLE_PARAMETERS, TableParameters};
use super::{LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, require_finite};
use crate::codebook::scaled::Importance;
use crate::statistics::{FISHER, INPUT_MEAN_SQUARE, LayerStats, Stat};
use crate::tensor::{Encoding, QuantizedTensor};
use crate::{FloatType, MatrixRef};

/// The registry entry.
pub(super) struct KMeans;

const PARAMETERS: [(&str, &str); TABLE_PARAMETERS.len() + 2] = {
    let [bits, table, group_size, scale_bits] = TABLE_PARAMETERS;
    [
        bits,
        table,
        group_size,
        scale_bits,
        (
            "weights",
            "what squared errors count by: `fisher`, diagonal Fisher; `inputs`, mean squares of the inputs; `none` (default), all alike",
        ),
        (
            "weighted",
            "`true`: the same as `weights = \"fisher\"`; `false`: as `weights = \"none\"`",
        ),
    ]
};

/// What the squared errors of a codebook are weighted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorWeights {
    /// Diagonal Fisher.
    Fisher,
    /// Mean squares of the inputs.
    Inputs,
    /// Nothing.
    Equal,
}

impl ErrorWeights {
    /// Names in recipes.
    pub(super) const CHOICES: [(&'static str, Self); 3] = [
        ("fisher", Self::Fisher),
        ("inputs", Self::Inputs),
        ("none", Self::Equal),
    ];
}

/// A configured [`KMeans`].
#[derive(Debug)]
struct KMeansQuantizer {
    tables: TableParameters,
    weights: ErrorWeights,
}

impl Method for KMeans {
    fn name(&self) -> &'static str {
        "kmeans"
    }

    fn summary(&self) -> &'static str {
        "optimal 2^bits values per output row (exact one-dimensional k-means), or per matrix with local scales"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), &PARAMETERS, table)?;
        let weighted = parameters.boolean("weighted")?;
        let weights = parameters.choice("weights", &ErrorWeights::CHOICES)?;
        let weights = match (weights, weighted) {
            (Some(_), Some(_)) => {
                return Err(parameters.refuse("weighted", "no `weighted` beside `weights`"));
            }
            (Some(weights), None) => weights,
            (None, Some(true)) => ErrorWeights::Fisher,
            (None, Some(false) | None) => ErrorWeights::Equal,
        };
        Ok(Box::new(KMeansQuantizer {
            tables: TableParameters::read(&parameters)?,
            weights,
        }))
    }
}

impl Quantizer for KMeansQuantizer {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        let mut plan = self.tables.plan(KMeans.name(), (rows, cols), stored);
        plan.needs = match self.weights {
            ErrorWeights::Fisher => vec![Stat(&FISHER)],
            ErrorWeights::Inputs => vec![Stat(&INPUT_MEAN_SQUARE)],
            ErrorWeights::Equal => Vec::new(),
        };
        Ok(plan)
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        require_finite(weight)?;
        let importance = match self.weights {
            ErrorWeights::Fisher => Importance::PerWeight(fisher(weight, stats)?),
            ErrorWeights::Inputs => {
                Importance::PerInput(stats.require_weights(&INPUT_MEAN_SQUARE, 1, weight.cols())?)
            }
            ErrorWeights::Equal => Importance::Equal,
        };
        let tensor = QuantizedTensor {
            rows: weight.rows(),
            cols: weight.cols(),
            encoding: Encoding::Codebook(self.tables.fit(weight, importance, None, plan)?),
            outliers: None,
        };
        Ok(tensor.into())
    }
}

/// The Fisher of `weight`: there, of its shape, finite and not negative.
pub(super) fn fisher<'a>(
    weight: MatrixRef<'_>,
    stats: &LayerStats<'a>,
) -> Result<MatrixRef<'a>, QuantizeError> {
    let (rows, cols) = (weight.rows(), weight.cols());
    let values = stats.require_weights(&FISHER, rows, cols)?;
    MatrixRef::new(values, rows, cols).map_err(|_| QuantizeError::StatShape {
        stat: FISHER.name,
        expected: rows * cols,
        found: values.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Codebook;
    use half::f16;

    fn quantize(rule: &str, weight: &[f32], fisher: Option<&[f32]>) -> Result<Codebook, String> {
        let table: toml::Table = rule.parse().unwrap();
        let quantizer = KMeans
            .configure(&table)
            .map_err(|error| error.to_string())?;
        let matrix = |data| MatrixRef::new(data, 2, 4).unwrap();
        let stats = match fisher {
            Some(fisher) => LayerStats::default().with(&FISHER, fisher),
            None => LayerStats::default(),
        };
        let plan = quantizer.plan(2, 4, FloatType::F32).unwrap();
        let quantized = quantizer.quantize(matrix(weight), &plan, &stats);
        match quantized
            .map_err(|error| error.to_string())?
            .tensor
            .encoding
        {
            Encoding::Codebook(codebook) => Ok(codebook),
            other @ (Encoding::Uniform(_) | Encoding::Trellis(_)) => Err(format!("{other:?}")),
        }
    }

    const WEIGHT: [f32; 8] = [0.0, 1.0, 4.0, 5.0, 7.0, 7.0, 7.0, -1.0];

    #[test]
    fn one_bit_splits_each_row_in_two() {
        let codebook = quantize("bits = 1", &WEIGHT, None).unwrap();
        assert_eq!(codebook.tables, [0.5, 4.5, -1.0, 7.0].map(f16::from_f32));
        assert_eq!(codebook.indices, [0, 0, 1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn fisher_moves_the_centroids() {
        let fisher = [3.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let codebook = quantize("bits = 1\nweighted = true", &WEIGHT, Some(&fisher)).unwrap();
        // Row 0: 4 does not count. Row 1: no weight at all counts as equal weights.
        assert_eq!(codebook.tables, [0.25, 5.0, -1.0, 7.0].map(f16::from_f32));
        assert_eq!(codebook.indices, [0, 0, 1, 1, 1, 1, 1, 0]);
        // Equal Fisher is no Fisher.
        let equal = quantize("bits = 2\nweighted = true", &WEIGHT, Some(&[0.125; 8])).unwrap();
        assert_eq!(equal, quantize("bits = 2", &WEIGHT, None).unwrap());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = |rule: &str, weight: &[f32], fisher: Option<&[f32]>| {
            quantize(rule, weight, fisher).unwrap_err()
        };
        let wide = |value| [0.0, 0.0, 0.0, 0.0, 0.0, value, 0.0, 0.0];
        assert_eq!(
            error("bits = 9", &WEIGHT, None),
            "`bits` of method `kmeans`: expected a whole number from 1 to 8, found `9`"
        );
        assert_eq!(
            error("weighted = true", &WEIGHT, None),
            "`bits` of method `kmeans`: expected a whole number from 1 to 8, found `nothing`"
        );
        assert_eq!(
            error("bits = 2\nweighted = true", &WEIGHT, None),
            "needs the statistic `fisher`, which was not collected"
        );
        assert_eq!(
            error("bits = 2\nweighted = true", &WEIGHT, Some(&wide(-1.0))),
            "`fisher` at row 1, column 1 is -1, expected a finite number of at least 0"
        );
        assert_eq!(
            error("bits = 2", &wide(1e6), None),
            "value at row 1, column 1 is 1000000, expected at most 65504: tables are stored as f16"
        );
        assert_eq!(
            error("bits = 2", &wide(f32::NAN), None),
            "value at row 1, column 1 is NaN, expected a finite number"
        );
    }
}
