//! Names, layouts and settings of families.

use super::{Head, file};
use quantizers::formats::ArtifactReader;
use serde_json::{Value, json};

fn config(head: &Head) -> Result<Value, String> {
    let (_dir, path) = file(&head.bytes());
    let reader = ArtifactReader::open(path).map_err(|error| error.to_string())?;
    Ok(Value::Object(reader.config().clone()))
}

#[test]
fn the_configuration_of_a_llama_is_that_of_its_metadata() {
    let head = Head::model("llama")
        .number("llama.rope.dimension_count", 16)
        .float("llama.rope.freq_base", 500_000.0)
        .number("tokenizer.ggml.bos_token_id", 1);
    let config = config(&head).unwrap();
    let expected = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "max_position_embeddings": 128, "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 96,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-5, "vocab_size": 3,
        "rope_theta": 500_000.0, "tie_word_embeddings": true, "bos_token_id": 1, "torch_dtype": "float32",
        "quantization_config": { "quant_method": "gguf" },
    });
    assert_eq!(config, expected);
}

#[test]
fn scaled_rotations_are_told_by_type_or_by_factors() {
    let with = |kind: &str| {
        Head::model("qwen2")
            .text("qwen2.rope.scaling.type", kind)
            .float("qwen2.rope.scaling.factor", 4.0)
            .number("qwen2.rope.scaling.original_context_length", 32)
    };
    let scaling = |head: &Head| config(head).map(|config| config["rope_scaling"].clone());
    assert_eq!(scaling(&with("none")), Ok(Value::Null));
    assert_eq!(
        scaling(&with("linear")),
        Ok(json!({ "rope_type": "linear", "factor": 4.0 }))
    );
    assert_eq!(
        scaling(&with("yarn")),
        Ok(json!({ "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32 }))
    );
    assert!(
        scaling(&with("spiral"))
            .unwrap_err()
            .contains("found `spiral`")
    );
    let factors = Head::model("llama").floats("rope_freqs.weight", &[2], &[1.0, 8.0]);
    // Waves of 2 pi and of 2 pi 100 turns of 8192: kept and, far below one turn, divided.
    assert!(scaling(&factors).is_err(), "100 is a short wave");
    let factors = factors.float("llama.rope.freq_base", 1e8);
    assert_eq!(scaling(&factors).unwrap()["factor"], 8.0);
    let (_dir, path) = file(&factors.bytes());
    let reader = ArtifactReader::open(path).unwrap();
    assert_eq!(reader.names(), ["model.embed_tokens.weight"]);
}

#[test]
fn norms_of_gemma_lose_what_the_converter_added_and_matrices_of_gpt2_are_turned() {
    let head = Head::model("gemma").floats("output_norm.weight", &[4], &[1.5, 1.0, 0.5, 2.0]);
    let (_dir, path) = file(&head.bytes());
    let reader = ArtifactReader::open(path).unwrap();
    assert_eq!(
        reader.values("model.norm.weight").unwrap(),
        [0.5, 0.0, -0.5, 1.0]
    );

    let head = Head::model("gpt2")
        .float("gpt2.attention.layer_norm_epsilon", 1e-5)
        .floats(
            "blk.0.ffn_up.weight",
            &[2, 3],
            &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        );
    let (_dir, path) = file(&head.bytes());
    let reader = ArtifactReader::open(path).unwrap();
    let name = "transformer.h.0.mlp.c_fc.weight";
    assert_eq!(reader.decoded()[name].shape, [2, 3]);
    assert_eq!(reader.values(name).unwrap(), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
}

#[test]
fn a_head_of_the_same_bytes_as_the_table_is_tied_and_another_is_not() {
    let same = Head::model("llama").floats("output.weight", &[4, 3], &[0.5; 12]);
    assert_eq!(config(&same).unwrap()["tie_word_embeddings"], true);
    let other = Head::model("llama").floats("output.weight", &[4, 3], &[0.25; 12]);
    assert_eq!(config(&other).unwrap()["tie_word_embeddings"], false);
}

#[test]
fn what_a_family_has_no_place_for_is_refused_by_name() {
    let refusal = |head: Head| config(&head).unwrap_err();
    let text = refusal(Head::model("mamba"));
    assert!(text.contains("expected one of llama, "), "{text}");
    let text = refusal(Head::model("llama").floats("blk.0.ssm_a.weight", &[4], &[0.0; 4]));
    assert!(text.contains("tensor `blk.0.ssm_a.weight`"), "{text}");
    let text = refusal(Head::model("llama").number("llama.expert_count", 8));
    assert!(text.contains("experts"), "{text}");
    let text = refusal(Head::default().text("general.architecture", "llama"));
    assert!(text.contains("it has no `llama.context_length`"), "{text}");
    let text = refusal(Head::model("llama").floats("blk.0.attn_q.weight", &[2, 6], &[0.0; 12]));
    assert!(text.contains("4 heads do not share 6 rows"), "{text}");
}
