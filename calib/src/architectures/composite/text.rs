//! Language models inside larger ones: the row of the decoder table each one is, and what its class takes where
//! the file says nothing, which files of transformers 4 do wherever a value is the default.

use serde_json::{Map, Value};

/// One `model_type` of a language model.
pub(super) struct Text {
    pub(super) model_type: &'static str,
    /// The row it is, on text alone: the three positions that tell images apart are equal there, and so is the
    /// rotation, whichever of them a channel takes.
    pub(super) row: &'static str,
    /// Width, inner width, blocks, heads, vocabulary and positions.
    sizes: [u64; 6],
    /// Where the class differs from the row: key-value heads,
    key_value_heads: Option<u64>,
    /// and the epsilon of norms, the base of the rotation and the share of a head that is rotated.
    numbers: &'static [(&'static str, f64)],
}

const SIZE_KEYS: [&str; 6] = [
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
];

const fn own(model_type: &'static str, sizes: [u64; 6]) -> Text {
    Text {
        model_type,
        row: model_type,
        sizes,
        key_value_heads: None,
        numbers: &[],
    }
}

const QWEN2_VL: Text = Text {
    model_type: "qwen2_vl_text",
    row: "qwen2",
    sizes: [8192, 29_568, 80, 64, 152_064, 32_768],
    key_value_heads: Some(8),
    numbers: &[("rms_norm_eps", 1e-5), ("rope_theta", 1e6)],
};

/// The language models whose defaults are known, as of transformers 5.24; of other decoders the file has to say
/// everything.
static TEXT: &[Text] = &[
    own("llama", [4096, 11_008, 32, 32, 32_000, 2048]),
    own("mistral", [4096, 14_336, 32, 32, 32_000, 131_072]),
    own("qwen2", [4096, 22_016, 32, 32, 151_936, 32_768]),
    own("qwen3", [4096, 22_016, 32, 32, 151_936, 32_768]),
    own("gemma", [3072, 24_576, 28, 16, 256_000, 8192]),
    own("gemma2", [2304, 9216, 26, 8, 256_000, 8192]),
    own("gemma3_text", [2304, 9216, 26, 8, 262_208, 131_072]),
    own("phi3", [3072, 8192, 32, 32, 32_064, 4096]),
    own("granite", [4096, 11_008, 32, 32, 32_000, 2048]),
    own("cohere2", [8192, 22_528, 40, 64, 256_000, 8192]),
    own("exaone4", [4096, 16_384, 32, 32, 102_400, 2048]),
    own("deepseek_v3", [7168, 18_432, 61, 128, 129_280, 4096]),
    QWEN2_VL,
    Text {
        model_type: "qwen2_5_vl_text",
        ..QWEN2_VL
    },
    Text {
        model_type: "qwen2_5_omni_text",
        row: "qwen2",
        sizes: [3584, 18_944, 28, 28, 152_064, 32_768],
        key_value_heads: Some(4),
        numbers: &[("rope_theta", 1e6)],
    },
    Text {
        model_type: "glm4v_text",
        row: "glm4",
        sizes: [4096, 13_696, 40, 32, 151_552, 32_768],
        key_value_heads: Some(2),
        numbers: &[("rms_norm_eps", 1e-5), ("partial_rotary_factor", 1.0)],
    },
    Text {
        model_type: "qwen3_vl_text",
        row: "qwen3",
        sizes: [4096, 22_016, 32, 32, 151_936, 128_000],
        key_value_heads: None,
        numbers: &[("rope_theta", 5e5)],
    },
];

impl Text {
    /// The one of this `model_type`.
    pub(super) fn of(model_type: &str) -> Option<&'static Self> {
        TEXT.iter().find(|text| text.model_type == model_type)
    }

    /// Adds to `config` what it leaves out.
    pub(super) fn fill_in(&self, config: &mut Map<String, Value>) {
        let sizes = SIZE_KEYS.into_iter().zip(self.sizes.map(Value::from));
        let heads = self.key_value_heads.map(Value::from);
        let heads = heads.map(|heads| ("num_key_value_heads", heads));
        let numbers = self.numbers.iter();
        let numbers = numbers.map(|(key, value)| (*key, Value::from(*value)));
        for (key, value) in sizes.chain(heads).chain(numbers) {
            config.entry(key).or_insert(value);
        }
    }
}
