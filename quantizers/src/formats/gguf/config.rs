//! `config.json` from the metadata of a GGUF file.

use super::blocks::Form;
use super::families::{self, Family};
use super::header::{Header, Tensor};
use super::rope;
use super::values::shortest;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

/// Tensors that stand for settings or are computed by everyone.
pub(super) const SETTING_TENSORS: [&str; 4] = [
    "rope_freqs.weight",
    "rope_factors_long.weight",
    "rope_factors_short.weight",
    "attn_rot_embd.weight",
];

/// Builds the configuration of the model in a file that is `bytes`.
///
/// # Errors
/// An architecture that is not read, a setting that is missing.
pub(super) fn config(header: &Header<'_>, bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let architecture = header
        .text("general.architecture")
        .ok_or("it names no `general.architecture`")?;
    let family = families::find(&architecture)?;
    let key = |name: &str| format!("{architecture}.{name}");
    if header
        .number(&key("expert_count"))
        .is_some_and(|count| count > 0)
    {
        return Err(format!(
            "`{}`: models of experts are not read from GGUF",
            key("expert_count")
        ));
    }
    let mut config = Map::new();
    let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
    set("architectures", json!([family.class]));
    set("model_type", json!(family.model_type));
    if let Value::Object(constants) = (family.constants)() {
        for (key, value) in constants {
            set(&key, value);
        }
    }
    for (there, here) in family.settings.iter().flat_map(|settings| settings.iter()) {
        match setting(header, &key(there)) {
            Some(value) => drop(set(here, value)),
            // Only old files lack the soft caps, for which the defaults hold.
            None if there.ends_with("softcapping") => {}
            None => return Err(format!("it has no `{}`", key(there))),
        }
    }
    let rows = header
        .tensors
        .get("token_embd.weight")
        .and_then(|tensor| tensor.shape.first());
    set(
        "vocab_size",
        json!(rows.ok_or("it has no `token_embd.weight`")?),
    );
    set("tie_word_embeddings", json!(is_tied(header, bytes)));
    for (there, here) in [
        ("bos", "bos_token_id"),
        ("eos", "eos_token_id"),
        ("padding", "pad_token_id"),
    ] {
        if let Some(id) = header.number(&format!("tokenizer.ggml.{there}_token_id")) {
            set(here, json!(id));
        }
    }
    set("torch_dtype", json!(float_type(header)));
    if family.architecture != "gpt2" {
        attention(header, family, &mut config)?;
        rope::configure(header, bytes, family, &mut config)?;
    }
    // What makes the weights readable; it does not reach a written folder.
    config.insert(
        "quantization_config".to_owned(),
        json!({ "quant_method": "gguf" }),
    );
    Ok(config)
}

/// Heads, their width and biases, and what only some families have.
fn attention(
    header: &Header<'_>,
    family: &Family,
    config: &mut Map<String, Value>,
) -> Result<(), String> {
    let key = |name: &str| format!("{}.{name}", family.architecture);
    let number = |name: &str| header.number(&key(name));
    let heads = number("attention.head_count").filter(|&heads| heads > 0);
    let heads =
        heads.ok_or_else(|| format!("`{}` is no number above 0", key("attention.head_count")))?;
    let width = number("embedding_length").unwrap_or(0);
    let head = number("attention.key_length")
        .or_else(|| number("rope.dimension_count").filter(|_| family.pairs_rotated))
        .unwrap_or(width / heads);
    let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
    set(
        "num_key_value_heads",
        json!(number("attention.head_count_kv").unwrap_or(heads)),
    );
    if family.model_type != "phi3" {
        set("head_dim", json!(head));
    }
    if header.tensors.contains_key("blk.0.attn_q.bias") && family.model_type == "llama" {
        set("attention_bias", json!(true));
    }
    if let Some(window) = number("attention.sliding_window").filter(|&window| window > 0) {
        match family.model_type {
            // The converter calls both `llama`; only one of them has a window.
            "llama" => {
                set("model_type", json!("mistral"));
                set("architectures", json!(["MistralForCausalLM"]));
            }
            "qwen2" | "qwen3" => drop(set("use_sliding_window", json!(true))),
            _ => {}
        }
        set("sliding_window", json!(window));
    }
    if family.model_type.starts_with("gemma") && family.model_type != "gemma" {
        // The largest models of both generations scale by the width over the heads instead.
        let is_largest = matches!(number("block_count"), Some(46 | 62));
        let scalar = if is_largest { width / heads } else { head };
        set("query_pre_attn_scalar", json!(scalar));
    }
    if family.model_type == "gemma3_text" {
        // Five of six layers see a window, and rotate as the first generation did.
        set("sliding_window_pattern", json!(6));
        set("rope_local_base_freq", json!(10_000.0));
    }
    Ok(())
}

/// A number as `config.json` writes it: f32 in the fewest digits that give it back.
fn setting(header: &Header<'_>, key: &str) -> Option<Value> {
    if let Some(number) = header.number(key) {
        return Some(json!(number));
    }
    header.float(key).map(|value| json!(shortest(value)))
}

/// The head is the token table: it is absent, or the same bytes.
pub(super) fn is_tied(header: &Header<'_>, bytes: &[u8]) -> bool {
    let tensor = |name: &str| header.tensors.get(name);
    let (Some(table), Some(head)) = (tensor("token_embd.weight"), tensor("output.weight")) else {
        return true;
    };
    let of = |tensor: &Tensor| (tensor.type_id, bytes.get(tensor.range.clone()));
    of(table) == of(head)
}

/// The type the weights had, as far as one can tell: that of the largest tensors that are stored one by one, else
/// the type of the scales.
fn float_type(header: &Header<'_>) -> &'static str {
    let matrices = header
        .tensors
        .values()
        .filter(|tensor| tensor.shape.len() > 1);
    let kinds: Vec<_> = matrices
        .filter_map(|tensor| Some(tensor.kind()?.form))
        .collect();
    let is =
        |dtype: Dtype| move |form: &Form| matches!(form, Form::Plain(plain) if *plain == dtype);
    if kinds.iter().any(is(Dtype::BF16)) {
        "bfloat16"
    } else if kinds.iter().all(is(Dtype::F32)) {
        "float32"
    } else {
        "float16"
    }
}
