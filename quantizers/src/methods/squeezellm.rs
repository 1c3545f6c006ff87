//! `squeezellm`: Fisher-weighted codebook per output row, with sensitive and large weights kept apart
//! (Kim et al. 2024, `SqueezeLLM`, sections 4.1 and 4.2).

use super::kmeans::fisher;
use super::outlier_parameters::{OUTLIER_PARAMETERS, OutlierParameters};
use super::parameters::Parameters;
use super::table_parameters::{TABLE_PARAMETERS, TableParameters};
use super::{LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, require_finite};
use crate::codebook::scaled::Importance;
use crate::outliers::extract;
use crate::statistics::{FISHER, LayerStats, Stat};
use crate::tensor::{Encoding, QuantizedTensor};
use crate::{FloatType, MatrixRef};

/// The registry entry.
pub(super) struct SqueezeLlm;

const PARAMETERS: [(&str, &str); TABLE_PARAMETERS.len() + OUTLIER_PARAMETERS.len()] = {
    let [bits, table, group_size, scale_bits] = TABLE_PARAMETERS;
    let [outliers, sensitive] = OUTLIER_PARAMETERS;
    [bits, table, group_size, scale_bits, outliers, sensitive]
};

/// A configured [`SqueezeLlm`].
#[derive(Debug)]
struct SqueezeLlmQuantizer {
    tables: TableParameters,
    outliers: OutlierParameters,
}

impl Method for SqueezeLlm {
    fn name(&self) -> &'static str {
        "squeezellm"
    }

    fn summary(&self) -> &'static str {
        "optimal Fisher-weighted values per output row, sensitive and large weights kept sparse"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), &PARAMETERS, table)?;
        Ok(Box::new(SqueezeLlmQuantizer {
            tables: TableParameters::read(&parameters)?,
            outliers: OutlierParameters::read(&parameters)?,
        }))
    }
}

