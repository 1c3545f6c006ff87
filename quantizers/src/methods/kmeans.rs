//! `kmeans`: the optimal codebook per output row, plain or weighted with the diagonal Fisher.

use super::parameters::Parameters;
use super::{LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, require_finite};
use crate::codebook::fit_rows;
use crate::statistics::{FISHER, LayerStats, Stat};
use crate::tensor::{Encoding, QuantizedTensor, Scheme, SchemeKind};
use crate::{FloatType, Granularity, MatrixRef};

/// Weights one thread places by exact k-means, per second.
const WEIGHTS_PER_SECOND: f64 = 8e6;

/// The registry entry.
pub(super) struct KMeans;

const PARAMETERS: &[(&str, &str)] = &[
    ("bits", "width of one index, 1 to 8"),
    (
        "weighted",
        "`true`: squared errors count by diagonal Fisher; `false` (default): all alike",
    ),
];

/// A configured [`KMeans`].
#[derive(Debug)]
struct KMeansQuantizer {
    bits: u8,
    weighted: bool,
}

impl Method for KMeans {
    fn name(&self) -> &'static str {
        "kmeans"
    }

    fn summary(&self) -> &'static str {
        "optimal 2^bits values per output row (exact one-dimensional k-means)"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), PARAMETERS, table)?;
        let weighted = parameters.boolean("weighted")?.unwrap_or(false);
        Ok(Box::new(KMeansQuantizer {
            bits: index_bits(&parameters)?,
            weighted,
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
        let plan = codebook_plan("kmeans", self.bits, (rows, cols), stored);
        let needs = if self.weighted {
            vec![Stat(&FISHER)]
        } else {
            Vec::new()
        };
        Ok(LayerPlan { needs, ..plan })
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        _plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        require_finite(weight)?;
        let fisher = if self.weighted {
            Some(fisher(weight, stats)?)
        } else {
            None
        };
        let tensor = QuantizedTensor {
            rows: weight.rows(),
            cols: weight.cols(),
            encoding: Encoding::Codebook(fit_rows(weight, fisher, None, self.bits)?),
            outliers: None,
        };
        Ok(tensor.into())
    }
}

/// The required key `bits` of a codebook.
pub(super) fn index_bits(parameters: &Parameters<'_>) -> Result<u8, ParamError> {
    let bits = parameters
        .integer("bits", 1..=8)?
        .and_then(|bits| u8::try_from(bits).ok());
    bits.ok_or_else(|| parameters.refuse("bits", "a whole number from 1 to 8"))
}

/// What a method with one f16 table per row does to a layer `[rows, cols]`.
pub(super) fn codebook_plan(
    method: &str,
    bits: u8,
    (rows, cols): (usize, usize),
    stored: FloatType,
) -> LayerPlan {
    let scheme = Scheme {
        method: method.to_owned(),
        kind: SchemeKind::Codebook,
        bits,
        granularity: Granularity::Channel,
        symmetric: false,
        column_groups: false,
        outliers: false,
        transposed: false,
        inputs: None,
    };
    LayerPlan::new(scheme, stored, rows * cols, WEIGHTS_PER_SECOND)
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
