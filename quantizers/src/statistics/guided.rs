//! Hessians that count a token by how much the loss depends on what the layer makes of it.
//!
//! With `g` the loss gradient of a layer's output, the error of output row `j` costs about
//! `sum over tokens of (g_j x^T (w'_j - w_j))^2`: the quadratic form of `X^T diag(g_j^2) X`. One matrix for every row
//! would be out of proportion, so that the weights are averaged over groups of consecutive rows (Kim et al. 2025,
//! `GuidedQuant`).

use super::{HESSIAN, LayerStats, Statistic, StatisticShape};
use crate::MatrixRef;
use crate::methods::QuantizeError;
use std::ops::Range;

/// Numbers of groups that are measured.
pub const GUIDED_GROUPS: [usize; 4] = [1, 2, 4, 8];

pub(super) static ONE_GROUP: Statistic = of_groups("guided_hessian_1", 1);
pub(super) static TWO_GROUPS: Statistic = of_groups("guided_hessian_2", 2);
pub(super) static FOUR_GROUPS: Statistic = of_groups("guided_hessian_4", 4);
pub(super) static EIGHT_GROUPS: Statistic = of_groups("guided_hessian_8", 8);

const fn of_groups(name: &'static str, groups: usize) -> Statistic {
    Statistic::backward(
        name,
        "X^T diag(g^2) X for each group of consecutive rows, g^2 the mean of its rows' squared output gradients times 10^6",
        StatisticShape::InputByInputOfGroups(groups),
    )
}

/// The Hessian weighted with squared output gradients, `[groups, cols, cols]`: in group `k` (see [`rows_of_group`])
/// `X^T diag(mean over its rows j of (1000 g_j)^2) X` over all tokens, `g` the gradient of the mean token loss of the
/// token's sequence. The factor keeps squares within f32. None for a number that is not in [`GUIDED_GROUPS`].
pub fn guided_hessian(groups: usize) -> Option<&'static Statistic> {
    match groups {
        1 => Some(&ONE_GROUP),
        2 => Some(&TWO_GROUPS),
        4 => Some(&FOUR_GROUPS),
        8 => Some(&EIGHT_GROUPS),
        _ => None,
    }
}

/// The rows of group `group` of `groups` in a layer of `rows` rows: consecutive, nearly equally many, none where there
/// are fewer rows than groups.
pub fn rows_of_group(group: usize, groups: usize, rows: usize) -> Range<usize> {
    group * rows / groups..(group + 1) * rows / groups
}

/// What the diagonals of `hessians`, each for the rows of its group, say of every weight: `[rows, cols]`. What is below
/// zero on a diagonal counts as zero; it is refused where the Hessian is used.
pub fn diagonals(hessians: &[MatrixRef<'_>], rows: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for (group, hessian) in hessians.iter().enumerate() {
        let diagonal: Vec<f32> = (0..hessian.cols())
            .map(|at| hessian.row(at)[at].max(0.0))
            .collect();
        for _ in rows_of_group(group, hessians.len(), rows) {
            all.extend_from_slice(&diagonal);
        }
    }
    all
}

impl<'a> LayerStats<'a> {
    /// The quadratic forms of the layer's error, each `[cols, cols]` and for the rows of its group: those of
    /// [`guided_hessian`], or with 0 `groups` the plain Hessian for all rows.
    ///
    /// # Errors
    /// Not measured, or of another size.
    ///
    /// # Panics
    /// When that many groups are never measured.
    pub fn hessians(
        &self,
        groups: usize,
        cols: usize,
    ) -> Result<Vec<MatrixRef<'a>>, QuantizeError> {
        let statistic = match groups {
            0 => &HESSIAN,
            groups => guided_hessian(groups).expect("one of `GUIDED_GROUPS`"),
        };
        let values = self.require(statistic, cols, cols)?;
        let size = cols * cols;
        let each = values.chunks(size.max(1)).map(|values| {
            MatrixRef::new(values, cols, cols).map_err(|_| QuantizeError::StatShape {
                stat: statistic.name,
                expected: groups.max(1) * size,
                found: values.len(),
            })
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cut_rows_without_gaps() {
        for rows in [0, 1, 3, 8, 29, 576] {
            for groups in GUIDED_GROUPS {
                let ranges = (0..groups).map(|group| rows_of_group(group, groups, rows));
                let all: Vec<usize> = ranges.flatten().collect();
                assert_eq!(all, (0..rows).collect::<Vec<_>>());
            }
        }
        assert_eq!(rows_of_group(1, 4, 576), 144..288);
    }

    #[test]
    fn every_number_of_groups_has_its_statistic() {
        for groups in GUIDED_GROUPS {
            let statistic = guided_hessian(groups).unwrap();
            assert_eq!(statistic.shape.values(7, 3), Some(groups * 9));
            assert_eq!(Statistic::find(statistic.name), Some(statistic));
        }
        assert!(guided_hessian(3).is_none());
    }
}
