//! Models that see or hear around a language model, where a file of theirs leaves something unsaid.

/// One `model_type` of a whole model.
pub(super) struct Outer {
    pub(super) model_type: &'static str,
    /// `model_type` of the language model where its part of config.json does not say it.
    pub(super) text: &'static str,
    /// The head is the token table where config.json does not say it.
    pub(super) tied: bool,
    /// A key of the language model that says how images are seen, and nothing of text alone.
    pub(super) of_images: Option<&'static str>,
    /// Older files have the values of the language model at the top, beside those of the whole.
    pub(super) flat: bool,
}

const fn outer(model_type: &'static str, text: &'static str) -> Outer {
    Outer {
        model_type,
        text,
        tied: false,
        of_images: None,
        flat: false,
    }
}

const fn tied(model_type: &'static str, text: &'static str) -> Outer {
    Outer {
        tied: true,
        ..outer(model_type, text)
    }
}

const fn flat(model_type: &'static str, text: &'static str) -> Outer {
    Outer {
        flat: true,
        ..outer(model_type, text)
    }
}

/// The models whose defaults are known, as of transformers 5.24. Others are opened by the same rule, with
/// nothing to fall back on.
pub(super) static OUTER: &[Outer] = &[
    tied("gemma3", "gemma3_text"),
    Outer {
        // Images and prompts are seen as a whole; text without a prompt is not.
        of_images: Some("use_bidirectional_attention"),
        ..tied("paligemma", "gemma")
    },
    outer("llava", "llama"),
    outer("llava_next", "llama"),
    outer("llava_next_video", "llama"),
    outer("llava_onevision", "qwen2"),
    outer("video_llava", "llama"),
    outer("vipllava", "llama"),
    flat("qwen2_vl", "qwen2_vl_text"),
    flat("qwen2_5_vl", "qwen2_5_vl_text"),
    outer("qwen3_vl", "qwen3_vl_text"),
    tied("mistral3", "mistral"),
    outer("idefics2", "mistral"),
    outer("idefics3", "llama"),
    outer("smolvlm", "llama"),
    tied("internvl", "qwen2"),
    outer("internvl_chat", "qwen2"),
    tied("aya_vision", "cohere2"),
    tied("cohere2_vision", "cohere2"),
    outer("fast_vlm", "qwen2"),
    tied("got_ocr2", "qwen2"),
    tied("ovis2", "qwen2"),
    outer("video_llama_3", "qwen2"),
    tied("lighton_ocr", "qwen3"),
    tied("janus", "llama"),
    tied("deepseek_vl", "llama"),
    outer("exaone4_5", "exaone4"),
    outer("glm4v", "glm4v_text"),
    outer("glm46v", "glm4v_text"),
    outer("qwen2_audio", "qwen2"),
    outer("qwen2_5_omni", "qwen2_5_omni_text"),
    outer("qwen2_5_omni_thinker", "qwen2_5_omni_text"),
    tied("granite_speech", "granite"),
    outer("voxtral", "llama"),
    outer("audioflamingo3", "qwen2"),
    tied("glmasr", "llama"),
];
