//! What the compile step asks for: tensors of the checkpoint, statistics, quantized weights.

use super::calibration_inputs::CalibrationInputs;
use super::job::{LayerResult, layer_seed};
use super::report::WorstLayers;
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{PlannedLayer, QuantizeRequest};
use crate::progress::{Progress, Track};
use calib::output_error::diagonal_output_sqnr_db;
use eval::report::{LayerFacts, WeightHistogram};
use quantizers::error_metrics::sqnr_db;
use quantizers::formats::StoredSize;
use quantizers::integer::compile::{PointStatistics, Source, SourceError};
use quantizers::statistics::{HESSIAN, INPUT_MEAN_SQUARE};
use quantizers::{LayerStats, MatrixRef, Quantized, QuantizedTensor, Quantizer};
use std::cell::RefCell;
use std::time::Instant;

/// Answers from a checkpoint, the cache of statistics and the quantizers of a plan.
pub(super) struct LayerSource<'a> {
    model: &'a OpenModel,
    request: &'a QuantizeRequest,
    activations: &'a CalibrationInputs<'a>,
    quantizers: Vec<Box<dyn Quantizer>>,
    progress: &'a Progress,
    track: Track,
    made: RefCell<Made>,
}

/// Facts about the layers quantized so far.
#[derive(Default)]
struct Made {
    layers: Vec<LayerFacts>,
    histograms: WorstLayers,
}

impl<'a> LayerSource<'a> {
    pub(super) fn new(
        model: &'a OpenModel,
        request: &'a QuantizeRequest,
        activations: &'a CalibrationInputs<'a>,
        progress: &'a Progress,
    ) -> Result<Self, Error> {
        let plan = &request.plan;
        let quantizers = plan.layers.iter().map(PlannedLayer::quantizer);
        let quantizers: Result<_, _> = quantizers.collect();
        let quantizers = quantizers.map_err(|error| Error::Bug {
            message: "the plan does not configure its own methods".to_owned(),
            source: Some(error.into()),
        })?;
        Ok(Self {
            model,
            request,
            activations,
            quantizers,
            progress,
            track: progress.stage("compile", plan.layers.len()),
            made: RefCell::default(),
        })
    }

    /// Rows of the report in execution order, and histograms of the worst layers.
    pub(super) fn into_parts(self) -> (Vec<LayerFacts>, Vec<WeightHistogram>) {
        let Made {
            mut layers,
            histograms,
        } = self.made.into_inner();
        let planned = &self.request.plan.layers;
        layers.sort_by_key(|facts| planned.iter().position(|layer| layer.name == facts.name));
        (layers, histograms.into_inner())
    }

    fn planned(&self, layer: &str) -> Result<(&PlannedLayer, &dyn Quantizer), SourceError> {
        let layers = &self.request.plan.layers;
        let at = layers.iter().position(|planned| planned.name == layer);
        at.map(|at| (&layers[at], self.quantizers[at].as_ref()))
            .ok_or_else(|| format!("the plan has no layer `{layer}`").into())
    }

    /// The second moments of a layer's inputs after the factors that lead to `mean_square`: with
    /// `x' = f x`, `H'_ij = f_i f_j H_ij` and `f_i^2 = mean(x'_i^2) / mean(x_i^2)`.
    fn hessian(
        &self,
        planned: &PlannedLayer,
        mean_square: &[f32],
    ) -> Result<Option<Vec<f32>>, SourceError> {
        let layers = self.model.model.layers();
        let Some(spec) = layers.iter().find(|layer| layer.name == planned.name) else {
            return Ok(None);
        };
        let Some(mut hessian) = self.activations.hessian(&spec.input_point)? else {
            return Ok(None);
        };
        let before = self.statistics(&spec.input_point)?.channels;
        let before = before.ok_or("no mean squares of inputs")?.mean_square;
        let factors: Vec<f64> = before
            .iter()
            .zip(mean_square)
            .map(|(&before, &after)| match before {
                0.0 => 1.0,
                before => (f64::from(after) / f64::from(before)).sqrt(),
            })
            .collect();
        let cols = factors.len();
        for (row, values) in hessian.chunks_exact_mut(cols).enumerate() {
            for (value, factor) in values.iter_mut().zip(&factors) {
                #[expect(clippy::cast_possible_truncation, reason = "statistics are f32")]
                let scaled = (f64::from(*value) * factors[row] * factor) as f32;
                *value = scaled;
            }
        }
        Ok(Some(hessian))
    }
}

impl Source for LayerSource<'_> {
    fn tensor(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        let tensor = self.model.weights().tensor(name)?;
        Ok(tensor.data.into_owned())
    }

    fn statistics(&self, point: &str) -> Result<PointStatistics, SourceError> {
        let seen = self.activations.at(point)?;
        seen.ok_or_else(|| format!("calibration saw nothing at `{point}`").into())
    }

    fn quantize(
        &self,
        layer: &str,
        weight: MatrixRef<'_>,
        mean_square: &[f32],
    ) -> Result<QuantizedTensor, SourceError> {
        let (planned, quantizer) = self.planned(layer)?;
        self.track.now(layer);
        let hessian = if planned.plan.reads(&HESSIAN) {
            self.hessian(planned, mean_square)?
        } else {
            None
        };
        let seed = layer_seed(self.request.plan.seed, layer);
        let mut stats = LayerStats::new(layer, seed).with(&INPUT_MEAN_SQUARE, mean_square);
        if let Some(hessian) = &hessian {
            stats = stats.with(&HESSIAN, hessian);
        }
        let started = Instant::now();
        let Quantized { tensor, notes } = quantizer.quantize(weight, &planned.plan, &stats)?;
        let seconds = started.elapsed().as_secs_f64();
        tensor.check()?;
        let decoded = tensor.dequantize();
        let approximation = MatrixRef::new(&decoded, weight.rows(), weight.cols())?;
        let sqnr = sqnr_db(weight, approximation);
        let done = LayerResult {
            sqnr_db: sqnr.is_finite().then_some(sqnr),
            output_sqnr_db: None,
            diagonal_output_sqnr_db: diagonal_output_sqnr_db(weight, approximation, mean_square),
            weighted_error: None,
            seconds,
            weight: weight.data().to_vec(),
            decoded,
            notes,
            tensor: tensor.clone(),
        };
        // True sizes are known once the layer is written.
        let size = StoredSize {
            weights: planned.weights(),
            bits: 8 * planned.bytes,
        };
        let mut made = self.made.borrow_mut();
        made.histograms.offer(planned, &done);
        let line = done.line(planned, size, made.layers.len() + 1, self.quantizers.len());
        self.progress.layer(&line);
        self.track.advance(1);
        made.layers.retain(|facts| facts.name != planned.name);
        made.layers.push(done.facts(planned, size));
        Ok(tensor)
    }

    fn widened(
        &self,
        layer: &str,
        weight: MatrixRef<'_>,
        mean_square: &[f32],
        tensor: &QuantizedTensor,
        note: String,
    ) {
        let decoded = tensor.dequantize();
        let Ok(approximation) = MatrixRef::new(&decoded, weight.rows(), weight.cols()) else {
            return;
        };
        let mut made = self.made.borrow_mut();
        if let Some(facts) = made.layers.iter_mut().find(|facts| facts.name == layer) {
            let sqnr = sqnr_db(weight, approximation);
            facts.sqnr_db = sqnr.is_finite().then_some(sqnr);
            facts.diagonal_output_sqnr_db =
                diagonal_output_sqnr_db(weight, approximation, mean_square);
            facts.notes.push(note);
        }
    }
}
