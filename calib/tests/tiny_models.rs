//! Variants of the architectures on tiny random checkpoints made by `tests/golden/make_tiny_models.py`.
//!
//! 1e-5 relative L2 per tensor: f32 in another order of summation, and nothing else.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the functions the tests share fail as the tests do, and say how far off they are"
)]

#[path = "models/compare.rs"]
mod compare;

use burn::tensor::{Device, Tensor, TensorData};
use calib::{Checkpoint, Hidden, LayerSpec, LoadReport, Model, ModelOutput, NoTap, Tap, Tape};
use compare::{Deviations, Expected, open, outputs, tokens};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const LIMIT: f64 = 1e-5;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

fn input(expected: &Expected, device: &Device) -> Hidden {
    if expected.has("input_ids") {
        return tokens(&expected.rows("input_ids"), device);
    }
    let data = TensorData::new(expected.floats("pixels"), expected.shape("pixels"));
    Hidden::Pixels(Tensor::from_data(data, device))
}

/// Everything a checkpoint must satisfy; `unused` are the tensors no stage reads.
fn check(name: &str, unused: &[&str]) {
    let (checkpoint, model) = open(&folder(name), None);
    let report = LoadReport::new(model.as_ref(), &checkpoint);
    assert!(report.missing.is_empty(), "{:?}", report.missing);
    assert_eq!(report.unused, unused);
    check_numbers(name, model.as_ref(), &checkpoint);
}

/// Everything the language tower of a larger model must satisfy; its tensors begin with `prefix`, and those of no
/// other part do.
fn check_within(name: &str, larger: &str, prefix: &str) {
    let (checkpoint, model) = open(&folder(name), None);
    let within = model.within().unwrap();
    assert_eq!(
        (within.model_type.as_str(), within.prefix.as_str()),
        (larger, prefix)
    );
    let report = LoadReport::new(model.as_ref(), &checkpoint);
    assert!(report.missing.is_empty(), "{:?}", report.missing);
    assert!(!report.unused.is_empty());
    assert!(report.unused.iter().all(|name| !name.starts_with(prefix)));
    check_numbers(name, model.as_ref(), &checkpoint);
}

fn check_numbers(name: &str, model: &dyn Model, checkpoint: &Checkpoint) {
    let expected = Expected::open(&folder(name).join("expected.safetensors"));
    for device in [Device::flex(), Device::flex().autodiff()] {
        check_outputs(name, model, checkpoint, &expected, &device);
    }
    check_points(model, checkpoint, &expected);
    check_gradients(name, model, checkpoint, &expected);
}

fn check_outputs(
    name: &str,
    model: &dyn Model,
    checkpoint: &Checkpoint,
    expected: &Expected,
    device: &Device,
) {
    let mut deviations = Deviations::new(name, LIMIT);
    let found = outputs(model, checkpoint, input(expected, device), device);
    for (k, states) in found.iter().enumerate() {
        let name = format!("hidden.{k}");
        if expected.has(&name) {
            deviations.check(&name, states, &expected.floats(&name));
        }
    }
    deviations.check(
        "output",
        &found[found.len() - 1],
        &expected.floats("output"),
    );
    eprintln!(
        "{name}: worst {:e} at {}",
        deviations.worst.0, deviations.worst.1
    );
    if model.output() == ModelOutput::TokenLogits {
        check_head_by_position(model, checkpoint, expected, device);
    }
}

/// A decoder's head gives the same logits for part of the positions as for all of them.
fn check_head_by_position(
    model: &dyn Model,
    checkpoint: &Checkpoint,
    expected: &Expected,
    device: &Device,
) {
    let last = model.stages() - 1;
    let head = model.build(last, checkpoint, device).unwrap();
    let name = format!("hidden.{}", last - 1);
    let states = TensorData::new(expected.floats(&name), expected.shape(&name));
    let states = Tensor::<3>::from_data(states, device);
    let logits = |states: Tensor<3>| match head.forward(Hidden::States(states), &mut NoTap) {
        Ok(Hidden::States(logits)) => logits,
        other => panic!("{other:?}"),
    };
    let part = logits(states.clone().narrow(1, 5, 4)).into_data();
    let whole = logits(states).narrow(1, 5, 4).into_data();
    let (part, whole) = (
        part.try_to_vec::<f32>().unwrap(),
        whole.try_to_vec::<f32>().unwrap(),
    );
    Deviations::new(&name, 1e-6).check("part of the logits", &part, &whole);
}