impl Quantizer for SqueezeLlmQuantizer {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        let mut plan = self.tables.plan(SqueezeLlm.name(), (rows, cols), stored);
        plan.needs = vec![Stat(&FISHER)];
        self.outliers.add_to(&mut plan, rows * cols);
        Ok(plan)
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        require_finite(weight)?;
        let fisher = fisher(weight, stats)?;
        let mask = self.outliers.mask(weight, Some(fisher), stats)?;
        let importance = Importance::PerWeight(fisher);
        let mut codebook = self.tables.fit(weight, importance, mask.as_deref(), plan)?;
        let outliers = mask
            .map(|mask| extract(weight, &mask, &mut codebook))
            .transpose()?;
        let tensor = QuantizedTensor {
            rows: weight.rows(),
            cols: weight.cols(),
            encoding: Encoding::Codebook(codebook),
            outliers,
        };
        Ok(tensor.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outliers::{shared_factor, survey};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn configure(rule: &str) -> Box<dyn Quantizer> {
        SqueezeLlm.configure(&rule.parse().unwrap()).unwrap()
    }

    /// `[16, 160]` f16-valued weights with some far out, and a Fisher.
    fn layer() -> (Vec<f32>, Vec<f32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut weight: Vec<f32> = (0..2560).map(|_| rng.random_range(-0.1_f32..0.1)).collect();
        for at in (7..2560).step_by(211) {
            weight[at] *= 20.0;
        }
        weight[100] = 0.0;
        let fisher = (0..2560)
            .map(|_| rng.random_range(-9.0_f32..0.0).exp())
            .collect();
        (
            weight
                .into_iter()
                .map(|w| half::f16::from_f32(w).to_f32())
                .collect(),
            fisher,
        )
    }

    fn plan(rule: &str) -> LayerPlan {
        configure(rule).plan(16, 160, FloatType::F16).unwrap()
    }

    fn quantize(rule: &str, factor: Option<f64>) -> Result<QuantizedTensor, QuantizeError> {
        let (weight, fisher) = layer();
        let matrix = MatrixRef::new(&weight, 16, 160).unwrap();
        let stats = LayerStats::default()
            .with_outlier_factor(factor)
            .with(&FISHER, &fisher);
        let quantized = configure(rule).quantize(matrix, &plan(rule), &stats)?;
        Ok(quantized.tensor)
    }

    fn codebook(tensor: &QuantizedTensor) -> &crate::Codebook {
        match &tensor.encoding {
            Encoding::Codebook(codebook) => codebook,
            other @ (Encoding::Uniform(_) | Encoding::Trellis(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn fractions_of_zero_are_the_dense_method() {
        let dense = quantize("bits = 3", None).unwrap();
        let same = quantize(
            "bits = 3\noutlier_fraction = 0\nsensitive_fraction = 0.0",
            None,
        )
        .unwrap();
        assert_eq!(dense, same);
        assert!(dense.outliers.is_none());
        let (weight, fisher) = layer();
        let matrix = MatrixRef::new(&weight, 16, 160).unwrap();
        let stats = LayerStats::default().with(&FISHER, &fisher);
        let rule = "bits = 3\nweighted = true".parse().unwrap();
        let kmeans = super::super::kmeans::KMeans.configure(&rule).unwrap();
        let plan = kmeans.plan(16, 160, FloatType::F16).unwrap();
        let same = kmeans.quantize(matrix, &plan, &stats).unwrap();
        assert_eq!(same.tensor, dense);
    }

    #[test]
    fn sparse_and_dense_add_up_to_the_weight() {
        let rule = "bits = 3\noutlier_fraction = 0.004\nsensitive_fraction = 0.01";
        let (weight, _) = layer();
        let matrix = MatrixRef::new(&weight, 16, 160).unwrap();
        let request = plan(rule).survey.unwrap();
        let factor = shared_factor(&[survey(matrix).unwrap()], request.outlier_fraction);
        let tensor = quantize(rule, Some(factor)).unwrap();
        let (codebook, csr) = (codebook(&tensor), tensor.outliers.as_ref().unwrap());
        // floor(0.01 * 2560) sensitive ones and at most floor(0.004 * 2560) others.
        assert!(
            (26..=35).contains(&csr.columns.len()),
            "{}",
            csr.columns.len()
        );
        let mut inexact = 0;
        for row in 0..16 {
            let span = csr.row_pointers[row] as usize..csr.row_pointers[row + 1] as usize;
            assert!(csr.columns[span.clone()].is_sorted_by(|a, b| a < b));
            for (col, value) in csr.columns[span.clone()].iter().zip(&csr.values[span]) {
                let at = row * 160 + *col as usize;
                let entry = codebook.tables[row * 8 + usize::from(codebook.indices[at])];
                let error = (entry.to_f32() + value.to_f32() - weight[at]).abs();
                assert!(error <= value.to_f32().abs() * 2.0_f32.powi(-11), "{error}");
                inexact += usize::from(error > 0.0);
            }
        }
        // f16 holds most differences of two f16 values, and the entry is chosen so that it does.
        assert!(
            3 * inexact < csr.columns.len(),
            "{inexact} of {}",
            csr.columns.len()
        );
        assert!(plan(rule).scheme.outliers);
    }

    #[test]
    fn outliers_lower_the_error_and_a_missing_factor_is_an_error() {
        let error = |tensor: &QuantizedTensor| {
            let ((weight, fisher), codebook) = (layer(), codebook(tensor));
            let mut values: Vec<f32> = (0..2560)
                .map(|at| {
                    codebook.tables[at / 160 * 8 + usize::from(codebook.indices[at])].to_f32()
                })
                .collect();
            if let Some(csr) = &tensor.outliers {
                for row in 0..16 {
                    for i in csr.row_pointers[row] as usize..csr.row_pointers[row + 1] as usize {
                        values[row * 160 + csr.columns[i] as usize] += csr.values[i].to_f32();
                    }
                }
            }
            let errors = values.iter().zip(&weight).zip(&fisher);
            errors
                .map(|((a, b), f)| f64::from(*f) * f64::from(a - b).powi(2))
                .sum::<f64>()
        };
        let dense = error(&quantize("bits = 3", None).unwrap());
        let sensitive = error(&quantize("bits = 3\nsensitive_fraction = 0.01", None).unwrap());
        let both = "bits = 3\noutlier_fraction = 0.01\nsensitive_fraction = 0.01";
        assert!(sensitive < dense);
        assert!(error(&quantize(both, Some(2.0)).unwrap()) < sensitive);
        assert_eq!(
            quantize(both, None).unwrap_err().to_string(),
            "needs the statistic `outlier_factor`, which was not collected"
        );
    }

    #[test]
    fn threads_do_not_change_the_result() {
        let rule = "bits = 4\nsensitive_fraction = 0.01";
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| quantize(rule, None).unwrap())
        };
        assert_eq!(on(1), on(4));
    }

    #[test]
    fn shares_are_fractions() {
        let error = SqueezeLlm.configure(&"bits = 3\noutlier_fraction = 45".parse().unwrap());
        assert_eq!(
            error.err().unwrap().to_string(),
            "`outlier_fraction` of method `squeezellm`: expected a number from 0 to 1, found `45`"
        );
    }
}
