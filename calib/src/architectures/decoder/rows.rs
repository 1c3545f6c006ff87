//! The decoder table: one row for each `model_type`, which names what differs from the row it starts
//! from.

use super::expert_rows::{
    DEEPSEEK_V2, DEEPSEEK_V3, GPT_OSS, GRANITE_MOE, MIXTRAL, OLMOE, PHIMOE, QWEN2_MOE, QWEN3_MOE,
};
use super::flavour::Flavour;
use super::layer_norm_rows::{
    COHERE, COHERE2, GPT_NEOX, NEMOTRON, OLMO, PHI, STABLELM, STARCODER2,
};
use super::rms_rows::{
    EXAONE4, GEMMA, GEMMA2, GEMMA3, GLM, GLM4, GRANITE, HUNYUAN, LLAMA, MINISTRAL, MISTRAL, OLMO2,
    OLMO3, PHI3, QWEN2, QWEN3, SEED_OSS, SMOLLM3,
};
use super::unrotated_rows::{BLOOM, FALCON, GPT2, GPTJ, MPT, OPT};

/// Every family.
pub(crate) static FLAVOURS: &[Flavour] = &[
    LLAMA,
    MISTRAL,
    MINISTRAL,
    QWEN2,
    QWEN3,
    GEMMA,
    GEMMA2,
    GEMMA3,
    PHI,
    PHI3,
    GPT_NEOX,
    OLMO,
    OLMO2,
    OLMO3,
    GRANITE,
    SMOLLM3,
    COHERE,
    COHERE2,
    STABLELM,
    STARCODER2,
    GLM,
    GLM4,
    FALCON,
    OPT,
    BLOOM,
    GPTJ,
    MPT,
    EXAONE4,
    NEMOTRON,
    SEED_OSS,
    HUNYUAN,
    GPT2,
    MIXTRAL,
    QWEN2_MOE,
    QWEN3_MOE,
    OLMOE,
    GRANITE_MOE,
    PHIMOE,
    GPT_OSS,
    DEEPSEEK_V2,
    DEEPSEEK_V3,
];
