//! Token ids to the sum of their word, position and type embeddings.
//!
//! Tables hold 8-bit codes with a 15-bit multiplier per row, all on one fine scale:
//! `sum = word[id][c] m[id] + position[t][c] n[t] + constant[c]`, then one requantization.
//! Widths: products 23 bits, sum 25 bits.

use crate::integer::arithmetic::Arithmetic;
use crate::integer::bounds::{Bounds, expect, require};
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::interface::ProgramInput;
use crate::integer::interval::Interval;
use crate::integer::operation::{Generic, OperationConstants, Step};
use crate::integer::requantize::Requantization;
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bits of a row multiplier, sign excluded.
pub const MULTIPLIER_BITS: u32 = 15;

/// An 8-bit table with a multiplier per row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Name of the codes `[rows, width]`.
    pub codes: String,
    /// `[rows]`, 0 to 2^15 - 1.
    pub multipliers: Vec<i16>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Buffer `[tokens, width]`.
    pub output: usize,
    /// Channels.
    pub width: usize,
    /// By id.
    pub words: Table,
    /// By place in the sequence.
    pub positions: Option<Table>,
    /// Added to every token, `[width]`.
    pub constant: Vec<i32>,
    /// From the fine scale to the output's.
    pub requantize: Requantization,
}

impl OperationConstants for Tokens {
    const KIND: &'static str = "tokens";
    const SUMMARY: &'static str = "word + position + constant embeddings, requantized once";

    fn inputs(&self) -> Vec<usize> {
        Vec::new()
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        let ProgramInput::Tokens {
            vocabulary,
            max_tokens,
        } = bounds.input
        else {
            return expect("inputs of token ids", 1, 0);
        };
        let words = self.words.bounds(bounds, self.width, *vocabulary)?;
        let positions = match &self.positions {
            Some(table) => table.bounds(bounds, self.width, *max_tokens)?,
            None => Interval::new(0, 0),
        };
        expect("constants", self.width, self.constant.len())?;
        require(
            "one factor or one a channel, shifts of 1 to 62, a range of codes",
            self.requantize.is_valid(self.width),
        )?;
        for (channel, &constant) in self.constant.iter().enumerate() {
            let constant = i128::from(constant);
            let sum = words
                .plus(positions)
                .plus(Interval::new(constant, constant));
            self.requantize.unclamped(sum, channel)?;
        }
        bounds.write(self.output, self.width, self.requantize.codes())
    }

    fn layers(&self) -> Vec<&str> {
        let positions = self.positions.iter().map(|table| table.codes.as_str());
        std::iter::once(self.words.codes.as_str())
            .chain(positions)
            .collect()
    }

    fn prepare(&self, weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(TokensStep {
            words: weights[&self.words.codes].clone(),
            positions: self
                .positions
                .as_ref()
                .map(|table| weights[&table.codes].clone()),
            tokens: self.clone(),
        })
    }

    fn describe(&self) -> String {
        let positions = self.positions.as_ref().map_or(0, |t| t.multipliers.len());
        format!(
            "{} words, {positions} positions",
            self.words.multipliers.len()
        )
    }
}

impl Table {
    /// Values of a row after its multiplier.
    fn bounds(
        &self,
        bounds: &Bounds<'_>,
        width: usize,
        rows: usize,
    ) -> Result<Interval, OperationError> {
        let codes = bounds.weights(&self.codes)?;
        expect("width of a table", width, codes.cols)?;
        expect("rows of a table", self.multipliers.len(), codes.rows)?;
        if codes.rows < rows {
            return expect("rows of a table", rows, codes.rows).map(|()| Interval::new(0, 0));
        }
        let largest = self.multipliers.iter().copied().max().unwrap_or(0);
        let smallest = self.multipliers.iter().copied().min().unwrap_or(0);
        expect("negative row multipliers", 0, usize::from(smallest < 0))?;
        Ok(Interval::of_bits(8, true).times(Interval::new(0, i128::from(largest))))
    }
}

/// The operation with its tables.
struct TokensStep {
    tokens: Tokens,
    words: Weights,
    positions: Option<Weights>,
}

impl Generic for TokensStep {
    fn compute<A: Arithmetic>(&self, arithmetic: &A, frame: &mut Frame) {
        let tokens = &self.tokens;
        let width = tokens.width;
        let mut output = frame.take(tokens.output, frame.ids.len());
        let mut row = std::mem::take(&mut frame.scratch.wide);
        row.resize(width, 0);
        for (place, &id) in frame.ids.iter().enumerate() {
            let word = self.words.row(id as usize);
            let factor = i64::from(tokens.words.multipliers[id as usize]);
            let position = self.positions.as_ref().zip(tokens.positions.as_ref());
            let position = position
                .map(|(codes, table)| (codes.row(place), i64::from(table.multipliers[place])));
            for (channel, out) in row.iter_mut().enumerate() {
                let mut sum = arithmetic.mul(i64::from(word[channel]), factor);
                if let Some((codes, factor)) = position {
                    let product = arithmetic.mul(i64::from(codes[channel]), factor);
                    sum = arithmetic.add(sum, product);
                }
                sum = arithmetic.add(sum, i64::from(tokens.constant[channel]));
                *out = tokens.requantize.apply(arithmetic, sum, channel);
            }
            output.write(place * width, &row);
        }
        frame.scratch.wide = row;
        frame.put(tokens.output, output);
    }
}
