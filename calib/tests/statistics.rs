//! Streamed statistics against independent implementations and against a whole-model computation.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "deviations are shown under `--nocapture`"
)]

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::layers::kernels::cross_entropy::cross_entropy_gradient;
use calib::running::collect::collect;
use calib::running::fisher::{FisherOptions, Sequence, collect_fisher};
use calib::running::measured::Wants;
use calib::running::stats_store::{Key, StatsStore};
use calib::{Checkpoint, Forward, Hidden, Model, NoTap, Stage, StageError, Tap, Tape, open_model};
use quantizers::statistics::{FISHER, HESSIAN};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn assets() -> PathBuf {
    PathBuf::from(std::env::var_os("QUENCH_ASSETS").expect("QUENCH_ASSETS names the assets"))
}

fn tokens(ids: &[u32], device: &Device) -> Hidden {
    let ids: Vec<i32> = ids.iter().map(|id| id.cast_signed()).collect();
    let shape = [1, ids.len()];
    Hidden::Tokens(Tensor::<2, Int>::from_data(
        TensorData::new(ids, shape),
        device,
    ))
}

fn sequences(ids: &[Vec<u32>]) -> Vec<Sequence> {
    let device = Device::flex();
    ids.iter()
        .map(|ids| Sequence {
            input: tokens(ids, &device),
            tokens: ids.clone(),
        })
        .collect()
}

/// `sum |a - b| / sum |b|`
fn relative_l1(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let difference: f64 = pairs.map(|(a, b)| f64::from((a - b).abs())).sum();
    difference
        / expected
            .iter()
            .map(|value| f64::from(value.abs()))
            .sum::<f64>()
}

struct Golden(Vec<u8>);

impl Golden {
    fn open(name: &str) -> Self {
        Self(std::fs::read(assets().join("../reference/golden").join(name)).unwrap())
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let tensors = self.tensors();
        let view = tensors.tensor(name).unwrap();
        view.data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect()
    }

    fn ids(&self) -> Vec<Vec<u32>> {
        let tensors = self.tensors();
        let view = tensors.tensor("input_ids").unwrap();
        let ids: Vec<u32> = view
            .data()
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&bytes| u32::try_from(i64::from_le_bytes(bytes)).unwrap())
            .collect();
        ids.chunks_exact(view.shape()[1])
            .map(<[u32]>::to_vec)
            .collect()
    }
}

fn open(folder: &Path) -> (Checkpoint, Box<dyn Model>) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let model = open_model(checkpoint.config(), &checkpoint).unwrap();
    (checkpoint, model)
}

fn fisher_of_blocks(model: &dyn Model) -> Wants {
    let mut wants = Wants::default();
    for layer in model.layers().iter().filter(|layer| layer.in_block) {
        wants.layer(layer, &FISHER);
    }
    wants
}

