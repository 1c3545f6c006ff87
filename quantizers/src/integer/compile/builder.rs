//! A program being put together: buffers, operations, weights, and the decisions about slots.

use super::error::CompileError;
use super::grids::{Channels, Point};
use super::source::{Options, Slot, Source};
use super::statistics::PointStatistics;
use super::weights::LayerCodes;
use crate::integer::buffer::{Buffer, Element};
use crate::integer::operation::Operation;
use crate::integer::program::TABLE_PREFIX;
use crate::integer::weights::Weights;
use crate::integer::{Dyadic, Requantization};
use crate::nonlinear::Grid;
use crate::tensor::QuantizedTensor;
use std::collections::BTreeMap;

/// A tensor of the running program: where it is and what its codes mean. The real value of channel
/// `c` is `grid.value(code, c) * factor(c) + offset(c)`.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) buffer: usize,
    pub(super) grid: Grid,
    pub(super) channels: Channels,
}

impl Tensor {
    /// One whose channels are where they were.
    pub(super) fn plain(buffer: usize, grid: Grid) -> Self {
        Self {
            buffer,
            grid,
            channels: Channels::default(),
        }
    }
}

/// See the module.
pub(super) struct Builder<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) options: &'a Options,
    pub(super) buffers: Vec<Buffer>,
    pub(super) operations: Vec<Box<dyn Operation>>,
    pub(super) weights: BTreeMap<String, Weights>,
    pub(super) layers: Vec<(String, QuantizedTensor)>,
    pub(super) slots: Vec<Slot>,
    /// Most tokens or patches of one input.
    pub(super) max_rows: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(source: &'a dyn Source, options: &'a Options, max_rows: usize) -> Self {
        Self {
            source,
            options,
            buffers: Vec::new(),
            operations: Vec::new(),
            weights: BTreeMap::new(),
            layers: Vec::new(),
            slots: Vec::new(),
            max_rows,
        }
    }

    /// The buffer for `role`; blocks use the same ones again, as far as types agree.
    pub(super) fn buffer(&mut self, role: &str, width: usize, grid: &Grid) -> usize {
        self.buffer_of(role, width, Element::of(grid.low, grid.high))
    }

    /// As [`Builder::buffer`], of a known type.
    pub(super) fn buffer_of(&mut self, role: &str, width: usize, element: Element) -> usize {
        let known = self.buffers.iter().position(|buffer| {
            buffer.width == width
                && buffer.element == element
                && buffer.name.split('/').next() == Some(role)
        });
        known.unwrap_or_else(|| {
            let taken = self
                .buffers
                .iter()
                .filter(|buffer| buffer.name.split('/').next() == Some(role))
                .count();
            self.buffers.push(Buffer {
                name: match taken {
                    0 => role.to_owned(),
                    count => format!("{role}/{}", count + 1),
                },
                width,
                element,
            });
            self.buffers.len() - 1
        })
    }

    pub(super) fn push(&mut self, operation: impl Operation + 'static) {
        self.operations.push(Box::new(operation));
    }

    /// What was seen at `point`.
    pub(super) fn statistics(&self, point: &str) -> Result<PointStatistics, CompileError> {
        let seen = self.source.statistics(point);
        seen.map_err(|source| CompileError::Source {
            name: point.to_owned(),
            source,
        })
    }

    /// Runs `body` on what was seen at `name`.
    pub(super) fn at<R>(
        &self,
        name: &str,
        body: impl FnOnce(&Point<'_>) -> Result<R, CompileError>,
    ) -> Result<R, CompileError> {
        let statistics = self.statistics(name)?;
        body(&Point {
            name,
            statistics: &statistics,
        })
    }

    /// A tensor of the checkpoint with `expected` values.
    pub(super) fn tensor(&self, name: &str, expected: usize) -> Result<Vec<f64>, CompileError> {
        let values = self.source.tensor(name);
        let values = values.map_err(|source| CompileError::Source {
            name: name.to_owned(),
            source,
        })?;
        if values.len() != expected {
            return Err(CompileError::Size {
                name: name.to_owned(),
                expected,
                found: values.len(),
            });
        }
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// Keeps a matrix that is no layer; returns the name the program knows it by.
    pub(super) fn table(&mut self, name: &str, codes: &LayerCodes) -> String {
        let name = format!("{TABLE_PREFIX}{name}");
        let table = Weights::new(codes.rows, codes.cols, codes.codes.clone());
        self.weights.insert(name.clone(), table);
        name
    }
}

/// From accumulators of `scales` to codes of `to`; one factor per channel.
pub(super) fn requantization(scales: &[f64], to: &Grid) -> Requantization {
    let channels = scales.len().max(to.scales.len());
    let scale = |channel: usize| scales[if scales.len() == 1 { 0 } else { channel }];
    let (multipliers, shifts) = (0..channels)
        .map(|channel| parts(scale(channel) / to.scale(channel)))
        .unzip();
    Requantization {
        multipliers,
        shifts,
        zero_point: to.zero_point,
        low: to.low,
        high: to.high,
    }
}

/// A factor as a 32-bit multiplier and a shift of 1 to 62.
fn parts(factor: f64) -> (i32, u8) {
    let exact = bounded(factor);
    (
        i32::try_from(exact.multiplier).unwrap_or(i32::MAX),
        u8::try_from(exact.shift.clamp(1, 62)).unwrap_or(62),
    )
}

/// A dyadic factor whose multiplier fits 32 bits with sign and whose shift is 1 to 62.
pub(super) fn bounded(factor: f64) -> Dyadic {
    let mut exact = Dyadic::of(factor);
    if exact.multiplier.abs() == 1 << 31 {
        exact = Dyadic {
            multiplier: exact.multiplier >> 1,
            shift: exact.shift - 1,
        };
    }
    exact
}
