//! Rewriting a block before its layers are quantized.

use super::blocks::Blocks;
use super::calibration;
use crate::Error;
use calib::Forward;
use calib::running::block_runner::{SearchGrid, StageRunner};
use calib::running::measured::Wants;
use calib::running::overlay::{Changed, Overlay};
use calib::running::walk::StageWalk;
use quantizers::methods::METHODS;
use quantizers::statistics::TOKEN_COUNT;
use quantizers::tensor::SchemeKind;
use quantizers::transforms::BlockEdit;
use quantizers::{FloatType, Granularity, LayerPlan, Quantizer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Blocks<'_> {
    /// Applies the transforms of the plan to the stage the walk is before, into `overlay`; returns the names of
    /// the tensors that are changed there.
    ///
    /// # Errors
    /// A block that cannot be read or run, values that are not finite.
    pub(super) fn transform(
        &mut self,
        walk: &mut StageWalk,
        forward: &Forward<'_>,
        overlay: &mut Overlay<'_>,
    ) -> Result<Vec<String>, Error> {
        let (model, stage) = (self.model, walk.stage());
        let graph = model.model.graph();
        if self.transforms.is_empty() || graph.block_at(stage).is_none() {
            return Ok(Vec::new());
        }
        let mut wants = Wants::default().with_experts(self.experts());
        let routed = graph.routed_layers();
        for spec in model
            .model
            .layers()
            .iter()
            .filter(|spec| spec.stage == stage)
        {
            if routed.contains(spec.name.as_str()) {
                wants.layer(spec, &TOKEN_COUNT);
            }
            for planned in &self.request.plan.transforms {
                for stat in &planned.needs {
                    wants.layer(spec, stat.0);
                }
            }
        }
        let current = Forward::new(forward.model(), &*overlay, forward.device().clone());
        let statistics = walk.observe(&current, &wants);
        let statistics = statistics.map_err(|error| calibration::failed(model, error))?;
        drop(current);
        let own = self.own_grids(stage)?;
        let mut grids = BTreeMap::new();
        for index in self.layers_of(stage) {
            let layer = &self.layers[index];
            let quantizer = own
                .get(&index)
                .map_or(layer.quantizer.as_ref(), AsRef::as_ref);
            let plan = layer.planned.plan.clone();
            grids.insert(layer.planned.name.clone(), SearchGrid { quantizer, plan });
        }
        let originals = model.artifact.reader().originals();
        let float_type = |name: &str| {
            let found = originals.get(name);
            found
                .and_then(|found| crate::plan::float_type(found.dtype))
                .unwrap_or(FloatType::F32)
        };
        let mut edit = BlockEdit::default();
        let mut notes = BTreeSet::new();
        let runner = StageRunner {
            model: model.model.as_ref(),
            stage,
            source: &*overlay,
            device: forward.device(),
            batches: walk.hidden(),
            statistics: &statistics,
            experts: self.experts(),
            grids: &grids,
            float_type: &float_type,
        };
        for (transform, planned) in self.transforms.iter().zip(&self.request.plan.transforms) {
            let applied = transform.apply(graph, stage, &mut edit, &runner);
            let applied = applied.map_err(|error| {
                let message = format!(
                    "cannot rewrite block at stage {stage} with `{}`",
                    planned.method
                );
                Error::mismatch(message, error)
            })?;
            notes.extend(
                applied
                    .into_iter()
                    .map(|note| format!("{}: {note}", planned.method)),
            );
        }
        self.notes.extend(notes);
        let quantized: BTreeSet<String> = self
            .layers_of(stage)
            .into_iter()
            .map(|index| self.layers[index].spec.weight_name())
            .collect();
        let mut changed = Vec::new();
        for (name, tensor) in edit.tensors() {
            overlay.set(name, tensor.shape.clone(), tensor.values.clone());
            if !quantized.contains(name) {
                let values = Arc::new(tensor.values.clone());
                let shape = tensor.shape.clone();
                self.edited
                    .insert(name.to_owned(), Changed { shape, values });
            }
            changed.push(name.to_owned());
        }
        Ok(changed)
    }

    /// Round to nearest on the planned grid, for layers whose own quantizer needs statistics: what a search
    /// measures with.
    fn own_grids(&self, stage: usize) -> Result<BTreeMap<usize, Box<dyn Quantizer>>, Error> {
        let mut own = BTreeMap::new();
        for index in self.layers_of(stage) {
            let plan = &self.layers[index].planned.plan;
            if plan.needs.is_empty() || plan.scheme.kind != SchemeKind::Uniform {
                continue;
            }
            let rtn = METHODS.iter().find(|method| method.name() == "rtn");
            let configured = rtn.map(|rtn| rtn.configure(&nearest_rule(plan)));
            let quantizer = configured.transpose().map_err(|error| Error::Bug {
                message: "round to nearest does not take the planned grid".to_owned(),
                source: Some(error.into()),
            })?;
            own.extend(quantizer.map(|quantizer| (index, quantizer)));
        }
        Ok(own)
    }
}

/// The grid of `plan` as a rule of `rtn`.
fn nearest_rule(plan: &LayerPlan) -> toml::Table {
    let mut rule = toml::Table::new();
    rule.insert("bits".into(), i64::from(plan.scheme.bits).into());
    rule.insert("symmetric".into(), plan.scheme.symmetric.into());
    match plan.scheme.granularity {
        Granularity::Group(size) => {
            rule.insert(
                "group_size".into(),
                i64::try_from(size).unwrap_or(i64::MAX).into(),
            );
        }
        Granularity::Channel => {}
        Granularity::Tensor => {
            rule.insert("granularity".into(), "tensor".into());
        }
    }
    rule
}