/// Fisher of every layer inside the blocks, by layer name.
fn streamed(
    checkpoint: &Checkpoint,
    model: &dyn Model,
    ids: &[Vec<u32>],
    memory_bytes: u64,
) -> (Vec<f64>, BTreeMap<String, Vec<f32>>) {
    let folder = tempfile::tempdir().unwrap();
    let store = StatsStore::open(folder.path(), &Key::default()).unwrap();
    let options = FisherOptions {
        wants: fisher_of_blocks(model),
        seed: 0,
        memory_bytes,
        tape_bytes: memory_bytes,
        scratch: folder.path().to_owned(),
    };
    let forward = Forward::new(model, checkpoint, Device::flex());
    let mut steps = Vec::new();
    let losses = collect_fisher(
        &forward,
        &sequences(ids),
        &options,
        &store,
        &mut |done, total| {
            steps.push((done, total));
        },
    )
    .unwrap();
    assert!(
        steps
            .iter()
            .enumerate()
            .all(|(index, (done, _))| *done == index + 1),
        "{steps:?}"
    );
    assert_eq!(
        steps.last().unwrap().0,
        steps.last().unwrap().1,
        "progress ends at its total"
    );
    let found = (0..model.stages())
        .filter_map(|stage| store.read(&FISHER, stage).ok())
        .flatten()
        .map(|(name, entry)| (name, entry.values))
        .collect();
    (losses, found)
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn streamed_fisher_equals_the_reference() {
    let golden = Golden::open("wiki-llama-fisher.safetensors");
    let (checkpoint, model) = open(&assets().join("wiki-llama-1.4m"));
    let (losses, found) = streamed(&checkpoint, model.as_ref(), &golden.ids(), u64::MAX);
    let mut compared = 0;
    for name in golden.tensors().names() {
        let Some(layer) = name.strip_suffix(".weight") else {
            continue;
        };
        let deviation = relative_l1(&found[layer], &golden.floats(name));
        println!("{layer}: {deviation:.2e}");
        assert!(deviation < 1e-4, "{layer}: {deviation:.2e}");
        compared += 1;
    }
    assert_eq!(compared, 14);
    for (found, expected) in losses.iter().zip(golden.floats("losses")) {
        assert!((found - f64::from(expected)).abs() < 1e-5 * f64::from(expected));
    }
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn hessian_equals_the_reference() {
    let golden = Golden::open("wiki-llama-hessian.safetensors");
    let (checkpoint, model) = open(&assets().join("wiki-llama-1.4m"));
    let folder = tempfile::tempdir().unwrap();
    let store = StatsStore::open(folder.path(), &Key::default()).unwrap();
    let mut wants = Wants::default();
    for layer in model.layers() {
        wants.layer(layer, &HESSIAN);
    }
    let batches = sequences(&golden.ids())
        .into_iter()
        .map(|sequence| sequence.input)
        .collect();
    let forward = Forward::new(model.as_ref(), &checkpoint, Device::flex());
    collect(&forward, batches, &wants, &store, &mut |_, _| {}).unwrap();
    let mut compared = 0;
    for stage in 0..model.stages() {
        for (point, entry) in store.read(&HESSIAN, stage).unwrap_or_default() {
            let name = point.trim_start_matches("model.").to_owned();
            if golden.tensors().tensor(&name).is_ok() {
                let deviation = relative_l1(&entry.values, &golden.floats(&name));
                println!("{name}: {deviation:.2e}");
                assert!(deviation < 1e-5, "{name}: {deviation:.2e}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 8);
}

/// The gradient of the mean loss with respect to the logits.
type LossGradient = fn(&Tensor<3>, &[u32]) -> Tensor<3>;

/// `(softmax - onehot) / scored positions` as the streamed computation has it.
fn own_loss_gradient(logits: &Tensor<3>, ids: &[u32]) -> Tensor<3> {
    let shape = logits.dims();
    let mut values = calib::hidden::values(logits.clone());
    for (position, row) in values.chunks_exact_mut(shape[2]).enumerate() {
        match ids.get(position + 1) {
            Some(&target) => {
                cross_entropy_gradient(row, target as usize, shape[1] - 1);
            }
            None => row.fill(0.0),
        }
    }
    Tensor::from_data(TensorData::new(values, shape), &logits.device())
}

/// The same in f64.
fn mean_loss_gradient(logits: &Tensor<3>, ids: &[u32]) -> Tensor<3> {
    let shape = logits.dims();
    let scored = (shape[1] - 1) as f64;
    let mut values = calib::hidden::values(logits.clone());
    for (position, row) in values.chunks_exact_mut(shape[2]).enumerate() {
        let Some(&target) = ids.get(position + 1) else {
            row.fill(0.0);
            continue;
        };
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        for (index, value) in row.iter_mut().enumerate() {
            let hit = f64::from(u8::from(index == target as usize));
            #[expect(clippy::cast_possible_truncation, reason = "gradients are f32")]
            let gradient = ((f64::from(*value).exp() / sum - hit) / scored) as f32;
            *value = gradient;
        }
    }
    Tensor::from_data(TensorData::new(values, shape), &logits.device())
}

/// All stages but the first as one.
struct Whole(Vec<Box<dyn Stage>>);

impl Stage for Whole {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        self.0
            .iter()
            .try_fold(hidden, |hidden, stage| stage.forward(hidden, tap))
    }
}

/// The same sum with one tape over the whole model per sequence, and gradients that are whole.
fn whole_model(
    checkpoint: &Checkpoint,
    model: &dyn Model,
    ids: &[Vec<u32>],
    loss_gradient: LossGradient,
) -> BTreeMap<String, Vec<f32>> {
    let device = Device::flex();
    let build = |stage: usize, device: &Device| model.build(stage, checkpoint, device).unwrap();
    let embedding = build(0, &device);
    let taped = device.clone().autodiff();
    let whole = Whole((1..model.stages()).map(|s| build(s, &taped)).collect());
    let mut sums: BTreeMap<String, Tensor<2>> = BTreeMap::new();
    for ids in ids {
        let embedded = embedding.forward(tokens(ids, &device), &mut NoTap).unwrap();
        let Hidden::States(embedded) = embedded else {
            panic!("states expected")
        };
        let layers = model.layers().iter().filter(|layer| layer.in_block);
        let (tape, logits) = Tape::record(&whole, layers, embedded).unwrap();
        let seed = loss_gradient(&logits, ids);
        for gradient in tape.back(seed).weight_gradients {
            let name = gradient.layer.clone();
            let square = gradient.dense().square();
            let sum = match sums.remove(&name) {
                Some(sum) => sum + square,
                None => square,
            };
            sums.insert(name, sum);
        }
    }
    sums.into_iter()
        .map(|(name, sum)| (name, calib::hidden::values(sum)))
        .collect()
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn streamed_and_whole_model_fisher_agree() {
    let golden = Golden::open("wiki-llama-fisher.safetensors");
    let (checkpoint, model) = open(&assets().join("wiki-llama-1.4m"));
    let ids = &golden.ids()[..6];
    let (_, found) = streamed(&checkpoint, model.as_ref(), ids, u64::MAX);
    // One thread, as each sequence has when streamed: products are then cut the same way.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    // Streaming by itself changes nothing to speak of, in any layer. With the loss gradient in f64, rounding
    // of the loss shows in the small gradients of single query and key layers.
    for (loss_gradient, of_one, of_all) in [
        (own_loss_gradient as LossGradient, 1e-6, 1e-6),
        (mean_loss_gradient, 3e-6, 1e-6),
    ] {
        let expected =
            pool.install(|| whole_model(&checkpoint, model.as_ref(), ids, loss_gradient));
        assert_eq!(found.len(), expected.len());
        let (mut difference, mut total, mut worst) = (0.0, 0.0, 0.0_f64);
        for (name, values) in &found {
            let deviation = relative_l1(values, &expected[name]);
            assert!(deviation < of_one, "{name}: {deviation:.2e}");
            worst = worst.max(deviation);
            let size: f64 = expected[name]
                .iter()
                .map(|value| f64::from(value.abs()))
                .sum();
            difference += deviation * size;
            total += size;
        }
        println!(
            "over {} layers: {:.2e}, worst layer {worst:.2e}",
            found.len(),
            difference / total
        );
        assert!(difference / total < of_all, "{:.2e}", difference / total);
    }
    // Inputs kept in the scratch file, or tapes of the last blocks only, change no bit.
    for memory in [0, 4 << 20, 24 << 20, 64 << 20] {
        let (_, again) = streamed(&checkpoint, model.as_ref(), ids, memory);
        assert_eq!(found, again, "{memory} bytes");
    }
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn the_thread_count_changes_no_bit() {
    let golden = Golden::open("wiki-llama-fisher.safetensors");
    let (checkpoint, model) = open(&assets().join("wiki-llama-1.4m"));
    let ids = &golden.ids()[..5];
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| streamed(&checkpoint, model.as_ref(), ids, u64::MAX))
    };
    assert_eq!(with(1), with(3));
}
