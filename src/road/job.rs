//! One layer: read, quantize, measure.

use super::experts::Starved;
use crate::Error;
use crate::plan::PlannedLayer;
use crate::progress::FinishedLayer;
use calib::WeightSource;
use calib::artifact::transpose;
use calib::output_error::{diagonal_output_sqnr_db, output_sqnr_db};
use calib::running::measured::LayerValues;
use eval::report::LayerFacts;
use quantizers::error_metrics::{sqnr_db, weighted_error};
use quantizers::formats::StoredSize;
use quantizers::methods::QuantizeError;
use quantizers::statistics::{FISHER, HESSIAN, INPUT_MEAN_SQUARE};
use quantizers::{Granularity, LayerStats, MatrixRef, Quantized, QuantizedTensor, Quantizer};
use std::time::Instant;

/// What quantizing one layer takes.
pub(super) struct LayerJob<'a> {
    pub(super) model_name: &'a str,
    /// Where the weight comes from.
    pub(super) weights: &'a dyn WeightSource,
    pub(super) planned: &'a PlannedLayer,
    pub(super) quantizer: &'a dyn Quantizer,
    /// What was measured for it.
    pub(super) values: LayerValues<'a>,
    pub(super) outlier_factor: Option<f64>,
    pub(super) seed: u64,
    /// Which of the values are not to be believed; absent where all are.
    pub(super) starved: Option<Starved>,
    /// What the layer became when its block was tuned; taken by [`Self::run`].
    pub(super) tuned: Option<TunedResult>,
}

/// A layer that was tuned with its block.
pub(super) struct TunedResult {
    /// The result.
    pub(super) quantized: Quantized,
    /// Its share of the time.
    pub(super) seconds: f64,
}

/// A quantized layer and how well it went.
pub(super) struct LayerResult {
    /// The result.
    pub(super) tensor: QuantizedTensor,
    /// What the quantizer says of it.
    pub(super) notes: Vec<String>,
    /// The weights it came from, `[out, in]`.
    pub(super) weight: Vec<f32>,
    /// What the result decodes to.
    pub(super) decoded: Vec<f32>,
    /// Weight SQNR; absent where nothing was lost.
    pub(super) sqnr_db: Option<f64>,
    /// Output SQNR on calibration data, where the Hessian is known.
    pub(super) output_sqnr_db: Option<f64>,
    pub(super) diagonal_output_sqnr_db: Option<f64>,
    /// `sum F (w - w')^2`, where the Fisher is known.
    pub(super) weighted_error: Option<f64>,
    /// Time of the quantizer alone.
    pub(super) seconds: f64,
}

impl LayerJob<'_> {
    /// What was measured for it.
    pub(super) fn stats(&self) -> LayerStats<'_> {
        let stats = LayerStats::new(&self.planned.name, self.seed);
        self.values
            .add_to(stats.with_outlier_factor(self.outlier_factor))
    }

    /// Reads, quantizes unless it was tuned, and measures.
    ///
    /// # Errors
    /// A tensor that cannot be read, or a matrix the method refuses.
    pub(super) fn run(&mut self) -> Result<LayerResult, Error> {
        let planned = self.planned;
        let [rows, cols] = planned.shape;
        let tuned = self.tuned.take();
        let misshapen = |error: quantizers::ShapeError| {
            Error::mismatch(
                format!("statistics of `{}` have another shape", planned.name),
                error,
            )
        };
        let weight = weight_matrix(self.weights, self.model_name, planned)?;
        let matrix = MatrixRef::new(&weight, rows, cols).map_err(misshapen)?;
        let stats = self.stats();
        let neutral = self
            .starved
            .as_ref()
            .map(|starved| starved.neutral(planned));
        let neutral = neutral.unwrap_or_default();
        let believed = neutral.iter().fold(stats.clone(), |stats, (stat, values)| {
            stats.with(stat.0, values)
        });
        let TunedResult { quantized, seconds } = if let Some(tuned) = tuned {
            tuned
        } else {
            let started = Instant::now();
            let quantized = self.quantizer.quantize(matrix, &planned.plan, &believed);
            TunedResult {
                quantized: quantized.map_err(|error| refused(planned, error))?,
                seconds: started.elapsed().as_secs_f64(),
            }
        };
        let Quantized { tensor, mut notes } = quantized;
        notes.extend(self.starved.as_ref().map(|starved| starved.note.clone()));
        tensor.check().map_err(|error| Error::Bug {
            message: format!(
                "`{}` left parts that do not belong together",
                planned.method
            ),
            source: Some(error.into()),
        })?;
        let decoded = tensor.dequantize();
        let approximation = MatrixRef::new(&decoded, rows, cols).map_err(misshapen)?;
        let sqnr = sqnr_db(matrix, approximation);
        let of = |statistic, rows| {
            let values = stats.get(statistic);
            let matrix = values.map(|values| MatrixRef::new(values, rows, cols));
            matrix.transpose().map_err(misshapen)
        };
        let weighted_error =
            of(&FISHER, rows)?.map(|fisher| weighted_error(matrix, approximation, fisher));
        let output_sqnr_db =
            of(&HESSIAN, cols)?.and_then(|hessian| output_sqnr_db(matrix, approximation, hessian));
        let diagonal_output_sqnr_db = stats
            .get(&INPUT_MEAN_SQUARE)
            .and_then(|squares| diagonal_output_sqnr_db(matrix, approximation, squares));
        Ok(LayerResult {
            tensor,
            notes,
            sqnr_db: sqnr.is_finite().then_some(sqnr),
            output_sqnr_db,
            diagonal_output_sqnr_db,
            weighted_error,
            seconds,
            decoded,
            weight,
        })
    }
}