/// Counts looks and notes widths.
#[derive(Default)]
struct Looks(BTreeMap<String, (usize, usize)>);

impl Tap for Looks {
    fn observe(&mut self, point: &str, input: &Tensor<3>) {
        let seen = self.0.entry(point.to_owned()).or_default();
        *seen = (seen.0 + 1, input.dims()[2]);
    }
}

fn check_points(model: &dyn Model, checkpoint: &Checkpoint, expected: &Expected) {
    let device = Device::flex();
    let mut hidden = input(expected, &device);
    let mut seen = Looks::default();
    for stage in 0..model.stages() {
        let built = model.build(stage, checkpoint, &device).unwrap();
        hidden = built.forward(hidden, &mut seen).unwrap();
    }
    let points = (0..model.stages()).flat_map(|stage| model.points(stage));
    let mut wanted = BTreeMap::<String, (usize, usize)>::new();
    for point in points {
        // Blocks that share their weights have the same points.
        wanted.entry(point.name).or_insert((0, point.width)).0 += 1;
    }
    for layer in model.layers() {
        let inputs = wanted[&layer.input_point];
        let outputs = wanted[&format!("{}:out", layer.name)];
        assert_eq!((inputs.1, outputs.1), (layer.cols, layer.rows));
    }
    assert_eq!(seen.0, wanted);
}

/// Gradients of half the squared norm of the first block's output.
fn check_gradients(name: &str, model: &dyn Model, checkpoint: &Checkpoint, expected: &Expected) {
    let device = Device::flex();
    let states = TensorData::new(expected.floats("hidden.0"), expected.shape("hidden.0"));
    let states = Tensor::from_data(states, &device);
    let layers: Vec<_> = model.layers().iter().filter(|l| l.stage == 1).collect();
    let block = model
        .build(1, checkpoint, &device.clone().autodiff())
        .unwrap();
    let (tape, output) = Tape::record(block.as_ref(), layers.iter().copied(), states).unwrap();
    let found = tape.back(output);
    let values = |tensor: TensorData| tensor.try_to_vec::<f32>().unwrap();
    let mut deviations = Deviations::new(name, LIMIT);
    let input = values(found.input_gradient.into_data());
    deviations.check("gradient.input", &input, &expected.floats("gradient.input"));
    let gradients = &found.weight_gradients;
    let names = |layer: &&LayerSpec| layer.name.clone();
    assert_eq!(
        gradients
            .iter()
            .map(|g| g.layer.clone())
            .collect::<Vec<_>>(),
        layers.iter().map(names).collect::<Vec<_>>()
    );
    let (first, last) = (&gradients[0], &gradients[gradients.len() - 1]);
    for (stored, gradient) in [("gradient.first", first), ("gradient.last", last)] {
        let gradient = values(gradient.clone().dense().into_data());
        deviations.check(stored, &gradient, &expected.floats(stored));
    }
    eprintln!(
        "{name}: worst {:e} at {}",
        deviations.worst.0, deviations.worst.1
    );
}

/// Each tower of a model of two, and what its embeddings come to.
#[test]
fn models_of_two_towers() {
    for (name, unused) in [
        ("clip", &["logit_scale"][..]),
        ("siglip", &["logit_bias", "logit_scale"]),
    ] {
        let expected = Expected::open(&folder(name).join("expected.safetensors"));
        let (checkpoint, model) = open(&folder(name), None);
        assert_eq!(LoadReport::new(model.as_ref(), &checkpoint).unused, unused);
        let device = Device::flex();
        let data = TensorData::new(expected.floats("pixels"), expected.shape("pixels"));
        let pixels = Hidden::Pixels(Tensor::from_data(data, &device));
        let texts = tokens(&expected.rows("input_ids"), &device);
        let mut deviations = Deviations::new(name, LIMIT);
        for (key, input) in [("image_embeds", pixels), ("text_embeds", texts)] {
            let found = embedded(model.as_ref(), &checkpoint, input);
            let width = expected.shape(key)[1];
            let unit: Vec<f32> = found.chunks(width).flat_map(of_unit_length).collect();
            deviations.check(key, &unit, &expected.floats(key));
        }
        let joint = model.joint().unwrap();
        assert_eq!(model.stage_name(joint.first_of_text), "text embedding");
        assert_eq!(joint.longest, 16);
    }
}

