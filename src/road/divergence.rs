//! KL divergence from the original of the model with one layer quantized, for each option of each layer.

use super::calibration::Calibration;
use super::measuring::kept;
use crate::Error;
use crate::model::OpenModel;
use crate::plan::PlannedLayer;
use crate::progress::Progress;
use calib::artifact::transpose;
use calib::running::overlay::Overlay;
use calib::running::walk::StageWalk;
use calib::{Forward, LayerSpec, StageError};
use eval::divergence::mean_divergence;
use quantizers::grid::InputQuantizer;
use std::path::Path;

/// Divergences of `options`, planned layers whose decoded weights lie in `folder`, by their position: means over the
/// rows of logits of all calibration sequences, in nats.
///
/// # Errors
/// A model that cannot be run, a file that cannot be read.
pub(super) fn divergences(
    model: &OpenModel,
    forward: &Forward<'_>,
    calibration: &Calibration,
    options: &[PlannedLayer],
    folder: &Path,
    progress: &Progress,
) -> Result<Vec<f64>, Error> {
    let failed = |error: StageError| Error::mismatch(format!("cannot run `{}`", model.name), error);
    let last = forward.model().stages() - 1;
    let reference = forward.before_head(calibration.batches()).map_err(failed)?;
    let track = progress.stage("kl", options.len());
    let mut found = vec![0.0; options.len()];
    let mut walk = StageWalk::new(forward.model(), calibration.batches());
    for stage in 0..=last {
        let here = options.iter().enumerate();
        for (index, planned) in here.filter(|(_, planned)| planned.stage == stage) {
            track.now(&planned.name);
            let overlay = with_layer(model, planned, kept(folder, index, planned)?)?;
            let changed = Forward::new(forward.model(), &overlay, forward.device().clone());
            let mut states = walk.hidden().to_vec();
            let head = if stage == last {
                &changed
            } else {
                states = changed.run(stage..stage + 1, states).map_err(failed)?;
                states = forward.run(stage + 1..last, states).map_err(failed)?;
                forward
            };
            let divergence = mean_divergence(forward, head, &reference, &states);
            found[index] = divergence.map_err(failed)?;
            if !found[index].is_finite() {
                return Err(Error::Mismatch {
                    message: format!("with `{}` quantized logits are not finite", planned.name),
                    source: None,
                    hint: None,
                });
            }
            track.advance(1);
        }
        if stage < last {
            walk.advance(forward).map_err(failed)?;
        }
    }
    Ok(found)
}

/// The original weights with one layer changed.
fn with_layer<'m>(
    model: &'m OpenModel,
    planned: &PlannedLayer,
    decoded: Vec<f32>,
) -> Result<Overlay<'m>, Error> {
    let specs = model.model.layers().iter();
    let spec = specs.clone().find(|spec| spec.name == planned.name);
    let weight = spec.map(LayerSpec::weight_name).ok_or_else(|| Error::Bug {
        message: format!("the plan names `{}`, no layer of the model", planned.name),
        source: None,
    })?;
    let [rows, cols] = planned.shape;
    let mut overlay = Overlay::new(model.weights());
    if planned.plan.scheme.transposed {
        overlay.set(&weight, vec![cols, rows], transpose(&decoded, rows, cols));
    } else {
        overlay.set(&weight, vec![rows, cols], decoded);
    }
    if let Some(inputs) = planned.plan.scheme.inputs {
        overlay.round_inputs(&planned.name, InputQuantizer::per_token(inputs));
    }
    Ok(overlay)
}