impl LayerResult {
    /// Shape and values of the decoded weight in the checkpoint's own layout.
    pub(super) fn into_checkpoint_layout(self, planned: &PlannedLayer) -> (Vec<usize>, Vec<f32>) {
        let [rows, cols] = planned.shape;
        if planned.plan.scheme.transposed {
            (vec![cols, rows], transpose(&self.decoded, rows, cols))
        } else {
            (vec![rows, cols], self.decoded)
        }
    }

    fn outlier_fraction(&self) -> f64 {
        let weights = (self.tensor.rows * self.tensor.cols).max(1);
        self.tensor
            .outliers
            .as_ref()
            .map_or(0.0, |sparse| sparse.values.len() as f64 / weights as f64)
    }

    /// The layer's row of the report.
    pub(super) fn facts(&self, planned: &PlannedLayer, size: StoredSize) -> LayerFacts {
        LayerFacts {
            name: planned.name.clone(),
            shape: planned.shape,
            method: planned.method.clone(),
            bits: planned.plan.scheme.bits,
            bits_per_weight: size.bits as f64 / size.weights.max(1) as f64,
            sqnr_db: self.sqnr_db,
            output_sqnr_db: self.output_sqnr_db,
            diagonal_output_sqnr_db: self.diagonal_output_sqnr_db,
            weighted_error: self.weighted_error,
            outlier_fraction: self.outlier_fraction(),
            seconds: self.seconds,
            because: planned.because.clone(),
            notes: self.notes.clone(),
            group_size: match planned.plan.scheme.granularity {
                Granularity::Group(size) => Some(size),
                Granularity::Tensor | Granularity::Channel => None,
            },
            input_bits: planned.plan.scheme.inputs.map(|inputs| inputs.bits),
            damage_share: None,
        }
    }

    /// The layer's line on the terminal.
    pub(super) fn line(
        &self,
        planned: &PlannedLayer,
        size: StoredSize,
        index: usize,
        count: usize,
    ) -> FinishedLayer {
        FinishedLayer {
            index,
            count,
            name: planned.name.clone(),
            method: planned.method.clone(),
            bits: planned.plan.scheme.bits,
            outlier_fraction: self.outlier_fraction(),
            original_bytes: planned.original_bytes,
            bytes: size.bits.div_ceil(8),
            sqnr_db: self.sqnr_db,
            seconds: self.seconds,
        }
    }
}

/// The error of a layer that its method refuses.
pub(super) fn refused(planned: &PlannedLayer, error: QuantizeError) -> Error {
    let [rows, cols] = planned.shape;
    let hint = error.hint();
    let message = format!(
        "cannot quantize `{}` [{rows}, {cols}] with `{}`",
        planned.name, planned.method
    );
    Error::mismatch(message, error).hinted(hint)
}

/// The weight of a layer as `[out, in]`, whatever the checkpoint's layout.
///
/// # Errors
/// A tensor that cannot be read.
pub(super) fn weight_matrix(
    weights: &dyn WeightSource,
    model_name: &str,
    planned: &PlannedLayer,
) -> Result<Vec<f32>, Error> {
    let name = format!("{}.weight", planned.name);
    let tensor = weights
        .tensor(&name)
        .map_err(|error| Error::io(format!("cannot read `{name}` of `{model_name}`"), error))?;
    let [rows, cols] = planned.shape;
    let values = if planned.plan.scheme.transposed {
        transpose(&tensor.data, cols, rows)
    } else {
        tensor.data.into_owned()
    };
    weights.release(&name);
    Ok(values)
}

/// A seed of its own for every layer, whatever the order they are quantized in.
pub(super) fn layer_seed(seed: u64, name: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}
