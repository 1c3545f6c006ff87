"""Trellis codes decoded in numpy, bit by bit, independently of the Rust code.

    python tests/golden/make_trellis.py                  # numpy 2, safetensors
    python tests/golden/make_trellis.py FOLDER DENSE

The first form writes quantizers/tests/fixtures/trellis.safetensors: random streams and scales as `<case>/<tensor>`
with the names they have in files, and the weights as `<case>/expected`; a case is called `<code>-<bits>-<state bits>`.
Seeded: running it again gives the same bytes. The second form decodes every trellis layer of an artifact and compares
it, bit by bit, with the same artifact exported as plain f32 weights.
"""

import json
import pathlib
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "quantizers" / "tests" / "fixtures"
ROWS, COLS = 32, 16
CASES = [("mcg", 3, 16), ("3inst", 2, 16), ("1mad", 4, 12), ("mcg", 1, 13), ("3inst", 5, 14), ("1mad", 8, 16), ("mcg", 7, 15), ("3inst", 6, 16), ("strata", 4, 16), ("strata", 2, 12), ("strata", 3, 16)]


def strata(state):
    """A normal quantile, bit by bit from the top."""
    def mixed(place, bits):
        x = (bits + (place << 16) + 1) * 0x9E3779B1 % 2**32
        return ((x ^ x >> 15) * 0x85EBCA6B % 2**32) >> 31

    position = 0
    for at in range(8):
        between = (state & (1 << 15 - at) - 1) >> at + 1
        position = 2 * position + ((state >> at ^ state >> 15 - at) & 1 ^ mixed(at, between))
    for at in range(15, 7, -1):
        position = 2 * position + (state >> at & 1 ^ mixed(23 - at, state & (1 << at) - 1))
    x = (2 * position + 1) / 65536.0 - 1.0
    t = 1.0 - x * x
    above = 4.0962 + t * (2796.676 + t * (52370.137 + t * 33492.659))
    below = 1.0 + t * (948.9295 + t * (27151.894 + t * 42423.076))
    return np.float32(x * above / below)


def value(code, state):
    """One state to a float32."""
    if code == "strata":
        return strata(state)
    if code == "1mad":
        x = (34038481 * state + 76625530) % 2**32
        total = (x & 255) + (x >> 8 & 255) + (x >> 16 & 255) + (x >> 24)
        return (np.float32(total) - np.float32(510)) / np.float32(147.800537)
    x = 0xCBAC1FED * state % 2**32 if code == "mcg" else (89226354 * state + 64248484) % 2**32
    x = (x & 0x8FFF8FFF) ^ 0x3B603B60
    low, high = np.array([x & 0xFFFF, x >> 16], dtype=np.uint16).view(np.float16)
    return np.float32(low + high)


def tile_values(words, code, bits, state_bits):
    """256 values of a tile, [16 inputs, 16 outputs], from its uint32 words."""
    stream = [int(word) >> (31 - at) & 1 for word in words for at in range(32)]
    tile = np.zeros((16, 16), dtype=np.float32)
    for position in range(256):
        end = (position + 1) * bits
        state = 0
        for at in range(end - state_bits, end):
            state = 2 * state + stream[at % len(stream)]
        thread, held = divmod(position, 8)
        row = thread % 4 * 2 + (0, 1, 8, 9)[held % 4]
        col = thread // 4 + (0 if held < 4 else 8)
        tile[row, col] = value(code, state)
    return tile


def hadamard(x, block):
    """Butterflies along the last axis, in float32 and from neighbours outward."""
    shape = x.shape
    x = x.reshape(-1, block).copy()
    half = 1
    while half < block:
        pairs = x.reshape(-1, block // (2 * half), 2, half)
        x = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(-1, block)
        half *= 2
    return x.reshape(shape)


def block_of(size):
    block = 1
    while block < 128 and size % (2 * block) == 0:
        block *= 2
    return block


def decode(trellis, suh, svh, code, bits, state_bits):
    """float32 [out, in]."""
    tiles_in, tiles_out, _ = trellis.shape
    words = np.ascontiguousarray(trellis).view(np.uint32)
    values = np.zeros((tiles_in * 16, tiles_out * 16), dtype=np.float32)
    for i in range(tiles_in):
        for o in range(tiles_out):
            values[16 * i : 16 * i + 16, 16 * o : 16 * o + 16] = tile_values(words[i, o], code, bits, state_bits)
    weight = np.ascontiguousarray(values.T)
    out_block, in_block = block_of(weight.shape[0]), block_of(weight.shape[1])
    weight = hadamard(weight, in_block)
    weight = np.ascontiguousarray(hadamard(np.ascontiguousarray(weight.T), out_block).T)
    norm = np.float32(1 / np.sqrt(np.float64(out_block * in_block)))
    return weight * norm * suh.astype(np.float32)[None, :] * svh.astype(np.float32)[:, None]


def make():
    tensors = {}
    for seed, (code, bits, state_bits) in enumerate(CASES):
        random = np.random.default_rng(seed)
        case = f"{code}-{bits}-{state_bits}"
        trellis = random.integers(-(2**15), 2**15, (COLS // 16, ROWS // 16, 16 * bits), dtype=np.int16)
        suh = random.normal(0, 0.2, COLS).astype(np.float16)
        svh = random.normal(0, 0.5, ROWS).astype(np.float16)
        tensors |= {f"{case}/trellis": trellis, f"{case}/suh": suh, f"{case}/svh": svh}
        tensors[f"{case}/expected"] = decode(trellis, suh, svh, code, bits, state_bits)
    save_file(tensors, OUT / "trellis.safetensors")


def check(folder, dense):
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    files = [safe_open(path, "np") for path in sorted(folder.glob("*.safetensors"))]
    plain = [safe_open(path, "np") for path in sorted(dense.glob("*.safetensors"))]
    get = lambda files, name: next(file.get_tensor(name) for file in files if name in file.keys())
    checked = 0
    for name, scheme in config["layers"].items():
        if "trellis" not in scheme["kind"]:
            continue
        kind = scheme["kind"]["trellis"]
        parts = [get(files, f"{name}.{part}") for part in ("trellis", "suh", "svh")]
        found = decode(*parts, kind["code"], scheme["bits"], kind["state_bits"])
        expected = get(plain, f"{name}.weight")
        assert expected.dtype == np.float32, expected.dtype
        assert (found.view(np.uint32) == expected.view(np.uint32)).all(), name
        checked += 1
    print(f"{checked} trellis layers decode to the same bits")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        check(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    else:
        make()
