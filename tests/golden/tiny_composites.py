"""The models inside models of the table in calib/src/architectures/composite: one tiny model for every way
their parts are described and named. `make_tiny_models.py` makes them."""

import json

import transformers as t
from safetensors.torch import load_file, save_file

TEXT = dict(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
EYE = dict(
    hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
)
EAGER = dict(attn_implementation="eager")
IMAGE = dict(image_token_id=60)


def rope(**more):
    return {"rope_type": "default", "rope_theta": 300.0, **more}


def of_transformers_4_52(folder):
    """Names of tensors as that version and those after it, before 5, wrote them."""
    file = folder / "model.safetensors"
    new = {}
    for name, tensor in load_file(file).items():
        tower = name.replace("language_model.model.", "language_model.")
        new[f"model.{tower}"] = tensor
    save_file(new, file, {"format": "pt"})


def flat(folder):
    """As before 4.52: the language model described at the top, and three positions by another name."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    text = config.pop("text_config")
    parameters = text.pop("rope_parameters")
    text["rope_theta"] = parameters.pop("rope_theta")
    text["rope_scaling"] = {"type": "mrope", "mrope_section": parameters["mrope_section"]}
    for key in ("model_type", "layer_types"):
        text.pop(key)
    config.update(text, torch_dtype=config.pop("dtype"))
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def composites():
    """Name, class of the model, its configuration, how its file is written."""
    bases = {"full_attention": rope(), "sliding_attention": rope(rope_theta=100.0)}
    yield "gemma3-vision", t.Gemma3ForConditionalGeneration, t.Gemma3Config(
        text_config=dict(
            **TEXT, head_dim=8, sliding_window=7, query_pre_attn_scalar=24,
            layer_types=["sliding_attention", "full_attention"], rope_parameters=bases,
        ),
        vision_config=EYE, mm_tokens_per_image=4, **IMAGE, boi_token_id=61, eoi_token_id=62, **EAGER,
    ), of_transformers_4_52
    yield "llava", t.LlavaForConditionalGeneration, t.LlavaConfig(
        text_config=t.LlamaConfig(**TEXT), vision_config=t.CLIPVisionConfig(**EYE), **IMAGE, **EAGER
    ), None
    sections = rope(mrope_section=[1, 1, 2])
    seeing = dict(depth=1, hidden_size=8, intermediate_size=8, num_heads=2, out_hidden_size=16, patch_size=4)
    yield "qwen2-5-vl", t.Qwen2_5_VLForConditionalGeneration, t.Qwen2_5_VLConfig(
        text_config=dict(**TEXT, rope_parameters=sections),
        vision_config=dict(**seeing, fullatt_block_indexes=[0]),
        tie_word_embeddings=True, **IMAGE, video_token_id=61, vision_start_token_id=62, vision_end_token_id=63,
        **EAGER,
    ), flat
    ear = dict(
        model_type="qwen2_audio_encoder", d_model=8, encoder_layers=1, encoder_attention_heads=2,
        encoder_ffn_dim=8, num_mel_bins=4, max_source_positions=6,
    )
    yield "qwen2-audio", t.Qwen2AudioForConditionalGeneration, t.Qwen2AudioConfig(
        text_config=dict(model_type="qwen2", **TEXT), audio_config=ear, audio_token_index=60, **EAGER
    ), None
