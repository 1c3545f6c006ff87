//! Trellis codes with error feedback in a rotated basis: 1 to 8 bits a weight, and a scale for each input and output.
//!
//! * Both sides of the matrix are multiplied by signed scales and by Hadamard matrices, in blocks of 128 or the largest
//!   smaller power of two that divides the side (`rotation.rs`): whatever it was, it looks like white noise then, for
//!   which trellis codes are made ([`crate::trellis`]).
//! * Blocks of 16 inputs are rounded from the last one on; the errors of those that are done move the others
//!   (`feedback.rs`), in the metric of the rotated Hessian with `damping` times its mean diagonal added.
//! * The scales are fitted to the outputs of the layer once the streams are known (`refit.rs`).
//!
//! Tseng et al. 2024, QTIP, arXiv 2406.11235; Chee et al. 2023, `QuIP`, arXiv 2307.13304 (feedback in blocks).

mod feedback;
mod refit;
mod rotation;
mod rounding;
mod scale_search;

use self::feedback::BlockFeedback;
use self::rotation::Rotation;
use super::parameters::Parameters;
use super::table_parameters::index_bits;
use super::{
    LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, Sequential, require_finite,
};
use crate::linalg::hadamard;
use crate::statistics::{HESSIAN, LayerStats, Stat};
use crate::tensor::{Encoding, QuantizedTensor, Scheme, SchemeKind, Trellis};
use crate::trellis::{CODES, Code, Encoder, Geometry, STATE_BITS, tile};
use crate::{FloatType, MatrixRef};
use half::f16;

/// Ways from state to state that a thread compares in a second.
const WAYS_PER_SECOND: f64 = 9e9;
/// Passes over the weights for each ring.
const PASSES: f64 = 2.0;

/// The registry entry.
pub(super) struct TrellisMethod;

const PARAMETERS: &[(&str, &str)] = &[
    ("bits", "bits of a weight, 1 to 8"),
    (
        "code",
        "how a state becomes a value: `mcg` (default), `3inst`, `1mad`, or `strata`, which loses least and which only `quench` reads",
    ),
    (
        "state_bits",
        "bits of a state, 12 to 16; 16 unless given; each less halves the time and costs accuracy",
    ),
    (
        "damping",
        "share of the mean diagonal of the Hessian added to its diagonal, 0 to 1; 0.01 unless given, raised where that is too little",
    ),
    (
        "sequential",
        "`true` (default): the Hessian is measured behind the quantized blocks before; `false`: in the original model",
    ),
    (
        "true_sequential",
        "`true`: the Hessian is measured behind every quantized layer before, also of the same block; `false` (default)",
    ),
];

impl Method for TrellisMethod {
    fn name(&self) -> &'static str {
        "trellis"
    }

    fn summary(&self) -> &'static str {
        "trellis codes in a rotated basis; later columns make up for the errors of earlier ones (Hessian)"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), PARAMETERS, table)?;
        let codes: Vec<(&str, Code)> = CODES.iter().map(|code| (code.name, Code(code))).collect();
        let (least, most) = (*STATE_BITS.start(), *STATE_BITS.end());
        let state_bits = parameters.integer("state_bits", i64::from(least)..=i64::from(most))?;
        Ok(Box::new(TrellisQuantizer {
            bits: index_bits(&parameters)?,
            code: parameters.choice("code", &codes)?.unwrap_or_default(),
            state_bits: state_bits
                .and_then(|bits| u8::try_from(bits).ok())
                .unwrap_or(most),
            damping: parameters.number("damping", 0.0..=1.0)?.unwrap_or(0.01),
            sequential: sequential(&parameters)?,
        }))
    }
}

/// With which weights the statistics are measured.
fn sequential(parameters: &Parameters<'_>) -> Result<Sequential, ParamError> {
    let layers = parameters.boolean("true_sequential")?.unwrap_or(false);
    match (parameters.boolean("sequential")?.unwrap_or(true), layers) {
        (true, true) => Ok(Sequential::Layers),
        (true, false) => Ok(Sequential::Blocks),
        (false, false) => Ok(Sequential::No),
        (false, true) => Err(parameters.refuse("sequential", "`true` beside `true_sequential`")),
    }
}

#[derive(Debug)]
struct TrellisQuantizer {
    bits: u8,
    code: Code,
    state_bits: u8,
    damping: f64,
    sequential: Sequential,
}