fn of_unit_length(row: &[f32]) -> Vec<f32> {
    let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
    row.iter().map(|value| value / norm).collect()
}

fn embedded(model: &dyn Model, checkpoint: &Checkpoint, input: Hidden) -> Vec<f32> {
    let device = Device::flex();
    let mut hidden = input;
    for stage in 0..model.stages() {
        let built = model.build(stage, checkpoint, &device).unwrap();
        hidden = built.forward(hidden, &mut NoTap).unwrap();
    }
    let states = hidden.into_states(|| "result".to_owned()).unwrap();
    states.into_data().try_to_vec::<f32>().unwrap()
}

/// What `SiglipForImageClassification` does not read.
const SIGLIP_HEAD: [&str; 11] = [
    "vision_model.head.attention.in_proj_bias",
    "vision_model.head.attention.in_proj_weight",
    "vision_model.head.attention.out_proj.bias",
    "vision_model.head.attention.out_proj.weight",
    "vision_model.head.layernorm.bias",
    "vision_model.head.layernorm.weight",
    "vision_model.head.mlp.fc1.bias",
    "vision_model.head.mlp.fc1.weight",
    "vision_model.head.mlp.fc2.bias",
    "vision_model.head.mlp.fc2.weight",
    "vision_model.head.probe",
];

