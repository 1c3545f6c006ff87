//! Transforms on every architecture: without quantization, logits stay what they were.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

#[path = "models/checkpoints.rs"]
mod checkpoints;

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::running::block_runner::{SearchGrid, StageRunner};
use calib::running::expert_calibration::ExpertCalibration;
use calib::running::measured::{Entries, Entry, StageStatistics};
use calib::running::overlay::Overlay;
use calib::{Hidden, Model, NoTap, Tap, WeightSource};
use checkpoints::{fixture, open};
use quantizers::statistics::{INPUT_ABS_MAX, INPUT_ABS_MEAN, INPUT_MEAN_SQUARE};
use quantizers::transforms::{BlockEdit, BlockRunner, ConfiguredTransform, TRANSFORMS};
use quantizers::{FloatType, METHODS, Quantizer};
use std::collections::BTreeMap;

/// Every tiny model with layers that can take factors; those of two towers cannot be calibrated.
fn models() -> Vec<String> {
    let folder = fixture("gpt2").parent().unwrap().to_owned();
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            let (_, model) = open(&fixture(name));
            let graph = model.graph();
            let mut stages = 0..model.stages();
            let scales = stages.any(|stage| graph.scalings_at(stage).next().is_some());
            scales && model.joint().is_none()
        })
        .collect();
    names.sort();
    assert!(names.len() > 70, "{}", names.len());
    names
}

fn batches(model: &dyn Model) -> Vec<Hidden> {
    let device = Device::flex();
    let Some(vocabulary) = model.vocabulary() else {
        let values: Vec<f32> = (0..3 * 3 * 16 * 16_u16)
            .map(|i| (f32::from(i) * 0.37).sin())
            .collect();
        let data = TensorData::new(values, [3, 3, 16, 16]);
        return vec![Hidden::Pixels(Tensor::from_data(data, &device))];
    };
    let vocabulary = i32::try_from(vocabulary).unwrap();
    let longest = model.max_positions().unwrap_or(20).min(20);
    [(2_usize, 7_usize), (1, longest)]
        .into_iter()
        .map(|(sequences, tokens)| {
            let count = i32::try_from(sequences * tokens).unwrap();
            let ids: Vec<i32> = (0..count).map(|i| (i * 31 + 5) % vocabulary).collect();
            let data = TensorData::new(ids, [sequences, tokens]);
            Hidden::Tokens(Tensor::<2, Int>::from_data(data, &device))
        })
        .collect()
}

/// Values seen at every point, `[tokens, width]`.
#[derive(Default)]
struct Seen(BTreeMap<String, (usize, Vec<f32>)>);

impl Tap for Seen {
    fn observe(&mut self, point: &str, values: &Tensor<3>) {
        let width = values.dims()[2];
        let entry = self
            .0
            .entry(point.to_owned())
            .or_insert((width, Vec::new()));
        let values = values.clone().into_data().try_to_vec::<f32>().unwrap();
        entry.1.extend(values);
    }
}

impl Seen {
    fn statistics(&self) -> StageStatistics {
        let mut all = StageStatistics::default();
        for (point, (width, values)) in &self.0 {
            let entries = |fold: &dyn Fn(&mut dyn Iterator<Item = f32>) -> f32| -> Entries {
                let channel = |c| values.iter().skip(c).step_by(*width).copied();
                let folded = (0..*width).map(|c| fold(&mut channel(c)));
                let entry = Entry {
                    shape: vec![*width],
                    values: folded.collect(),
                };
                BTreeMap::from([(point.clone(), entry)])
            };
            let count = (values.len() / width) as f32;
            all.insert(
                &INPUT_ABS_MEAN,
                entries(&|x| x.map(f32::abs).sum::<f32>() / count),
            );
            all.insert(
                &INPUT_MEAN_SQUARE,
                entries(&|x| x.map(|x| x * x).sum::<f32>() / count),
            );
            all.insert(
                &INPUT_ABS_MAX,
                entries(&|x| x.fold(0.0, |most, x| most.max(x.abs()))),
            );
        }
        all
    }
}

fn logits(model: &dyn Model, source: &dyn WeightSource) -> Vec<f32> {
    let device = Device::flex();
    let mut states = batches(model);
    for stage in 0..model.stages() {
        let built = model.build(stage, source, &device).unwrap();
        let next = states.into_iter().map(|x| built.forward(x, &mut NoTap));
        states = next.collect::<Result<_, _>>().unwrap();
    }
    let values = states.into_iter().flat_map(|state| {
        let Hidden::States(state) = state else {
            panic!("a model ends in states");
        };
        state.into_data().try_to_vec::<f32>().unwrap()
    });
    values.collect()
}

