//! Configurations and checkpoints that must be refused, and what the refusal says.

#![expect(
    clippy::unwrap_used,
    reason = "the functions the tests share fail as the tests do"
)]

use burn::tensor::{Device, Int, Tensor};
use calib::{
    Checkpoint, CheckpointError, Hidden, LoadReport, ModelOutput, NoTap, SourceError, Tensor32,
    WeightSource, derived_type, open_model,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

/// The message for the model `name` with `changes` to its config.json (null removes nothing, it
/// sets null).
fn refusal(name: &str, changes: &Value) -> String {
    refusal_or_none(name, changes).unwrap_or_else(|| panic!("{name} opened with {changes}"))
}

fn refusal_or_none(name: &str, changes: &Value) -> Option<String> {
    let checkpoint = Checkpoint::open(folder(name)).unwrap();
    let mut config = checkpoint.config().clone();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    let opened = open_model(&config, &checkpoint);
    opened.err().map(|error| error.to_string())
}

#[expect(clippy::too_many_lines, reason = "one table")]
#[test]
fn values_that_change_the_mathematics_are_refused_by_key() {
    let rope = |parameters: Value| json!({"rope_scaling": parameters});
    let cases = [
        (
            "llama-plain-v4",
            json!({"hidden_act": "xielu"}),
            "`hidden_act`: expected one of",
        ),
        (
            "llama-plain-v4",
            json!({"partial_rotary_factor": 0.4}),
            "`partial_rotary_factor`: expected an even number of channels up to 8, found 3",
        ),
        (
            "llama-plain-v4",
            rope(json!({"type": "spiral", "factor": 2.0})),
            "`rope_scaling.rope_type`: expected `default`, `linear`, `llama3`, `dynamic`, `yarn` or `longrope`, found `spiral`",
        ),
        (
            "llama-plain-v4",
            rope(json!({"type": "linear"})),
            "`rope_scaling.factor`: expected a positive number, found nothing",
        ),
        (
            "llama-plain-v4",
            rope(json!({"full_attention": {"rope_type": "default"}})),
            "`rope_scaling.full_attention`: expected only",
        ),
        (
            "llama-plain-v4",
            json!({"num_key_value_heads": 3}),
            "`num_key_value_heads`: expected a divisor of num_attention_heads 4, found 3",
        ),
        (
            "llama-plain-v4",
            json!({"head_dim": 7}),
            "`head_dim`: expected an even number, found 7",
        ),
        (
            "llama-plain-v4",
            json!({"num_hidden_layers": 1_000_000}),
            "`num_hidden_layers`: expected at most",
        ),
        (
            "llama-plain-v4",
            json!({"hidden_size": "32"}),
            "`hidden_size`: expected a positive integer, found \"32\"",
        ),
        (
            "llama-plain-v4",
            json!({"architectures": ["LlamaForSequenceClassification"]}),
            "`architectures`: expected `LlamaForCausalLM`",
        ),
        (
            "qwen2-window",
            json!({"layer_types": ["full_attention"]}),
            "`layer_types`: expected a list of 2 names",
        ),
        (
            "qwen2-window",
            json!({"layer_types": ["full_attention", "linear_attention"]}),
            "`layer_types`: expected `full_attention` or `sliding_attention`",
        ),
        (
            "qwen2-window",
            json!({"use_sliding_window": false, "layer_types": ["full_attention", "sliding_attention"]}),
            "`layer_types`: expected `full_attention` while no `sliding_window` is in use",
        ),
        (
            "gpt2",
            json!({"add_cross_attention": true}),
            "`add_cross_attention`: expected false, found true",
        ),
        (
            "gpt2",
            json!({"n_head": 5}),
            "`n_head`: expected a divisor of n_embd 32, found 5",
        ),
        (
            "bert-classifier-relu",
            json!({"position_embedding_type": "relative_key"}),
            "`position_embedding_type`: expected \"absolute\"",
        ),
        (
            "bert-classifier-relu",
            json!({"is_decoder": true}),
            "`is_decoder`: expected false",
        ),
        (
            "bert-classifier-relu",
            json!({"architectures": ["BertForQuestionAnswering"]}),
            "`architectures`: expected",
        ),
        (
            "vit-model",
            json!({"patch_size": 5}),
            "`patch_size`: expected a divisor of image_size 16, found 5",
        ),
        (
            "vit-model",
            json!({"image_size": [16, 16]}),
            "`image_size`: expected a positive integer",
        ),
    ];
    for (name, changes, expected) in cases {
        let message = refusal(name, &changes);
        assert!(message.starts_with("config.json: "), "{message}");
        assert!(
            message.contains(expected),
            "{message}\nexpected: {expected}"
        );
    }
}

#[test]
fn an_unknown_type_is_named() {
    let checkpoint = Checkpoint::open(folder("gpt2")).unwrap();
    let Err(error) = open_model(&json!({"model_type": "gpt22"}), &checkpoint) else {
        panic!()
    };
    assert_eq!(
        error.to_string(),
        "config.json: expected a `model_type` that `quench list architectures` shows, found `gpt22`"
    );
    assert!(!error.hint().unwrap().contains("did you mean"));
    let Err(error) = open_model(&json!({}), &checkpoint) else {
        panic!()
    };
    assert_eq!(
        error.hint().unwrap(),
        "of other models the weights can be quantized by methods that read nothing else, and nothing can be run"
    );
}

#[test]
fn other_shapes_are_refused_before_anything_runs() {
    assert_eq!(
        refusal("vit-model", &json!({"intermediate_size": 40})),
        "tensor `encoder.layer.0.intermediate.dense.weight` has shape [48, 32], expected [40, 32]"
    );
}

/// A checkpoint in which one tensor goes by another name.
struct Renamed(Checkpoint, &'static str, &'static str);

impl Renamed {
    fn stored(&self, name: &str) -> String {
        if name == self.2 {
            self.1
        } else if name == self.1 {
            ""
        } else {
            name
        }
        .to_owned()
    }
}

impl WeightSource for Renamed {
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError> {
        self.0.tensor(&self.stored(name))
    }
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.shape(&self.stored(name))
    }
    fn names(&self) -> Vec<String> {
        let rename = |name: String| {
            if name == self.1 {
                self.2.to_owned()
            } else {
                name
            }
        };
        let mut names: Vec<String> = self.0.names().into_iter().map(rename).collect();
        names.sort();
        names
    }
}

