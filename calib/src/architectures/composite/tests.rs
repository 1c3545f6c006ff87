//! Configurations as released models have them, down to what their files leave out.

use crate::{Model, ModelError, SourceError, Tensor32, WeightSource, open_model};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Shapes by name, and no values.
struct Shapes(BTreeMap<String, Vec<usize>>);

impl WeightSource for Shapes {
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError> {
        Err(SourceError::Missing {
            origin: "shapes".into(),
            name: name.to_owned(),
            nearest: None,
        })
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// Sizes of a language model: width, inner width, query and key-value width, vocabulary.
struct Sizes {
    blocks: usize,
    width: usize,
    inner: usize,
    queries: usize,
    keys: usize,
    vocabulary: usize,
    biases: bool,
}

/// A decoder of the llama kind under `prefix`, with a head of its own where that has a name.
fn decoder(prefix: &str, head: &str, sizes: &Sizes) -> Shapes {
    let Sizes {
        width,
        inner,
        queries,
        keys,
        vocabulary,
        ..
    } = *sizes;
    let mut all = BTreeMap::from([
        (
            format!("{prefix}embed_tokens.weight"),
            vec![vocabulary, width],
        ),
        (format!("{prefix}norm.weight"), vec![width]),
        ("visual.blocks.0.mlp.fc1.weight".to_owned(), vec![4, 4]),
    ]);
    if !head.is_empty() {
        all.insert(format!("{head}.weight"), vec![vocabulary, width]);
    }
    for block in 0..sizes.blocks {
        let name = |rest: &str| format!("{prefix}layers.{block}.{rest}");
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            all.insert(name(&format!("{norm}.weight")), vec![width]);
        }
        for (layer, shape) in [
            ("self_attn.q_proj", [queries, width]),
            ("self_attn.k_proj", [keys, width]),
            ("self_attn.v_proj", [keys, width]),
            ("self_attn.o_proj", [width, queries]),
            ("mlp.gate_proj", [inner, width]),
            ("mlp.up_proj", [inner, width]),
            ("mlp.down_proj", [width, inner]),
        ] {
            all.insert(name(&format!("{layer}.weight")), shape.to_vec());
            let is_input = ["q_proj", "k_proj", "v_proj"]
                .iter()
                .any(|end| layer.ends_with(end));
            if sizes.biases && is_input {
                all.insert(name(&format!("{layer}.bias")), vec![shape[0]]);
            }
        }
    }
    Shapes(all)
}

fn opened(config: &Value, shapes: &Shapes) -> Box<dyn Model> {
    open_model(config, shapes).unwrap()
}

const VICUNA: Sizes = Sizes {
    blocks: 32,
    width: 4096,
    inner: 11_008,
    queries: 4096,
    keys: 4096,
    vocabulary: 32_064,
    biases: false,
};

const QWEN: Sizes = Sizes {
    blocks: 28,
    width: 1536,
    inner: 8960,
    queries: 1536,
    keys: 256,
    vocabulary: 151_936,
    biases: true,
};

#[test]
fn sizes_that_a_file_leaves_out_are_those_of_the_class() {
    // llava-1.5-7b: everything else is the default of `LlamaConfig`.
    let config = json!({
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "text_config": {
            "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096,
            "model_type": "llama", "rms_norm_eps": 1e-5, "vocab_size": 32_064,
        },
        "tie_word_embeddings": false,
        "vision_config": { "model_type": "clip_vision_model" },
    });
    let shapes = decoder("language_model.model.", "language_model.lm_head", &VICUNA);
    let model = opened(&config, &shapes);
    assert_eq!(
        (model.architecture(), model.layers().len()),
        ("llama", 7 * 32 + 1)
    );
    assert_eq!(model.max_positions(), Some(4096));
    assert_eq!(model.layers()[224].name, "language_model.lm_head");
}

#[test]
fn qwen2_vl_describes_its_language_model_at_the_top() {
    // Qwen2-VL-2B-Instruct, whose `model_type` is that of the whole.
    let config = json!({
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151_936,
        "max_position_embeddings": 32_768, "max_window_layers": 28, "sliding_window": 32_768,
        "use_sliding_window": false, "rope_theta": 1e6, "tie_word_embeddings": true,
        "rope_scaling": { "type": "mrope", "mrope_section": [16, 24, 24] },
        "vision_config": { "depth": 32, "model_type": "qwen2_vl" },
    });
    let model = opened(&config, &decoder("model.", "", &QWEN));
    assert_eq!(
        (model.architecture(), model.layers().len()),
        ("qwen2", 7 * 28)
    );
    let within = model.within().unwrap();
    assert_eq!(
        (within.model_type.as_str(), within.prefix.as_str()),
        ("qwen2_vl", "model.")
    );
}

#[test]
fn the_part_may_be_deeper_or_have_another_key() {
    let text = json!({
        "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151_936,
        "model_type": "qwen2",
    });
    let config = json!({
        "architectures": ["InternVLChatModel"], "model_type": "internvl_chat", "llm_config": text,
    });
    let shapes = decoder("language_model.model.", "language_model.lm_head", &QWEN);
    assert_eq!(opened(&config, &shapes).architecture(), "qwen2");

    let config = json!({
        "architectures": ["Qwen2_5OmniModel"], "model_type": "qwen2_5_omni",
        "thinker_config": { "text_config": text },
    });
    let mut shapes = decoder("thinker.model.", "thinker.lm_head", &QWEN);
    let talker = decoder("talker.model.", "talker.codec_head", &QWEN);
    shapes.0.extend(talker.0);
    let model = opened(&config, &shapes);
    assert_eq!(model.within().unwrap().prefix, "thinker.model.");
    assert!(model.vocabulary().is_some());
}

#[test]
fn what_cannot_be_told_is_of_an_unknown_type() {
    let text = json!({
        "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151_936,
        "model_type": "qwen2",
    });
    let config = |class: &str, text: &Value| json!({ "architectures": [class], "model_type": "new_vl", "text_config": text });
    let shapes = decoder("language_model.model.", "language_model.lm_head", &QWEN);
    let class = "NewForConditionalGeneration";
    assert_eq!(
        opened(&config(class, &text), &shapes).architecture(),
        "qwen2"
    );
    let unknown = |config: &Value, shapes: &Shapes| {
        let found = open_model(config, shapes).err();
        assert!(
            matches!(found, Some(ModelError::UnknownType { .. })),
            "{found:?}"
        );
    };
    // A class that predicts no tokens, a language model of no row.
    unknown(&config("NewForSequenceClassification", &text), &shapes);
    let mut other = text.clone();
    other["model_type"] = "mamba".into();
    unknown(&config(class, &other), &shapes);
    // Two language models.
    let mut two = decoder("language_model.model.", "language_model.lm_head", &QWEN);
    two.0.extend(decoder("text_model.", "", &QWEN).0);
    unknown(&config(class, &text), &two);
}

#[test]
fn a_head_that_is_neither_stored_nor_tied_is_missing() {
    let config = json!({
        "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
        "text_config": { "model_type": "llama", "vocab_size": 32_064 },
    });
    let shapes = decoder("model.language_model.", "", &VICUNA);
    let error = open_model(&config, &shapes).err().unwrap();
    assert!(
        error.to_string().contains("no tensor `lm_head.weight`"),
        "{error}"
    );
}