macro_rules! tiny_models {
    ($($test:ident: $folder:literal unused $unused:expr;)*) => {
        $(#[test] fn $test() { check($folder, &$unused); })*
    };
}

#[test]
fn language_towers_that_see() {
    check_within("gemma3-vision", "gemma3", "model.language_model.");
    check_within("llava", "llava", "language_model.model.");
}

#[test]
fn a_language_tower_described_at_the_top_of_the_file() {
    check_within("qwen2-5-vl", "qwen2_5_vl", "model.");
}

#[test]
fn a_language_tower_that_hears() {
    check_within("qwen2-audio", "qwen2_audio", "language_model.model.");
}

tiny_models! {
    llama_untied_with_biases_in_shards: "llama-untied-biases" unused [];
    llama3_rope_in_bf16: "llama-rope-llama3" unused [];
    linear_rope_in_the_style_of_transformers_4: "llama-rope-linear-v4" unused [];
    plain_rope_in_the_style_of_transformers_4: "llama-plain-v4" unused [];
    mistral_with_a_window: "mistral-window" unused [];
    qwen2_with_a_window_from_one_block_on: "qwen2-window" unused [];
    qwen3_with_head_norms: "qwen3-head-norms" unused [];
    gemma: "gemma" unused [];
    gemma2: "gemma2" unused [];
    gemma3: "gemma3" unused [];
    phi: "phi" unused [];
    phi_qk_norm: "phi-qk-norm" unused [];
    phi3_window: "phi3-window" unused [];
    phi3_longrope: "phi3-longrope" unused [];
    gpt_neox: "gpt-neox" unused [];
    gpt_neox_sequential: "gpt-neox-sequential" unused [];
    olmo_clip: "olmo-clip" unused [];
    olmo2: "olmo2" unused [];
    olmo3_yarn: "olmo3-yarn" unused [];
    granite: "granite" unused [];
    smollm3: "smollm3" unused [];
    cohere_qk_norm: "cohere-qk-norm" unused [];
    cohere2: "cohere2" unused [];
    stablelm: "stablelm" unused [];
    stablelm_parallel: "stablelm-parallel" unused [];
    starcoder2: "starcoder2" unused [];
    glm: "glm" unused [];
    glm4: "glm4" unused [];
    falcon_new: "falcon-new" unused [];
    falcon_multi_query: "falcon-multi-query" unused [];
    falcon_alibi: "falcon-alibi" unused [];
    opt: "opt" unused [];
    opt_post_norm: "opt-post-norm" unused [];
    bloom_six_heads: "bloom-six-heads" unused [];
    gptj: "gptj" unused [];
    mpt_six_heads: "mpt-six-heads" unused [];
    exaone4: "exaone4" unused [];
    nemotron: "nemotron" unused [];
    ministral: "ministral" unused [];
    seed_oss: "seed-oss" unused [];
    hunyuan_dense: "hunyuan-dense" unused [];
    mixtral: "mixtral" unused [];
    qwen2_moe: "qwen2-moe" unused [];
    qwen2_moe_mixed: "qwen2-moe-mixed" unused [];
    qwen3_moe: "qwen3-moe" unused [];
    olmoe: "olmoe" unused [];
    granite_moe: "granite-moe" unused [];
    phimoe: "phimoe" unused [];
    phimoe_longrope: "phimoe-longrope" unused [];
    gpt_oss: "gpt-oss" unused [];
    deepseek_v2: "deepseek-v2" unused [];
    deepseek_v2_groups: "deepseek-v2-groups" unused [];
    deepseek_v3: "deepseek-v3" unused [];
    gpt2: "gpt2" unused [];
    gpt2_without_prefix_and_scaled_by_depth: "gpt2-bare-scaled" unused [];
    gpt2_without_head: "gpt2-model" unused [];
    bert_with_prefix_and_greek_norms: "bert-prefixed-greek" unused ["bert.pooler.dense.bias", "bert.pooler.dense.weight"];
    bert_classifier_with_relu: "bert-classifier-relu" unused [];
    bert_masked: "bert-masked" unused [];
    bert_token_classes: "bert-tokens" unused [];
    roberta_masked: "roberta-masked" unused [];
    roberta_regression_with_another_padding_token: "roberta-classifier" unused [];
    xlm_roberta: "xlm-roberta" unused ["pooler.dense.bias", "pooler.dense.weight"];
    camembert_token_classes: "camembert-tokens" unused [];
    distilbert_masked: "distilbert-masked" unused [];
    distilbert_classifier_with_sines: "distilbert-classifier" unused [];
    mpnet_masked: "mpnet-masked" unused [];
    mpnet_classifier: "mpnet-classifier" unused [];
    electra_masked_with_narrow_tables: "electra-masked" unused [];
    electra_classifier: "electra-classifier" unused [];
    albert_masked: "albert-masked" unused [];
    albert_in_two_groups_of_two_blocks: "albert-groups" unused [];
    modernbert_masked: "modernbert-masked" unused [];
    modernbert_classifier_over_means_with_biases: "modernbert-classifier" unused [];
    modernbert_token_classes: "modernbert-tokens" unused [];
    deberta_v3_masked: "deberta-v3-masked" unused [];
    deberta_v3_with_projections_of_its_own_and_the_new_head: "deberta-v3-new-head" unused [];
    deberta_v2_classifier_without_buckets: "deberta-v2-classifier" unused [];
    deberta_v2_without_distances: "deberta-v2-plain" unused [];
    nomic_bert_masked: "nomic-bert-masked" unused [];
    nomic_bert_classifier: "nomic-bert-classifier" unused [];
    vit_without_head: "vit-model" unused ["pooler.dense.bias", "pooler.dense.weight"];
    vit_classifier_without_qkv_bias: "vit-classifier-no-bias" unused [];
    deit: "deit" unused [];
    deit_with_two_classifiers: "deit-teacher" unused [];
    dinov2: "dinov2" unused ["dinov2.embeddings.mask_token"];
    dinov2_gated: "dinov2-gated" unused ["embeddings.mask_token"];
    dinov2_with_registers: "dinov2-registers" unused ["dinov2_with_registers.embeddings.mask_token"];
    beit: "beit" unused [];
    beit_with_shared_biases_and_positions: "beit-shared" unused [];
    swin: "swin" unused [];
    swin_with_absolute_positions: "swin-absolute" unused [];
    clip_vision: "clip-vision" unused [];
    clip_text_projected: "clip-text-projection" unused [];
    siglip_vision: "siglip-vision" unused [];
    siglip_text: "siglip-text" unused [];
    clip_classifier: "clip-classifier" unused ["vision_model.post_layernorm.bias", "vision_model.post_layernorm.weight"];
    siglip_classifier: "siglip-classifier" unused SIGLIP_HEAD;
}
