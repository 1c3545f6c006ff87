//! What experts are calibrated on, and experts that are stored as 4-bit floats.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the functions the tests share fail as the tests do, and say how far off they are"
)]

#[path = "models/compare.rs"]
#[expect(dead_code, reason = "the tests of all tiny models use all of it")]
mod compare;

use burn::tensor::{Device, Tensor};
use calib::artifact::Artifact;
use calib::running::expert_calibration::{ExpertCalibration, ExpertTokens};
use calib::running::measured::{StageStatistics, Wants};
use calib::running::walk::StageWalk;
use calib::{Forward, Hidden, NoTap, Tap, open_model};
use compare::{Deviations, Expected, open, outputs, tokens};
use quantizers::statistics::{HESSIAN, TOKEN_COUNT};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/models").join(name)
}

/// Two sequences of seven tokens, a batch each.
fn batches(device: &Device) -> Vec<Hidden> {
    let of = |first: i64| tokens(&[(first..first + 7).collect()], device);
    vec![of(3), of(40)]
}

/// The model before its first block, with the statistics of that block and what it passes on.
fn walked(name: &str, experts: ExpertCalibration) -> (StageStatistics, Vec<Vec<f32>>) {
    let (checkpoint, model) = open(&folder(name), None);
    let device = Device::flex();
    let forward = Forward::new(model.as_ref(), &checkpoint, device.clone());
    let routed = model.graph().routed_layers();
    let mut wants = Wants::default().with_experts(experts);
    for layer in model.layers().iter().filter(|layer| layer.stage == 1) {
        wants.layer(layer, &HESSIAN);
        if routed.contains(layer.name.as_str()) {
            wants.layer(layer, &TOKEN_COUNT);
        }
    }
    let mut walk = StageWalk::new(model.as_ref(), batches(&device));
    walk.advance(&forward).unwrap();
    let statistics = walk.observe_and_advance(&forward, &wants).unwrap();
    let passed = walk.into_hidden().into_iter().map(|hidden| {
        let states = hidden.into_states(|| "a block".to_owned()).unwrap();
        states.into_data().try_to_vec::<f32>().unwrap()
    });
    (statistics, passed.collect())
}

fn experts(min_tokens: usize, tokens: ExpertTokens) -> ExpertCalibration {
    ExpertCalibration {
        min_tokens,
        tokens,
        ..ExpertCalibration::default()
    }
}

/// Values seen at every point of a stage, row after row.
#[derive(Default)]
struct Rows(BTreeMap<String, Vec<f32>>);

impl Tap for Rows {
    fn observe(&mut self, point: &str, values: &Tensor<3>) {
        let values = values.clone().into_data().try_to_vec::<f32>().unwrap();
        self.0.entry(point.to_owned()).or_default().extend(values);
    }
}

/// `X^T X` of rows of `width` values, in f64.
fn second_moment(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; width * width];
    for row in rows.chunks_exact(width) {
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum += f64::from(row[at / width]) * f64::from(row[at % width]);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "as statistics are kept")]
    sums.iter().map(|&sum| sum as f32).collect()
}

/// What the first block's router reads: `[tokens, width]`.
fn router_inputs(name: &str) -> Vec<f32> {
    let (checkpoint, model) = open(&folder(name), None);
    let device = Device::flex();
    let mut seen = Rows::default();
    for batch in batches(&device) {
        let embedded = model.build(0, &checkpoint, &device).unwrap();
        let states = embedded.forward(batch, &mut NoTap).unwrap();
        let block = model.build(1, &checkpoint, &device).unwrap();
        block.forward(states, &mut seen).unwrap();
    }
    let block = model.graph().block_at(1).unwrap();
    let router = &block.mlp.experts().unwrap().router;
    seen.0.remove(&router.input_point).unwrap()
}

#[test]
fn all_experts_are_measured_over_all_tokens_and_the_block_computes_what_it_did() {
    for name in ["mixtral", "qwen2-moe", "gpt-oss", "deepseek-v3"] {
        let (routed, passed) = walked(name, experts(1, ExpertTokens::Routed));
        let (all, passed_by_all) = walked(name, experts(1, ExpertTokens::All));
        assert_eq!(passed, passed_by_all, "{name}");
        let rows = router_inputs(name);
        let expected = second_moment(&rows, 32);
        let (_, model) = open(&folder(name), None);
        let mut fewer = 0;
        let node = model.graph().block_at(1).unwrap();
        for expert in &node.mlp.experts().unwrap().experts {
            for layer in expert.linears() {
                let point = layer.input_point.as_str();
                assert_eq!(all.tokens(point), Some(14), "{name}: {point}");
                fewer += usize::from(routed.tokens(point).unwrap() < 14);
            }
            let found = &all.get(&HESSIAN, &expert.up.input_point).unwrap().values;
            Deviations::new(name, 1e-5).check(&expert.up.input_point, found, &expected);
        }
        assert!(fewer > 0, "{name}: its router is no router");
        // Layers that see all tokens anyway are measured as before.
        let shared = node.attention.output.input_point.as_str();
        assert_eq!(routed.get(&HESSIAN, shared), all.get(&HESSIAN, shared));
        assert_eq!(all.tokens(shared), None);
    }
}

#[test]
fn experts_with_few_tokens_are_measured_over_all_and_the_others_over_their_own() {
    let (routed, passed) = walked("mixtral", experts(1, ExpertTokens::Routed));
    let (all, _) = walked("mixtral", experts(1, ExpertTokens::All));
    let (_, model) = open(&folder("mixtral"), None);
    let node = model.graph().block_at(1).unwrap();
    let points: Vec<&str> = node
        .mlp
        .experts()
        .unwrap()
        .experts
        .iter()
        .flat_map(|expert| [&expert.up, &expert.down])
        .map(|layer| layer.input_point.as_str())
        .collect();
    let mut counts: Vec<usize> = points
        .iter()
        .map(|point| routed.tokens(point).unwrap())
        .collect();
    counts.sort_unstable();
    let least = counts[counts.len() / 2].max(counts[0] + 1);
    let (mixed, passed_on) = walked("mixtral", experts(least, ExpertTokens::AllWhereFew));
    assert_eq!(passed, passed_on);
    for point in points {
        let tokens = routed.tokens(point).unwrap();
        assert_eq!(mixed.tokens(point), Some(tokens), "what the router sent");
        let expected = if tokens < least { &all } else { &routed };
        assert_eq!(
            mixed.get(&HESSIAN, point),
            expected.get(&HESSIAN, point),
            "{point}: {tokens} tokens, {least} wanted"
        );
    }
}

#[test]
fn experts_stored_as_mxfp4_compute_what_their_values_do() {
    let folder = folder("../quantized/gpt-oss-mxfp4");
    let artifact = Artifact::open(&folder).unwrap();
    let config = serde_json::Value::Object(artifact.reader().config().clone());
    let model = open_model(&config, &artifact).unwrap();
    let expected = Expected::open(&folder.join("expected.safetensors"));
    let input = tokens(&expected.rows("input_ids"), &Device::flex());
    let found = outputs(model.as_ref(), &artifact, input, &Device::flex());
    let mut deviations = Deviations::new("gpt-oss-mxfp4", 1e-5);
    for (stage, states) in found[..found.len() - 1].iter().enumerate() {
        let name = format!("hidden.{stage}");
        deviations.check(&name, states, &expected.floats(&name));
    }
    deviations.check("output", found.last().unwrap(), &expected.floats("output"));
    eprintln!("worst {:e} at {}", deviations.worst.0, deviations.worst.1);
}
