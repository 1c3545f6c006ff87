//! Hessians weighted with squared output gradients, against one tape over a whole tiny model.

#![expect(
    clippy::unwrap_used,
    reason = "the functions the tests share fail as the tests do, and say how far off they are"
)]

#[path = "models/compare.rs"]
#[expect(dead_code, reason = "the tests of all tiny models use all of it")]
mod compare;

use burn::tensor::{Device, Tensor, TensorData};
use calib::layers::kernels::cross_entropy::cross_entropy_gradient;
use calib::running::error::CollectError;
use calib::running::fisher::{FisherOptions, Sequence, walk_backward};
use calib::running::measured::Wants;
use calib::{Forward, Hidden, Model, NoTap, Stage, StageError, Tap, Tape, WeightSource};
use compare::{open, tokens};
use quantizers::statistics::{FISHER, guided_hessian, rows_of_group};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/models").join(name)
}

/// Sequences of different lengths.
const IDS: [&[i64]; 3] = [
    &[3, 9, 27, 4, 12, 36, 5],
    &[40, 41, 42, 43, 44],
    &[7, 1, 30, 2, 11, 8, 19, 23, 6],
];

/// All stages but the first as one.
struct Whole(Vec<Box<dyn Stage>>);

impl Stage for Whole {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let mut stages = self.0.iter();
        stages.try_fold(hidden, |hidden, stage| stage.forward(hidden, tap))
    }
}

/// What the definition says, in f64, by layer.
fn expected(
    model: &dyn Model,
    source: &dyn WeightSource,
    groups: usize,
) -> BTreeMap<String, Vec<f64>> {
    let device = Device::flex();
    let taped = device.clone().autodiff();
    let build = |stage: usize, device: &Device| model.build(stage, source, device).unwrap();
    let embedding = build(0, &device);
    let whole = Whole((1..model.stages()).map(|s| build(s, &taped)).collect());
    let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for ids in IDS {
        let input = tokens(&[ids.to_vec()], &device);
        let Hidden::States(embedded) = embedding.forward(input, &mut NoTap).unwrap() else {
            panic!("states")
        };
        let layers = model.layers().iter().filter(|layer| layer.in_block);
        let (tape, logits) = Tape::record(&whole, layers, embedded).unwrap();
        let shape = logits.dims();
        let mut slopes = calib::hidden::values(logits);
        for (position, row) in slopes.chunks_exact_mut(shape[2]).enumerate() {
            match ids.get(position + 1) {
                Some(&target) => {
                    let target = usize::try_from(target).unwrap();
                    cross_entropy_gradient(row, target, shape[1] - 1);
                }
                None => row.fill(0.0),
            }
        }
        let slopes = Tensor::from_data(TensorData::new(slopes, shape), &device);
        for gradient in tape.back(slopes).weight_gradients {
            let (rows, cols) = (gradient.output_gradient.dims()[2], gradient.input.dims()[2]);
            let outputs = calib::hidden::values(gradient.output_gradient);
            let inputs = calib::hidden::values(gradient.input);
            let sum = sums
                .entry(gradient.layer)
                .or_insert_with(|| vec![0.0; groups * cols * cols]);
            for (x, g) in inputs.chunks_exact(cols).zip(outputs.chunks_exact(rows)) {
                for group in 0..groups {
                    let of_group = &g[rows_of_group(group, groups, rows)];
                    let squares = of_group.iter().map(|g| (1e3 * f64::from(*g)).powi(2));
                    let weight = squares.sum::<f64>() / of_group.len() as f64;
                    for row in 0..cols {
                        for col in 0..cols {
                            sum[(group * cols + row) * cols + col] +=
                                weight * f64::from(x[row]) * f64::from(x[col]);
                        }
                    }
                }
            }
        }
    }
    sums
}

/// What the streamed pass measures, by layer.
fn streamed(
    model: &dyn Model,
    source: &dyn WeightSource,
    groups: usize,
    memory_bytes: u64,
) -> BTreeMap<String, Vec<f32>> {
    let device = Device::flex();
    let statistic = guided_hessian(groups).unwrap();
    let mut wants = Wants::default();
    for layer in model.layers().iter().filter(|layer| layer.in_block) {
        wants.layer(layer, statistic);
        wants.layer(layer, &FISHER);
    }
    let sequences = IDS.map(|ids| Sequence {
        input: tokens(&[ids.to_vec()], &device),
        tokens: ids.iter().map(|id| u32::try_from(*id).unwrap()).collect(),
    });
    let scratch = tempfile::tempdir().unwrap();
    let options = FisherOptions {
        wants,
        seed: 0,
        memory_bytes,
        tape_bytes: memory_bytes,
        scratch: scratch.path().to_owned(),
    };
    let forward = Forward::new(model, source, device);
    let mut found = BTreeMap::new();
    walk_backward::<CollectError>(
        &forward,
        &sequences,
        &options,
        &mut |_, statistics| {
            for layer in model.layers() {
                if let Some(entry) = statistics.get(statistic, &layer.name) {
                    assert_eq!(entry.shape, [groups, layer.cols, layer.cols]);
                    assert!(statistics.get(&FISHER, &layer.name).is_some());
                    found.insert(layer.name.clone(), entry.values.clone());
                }
            }
            Ok(())
        },
        &mut |_, _| {},
    )
    .unwrap();
    found
}

#[test]
fn streamed_hessians_equal_the_definition() {
    for (name, groups) in [
        ("llama-rope-llama3", 1),
        ("llama-rope-llama3", 4),
        ("gpt2", 2),
    ] {
        let (checkpoint, model) = open(&folder(name), None);
        let (model, source) = (model.as_ref(), &checkpoint);
        let expected = expected(model, source, groups);
        let found = streamed(model, source, groups, u64::MAX);
        assert_eq!(found.len(), expected.len(), "{name}");
        for (layer, values) in &found {
            let expected = &expected[layer];
            assert_eq!(values.len(), expected.len());
            let pairs = values.iter().zip(expected);
            let off: f64 = pairs.map(|(a, b)| (f64::from(*a) - b).abs()).sum();
            let size: f64 = expected.iter().map(|value| value.abs()).sum();
            assert!(
                size > 0.0 && off < 1e-4 * size,
                "{name} {layer}: {off} of {size}"
            );
        }
        // Neither what is kept in memory nor the number of threads changes a bit.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3);
        let again = || streamed(model, source, groups, 0);
        assert_eq!(pool.build().unwrap().install(again), found, "{name}");
    }
}
