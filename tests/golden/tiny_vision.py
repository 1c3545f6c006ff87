"""The towers of the table in calib/src/architectures/vision: one tiny model for every variant that changes the
mathematics. `make_tiny_models.py` makes them."""

import transformers as t

TOWER = dict(
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    attn_implementation="eager",
)
IMAGE = dict(**TOWER, image_size=16, patch_size=4, num_channels=3)
TEXT = dict(
    **TOWER,
    vocab_size=64,
    max_position_embeddings=16,
    pad_token_id=0,
    bos_token_id=62,
    eos_token_id=63,
)
LABELS = dict(num_labels=5)
SWIN = dict(
    image_size=16, patch_size=2, num_channels=3, embed_dim=16, depths=[2, 2], num_heads=[2, 4],
    window_size=4, mlp_ratio=2.0, attn_implementation="eager",
)


def without(options, *keys):
    return {key: value for key, value in options.items() if key not in keys}


def both():
    """Configurations of a model of two towers."""
    parts = [without(options, "attn_implementation") for options in (TEXT, IMAGE)]
    return dict(zip(("text_config", "vision_config"), parts), attn_implementation="eager")


def towers():
    """Name, class of the model, its configuration."""
    yield "deit", t.DeiTForImageClassification, t.DeiTConfig(**IMAGE, **LABELS)
    yield "deit-teacher", t.DeiTForImageClassificationWithTeacher, t.DeiTConfig(
        **IMAGE, **LABELS, qkv_bias=False
    )
    dino = dict(**without(IMAGE, "intermediate_size"), mlp_ratio=2)
    yield "dinov2", t.Dinov2ForImageClassification, t.Dinov2Config(**dino, **LABELS)
    yield "dinov2-gated", t.Dinov2Model, t.Dinov2Config(**dino, use_swiglu_ffn=True)
    yield "dinov2-registers", t.Dinov2WithRegistersForImageClassification, (
        t.Dinov2WithRegistersConfig(**dino, **LABELS, num_register_tokens=3)
    )
    yield "beit", t.BeitForImageClassification, t.BeitConfig(
        **IMAGE, **LABELS, use_relative_position_bias=True
    )
    yield "beit-shared", t.BeitForImageClassification, t.BeitConfig(
        **IMAGE, **LABELS, use_shared_relative_position_bias=True, use_mean_pooling=False,
        use_absolute_position_embeddings=True, layer_scale_init_value=0.0,
    )
    yield "swin", t.SwinForImageClassification, t.SwinConfig(**SWIN, **LABELS)
    yield "swin-absolute", t.SwinModel, t.SwinConfig(
        **SWIN, use_absolute_embeddings=True, qkv_bias=False
    )
    yield "clip-vision", t.CLIPVisionModel, t.CLIPVisionConfig(**IMAGE)
    yield "clip-text-projection", t.CLIPTextModelWithProjection, t.CLIPTextConfig(
        **TEXT, projection_dim=24
    )
    yield "clip-classifier", t.CLIPForImageClassification, t.CLIPConfig(**both(), **LABELS)
    yield "siglip-vision", t.SiglipVisionModel, t.SiglipVisionConfig(**IMAGE)
    yield "siglip-text", t.SiglipTextModel, t.SiglipTextConfig(**TEXT, projection_size=24)
    yield "siglip-classifier", t.SiglipForImageClassification, t.SiglipConfig(**both(), **LABELS)
    yield "clip", t.CLIPModel, t.CLIPConfig(**both(), projection_dim=24)
    yield "siglip", t.SiglipModel, t.SiglipConfig(**both())

