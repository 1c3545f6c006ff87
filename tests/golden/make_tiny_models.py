"""Tiny random checkpoints with the outputs transformers gives for them.

Each variant of an architecture gets a folder under calib/tests/fixtures/models, or `quantized` beside it: config.json and
model.safetensors as `save_pretrained` writes them (f16 or bf16 to stay small), and
expected.safetensors with the inputs, every hidden state before the final norm, the result, the
gradient through the first block, and sums of the Fisher of every matrix, all computed in f32.

    python tests/golden/make_tiny_models.py [PREFIX ...]   # transformers 5.24, torch 2.15

With prefixes only the models whose names begin with one of them are made.

Seeded: running it again gives the same bytes.
"""

import json
import pathlib
import shutil
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    CLIPModel,
    CLIPVisionModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SiglipModel,
    SiglipTextModel,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from fisher import fisher
from tiny_composites import composites
from tiny_decoders import DECODER, decoders, experts
from tiny_encoders import encoders
from tiny_vision import towers

OUT = pathlib.Path(__file__).resolve().parents[2] / "calib" / "tests" / "fixtures" / "models"

GPT2 = dict(
    vocab_size=96,
    n_positions=48,
    n_embd=32,
    n_layer=2,
    n_head=4,
    bos_token_id=0,
    eos_token_id=0,
    attn_implementation="eager",
)
BERT = dict(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=48,
    attn_implementation="eager",
)
VIT = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    image_size=16,
    patch_size=4,
    num_channels=3,
    attn_implementation="eager",
)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def randomise(model, spread):
    """Weights large enough that every term matters; norms near one, biases that are not zero."""
    for name, weight in sorted(model.named_parameters()):
        if name.endswith("bias"):
            weight.data.normal_(0.0, 0.3)
        elif weight.dim() == 1:
            weight.data.normal_(1.0, 0.2)
        else:
            weight.data.normal_(0.0, spread)


def rename(folder, new_name):
    """Renames tensors, as checkpoints of other classes and ages have them."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({new_name(name): tensor for name, tensor in tensors.items()}, file, {"format": "pt"})


def old_bert(name):
    """As in checkpoints converted from TensorFlow."""
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    return "bert." + name.replace("LayerNorm.bias", "LayerNorm.beta")


def e2m1(model):
    """Experts rounded to what MXFP4 holds: f16 holds that too."""
    codes = torch.tensor(E2M1)
    for name, weight in model.named_parameters():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            values = weight.data.transpose(1, 2).unflatten(-1, (-1, 32))
            scale = torch.exp2(torch.floor(torch.log2(values.abs().amax(-1, keepdim=True))) - 2)
            nearest = (values / scale).unsqueeze(-1).sub(codes).abs().argmin(-1)
            weight.data = (codes[nearest] * scale).flatten(-2).transpose(1, 2).contiguous()


E2M1 = [sign * value for sign in (1, -1) for value in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)]


def as_mxfp4(folder):
    """The experts as gpt-oss is published: two codes a byte, exponents of blocks of 32 inputs plus 127."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    file = folder / "model.safetensors"
    tensors = load_file(file)
    codes = torch.tensor(E2M1)
    for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        weight = tensors.pop(name).float()
        values = weight.transpose(1, 2).unflatten(-1, (-1, 32))
        scale = torch.exp2(torch.floor(torch.log2(values.abs().amax(-1, keepdim=True))) - 2)
        code = (values / scale).unsqueeze(-1).sub(codes).abs().argmin(-1).to(torch.uint8)
        tensors[f"{name}_blocks"] = (code[..., ::2] | code[..., 1::2] << 4).contiguous()
        tensors[f"{name}_scales"] = (torch.log2(scale.squeeze(-1)) + 127).to(torch.uint8)
        decoded = convert_moe_packed_tensors(
            tensors[f"{name}_blocks"], tensors[f"{name}_scales"], dtype=torch.float32
        )
        assert torch.equal(decoded, weight), name
    save_file(tensors, file, {"format": "pt"})
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["quantization_config"] = {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
    }
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def bare(name):
    return name.removeprefix("transformer.")