/// Applies `transform` to every stage of `model`.
fn rewritten(
    model: &dyn Model,
    source: &dyn WeightSource,
    transform: &dyn ConfiguredTransform,
    quantizer: &dyn Quantizer,
) -> BlockEdit {
    let device = Device::flex();
    let grids: BTreeMap<String, SearchGrid> = model
        .layers()
        .iter()
        .filter(|layer| layer.in_block)
        .map(|layer| {
            let plan = quantizer.plan(layer.rows, layer.cols, FloatType::F32);
            let grid = SearchGrid {
                quantizer,
                plan: plan.unwrap(),
            };
            (layer.name.clone(), grid)
        })
        .collect();
    let mut edit = BlockEdit::default();
    let mut states = batches(model);
    for stage in 0..model.stages() {
        let built = model.build(stage, source, &device).unwrap();
        let mut seen = Seen::default();
        let next: Vec<Hidden> = states
            .iter()
            .map(|x| built.forward(x.clone(), &mut seen).unwrap())
            .collect();
        let runner = StageRunner {
            model,
            stage,
            source,
            device: &device,
            batches: &states,
            statistics: &seen.statistics(),
            experts: ExpertCalibration::default(),
            grids: &grids,
            float_type: &|_| FloatType::F32,
        };
        transform
            .apply(model.graph(), stage, &mut edit, &runner)
            .unwrap();
        states = next;
    }
    edit
}

fn rtn() -> Box<dyn Quantizer> {
    let method = METHODS
        .iter()
        .find(|method| method.name() == "rtn")
        .unwrap();
    let rule = "bits = 4\ngroup_size = 4".parse().unwrap();
    method.configure(&rule).unwrap()
}

#[test]
fn logits_stay_what_they_were_on_every_architecture() {
    let quantizer = rtn();
    for name in models() {
        let (checkpoint, model) = open(&fixture(&name));
        let before = logits(model.as_ref(), &checkpoint);
        for transform in TRANSFORMS {
            let clips = transform.parameters().iter().any(|(key, _)| *key == "clip");
            let parameters = if clips { "clip = false" } else { "" };
            let configured = transform.configure(&parameters.parse().unwrap()).unwrap();
            if !matches!(configured.rewrite(model.graph(), 0), Ok(None)) {
                // It leaves single blocks as they are.
                continue;
            }
            configured.plan(model.graph()).unwrap();
            let edit = rewritten(
                model.as_ref(),
                &checkpoint,
                configured.as_ref(),
                quantizer.as_ref(),
            );
            assert!(!edit.is_empty(), "`{}` on {name}", transform.name());
            let mut source = Overlay::new(&checkpoint);
            for (name, tensor) in edit.tensors() {
                source.set(name, tensor.shape.clone(), tensor.values.clone());
            }
            let after = logits(model.as_ref(), &source);
            let (mut distance, mut norm) = (0.0, 0.0);
            for (a, b) in after.iter().zip(&before) {
                distance += f64::from(a - b).powi(2);
                norm += f64::from(*b).powi(2);
            }
            let change = (distance / norm).sqrt();
            assert!(
                change < 1e-4,
                "`{}` on {name}: {change:e}",
                transform.name()
            );
        }
    }
}

#[test]
fn a_run_takes_whole_sequences_up_to_its_tokens_and_at_least_one() {
    let (checkpoint, model) = open(&fixture("llama-plain-v4"));
    let device = Device::flex();
    let embedding = model.build(0, &checkpoint, &device).unwrap();
    let states: Vec<Hidden> = batches(model.as_ref())
        .into_iter()
        .map(|x| embedding.forward(x, &mut NoTap).unwrap())
        .collect();
    let runner = StageRunner {
        model: model.as_ref(),
        stage: 1,
        source: &checkpoint,
        device: &device,
        batches: &states,
        statistics: &StageStatistics::default(),
        experts: ExpertCalibration::default(),
        grids: &BTreeMap::new(),
        float_type: &|_| FloatType::F32,
    };
    let block = model.graph().block_at(1).unwrap();
    let points = [
        block.attention.output.input_point.as_str(),
        &block.mlp.dense().unwrap().down.output_point(),
    ];
    let tokens = |most: usize, points: &[&str]| -> Vec<usize> {
        let seen = runner.run(&BlockEdit::default(), points, most).unwrap();
        let width = block.attention_norm.as_ref().unwrap().width;
        seen.iter().map(|values| values.len() / width).collect()
    };
    assert_eq!(tokens(1, &points), [7, 7]);
    assert_eq!(tokens(14, &points), [14, 14]);
    assert_eq!(tokens(30, &points), [14, 14]);
    assert_eq!(tokens(34, &points), [34, 34]);
    // Stopping after the attention half sees the same values.
    let whole = runner.run(&BlockEdit::default(), &points, 34).unwrap();
    let half = runner.run(&BlockEdit::default(), &points[..1], 34).unwrap();
    assert_eq!(whole[0], half[0]);
}
