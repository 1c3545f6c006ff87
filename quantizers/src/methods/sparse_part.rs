//! Weights that leave a matrix before its codebook is fitted: the keys that say how many, and the choice.

use super::parameters::Parameters;
use super::{LayerPlan, ParamError, QuantizeError};
use crate::MatrixRef;
use crate::outliers::{Quartiles, mark_magnitude, mark_sensitive};
use crate::statistics::{FISHER, LayerStats, SurveyRequest};

/// Help lines of the keys [`SparsePart::read`] takes.
pub(super) const SPARSE_PARAMETERS: &[(&str, &str)] = &[
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

/// The keys of a method, and those of the sparse part after them.
///
/// # Panics
/// When `ALL` is not their number.
pub(super) const fn beside_sparse<const ALL: usize>(
    own: &[(&'static str, &'static str)],
) -> [(&'static str, &'static str); ALL] {
    assert!(ALL == own.len() + SPARSE_PARAMETERS.len());
    let mut all = [("", ""); ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < own.len() {
            own[at]
        } else {
            SPARSE_PARAMETERS[at - own.len()]
        };
        at += 1;
    }
    all
}

/// How much of a matrix is kept apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SparsePart {
    /// Share of the largest weights of all layers together.
    outlier_fraction: f64,
    /// Share of the weights of largest Fisher in each matrix.
    sensitive_fraction: f64,
}

impl SparsePart {
    /// Reads the keys of [`SPARSE_PARAMETERS`].
    ///
    /// # Errors
    /// A value that is no share.
    pub(super) fn read(parameters: &Parameters<'_>) -> Result<Self, ParamError> {
        let share = |key| Ok(parameters.number(key, 0.0..=1.0)?.unwrap_or(0.0));
        Ok(Self {
            outlier_fraction: share("outlier_fraction")?,
            sensitive_fraction: share("sensitive_fraction")?,
        })
    }

    /// Whether the choice reads the Fisher.
    pub(super) fn reads_fisher(self) -> bool {
        self.sensitive_fraction > 0.0
    }

    /// Adds the sparse part of a matrix of `weights` to its plan.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of weights"
    )]
    pub(super) fn plan(self, plan: &mut LayerPlan, weights: usize) {
        let Self {
            outlier_fraction,
            sensitive_fraction,
        } = self;
        let share = outlier_fraction + sensitive_fraction;
        plan.scheme.outliers = share > 0.0;
        plan.outliers = (share * weights as f64).round() as usize;
        plan.survey = (outlier_fraction > 0.0).then_some(SurveyRequest { outlier_fraction });
    }

    /// Marks what leaves, `[rows * cols]`; nothing where nothing is to leave.
    ///
    /// # Errors
    /// The shared factor of large weights, or a Fisher that is to be read, is missing.
    pub(super) fn mask(
        self,
        weight: MatrixRef<'_>,
        fisher: Option<MatrixRef<'_>>,
        stats: &LayerStats<'_>,
    ) -> Result<Option<Vec<bool>>, QuantizeError> {
        if self.outlier_fraction + self.sensitive_fraction <= 0.0 {
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
