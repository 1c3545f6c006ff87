//! Which tokens of an encoder need to be computed at all: the token-keeping rule of STTABT (ICLR 2023), applied to the
//! model's own attention maps. The published method predicts the maps with a small distilled network; with the model's own
//! ones it needs no training, saves nothing by itself, and shows what the rule would cost in accuracy.
//!
//! The output layer needs token 0 (`[CLS]`). From the last layer to the first, an input token of a layer scores what the
//! kept outputs of that layer attend to it: the mean over heads and kept rows of `a (impact p + 1 - p)`, with `a` the
//! attention of a row, `impact` what that row scored in the layer above (1 for token 0), and `p = 0.1`. The
//! `ceil(keep tokens)` inputs with the highest scores are kept, and the kept outputs themselves, as the residual stream
//! needs them. Scores of the kept tokens, scaled to sum to 1, are the impacts for the layer below.

use crate::MatrixRef;
use thiserror::Error;

/// How much the impact of a row counts, beside its being kept.
pub const IMPACT_SHARE: f32 = 0.1;

/// Attention maps or fractions that do not fit together.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TokenKeepingError {
    /// Fractions for another number of layers.
    #[error("expected a fraction for each of {layers} layers, found {found}")]
    Layers {
        /// Layers with maps.
        layers: usize,
        /// Fractions given.
        found: usize,
    },
    /// A fraction that is none.
    #[error("layer {layer}: expected a fraction from 0 to 1, found {found}")]
    Fraction {
        /// The layer.
        layer: usize,
        /// The value given.
        found: f64,
    },
    /// A layer without heads, or a map of another size than the first one's.
    #[error("layer {layer}: expected at least one attention map of [{tokens}, {tokens}]")]
    Map {
        /// The layer.
        layer: usize,
        /// Tokens of the first map.
        tokens: usize,
    },
}

/// The input tokens each layer has to compute, ascending. `maps` are the attention maps of each layer, first layer first,
/// one for each head, `[tokens, tokens]` with rows that sum to 1; `keep` is the fraction of the tokens each layer keeps;
/// `impact_share` is `p`, usually [`IMPACT_SHARE`].
///
/// # Errors
/// Maps of different sizes, fractions outside of 0 to 1 or for another number of layers.
pub fn kept_tokens(
    maps: &[&[MatrixRef<'_>]],
    keep: &[f64],
    impact_share: f32,
) -> Result<Vec<Vec<usize>>, TokenKeepingError> {
    if maps.len() != keep.len() {
        return Err(TokenKeepingError::Layers {
            layers: maps.len(),
            found: keep.len(),
        });
    }
    let first_map = maps.first().and_then(|heads| heads.first());
    let tokens = first_map.map_or(0, MatrixRef::rows);
    for (layer, (heads, fraction)) in maps.iter().zip(keep).enumerate() {
        let fits = |map: &MatrixRef<'_>| (map.rows(), map.cols()) == (tokens, tokens);
        if tokens == 0 || heads.is_empty() || !heads.iter().all(fits) {
            return Err(TokenKeepingError::Map { layer, tokens });
        }
        if !(0.0..=1.0).contains(fraction) {
            return Err(TokenKeepingError::Fraction {
                layer,
                found: *fraction,
            });
        }
    }
    let mut outputs = vec![(0, 1.0_f32)];
    let mut kept = Vec::with_capacity(maps.len());
    for (heads, fraction) in maps.iter().zip(keep).rev() {
        let mut scores = vec![0.0_f32; tokens];
        for map in *heads {
            for (row, impact) in &outputs {
                let share = impact * impact_share + (1.0 - impact_share);
                for (score, attention) in scores.iter_mut().zip(map.row(*row)) {
                    *score += attention * share;
                }
            }
        }
        let mut order: Vec<usize> = (0..tokens).collect();
        // Stable: of equal scores the earlier token is kept.
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and `tokens`"
        )]
        order.truncate((fraction * tokens as f64).ceil() as usize);
        order.extend(outputs.iter().map(|(row, _)| *row));
        order.sort_unstable();
        order.dedup();
        let total: f32 = order.iter().map(|token| scores[*token]).sum();
        let impact = |score: f32| if total > 0.0 { score / total } else { 0.0 };
        outputs = order
            .iter()
            .map(|token| (*token, impact(scores[*token])))
            .collect();
        kept.push(order);
    }
    kept.reverse();
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row attends to `to` with 0.7, and to the others equally.
    fn map(tokens: usize, to: usize) -> Vec<f32> {
        let rest = 0.3 / (tokens - 1) as f32;
        let value = |at: usize| if at % tokens == to { 0.7 } else { rest };
        (0..tokens * tokens).map(value).collect()
    }

    #[test]
    fn tokens_that_kept_outputs_attend_to_are_kept_back_to_the_first_layer() {
        let (first, second) = (map(4, 3), map(4, 2));
        let first = [MatrixRef::new(&first, 4, 4).unwrap()];
        let second = [MatrixRef::new(&second, 4, 4).unwrap()];
        let kept = kept_tokens(&[&first, &second], &[0.25, 0.25], IMPACT_SHARE).unwrap();
        // One token of four, and what the layer above needs.
        assert_eq!(kept, [vec![0, 2, 3], vec![0, 2]]);
        let all = kept_tokens(&[&first, &second], &[1.0, 1.0], IMPACT_SHARE).unwrap();
        assert_eq!(all, [[0, 1, 2, 3], [0, 1, 2, 3]]);
        let none = kept_tokens(&[&first, &second], &[0.0, 0.0], IMPACT_SHARE).unwrap();
        assert_eq!(none, [[0], [0]]);
    }

    #[test]
    fn an_output_with_more_impact_counts_more() {
        // Above, token 0 attends to itself with 0.2 and to token 1 with 0.8. Below, row 0 attends to token 2 and row 1 to
        // token 3; row 1 has more impact.
        let above = [
            0.2, 0.8, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0,
        ];
        let below = [
            0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0,
        ];
        let above = [MatrixRef::new(&above, 4, 4).unwrap()];
        let below = [MatrixRef::new(&below, 4, 4).unwrap()];
        let kept = |share| kept_tokens(&[&below, &above], &[0.25, 0.5], share).unwrap();
        assert_eq!(kept(0.1), [vec![0, 1, 3], vec![0, 1]]);
        // Without impacts both rows count the same, and the earlier token is kept.
        assert_eq!(kept(0.0), [vec![0, 1, 2], vec![0, 1]]);
    }

    #[test]
    fn maps_and_fractions_that_do_not_fit_are_errors() {
        let (square, other) = (map(4, 0), map(3, 0));
        let square = [MatrixRef::new(&square, 4, 4).unwrap()];
        let other = [MatrixRef::new(&other, 3, 3).unwrap()];
        let error = |maps: &[&[MatrixRef<'_>]], keep: &[f64]| {
            kept_tokens(maps, keep, IMPACT_SHARE)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(&[&square, &other], &[0.5, 0.5]),
            "layer 1: expected at least one attention map of [4, 4]"
        );
        assert_eq!(
            error(&[&square], &[1.5]),
            "layer 0: expected a fraction from 0 to 1, found 1.5"
        );
        assert_eq!(
            error(&[&square], &[]),
            "expected a fraction for each of 1 layers, found 0"
        );
    }
}
