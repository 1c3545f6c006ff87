//! First stage: token tables or patches, on the grid the first normalisation wants.

use super::builder::{Builder, Tensor, requantization};
use super::error::CompileError;
use super::grids::{Channels, asymmetric};
use super::weights::LayerCodes;
use crate::graph::{PatchInputNode, TokenInputNode};
use crate::integer::ops::class_token::ClassToken;
use crate::integer::ops::patches::Patches;
use crate::integer::ops::tokens::{MULTIPLIER_BITS, Table, Tokens};
use crate::integer::{Dyadic, ProgramInput};
use crate::nonlinear::Grid;

/// Bits of patch projections before positions are added.
const PATCH_BITS: u32 = 16;

impl Builder<'_> {
    /// Emits the embedding sum of a text model on `grid`.
    pub(super) fn tokens(
        &mut self,
        node: &TokenInputNode,
        max_tokens: usize,
        grid: &Grid,
    ) -> Result<Tensor, CompileError> {
        let tokens = &node.tokens.name;
        let (vocabulary, width) = (node.tokens.shape[0], node.tokens.shape[1]);
        let words = self.tensor(tokens, vocabulary * width)?;
        let words = LayerCodes::rounded(&words, vocabulary, width);
        let places = match &node.positions {
            Some(table) => {
                let name = &table.name;
                // The rows before the first position are not for text.
                let before = node.first_position * width;
                let table = self.tensor(name, before + max_tokens * width)?;
                let rows = LayerCodes::rounded(&table[before..], max_tokens, width);
                Some((name, rows))
            }
            None => None,
        };
        let largest = words
            .scales
            .iter()
            .chain(places.iter().flat_map(|(_, table)| table.scales.iter()));
        let largest = largest.copied().fold(0.0, f64::max);
        // One scale for all rows, so fine that the largest row has a full multiplier.
        let fine = largest / f64::from((1 << MULTIPLIER_BITS) - 1);
        let constant = match &node.token_types {
            Some(table) => {
                let name = &table.name;
                // Every token is of type 0, whatever the number of types.
                let types = self.source.tensor(name);
                let types = types.map_err(|source| CompileError::Source {
                    name: name.clone(),
                    source,
                })?;
                let row = types.iter().take(width);
                row.map(|&value| rounded(f64::from(value) / fine)).collect()
            }
            None => vec![0; width],
        };
        let words = Table {
            codes: self.table(tokens, &words),
            multipliers: multipliers(&words.scales, fine),
        };
        let positions = places.map(|(name, table)| Table {
            codes: self.table(name, &table),
            multipliers: multipliers(&table.scales, fine),
        });
        let buffer = self.buffer("sum", width, grid);
        self.push(Tokens {
            output: buffer,
            width,
            words,
            positions,
            constant,
            requantize: requantization(&[fine], grid),
        });
        Ok(Tensor::plain(buffer, grid.clone()))
    }

    /// Emits patches, their projection, class token and positions, on `grid`; says what pixels are.
    pub(super) fn patches(
        &mut self,
        node: &PatchInputNode,
        grid: &Grid,
    ) -> Result<(Tensor, ProgramInput), CompileError> {
        let layer = node.layer();
        let (width, cols) = (layer.rows, layer.cols);
        let (image, patch, count) = (node.image, node.patch(), node.patches());
        // Pixels come from bytes: smallest to largest is the grid they are on already.
        let (low, high) = self.at(&layer.input_point, |point| point.range("min_max"))?;
        let pixels = asymmetric(low, high, 255);
        let buffer = self.buffer("patches", cols, &pixels);
        self.push(Patches {
            output: buffer,
            image,
            patch,
        });
        let weight = self.tensor(&node.projection.name, width * cols)?;
        let bias = match &node.bias {
            Some(bias) => self.tensor(&bias.name, width)?,
            None => vec![0.0; width],
        };
        let pixels = Tensor::plain(buffer, pixels);
        let product = self.product_of(&layer, &weight, &bias, &pixels)?;
        let fine = self.at(&layer.output_point(), |point| point.fine(PATCH_BITS))?;
        let projected = self.buffer("projected", width, &fine);
        self.push(product.to(projected, &fine));
        let leading = node.tokens.len();
        let mut rows = match &node.positions {
            Some(table) => self.tensor(&table.name, (leading + count) * width)?,
            None => vec![0.0; (leading + count) * width],
        };
        for (row, token) in rows.chunks_exact_mut(width).zip(&node.tokens) {
            let token = self.tensor(&token.name, width)?;
            for (value, token) in row.iter_mut().zip(&token) {
                *value += token;
            }
        }
        let sum = self.buffer("sum", width, grid);
        self.push(ClassToken {
            input: projected,
            output: sum,
            width,
            leading,
            rows: rows
                .iter()
                .map(|value| rounded(value / fine.scale(0)))
                .collect(),
            requantize: requantization(&fine.scales, grid),
        });
        let program = ProgramInput::Pixels {
            image,
            factors: vec![Dyadic::of(pixels.grid.scale(0)); image[0]],
            zero_points: vec![pixels.grid.zero_point; image[0]],
        };
        let sum = Tensor {
            buffer: sum,
            grid: grid.clone(),
            channels: Channels::default(),
        };
        Ok((sum, program))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn rounded(value: f64) -> i32 {
    value.round_ties_even().clamp(-1e9, 1e9) as i32
}

#[expect(clippy::cast_possible_truncation, reason = "at most 2^15 - 1")]
fn multipliers(scales: &[f64], fine: f64) -> Vec<i16> {
    scales
        .iter()
        .map(|scale| (scale / fine).round() as i16)
        .collect()
}
