//! `kmeans`: the optimal codebook per output row, plain or weighted with the diagonal Fisher.

use super::parameters::Parameters;
use super::{Method, ParamError, QuantizeError, Quantizer, require_finite};
use crate::codebook::fit_rows;
use crate::stats::{LayerStats, Stat};
use crate::tensor::{Encoding, QuantizedTensor, Scheme, SchemeKind};
use crate::{FloatType, Granularity, MatrixRef};

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
    fn needs(&self) -> &[Stat] {
        if self.weighted { &[Stat::Fisher] } else { &[] }
    }

    fn scheme(&self, _rows: usize, _cols: usize) -> Result<Scheme, QuantizeError> {
        Ok(codebook_scheme("kmeans", self.bits, false))
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        _scale_type: FloatType,
        stats: &LayerStats<'_>,
    ) -> Result<QuantizedTensor, QuantizeError> {
        require_finite(weight)?;
        let fisher = if self.weighted {
            Some(fisher(weight, stats)?)
        } else {
            None
        };
        Ok(QuantizedTensor {
            rows: weight.rows(),
            cols: weight.cols(),
            encoding: Encoding::Codebook(fit_rows(weight, fisher, None, self.bits)?),
            outliers: None,
        })
    }
}

/// The required key `bits` of a codebook.
pub(super) fn index_bits(parameters: &Parameters<'_>) -> Result<u8, ParamError> {
    let bits = parameters
        .integer("bits", 1..=8)?
        .and_then(|bits| u8::try_from(bits).ok());
    bits.ok_or_else(|| parameters.refuse("bits", "a whole number from 1 to 8"))
}

/// What a method with one f16 table per row writes.
pub(super) fn codebook_scheme(method: &str, bits: u8, outliers: bool) -> Scheme {
    Scheme {
        method: method.to_owned(),
        kind: SchemeKind::Codebook,
        bits,
        granularity: Granularity::Channel,
        symmetric: false,
        outliers,
        transposed: false,
        activations: None,
    }
}

/// The Fisher of `weight`: there, of its shape, finite and not negative.
pub(super) fn fisher<'a>(
    weight: MatrixRef<'_>,
    stats: &LayerStats<'a>,
) -> Result<MatrixRef<'a>, QuantizeError> {
    let stat = Stat::Fisher.name();
    let fisher = stats.fisher.ok_or(QuantizeError::MissingStat(stat))?;
    let (expected, found) = (
        (weight.rows(), weight.cols()),
        (fisher.rows(), fisher.cols()),
    );
    if expected != found {
        return Err(QuantizeError::StatShape {
            stat,
            expected,
            found,
        });
    }
    let bad = |value: &f32| !(value.is_finite() && *value >= 0.0);
    if let Some(at) = fisher.data().iter().position(bad) {
        let (row, col, value) = (at / expected.1, at % expected.1, fisher.data()[at]);
        return Err(QuantizeError::StatValue {
            stat,
            row,
            col,
            value,
        });
    }
    Ok(fisher)
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
        let stats = LayerStats {
            fisher: fisher.map(matrix),
            ..LayerStats::default()
        };
        let tensor = quantizer.quantize(matrix(weight), FloatType::F32, &stats);
        match tensor.map_err(|error| error.to_string())?.encoding {
            Encoding::Codebook(codebook) => Ok(codebook),
            other => Err(format!("{other:?}")),
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