impl TrellisQuantizer {
    /// `streams` with all scales 1.
    fn with_unit_scales(&self, streams: Vec<u32>, rows: usize, cols: usize) -> Trellis {
        Trellis {
            bits: self.bits,
            state_bits: self.state_bits,
            code: self.code,
            streams,
            input_scales: vec![f16::ONE; cols],
            output_scales: vec![f16::ONE; rows],
        }
    }
}

impl Quantizer for TrellisQuantizer {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        if !rows.is_multiple_of(tile::SIDE) || !cols.is_multiple_of(tile::SIDE) {
            return Err(QuantizeError::Tiles);
        }
        let kind = SchemeKind::Trellis {
            code: self.code,
            state_bits: self.state_bits,
        };
        let scheme = Scheme::new(TrellisMethod.name(), kind, self.bits);
        let ways = (1_u64 << self.state_bits) as f64 * PASSES;
        let sides = [("inputs", cols), ("outputs", rows)];
        let smaller = sides
            .iter()
            .filter(|(_, side)| hadamard::block(*side) < hadamard::BLOCK);
        let notes = smaller.map(|(name, side)| {
            let block = hadamard::block(*side);
            format!(
                "{name} rotated in {} blocks of {block}, as {} does not divide {side}",
                side / block,
                hadamard::BLOCK
            )
        });
        let mut plan = LayerPlan {
            needs: vec![Stat(&HESSIAN)],
            sequential: self.sequential,
            notes: notes.collect(),
            ..LayerPlan::new(scheme, stored, rows * cols, WAYS_PER_SECOND / ways)
        };
        // Hessian and factor in f64 and f32, the rotated weights and their errors.
        plan.cost.scratch_bytes = (24 * cols * cols + 12 * rows * cols) as u64;
        Ok(plan)
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        _plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        let (rows, cols) = (weight.rows(), weight.cols());
        let hessian = stats.hessian(cols)?;
        require_finite(weight)?;
        require_possible(hessian)?;
        let geometry = Geometry {
            bits: self.bits,
            state_bits: self.state_bits,
        };
        let size = self.code.rms(self.state_bits);
        let first = Rotation::new(weight, size, stats.seed);
        let scale = scale_search::best_scale(&first.rotate(weight), cols, self.code, geometry);
        let mut rotation = Rotation::new(weight, size * scale, stats.seed);
        let moments = rotation.rotate_hessian(hessian);
        let feedback = BlockFeedback::new(&moments, cols, self.damping)?;
        let encoder = Encoder::new(self.code, geometry, tile::WEIGHTS);
        let rotated = rotation.rotate(weight);
        let streams = rounding::round(&rotated, cols, &encoder, &feedback);
        let mut tensor = QuantizedTensor {
            rows,
            cols,
            encoding: Encoding::Trellis(self.with_unit_scales(streams, rows, cols)),
            outliers: None,
        };
        let basis = tensor.dequantize();
        let fitted = refit::fit(weight, hessian, &basis, &mut rotation);
        if let Encoding::Trellis(trellis) = &mut tensor.encoding {
            trellis.input_scales = rotation.inputs;
            trellis.output_scales = rotation.outputs;
        }
        let mut notes = vec![format!(
            "error of the outputs {:.3e} of their energy, {:.3e} before the scales were fitted to the streams",
            fitted.after, fitted.before
        )];
        if feedback.damping() > self.damping {
            notes.push(format!(
                "damping raised from {} to {}: with less the Hessian has no factor",
                self.damping,
                feedback.damping()
            ));
        }
        Ok(Quantized { tensor, notes })
    }
}

/// Refuses a Hessian with values that none has.
fn require_possible(hessian: MatrixRef<'_>) -> Result<(), QuantizeError> {
    let impossible = |row, col, value| QuantizeError::StatValue {
        stat: HESSIAN.name,
        row,
        col,
        value,
    };
    if let Some((row, col, value)) = hessian.first_not_finite() {
        return Err(impossible(row, col, value));
    }
    let mut diagonal = (0..hessian.cols()).map(|at| (at, hessian.row(at)[at]));
    match diagonal.find(|(_, value)| *value < 0.0) {
        Some((at, value)) => Err(impossible(at, at, value)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