#[test]
fn a_missing_tensor_gets_the_nearest_unused_one() {
    let checkpoint = Checkpoint::open(folder("llama-plain-v4")).unwrap();
    let config = checkpoint.config().clone();
    let source = Renamed(
        checkpoint,
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.1.mlp.w_up_proj.weight",
    );
    let Err(error) = open_model(&config, &source) else {
        panic!()
    };
    assert_eq!(
        error.to_string(),
        "checkpoint has no tensor `model.layers.1.mlp.up_proj.weight`: \
         architecture `llama` needs 21 tensors, 20 found"
    );
    assert_eq!(
        error.hint().unwrap(),
        "closest name is `model.layers.1.mlp.w_up_proj.weight`"
    );
}

#[test]
fn buffers_of_old_checkpoints_are_neither_missing_nor_unused() {
    let checkpoint = Checkpoint::open(folder("vit-model")).unwrap();
    let model = checkpoint.open_model().unwrap();
    let source = Renamed(
        checkpoint,
        "pooler.dense.bias",
        "vit.embeddings.position_ids",
    );
    let report = LoadReport::new(model.as_ref(), &source);
    assert_eq!(report.buffers, ["vit.embeddings.position_ids"]);
    assert_eq!(report.unused, ["pooler.dense.weight"]);
    assert_eq!(report.applied.len(), report.needed());
}

#[test]
fn folders_that_are_no_checkpoint_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let open = || Checkpoint::open(path).unwrap_err();
    assert!(matches!(
        Checkpoint::open(path.join("absent")).unwrap_err(),
        CheckpointError::NoFolder { .. }
    ));
    assert!(matches!(open(), CheckpointError::Read { .. }));
    std::fs::write(path.join("config.json"), "{\"model_type\": ").unwrap();
    assert!(matches!(
        open(),
        CheckpointError::Config {
            source: Some(_),
            ..
        }
    ));
    std::fs::write(path.join("config.json"), "[]").unwrap();
    assert!(matches!(
        open(),
        CheckpointError::Config { source: None, .. }
    ));
    std::fs::write(path.join("config.json"), "{}").unwrap();
    assert!(matches!(open(), CheckpointError::Weights(_)));
}

