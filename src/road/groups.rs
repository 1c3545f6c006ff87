//! Which layers of a stage are measured together, and how what they become takes their place.

use super::blocks::Blocks;
use crate::plan::input_bytes;
use calib::running::overlay::Overlay;
use quantizers::Sequential;
use quantizers::grid::InputQuantizer;

/// Shape and values of a decoded weight in the checkpoint's own layout.
type Decoded = (Vec<usize>, Vec<f32>);

impl Blocks<'_> {
    /// Positions of the planned layers of a stage.
    pub(super) fn layers_of(&self, stage: usize) -> Vec<usize> {
        let layers = self.layers.iter().enumerate();
        layers
            .filter(|(_, layer)| layer.planned.stage == stage)
            .map(|(index, _)| index)
            .collect()
    }

    /// Whether a layer of the stage is to be measured behind those of the same stage that run before it.
    pub(super) fn is_stepwise(&self, stage: usize) -> bool {
        let layers = self.layers_of(stage).into_iter();
        let mut sequential = layers.map(|index| self.layers[index].planned.plan.sequential);
        sequential.any(|sequential| sequential == Sequential::Layers)
    }

    /// Layers of a stage that are measured together: by input point where everything that runs before a layer is to
    /// be quantized already, else the whole stage, as far as the statistics of experts find room at a time.
    pub(super) fn groups(&self, stage: usize) -> Vec<Vec<usize>> {
        let layers = self.layers_of(stage);
        let stepwise = self.is_stepwise(stage);
        let point = |index: usize| &self.layers[index].spec.input_point;
        // Experts do not read what other experts make: what is left of them waits for another run.
        let (routed, others) = if stepwise {
            (layers, Vec::new())
        } else {
            let routed = |index: &usize| self.layers[*index].planned.routed;
            layers.into_iter().partition(routed)
        };
        let room = if stepwise {
            0
        } else {
            self.experts().memory_bytes
        };
        let mut groups = vec![others];
        let mut held = 0;
        for index in routed {
            let Some(group) = groups.last_mut() else {
                break;
            };
            let is_new = group.last().is_none_or(|last| point(*last) != point(index));
            let planned = self.layers[index].planned;
            let bytes = if is_new {
                input_bytes(planned, self.request.plan.needs_of(planned))
            } else {
                0
            };
            let is_full = stepwise || (held > 0 && held + bytes > room);
            if is_new && !group.is_empty() && is_full {
                groups.push(vec![index]);
                held = bytes;
            } else {
                group.push(index);
                held += bytes;
            }
        }
        groups
    }

    /// Makes quantized layers part of `overlay`; returns the names of the weights that changed.
    pub(super) fn put(
        &self,
        made: impl Iterator<Item = (usize, Decoded)>,
        overlay: &mut Overlay<'_>,
    ) -> Vec<String> {
        let mut changed = Vec::new();
        for (index, (shape, values)) in made {
            let layer = &self.layers[index];
            overlay.set(&layer.spec.weight_name(), shape, values);
            if let Some(inputs) = layer.planned.plan.scheme.inputs {
                overlay.round_inputs(&layer.spec.name, InputQuantizer::per_token(inputs));
            }
            changed.push(layer.spec.weight_name());
        }
        changed
    }
}
