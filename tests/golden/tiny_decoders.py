"""The decoders of the table in calib/src/architectures/decoder: one tiny model for every variant that changes
the mathematics. `make_tiny_models.py` makes them."""

import transformers as t

DECODER = dict(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    attn_implementation="eager",
)
SMALL = dict(DECODER, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def small(*without, **options):
    return {**{key: value for key, value in SMALL.items() if key not in without}, **options}


TYPES = ["sliding_attention", "full_attention"]
KV = "num_key_value_heads"


def rope(kind="default", theta=300.0, **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


YARN = dict(factor=4.0, original_max_position_embeddings=16, beta_fast=4.0, beta_slow=1.0)
LONG = dict(
    short_factor=[1.0, 1.1, 1.3],
    long_factor=[1.5, 2.0, 4.0],
    factor=4.0,
    original_max_position_embeddings=16,
    partial_rotary_factor=0.75,
)


def decoders():
    """Name, class of the model, its configuration."""
    yield "gemma", t.GemmaForCausalLM, t.GemmaConfig(**small(), head_dim=16)
    capped = dict(attn_logit_softcapping=2.0, final_logit_softcapping=3.0)
    yield "gemma2", t.Gemma2ForCausalLM, t.Gemma2Config(
        **small(), head_dim=16, sliding_window=7, query_pre_attn_scalar=24, **capped
    )
    bases = {
        "full_attention": rope("linear", 1000.0, factor=4.0),
        "sliding_attention": rope(theta=100.0),
    }
    yield "gemma3", t.Gemma3ForCausalLM, t.Gemma3TextConfig(
        **small(), head_dim=16, sliding_window=7, query_pre_attn_scalar=24,
        layer_types=TYPES, rope_parameters=bases,
    )
    yield "phi", t.PhiForCausalLM, t.PhiConfig(**small())
    yield "phi-qk-norm", t.PhiForCausalLM, t.PhiConfig(**small(), qk_layernorm=True)
    yield "phi3-window", t.Phi3ForCausalLM, t.Phi3Config(**small(), sliding_window=7)
    yield "phi3-longrope", t.Phi3ForCausalLM, t.Phi3Config(
        **small(), rope_parameters=rope("longrope", **LONG), original_max_position_embeddings=16
    )
    yield "gpt-neox", t.GPTNeoXForCausalLM, t.GPTNeoXConfig(
        **small(KV), rope_parameters=rope(partial_rotary_factor=0.25)
    )
    yield "gpt-neox-sequential", t.GPTNeoXForCausalLM, t.GPTNeoXConfig(
        **small(KV), use_parallel_residual=False, attention_bias=False
    )
    yield "olmo-clip", t.OlmoForCausalLM, t.OlmoConfig(**small(), clip_qkv=0.75)
    yield "olmo2", t.Olmo2ForCausalLM, t.Olmo2Config(**small())
    mixed = {"full_attention": rope("yarn", **YARN), "sliding_attention": rope()}
    yield "olmo3-yarn", t.Olmo3ForCausalLM, t.Olmo3Config(
        **small(), sliding_window=7, layer_types=TYPES, rope_parameters=mixed
    )
    yield "granite", t.GraniteForCausalLM, t.GraniteConfig(
        **small(), embedding_multiplier=3.0, attention_multiplier=0.2,
        residual_multiplier=0.4, logits_scaling=5.0,
    )
    yield "smollm3", t.SmolLM3ForCausalLM, t.SmolLM3Config(
        **small(), no_rope_layers=[1, 0], use_sliding_window=True, sliding_window=7
    )
    yield "cohere-qk-norm", t.CohereForCausalLM, t.CohereConfig(**small(), use_qk_norm=True)
    yield "cohere2", t.Cohere2ForCausalLM, t.Cohere2Config(
        **small(), sliding_window=7, layer_types=TYPES
    )
    yield "stablelm", t.StableLmForCausalLM, t.StableLmConfig(**small())
    yield "stablelm-parallel", t.StableLmForCausalLM, t.StableLmConfig(
        **small(), use_parallel_residual=True, qk_layernorm=True, use_qkv_bias=True
    )
    yield "starcoder2", t.Starcoder2ForCausalLM, t.Starcoder2Config(**small(), sliding_window=7)
    yield "glm", t.GlmForCausalLM, t.GlmConfig(**small(), head_dim=12)
    yield "glm4", t.Glm4ForCausalLM, t.Glm4Config(**small(), head_dim=8)
    falcon = small(KV, "intermediate_size")
    yield "falcon-new", t.FalconForCausalLM, t.FalconConfig(
        **falcon, new_decoder_architecture=True, num_kv_heads=2
    )
    yield "falcon-multi-query", t.FalconForCausalLM, t.FalconConfig(**falcon)
    yield "falcon-alibi", t.FalconForCausalLM, t.FalconConfig(
        **falcon, alibi=True, multi_query=False, parallel_attn=False, bias=True
    )
    opt = small(KV, "intermediate_size", ffn_dim=48)
    yield "opt", t.OPTForCausalLM, t.OPTConfig(**opt)
    yield "opt-post-norm", t.OPTForCausalLM, t.OPTConfig(
        **opt, do_layer_norm_before=False, word_embed_proj_dim=24
    )
    six = dict(vocab_size=96, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager")
    yield "bloom-six-heads", t.BloomForCausalLM, t.BloomConfig(
        **six, hidden_size=36, n_layer=2, n_head=6
    )
    yield "gptj", t.GPTJForCausalLM, t.GPTJConfig(
        **six, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=4
    )
    yield "mpt-six-heads", t.MptForCausalLM, t.MptConfig(
        **six, d_model=36, n_layers=2, n_heads=6, max_seq_len=64,
        # transformers takes alibi_bias_max for 8 whatever the file says.
        attn_config={"clip_qkv": 2.0},
    )
    yield "exaone4", t.Exaone4ForCausalLM, t.Exaone4Config(
        **small(), sliding_window=7, layer_types=TYPES
    )
    yield "nemotron", t.NemotronForCausalLM, t.NemotronConfig(**small())
    yield "ministral", t.MinistralForCausalLM, t.MinistralConfig(
        **small(), head_dim=8, sliding_window=7, layer_types=TYPES
    )
    yield "seed-oss", t.SeedOssForCausalLM, t.SeedOssConfig(**small(), head_dim=12)
    yield "hunyuan-dense", t.HunYuanDenseV1ForCausalLM, t.HunYuanDenseV1Config(
        **small(), head_dim=8, rope_parameters=rope("dynamic", alpha=50.0, factor=1.0)
    )
    yield "arcee", t.ArceeForCausalLM, t.ArceeConfig(**small())


def experts():
    """The same for decoders with experts."""
    four = dict(num_experts_per_tok=2)
    yield "mixtral", t.MixtralForCausalLM, t.MixtralConfig(
        **small(), **four, num_local_experts=4, sliding_window=7
    )
    qwen = dict(**four, num_experts=4, moe_intermediate_size=24)
    yield "qwen2-moe", t.Qwen2MoeForCausalLM, t.Qwen2MoeConfig(
        **small(), **qwen, shared_expert_intermediate_size=40
    )
    yield "qwen2-moe-mixed", t.Qwen2MoeForCausalLM, t.Qwen2MoeConfig(
        **small(), **qwen, shared_expert_intermediate_size=40, norm_topk_prob=True,
        mlp_only_layers=[1], qkv_bias=False,
    )
    yield "qwen3-moe", t.Qwen3MoeForCausalLM, t.Qwen3MoeConfig(
        **small(), **qwen, norm_topk_prob=True, head_dim=12
    )
    yield "olmoe", t.OlmoeForCausalLM, t.OlmoeConfig(**small(), **four, num_experts=4, clip_qkv=0.75)
    yield "granite-moe", t.GraniteMoeForCausalLM, t.GraniteMoeConfig(
        **small(), **four, num_local_experts=4, embedding_multiplier=3.0,
        attention_multiplier=0.2, residual_multiplier=0.4, logits_scaling=5.0,
    )
    yield "phimoe", t.PhimoeForCausalLM, t.PhimoeConfig(
        **small(), **four, num_local_experts=4, router_jitter_noise=0.3,
        attention_bias=True, lm_head_bias=True,
    )
    halves = dict(LONG, short_factor=[1.0, 1.1, 1.3, 1.4], long_factor=[1.5, 2.0, 4.0, 5.0])
    halves.pop("partial_rotary_factor")
    # PhimoeRotaryEmbedding of transformers 5.24 takes the short factors at any length: stay below the limit.
    halves["original_max_position_embeddings"] = 32
    yield "phimoe-longrope", t.PhimoeForCausalLM, t.PhimoeConfig(
        **small(), **four, num_local_experts=3,
        rope_parameters=rope("longrope", short_mscale=1.25, long_mscale=1.25, **halves),
        original_max_position_embeddings=32,
    )
    yield "gpt-oss", t.GptOssForCausalLM, t.GptOssConfig(
        **small(), **four, num_local_experts=4, head_dim=12, sliding_window=7,
        layer_types=TYPES, swiglu_limit=1.5, rope_parameters=rope("yarn", truncate=False, **YARN),
    )
    # Blocks of 32 inputs; `make_tiny_models.py` stores the experts as the published checkpoints do.
    yield "gpt-oss-mxfp4", t.GptOssForCausalLM, t.GptOssConfig(
        **{**small(), "intermediate_size": 64}, **four, num_local_experts=4, head_dim=12, sliding_window=7,
        layer_types=TYPES, swiglu_limit=1.5, rope_parameters=rope("yarn", truncate=False, **YARN),
    )
    latent = dict(
        q_lora_rank=20, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=12,
        n_routed_experts=4, moe_intermediate_size=24,
    )
    wide = small(KV, num_key_value_heads=4)
    yield "deepseek-v2", t.DeepseekV2ForCausalLM, t.DeepseekV2Config(
        **wide, **four, **latent, n_shared_experts=2, routed_scaling_factor=2.0
    )
    yield "deepseek-v2-groups", t.DeepseekV2ForCausalLM, t.DeepseekV2Config(
        **wide, **{**latent, "q_lora_rank": None, "n_routed_experts": 8}, num_experts_per_tok=3,
        n_shared_experts=1, first_k_dense_replace=1, topk_method="group_limited_greedy",
        n_group=4, topk_group=2, rope_parameters=rope("yarn", mscale=0.7, mscale_all_dim=0.5, **YARN),
    )
    yield "deepseek-v3", t.DeepseekV3ForCausalLM, t.DeepseekV3Config(
        **wide, **{**latent, "n_routed_experts": 8}, num_experts_per_tok=3, n_shared_experts=1,
        first_k_dense_replace=0, n_group=4, topk_group=2,
    )