#[test]
fn weights_that_are_no_floats_are_refused_by_name() {
    let folder_of = folder("gpt2-model");
    let copy = tempfile::tempdir().unwrap();
    let config = std::fs::read(folder_of.join("config.json")).unwrap();
    std::fs::write(copy.path().join("config.json"), config).unwrap();
    let mut weights = std::fs::read(folder_of.join("model.safetensors")).unwrap();
    let f16 = b"\"F16\"";
    let at = weights
        .windows(f16.len())
        .position(|window| window == f16)
        .unwrap();
    weights[at..at + f16.len()].copy_from_slice(b"\"I16\"");
    std::fs::write(copy.path().join("model.safetensors"), weights).unwrap();
    let Err(error) = Checkpoint::open(copy.path()).unwrap().open_model() else {
        panic!()
    };
    let message = error.to_string();
    assert!(
        message.contains("is stored as I16, expected f64, f32, f16 or bf16"),
        "{message}"
    );
}

#[test]
fn inputs_of_the_wrong_kind_or_size_are_errors() {
    let device = Device::flex();
    let run = |name: &str, input: Hidden| {
        let checkpoint = Checkpoint::open(folder(name)).unwrap();
        let model = checkpoint.open_model().unwrap();
        let stage = model.build(0, &checkpoint, &device).unwrap();
        stage.forward(input, &mut NoTap).unwrap_err().to_string()
    };
    let ids =
        |length: usize, id: i64| Hidden::Tokens(Tensor::<2, Int>::full([1, length], id, &device));
    let pixels = |side: usize| Hidden::Pixels(Tensor::zeros([1, 3, side, side], &device));
    assert_eq!(run("gpt2", ids(4, 96)), "token id 96, expected 0..96");
    assert_eq!(run("gpt2", ids(4, -1)), "token id -1, expected 0..96");
    assert_eq!(
        run("gpt2", ids(49, 1)),
        "sequence of 49 tokens, expected at most 48"
    );
    assert_eq!(
        run("gpt2", pixels(16)),
        "stage `embedding` expects token ids, found pixels"
    );
    assert_eq!(
        run("vit-model", pixels(8)),
        "images of [channels, height, width] [3, 8, 8], expected [3, 16, 16]"
    );
}

#[test]
fn encoders_that_do_not_say_what_they_are_are_told_by_their_tensors() {
    for (name, family) in [
        ("bert-masked", "bert"),
        ("roberta-masked", "roberta"),
        ("deberta-v3-masked", "deberta-v2"),
        ("modernbert-masked", "modernbert"),
    ] {
        let checkpoint = Checkpoint::open(folder(name)).unwrap();
        let mut config = checkpoint.config().clone();
        // A class of somebody's own says nothing either.
        config["architectures"] = json!(["AntiBERTy"]);
        config.as_object_mut().unwrap().remove("model_type");
        let model = open_model(&config, &checkpoint).unwrap();
        assert_eq!(model.architecture(), family);
        assert_eq!(model.output(), ModelOutput::MaskedTokenLogits);
        let (derived, _) = derived_type(&config, &checkpoint).unwrap();
        assert_eq!(derived, family);
    }
}

#[test]
fn a_classifier_whose_keys_disagree_has_as_many_classes_as_its_weight() {
    // The weight has three rows.
    let classes = |changes: &Value| refusal_or_none("bert-classifier-relu", changes);
    let two = json!({"0": "LABEL_0", "1": "LABEL_1"});
    let both = json!({"id2label": two, "label2id": null, "num_labels": 3});
    assert_eq!(classes(&both), None);
    let nothing = json!({"id2label": null, "label2id": null, "num_labels": null});
    assert_eq!(classes(&nothing), None);
    let fewer = json!({"id2label": two, "label2id": null, "num_labels": 2});
    assert!(classes(&fewer).unwrap().contains("`classifier.weight`"));
}