def transformers_4_style(folder):
    """rope_theta beside rope_scaling with `type`, torch_dtype instead of dtype."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.38.0"
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make(name, model, *, dtype=torch.float16, spread=0.25, before=None, after=None, shards=None, attention="eager", tokens=20):
    if sys.argv[1:] and not name.startswith(tuple(sys.argv[1:])):
        return
    torch.manual_seed(sum(map(ord, name)))
    randomise(model, spread)
    if before:
        before(model)
    model = model.to(dtype)
    folder = (OUT.parent / "quantized" if name.endswith("mxfp4") else OUT) / name
    if folder.exists():
        shutil.rmtree(folder)
    model.save_pretrained(folder, **({"max_shard_size": shards} if shards else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    # Read back: casting the module itself would leave its rotary frequencies rounded to `dtype`.
    model = type(model).from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    ).eval()
    inputs, expected = run(model, tokens)
    if not isinstance(model, (CLIPModel, SiglipModel)):
        expected.update(fisher(model, inputs, result, after))
    save_file({**inputs, **expected}, folder / "expected.safetensors")
    if after:
        after(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    with safe_open(folder / "expected.safetensors", "pt") as stored:
        print(f"{name:24} {size:8} bytes  {', '.join(stored.keys())}")


def blocks_of(base):
    """The list of blocks, wherever a class keeps it; each once, however often it is run."""
    groups = getattr(getattr(base, "encoder", None), "albert_layer_groups", None)
    if groups is not None:
        return [block for group in groups for block in group.albert_layers]
    paths = (
        "encoder.layer transformer.layer decoder.layers h blocks layers encoder.layers"
        " vision_model.encoder.layers language_model.layers"
    )
    for path in paths.split():
        found = base
        for name in path.split("."):
            found = getattr(found, name, None)
        if found is not None:
            return flat(found)
    raise ValueError(type(base))


def flat(blocks):
    """The blocks of a hierarchy and what stands between its levels, in the order they run."""
    if not hasattr(blocks[0], "blocks"):
        return list(blocks)
    steps = [step for level in blocks for step in [*level.blocks, level.downsample]]
    return [step for step in steps if step is not None]


def run(model, tokens):
    """Inputs, the states entering the first block and leaving each one, and the model's output.

    Hooks, because the last entry of transformers' own `hidden_states` has passed the final norm.
    """
    states, call = [], []

    def entering(_module, args, kwargs):
        kwargs = dict(kwargs)
        first = args[0] if args else kwargs.pop("hidden_states")
        if not call:
            states.append(first)
            call.append((args[1:], kwargs))

    def leaving(_module, _args, output):
        states.append(output[0] if isinstance(output, tuple) else output)

    blocks = blocks_of(model.base_model)
    hooks = [blocks[0].register_forward_pre_hook(entering, with_kwargs=True)]
    hooks += [block.register_forward_hook(leaving) for block in blocks]
    if isinstance(model, (CLIPModel, SiglipModel)):
        inputs = {"pixels": torch.randn(2, 3, 16, 16), "input_ids": texts(model.config.text_config)}
        arguments = {"pixel_values": inputs["pixels"], "input_ids": inputs["input_ids"]}
    elif model.main_input_name == "pixel_values":
        # Windows are cut from several images at once; for the others one is enough.
        images = 2 if model.config.model_type in ("vit", "swin") else 1
        inputs = {"pixels": torch.randn(images, 3, 16, 16)}
        arguments = {"pixel_values": inputs["pixels"]}
    elif model.config.model_type.endswith("text_model"):
        arguments = inputs = {"input_ids": texts(model.config)}
    else:
        text = model.config.get_text_config()
        # The last few words of a model that sees or hears stand for images and sounds.
        words = text.vocab_size if text is model.config else text.vocab_size - 4
        arguments = inputs = {"input_ids": torch.randint(0, words, (2, tokens))}
        counts_padding = getattr(getattr(model.base_model, "embeddings", None), "padding_idx", None)
        if counts_padding is not None:
            # Its position would be that of padding.
            ids = inputs["input_ids"]
            ids[ids == counts_padding] += 1
    has_cache = "use_cache" in model.config.get_text_config().to_dict()
    with torch.no_grad():
        output = model(**arguments, **({"use_cache": False} if has_cache else {}))
    for hook in hooks:
        hook.remove()
    expected = {f"hidden.{k}": state.contiguous().clone() for k, state in enumerate(states)}
    expected["output"] = result(model, output).contiguous().clone()
    if "image_embeds" in output and "text_embeds" in output:
        # Of the towers no more than what they return; each has a model of its own.
        embeds = {key: output[key].clone() for key in ("image_embeds", "text_embeds")}
        return inputs, {"output": expected["output"], **embeds}
    expected.update(gradients(blocks[0], states[0], *call[0]))
    return inputs, expected


def texts(config):
    """Token ids that end where a text ends."""
    ids = torch.randint(0, config.eos_token_id - 1, (3, 12))
    ids[:, -1] = config.eos_token_id
    return ids


def result(model, output):
    """What the model is for."""
    for key in ("logits", "logits_per_image", "image_embeds", "text_embeds"):
        if output.get(key) is not None:
            return output[key]
    pooled = isinstance(model, (CLIPVisionModel, SiglipVisionModel, SiglipTextModel))
    if pooled and output.pooler_output is not None:
        return output.pooler_output
    return output.last_hidden_state


def gradients(block, state, args, kwargs):
    """The gradient of half the squared norm of a block's output for its input."""
    state = state.clone().requires_grad_()
    output = block(state, *args, **kwargs)
    output = output[0] if isinstance(output, tuple) else output
    (output.square().sum() / 2).backward()
    return {"gradient.input": state.grad.contiguous().clone()}


