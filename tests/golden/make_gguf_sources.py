"""GGUF files as other programs write them, with the values and the tokens those programs read from them.

    python tests/golden/make_gguf_sources.py        # gguf 0.19, numpy, torch 2.15, transformers 5.24, sentencepiece

Writes to quantizers/tests/fixtures:
- types.gguf: a matrix of every type under the names of a llama, and types.safetensors with its values under the names
  transformers gives them
and to calib/tests/fixtures/gguf:
- llama.gguf, qwen3.gguf: tiny models with tokenizers, <name>.safetensors with the logits of transformers, and
  tokens.json with texts and the ids that sentencepiece and transformers give them
Seeded: running it again gives the same bytes.
"""

import json
import pathlib

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T
from gguf import quants
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPES = ROOT / "quantizers" / "tests" / "fixtures"
MODELS = ROOT / "calib" / "tests" / "fixtures" / "gguf"
torch.set_num_threads(1)


def random_blocks(kind, rows, cols, rng):
    """Blocks of a type that the package reads and does not write: any codes, scales that are small numbers."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (rows, cols // values, size), dtype=np.uint8)
    half = lambda v: np.frombuffer(np.float16(v).tobytes(), np.uint8)
    places = {T.Q2_K: [-4, -2], T.Q3_K: [-2], T.Q6_K: [-2], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.IQ4_NL: [0], T.IQ4_XS: [0]}
    for row in range(rows):
        for block in range(raw.shape[1]):
            for place in places[kind]:
                at = place % size
                raw[row, block, at : at + 2] = half(0.001 * (1 + row + block))
    return raw.reshape(rows, -1)


def types():
    rng = np.random.default_rng(1)
    parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    here = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    kinds = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS, T.MXFP4]
    writer = gguf.GGUFWriter(TYPES / "types.gguf", "llama")
    for name, value in [("block_count", 3), ("context_length", 64), ("embedding_length", 256), ("feed_forward_length", 4)]:
        writer.add_uint32(f"llama.{name}", value)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    expected = {}
    for index, kind in enumerate(kinds):
        x = (rng.standard_normal((4, 256)) * 0.05).astype(np.float32)
        if kind in (T.F32, T.F16):
            raw = x.astype(np.float32 if kind == T.F32 else np.float16)
            values = raw.astype(np.float32)
            writer_type = None
        else:
            try:
                raw = quants.quantize(x, kind)
            except NotImplementedError:
                raw = random_blocks(kind, 4, 256, rng)
            values, writer_type = quants.dequantize(raw, kind), kind
        block, part = divmod(index, len(parts))
        # A name that types of the same block do not share.
        writer.add_tensor(f"blk.{block}.{parts[part]}.weight", raw, raw_dtype=writer_type)
        heads = {"attn_q": 2, "attn_k": 1}.get(parts[part])
        if heads:
            values = values.reshape(heads, 4 // heads // 2, 2, 256).swapaxes(1, 2).reshape(4, 256)
        expected[f"model.layers.{block}.{here[part]}.weight"] = np.ascontiguousarray(values)
    table = np.arange(8 * 32, dtype=np.float32).reshape(8, 32) / 64
    writer.add_tensor("token_embd.weight", table.astype(np.float16))
    expected["model.embed_tokens.weight"] = table
    writer.add_tensor("output_norm.weight", np.ones(256, np.float32))
    expected["model.norm.weight"] = np.ones(256, np.float32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, TYPES / "types.safetensors")


TEXTS = [
    "Hello world", " leading and  double spaces ", "numbers 1234567 and 3.14", "naïve café Ünïcödé", "line\nbreaks\r\nand\ttabs",
    "日本語のテキスト", "emoji 🙂👩‍👩‍👧", "it's they'll I'M", "<s>not a token</s>", "a<|im_end|>b", "", "   ", "e\u0301 decomposed",
]


def byte_level():
    """A byte-level vocabulary trained here."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    text = (ROOT / "tests" / "fixtures" / "text" / "sampled.txt").read_text()
    tokenizer.train_from_iterator(text.splitlines() + TEXTS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    return tokens, merges


def pieces():
    """A sentencepiece vocabulary trained here, with byte fallback."""
    import io

    import sentencepiece as sp

    text = (ROOT / "tests" / "fixtures" / "text" / "sampled.txt").read_text()
    out = io.BytesIO()
    sp.SentencePieceTrainer.train(sentence_iterator=iter(text.splitlines() + TEXTS), model_writer=out, vocab_size=600,
                                  model_type="bpe", byte_fallback=True, character_coverage=0.98, num_threads=1,
                                  normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2)
    return sp.SentencePieceProcessor(model_proto=out.getvalue())


def model(name, architecture, config, kinds, tokenizer):
    """A random model in blocks of the given kinds, written as the converter of llama.cpp writes it."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    source = AutoModelForCausalLM.from_config(config).float().eval()
    path = MODELS / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    if architecture == "qwen3":
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    tokenizer(writer)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.upper()), config.num_hidden_layers)
    decoded = {}
    for index, (key, tensor) in enumerate(source.state_dict().items()):
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        with torch.no_grad():
            w = tensor.numpy() * (8 if tensor.ndim == 2 else 1)
        if "norm" in key:
            w = w + np.random.default_rng(index).standard_normal(w.shape).astype(np.float32) * 0.1
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(key.split(".")[-2])
        if heads and architecture == "llama":
            w = w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)
        there = names.get_name(key, try_suffixes=(".weight", ".bias"))
        w = np.ascontiguousarray(w, np.float32)
        if w.ndim == 1:
            writer.add_tensor(there, w)
        else:
            kind = kinds[index % len(kinds)]
            raw = quants.quantize(w, kind)
            writer.add_tensor(there, raw, raw_dtype=kind)
            w = quants.dequantize(raw, kind)
        if heads and architecture == "llama":
            w = w.reshape(heads, w.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)
        decoded[key] = torch.tensor(w)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if config.tie_word_embeddings:
        decoded["lm_head.weight"] = decoded["model.embed_tokens.weight"]
    source.load_state_dict(decoded)
    ids = torch.arange(0, 12).reshape(1, 12) * 37 % config.vocab_size
    with torch.no_grad():
        logits = source(ids).logits.float().numpy()
    if architecture == "llama":
        # Where transformers reads the widths of heads from the file, it reads the same model.
        loaded = AutoModelForCausalLM.from_pretrained(MODELS, gguf_file=path.name, dtype=torch.float32).eval()
        with torch.no_grad():
            assert np.abs(loaded(ids).logits.float().numpy() - logits).max() < 1e-5
    return {"input_ids": ids.numpy(), "logits": logits}


def main():
    from transformers import AutoTokenizer, LlamaConfig, Qwen3Config

    MODELS.mkdir(parents=True, exist_ok=True)
    types()
    processor = pieces()
    size = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)

    def llama_tokenizer(writer):
        count = processor.get_piece_size()
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([processor.id_to_piece(i) for i in range(count)])
        writer.add_token_scores([processor.get_score(i) for i in range(count)])
        kind = lambda i: 2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 6 if processor.is_byte(i) else 1
        writer.add_token_types([kind(i) for i in range(count)])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)

    tokens, merges = byte_level()

    def qwen_tokenizer(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_list(tokens)
        writer.add_token_types([3 if i < 3 else 1 for i in range(len(tokens))])
        writer.add_token_merges(merges)
        writer.add_eos_token_id(2)
        writer.add_pad_token_id(0)
        writer.add_add_bos_token(False)
        writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")

    llama = LlamaConfig(**size, vocab_size=processor.get_piece_size(), head_dim=8, tie_word_embeddings=False, rms_norm_eps=1e-5)
    qwen = Qwen3Config(**size, vocab_size=len(tokens), head_dim=16, tie_word_embeddings=True, rms_norm_eps=1e-6)
    cases = {"llama": (llama, [T.Q4_0, T.Q8_0, T.Q5_1, T.BF16], llama_tokenizer), "qwen3": (qwen, [T.Q8_0, T.Q4_1, T.Q5_0, T.MXFP4], qwen_tokenizer)}
    ids = {}
    for name, (config, kinds, tokenizer) in cases.items():
        save_file(model(name, name, config, kinds, tokenizer), MODELS / f"{name}.safetensors")
        loaded = AutoTokenizer.from_pretrained(MODELS, gguf_file=f"{name}.gguf")
        if name == "llama":
            # The program the vocabulary comes from, which knows no added tokens in a text.
            ids[name] = [processor.encode(text) for text in TEXTS if "<" not in text]
        else:
            # Without the last: its original composes letters first, which this way of loading leaves out.
            ids[name] = [loaded.encode(text, add_special_tokens=False) for text in TEXTS[:-1]]
    for file in [*MODELS.glob("*.safetensors"), TYPES / "types.safetensors"]:
        file.chmod(0o644)
    (MODELS / "tokens.json").write_text(json.dumps({"texts": TEXTS, "ids": ids}, ensure_ascii=True) + "\n")


main()
