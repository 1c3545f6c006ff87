//! The keys of methods that keep sensitive and large weights apart (Kim et al. 2024, `SqueezeLLM`, section 4.2).

use super::parameters::Parameters;
use super::{LayerPlan, ParamError, QuantizeError};
use crate::MatrixRef;
use crate::outliers::{Quartiles, mark_magnitude, mark_sensitive};
use crate::statistics::{FISHER, LayerStats, SurveyRequest};

/// Help lines of the keys [`OutlierParameters::read`] takes.
pub(super) const OUTLIER_PARAMETERS: [(&str, &str); 2] = [
    (
        "outlier_fraction",
        "share (0 to 1, default 0) of the largest weights kept apart, over all layers that ask for \
         the same; published: 0.004",
    ),
    (
        "sensitive_fraction",
        "share (0 to 1, default 0) of each matrix with the largest Fisher kept apart; published: 0.0005",
    ),
];

/// Which weights leave the dense part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OutlierParameters {
    /// Share of the largest weights of all layers.
    outlier_fraction: f64,
    /// Share of the weights of each matrix with the largest Fisher.
    sensitive_fraction: f64,
}

impl OutlierParameters {
    /// Reads the keys of [`OUTLIER_PARAMETERS`].
    pub(super) fn read(parameters: &Parameters<'_>) -> Result<Self, ParamError> {
        let share = |key| Ok(parameters.number(key, 0.0..=1.0)?.unwrap_or(0.0));
        Ok(Self {
            outlier_fraction: share("outlier_fraction")?,
            sensitive_fraction: share("sensitive_fraction")?,
        })
    }

    /// Whether any weight leaves.
    fn is_sparse(self) -> bool {
        self.outlier_fraction > 0.0 || self.sensitive_fraction > 0.0
    }

    /// Adds the sparse part to the plan of a layer of `weights` weights.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of weights"
    )]
    pub(super) fn add_to(self, plan: &mut LayerPlan, weights: usize) {
        let outlier_fraction = self.outlier_fraction;
        let share = outlier_fraction + self.sensitive_fraction;
        plan.scheme.outliers = self.is_sparse();
        plan.survey = (outlier_fraction > 0.0).then_some(SurveyRequest { outlier_fraction });
        plan.outliers = (share * weights as f64).round() as usize;
    }

    /// Whether the choice reads the Fisher.
    pub(super) fn reads_fisher(self) -> bool {
        self.sensitive_fraction > 0.0
    }

    /// Marks what leaves the dense part, `[rows * cols]`; nothing where nothing is to leave. `fisher` is read where
    /// sensitive weights leave.
    ///
    /// # Errors
    /// The shared factor of large weights, or a Fisher that is to be read, is missing.
    pub(super) fn mask(
        self,
        weight: MatrixRef<'_>,
        fisher: Option<MatrixRef<'_>>,
        stats: &LayerStats<'_>,
    ) -> Result<Option<Vec<bool>>, QuantizeError> {
        if !self.is_sparse() {
            return Ok(None);
        }
        let mut mask = vec![false; weight.data().len()];
        if self.reads_fisher() {
            let fisher = fisher.ok_or(QuantizeError::MissingStat(FISHER.name))?;
            mark_sensitive(fisher.data(), self.sensitive_fraction, &mut mask);
        }
        if self.outlier_fraction > 0.0 {
            let factor = stats
                .outlier_factor
                .ok_or(QuantizeError::MissingStat("outlier_factor"))?;
            let threshold = Quartiles::of(weight.data()).threshold(factor);
            mark_magnitude(weight.data(), threshold, &mut mask);
        }
        Ok(Some(mask))
    }
}