def llama(**options):
    return LlamaForCausalLM(LlamaConfig(**DECODER, **options))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    everything = dict(attention_bias=True, mlp_bias=True, head_dim=12, rms_norm_eps=1e-3)
    make("llama-untied-biases", llama(**everything, hidden_act="gelu_pytorch_tanh"), shards="20KB")
    llama3 = llama(tie_word_embeddings=True, rope_parameters=LLAMA3)
    make("llama-rope-llama3", llama3, dtype=torch.bfloat16)
    linear = {"rope_type": "linear", "rope_theta": 300.0, "factor": 4.0}
    linear = llama(tie_word_embeddings=True, rope_parameters=linear)
    make("llama-rope-linear-v4", linear, dtype=torch.float32, after=transformers_4_style)
    plain = llama(rope_parameters={"rope_type": "default", "rope_theta": 777.0})
    make("llama-plain-v4", plain, after=transformers_4_style)

    mistral = MistralConfig(**DECODER, sliding_window=7)
    make("mistral-window", MistralForCausalLM(mistral))
    window = dict(use_sliding_window=True, sliding_window=9, max_window_layers=1)
    qwen2 = Qwen2Config(**DECODER, **window, tie_word_embeddings=True)
    make("qwen2-window", Qwen2ForCausalLM(qwen2))
    make("qwen3-head-norms", Qwen3ForCausalLM(Qwen3Config(**DECODER, head_dim=16)))

    for name, kind, config in decoders():
        # The eager attention of falcon in transformers 5.24 adds ALiBi twice.
        make(name, kind(config), attention="sdpa" if name == "falcon-alibi" else "eager")

    for name, kind, config in experts():
        mxfp4 = name.endswith("mxfp4")
        make(name, kind(config), before=e2m1 if mxfp4 else None, after=as_mxfp4 if mxfp4 else None)

    for name, kind, config in encoders():
        make(name, kind(config), tokens=12)

    make("gpt2", GPT2LMHeadModel(GPT2Config(**GPT2)))
    scaled = GPT2Config(**GPT2, n_inner=40, scale_attn_by_inverse_layer_idx=True)
    make("gpt2-bare-scaled", GPT2LMHeadModel(scaled), after=lambda folder: rename(folder, bare))
    make("gpt2-model", GPT2Model(GPT2Config(**GPT2, scale_attn_weights=False)), spread=0.15)

    old = lambda folder: rename(folder, old_bert)
    make("bert-prefixed-greek", BertModel(BertConfig(**BERT)), after=old)
    classifier = BertConfig(**BERT, hidden_act="relu", num_labels=3)
    make("bert-classifier-relu", BertForSequenceClassification(classifier))

    make("vit-model", ViTModel(ViTConfig(**VIT)))
    classifier = ViTConfig(**VIT, qkv_bias=False, num_labels=5, layer_norm_eps=1e-6)
    make("vit-classifier-no-bias", ViTForImageClassification(classifier))

    for name, kind, config in towers():
        make(name, kind(config))

    for name, kind, config, after in composites():
        make(name, kind(config), tokens=12, after=after)


if __name__ == "__main__":
    main()
