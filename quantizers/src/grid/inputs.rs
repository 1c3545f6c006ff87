//! Inputs of a layer on a grid, as an engine computes them while the model runs.

use super::{Grid, Point};
use crate::FloatType;
use crate::tensor::InputGrid;

/// Rounds the inputs of one layer to the values that codes stand for.
///
/// An engine multiplies codes and puts the scales in afterwards; rounding the inputs and multiplying in
/// f32 computes the same up to the rounding of f32. The grid is that of compressed-tensors
/// ([`crate::grid`]), every step in f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputQuantizer {
    grid: Grid,
    /// The same for all tokens; without it each token has its own.
    fixed: Option<Point>,
}

impl InputQuantizer {
    /// A scale for each token, found from its smallest and largest value.
    pub fn per_token(inputs: InputGrid) -> Self {
        Self {
            grid: Grid {
                bits: inputs.bits,
                symmetric: inputs.symmetric,
                scale_type: FloatType::F32,
                arithmetic: FloatType::F32,
            },
            fixed: None,
        }
    }

    /// One stored `point` for all tokens.
    pub fn fixed(inputs: InputGrid, point: Point) -> Self {
        Self {
            fixed: Some(point),
            ..Self::per_token(inputs)
        }
    }

    /// Rounds `tokens`, `[count, width]`, in place.
    ///
    /// # Panics
    /// When `width` is 0.
    pub fn round(&self, tokens: &mut [f32], width: usize) {
        let mut codes = vec![0; width];
        for token in tokens.chunks_mut(width) {
            let point = self.fixed.unwrap_or_else(|| self.grid.fit_values(token));
            let codes = &mut codes[..token.len()];
            self.grid.codes(token, point, codes);
            for (value, code) in token.iter_mut().zip(codes) {
                *value = point.value(*code);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the arithmetic is specified bit for bit")]
mod tests {
    use super::*;

    const EIGHT: InputGrid = InputGrid {
        bits: 8,
        symmetric: true,
        dynamic: true,
    };

    #[test]
    fn each_token_has_its_own_scale() {
        let mut tokens = [1.0, -0.5, 0.001, 0.0, 100.0, 50.0, -100.0, 0.3];
        InputQuantizer::per_token(EIGHT).round(&mut tokens, 4);
        let [one, hundred] = [1.0f32 / 127.5, 100.0 / 127.5];
        // 127.5 is clamped to 127, -127.5 rounds to the even -128; -63.75 rounds to -64.
        assert_eq!(tokens[..4], [127.0 * one, -64.0 * one, 0.0, 0.0]);
        assert_eq!(
            tokens[4..],
            [127.0 * hundred, 64.0 * hundred, -128.0 * hundred, 0.0]
        );
    }

    #[test]
    fn a_fixed_scale_clamps_what_is_beyond_it() {
        let mut tokens = [1.0, 300.0, -300.0, 0.26];
        let mut point = Point {
            scale: 0.5,
            zero_point: 0,
        };
        InputQuantizer::fixed(EIGHT, point).round(&mut tokens, 2);
        assert_eq!(tokens, [1.0, 63.5, -64.0, 0.5]);
        // Zero at code -100 leaves 28 codes below it and 227 above.
        point.zero_point = -100;
        let mut tokens = [1.0, 300.0, -300.0, 0.26];
        InputQuantizer::fixed(EIGHT, point).round(&mut tokens, 2);
        assert_eq!(tokens, [1.0, 113.5, -14.0, 0.5]);
    }

    #[test]
    fn a_grid_with_a_zero_point_spans_from_the_smallest_to_the_largest() {
        let asymmetric = InputGrid {
            symmetric: false,
            ..EIGHT
        };
        let mut tokens = [0.0f32, 255.0, 17.0, 0.4];
        InputQuantizer::per_token(asymmetric).round(&mut tokens, 4);
        assert_eq!(tokens, [0.0, 255.0, 17.0, 0.0]);
        let mut nothing = [0.0; 3];
        InputQuantizer::per_token(asymmetric).round(&mut nothing, 3);
        assert_eq!(nothing, [0.0; 3]);
    }
}
