//! Layers of a block whose rounding is learned together.

use super::blocks::Blocks;
use super::calibration;
use super::job::{self, TunedResult};
use super::tuning_record::{TuningRecord, tuning_of};
use crate::Error;
use calib::Forward;
use calib::running::overlay::Overlay;
use calib::running::tuning::{BlockTuning, TunedSlot};
use calib::running::walk::StageWalk;
use quantizers::MatrixRef;
use quantizers::grid::InputQuantizer;
use quantizers::methods::QuantizeError;
use std::collections::BTreeMap;
use std::time::Instant;

impl Blocks<'_> {
    /// Tunes `layers` of the stage the walk is before; `overlay` has what they start from and everything else as it will
    /// be. The record is past the stage already.
    ///
    /// # Errors
    /// A layer its method refuses, a block that cannot be run.
    pub(super) fn tune(
        &self,
        layers: &[usize],
        walk: &StageWalk,
        forward: &Forward<'_>,
        overlay: &Overlay<'_>,
        record: &mut TuningRecord,
    ) -> Result<BTreeMap<usize, TunedResult>, Error> {
        let planned = |index: usize| self.layers[index].planned;
        let Some(tuning) = tuning_of(layers.iter().map(|&index| planned(index))) else {
            return Ok(BTreeMap::new());
        };
        let started = Instant::now();
        let read = |index: &usize| job::weight_matrix(overlay, &self.model.name, planned(*index));
        let weights = layers.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut source = overlay.clone();
        let mut slots = Vec::new();
        for (&index, weight) in layers.iter().zip(&weights) {
            let (layer, planned) = (&self.layers[index], planned(index));
            let [rows, cols] = planned.shape;
            let matrix = MatrixRef::new(weight, rows, cols).map_err(|error| Error::Bug {
                message: format!("`{}` changed its shape", planned.name),
                source: Some(Box::new(error)),
            })?;
            if let Some(inputs) = planned.plan.scheme.inputs {
                source.round_inputs(&planned.name, InputQuantizer::per_token(inputs));
            }
            let tuned = layer.quantizer.tune(matrix, &planned.plan);
            let tuned = tuned.map_err(|error| job::refused(planned, error))?;
            slots.push(TunedSlot {
                spec: layer.spec,
                layer: tuned.ok_or_else(|| Error::Bug {
                    message: format!("`{}` plans to tune and does not", planned.method),
                    source: None,
                })?,
            });
        }
        let blocks = BlockTuning {
            model: self.model.model.as_ref(),
            stage: walk.stage(),
            source: &source,
            device: forward.device(),
            inputs: walk.hidden(),
            targets: record.targets(),
            seed: self.request.plan.seed,
        };
        let share = blocks
            .run(&mut slots, tuning, &mut || record.advance())
            .map_err(|error| calibration::failed(self.model, error))?;
        record.tuned(share);
        let seconds = started.elapsed().as_secs_f64() / layers.len() as f64;
        let results = layers.iter().zip(slots).map(|(&index, slot)| {
            let quantized = slot.layer.finish();
            let quantized =
                quantized.map_err(|error: QuantizeError| job::refused(planned(index), error))?;
            Ok((index, TunedResult { quantized, seconds }))
        });
        results.collect()
    }
}
