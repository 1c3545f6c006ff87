"""Small weights in the forms of other programs, with the values those programs decode them to.

    python tests/golden/make_quantized_sources.py
    # torch 2.15, transformers 5.24, compressed-tensors 0.20, bitsandbytes 0.50

Writes quantizers/tests/fixtures/sources.safetensors: tensors are named `<case>/<tensor>`, expected values
`<case>/expected/<tensor>`. sources.json beside it holds the `quantization_config` of every case. Seeded: running it
again gives the same bytes.
"""

import json
import pathlib

import numpy as np
import torch
from compressed_tensors.compressors.base import compress_module, decompress_module
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.lifecycle.initialize import initialize_module_for_quantization
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from compressed_tensors.utils import get_direct_state_dict
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "quantizers" / "tests" / "fixtures"
ROWS, COLS = 32, 64
torch.set_num_threads(1)
tensors, configs = {}, {}


def add(case, config, stored, expected):
    configs[case] = config
    for name, tensor in stored.items():
        tensors[f"{case}/{name}"] = tensor.contiguous()
    for name, tensor in expected.items():
        tensors[f"{case}/expected/{name}"] = tensor.contiguous()


def weight(rows=ROWS, cols=COLS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(rows, cols, generator=generator) * 0.05
    w[3, 17] = 0.9
    w[10] += 0.07
    return w


def compressed_floats():
    """As the library compresses and decompresses a linear layer in f32."""
    args = QuantizationArgs
    cases = {
        "fp8_channel": args(num_bits=8, type="float", strategy="channel", symmetric=True),
        "fp8_tensor": args(num_bits=8, type="float", strategy="tensor", symmetric=True),
        "fp8_block": args(num_bits=8, type="float", strategy="block", block_structure=[16, 32], symmetric=True),
        "nvfp4": args(num_bits=4, type="float", strategy="tensor_group", group_size=16, symmetric=True,
                      scale_dtype=torch.float8_e4m3fn, zp_dtype=torch.float8_e4m3fn),
        "mxfp4": args(num_bits=4, type="float", strategy="group", group_size=32, symmetric=True,
                      scale_dtype=torch.uint8, zp_dtype=torch.uint8),
    }
    w = weight()
    for name, a in cases.items():
        linear = torch.nn.Linear(COLS, ROWS, bias=False)
        linear.weight.data = w.clone()
        scheme = QuantizationScheme(targets=["Linear"], weights=a)
        initialize_module_for_quantization(linear, scheme)
        if a.strategy in ("group", "tensor_group"):
            g = w.reshape(ROWS, -1, a.group_size)
            low, high = g.amin(-1), g.amax(-1)
        elif a.strategy == "channel":
            low, high = w.amin(1, keepdim=True), w.amax(1, keepdim=True)
        elif a.strategy == "block":
            down, right = a.block_structure
            b = w.reshape(ROWS // down, down, COLS // right, right)
            low, high = b.amin((1, 3)), b.amax((1, 3))
        else:
            low, high = w.amin().reshape(1), w.amax().reshape(1)
        whole = None
        if a.strategy == "tensor_group":
            whole = generate_gparam(w.amin(), w.amax())
            linear.weight_global_scale.data.copy_(whole)
        scale, zero = calculate_qparams(low, high, a, global_scale=whole)
        linear.weight_scale.data = scale
        if hasattr(linear, "weight_zero_point"):
            linear.weight_zero_point.data = zero
        compress_module(linear)
        stored = {f"l.{k}": v.detach().clone() for k, v in get_direct_state_dict(linear).items() if v is not None}
        decompress_module(linear)
        config = {"quant_method": "compressed-tensors", "format": str(getattr(scheme.format, "value", scheme.format)),
                  "config_groups": {"group_0": json.loads(scheme.model_dump_json())}}
        add(f"compressed_{name}", config, stored, {"l.weight": linear.weight.detach()})


def fp8():
    """Tiles that do not divide the matrix, as DeepSeek-V3 has them; one scale; three-dimensional experts; no scales."""
    block, w = [16, 48], weight(40, 72, 1)
    tall, wide = -(-40 // block[0]), -(-72 // block[1])
    scale = torch.rand(tall, wide, generator=torch.Generator().manual_seed(2)) * 0.01 + 0.001
    whole = scale.repeat_interleave(block[0], 0)[:40].repeat_interleave(block[1], 1)[:, :72]
    w8 = (w / whole).clamp(-448, 448).to(torch.float8_e4m3fn)
    config = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": block}
    add("fp8_tiles", config, {"l.weight": w8, "l.weight_scale_inv": scale, "norm.weight": torch.ones(4)},
        {"l.weight": w8.float() * whole})
    one = torch.tensor(0.004)
    w8 = (w / one).clamp(-448, 448).to(torch.float8_e4m3fn)
    config = {"quant_method": "fp8", "activation_scheme": "static"}
    add("fp8_one", config, {"l.weight": w8, "l.weight_scale": one, "l.input_scale": torch.tensor([0.5])},
        {"l.weight": w8.float() * one})
    w = torch.stack([weight(32, 64, s) for s in (3, 4)])
    scale = torch.rand(2, 2, 2, generator=torch.Generator().manual_seed(5)) * 0.01 + 0.001
    whole = scale.repeat_interleave(16, 1).repeat_interleave(32, 2)
    w8 = (w / whole).clamp(-448, 448).to(torch.float8_e4m3fn)
    config = {"quant_method": "fp8", "weight_block_size": [16, 32]}
    add("fp8_experts", config, {"m.experts.up": w8, "m.experts.up_scale_inv": scale}, {"m.experts.up": w8.float() * whole})
    every = torch.arange(256, dtype=torch.uint8)
    for name, dtype in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)):
        codes = every.view(dtype).reshape(16, 16)
        finite = torch.where(codes.float().isfinite(), codes.float(), torch.zeros(())).to(dtype)
        add(f"plain_{name}", None, {"l.weight": finite}, {"l.weight": finite.float()})
    double = torch.randn(4, 8, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    add("plain_f64", None, {"l.weight": double}, {"l.weight": double.float()})


def stream(codes, bits):
    """[n, m] codes as words [n * bits / 32, m]: a little-endian bit stream along the first dimension."""
    n, m = codes.shape
    shifts = np.arange(bits).reshape(1, bits, 1)
    plane = ((codes.astype(np.uint64)[:, None, :] >> shifts.astype(np.uint64)) & 1).reshape(n * bits, m)
    words = np.packbits(plane.astype(np.uint8).reshape(n * bits // 8, 8, m), axis=1, bitorder="little")
    return np.ascontiguousarray(words.reshape(n * bits // 8, m).T).view("<i4").T


def columns(seed, bits, group, order=None):
    """Codes [in, out], zero points and scales [groups, out], and the weight [out, in]."""
    rng = np.random.default_rng(seed)
    groups = COLS // group
    codes = rng.integers(0, 1 << bits, (COLS, ROWS))
    zeros = rng.integers(1, 1 << bits, (groups, ROWS))
    scales = (rng.random((groups, ROWS)) * 0.01 + 0.001).astype(np.float16)
    of = np.arange(COLS) // group if order is None else order
    w = ((codes - zeros[of]) * scales[of].astype(np.float32)).T
    return codes, zeros, scales, of.astype(np.int32), torch.tensor(w).float()


def gptq():
    """Written from the layout; zero points are stored less one in version 1. `order`: inputs of a group are no neighbours."""
    t = lambda a: torch.tensor(np.ascontiguousarray(a))
    for version, bits, ordered in [(1, 2, False), (1, 3, True), (1, 4, True), (1, 8, False), (2, 4, False), (2, 3, False)]:
        order = np.random.default_rng(bits).permutation(np.arange(COLS) // 32) if ordered else None
        codes, zeros, scales, of, w = columns(bits, bits, 32, order)
        stored = {"l.qweight": t(stream(codes, bits)), "l.scales": t(scales),
                  "l.qzeros": t(stream((zeros - (version == 1)).T, bits).T), "l.bias": torch.ones(ROWS)}
        if not (version == 2 and bits == 3):
            stored["l.g_idx"] = t(of)
        config = {"quant_method": "gptq", "bits": bits, "group_size": 32, "desc_act": ordered, "sym": False,
                  "checkpoint_format": "gptq" if version == 1 else "gptq_v2"}
        add(f"gptq_v{version}_{bits}{'_order' if ordered else ''}", config, stored, {"l.weight": w})


def awq():
    codes, zeros, scales, _, w = columns(9, 4, 32)
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def words(x):
        y = np.zeros((x.shape[0], x.shape[1] // 8), np.uint32)
        for i in range(8):
            y |= x[:, order[i]::8].astype(np.uint32) << np.uint32(4 * i)
        return torch.tensor(y.view(np.int32))

    config = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
    add("awq", config, {"l.qweight": words(codes), "l.qzeros": words(zeros), "l.scales": torch.tensor(scales)}, {"l.weight": w})


def bits_and_bytes():
    """As the library quantizes on the CPU and names the parts in a state dict."""
    import bitsandbytes as bnb
    from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_quant, quantize_4bit

    # Rows of whole blocks: with others the library's kernel for the CPU takes the scales of other blocks.
    w = weight(12, 128, 7)
    for name, kind, nested in [("nf4", "nf4", False), ("nf4_nested", "nf4", True), ("fp4", "fp4", True)]:
        packed, state = quantize_4bit(w, blocksize=64, quant_type=kind, compress_statistics=nested, quant_storage=torch.uint8)
        stored = {"l.weight": packed, "l.bias": torch.ones(12)}
        stored |= {f"l.weight.{k}": v for k, v in state.as_dict(packed=True).items()}
        values = dequantize_4bit(packed, state)
        config = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind,
                  "bnb_4bit_use_double_quant": nested}
        add(f"bitsandbytes_{name}", config, stored, {"l.weight": values})
    codes, scales, _ = int8_vectorwise_quant(w.half())
    add("bitsandbytes_int8", {"quant_method": "bitsandbytes", "load_in_8bit": True},
        {"l.weight": codes, "l.SCB": scales, "l.weight_format": torch.zeros((), dtype=torch.uint8)},
        {"l.weight": codes.float() * scales.float()[:, None] / 127})


def mxfp4():
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    generator = torch.Generator().manual_seed(8)
    blocks = torch.randint(0, 256, (2, 6, 2, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(115, 130, (2, 6, 2), generator=generator, dtype=torch.uint8)
    values = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    add("mxfp4", {"quant_method": "mxfp4"}, {"e.gate_up_proj_blocks": blocks, "e.gate_up_proj_scales": scales,
        "e.gate_up_proj_bias": torch.ones(2, 6)}, {"e.gate_up_proj": values})


for make in (compressed_floats, fp8, gptq, awq, bits_and_bytes, mxfp4):
    make()
save_file(tensors, OUT / "sources.safetensors", metadata={"format": "pt"})
(OUT / "sources.json").write_text(json.dumps(configs, indent=1, sort_keys=True) + "\n")
print(len(configs), "cases,", (OUT / "sources.safetensors").stat().st_size, "bytes")
