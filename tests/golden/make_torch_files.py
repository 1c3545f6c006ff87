"""Small PyTorch checkpoints in every layout that is read, and the same tensors as safetensors.

Written to quantizers/tests/fixtures/torch:

    zip.bin              torch.save as it is
    legacy.bin           torch.save(..., _use_new_zipfile_serialization=False)
    protocol5.bin        the zip layout with the newest pickle protocol
    nested.bin           the state dict under `state_dict`, beside an epoch
    typed.bin            types without a storage class of their own (8-bit floats, unsigned integers)
    expected.safetensors the tensors of the first four; typed.safetensors those of typed.bin

    python tests/golden/make_torch_files.py        # torch 2.15, safetensors 0.7

Running it again gives the same bytes.
"""

import collections
import io
import pathlib
import re

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "quantizers" / "tests" / "fixtures" / "torch"


def state_dict():
    numbers = torch.Generator().manual_seed(5)
    table = torch.randn(5, 3, generator=numbers)
    wide = torch.randn(4, 6, generator=numbers)
    entries = collections.OrderedDict()
    entries["embedding.weight"] = torch.nn.Parameter(table)
    entries["head.weight"] = entries["embedding.weight"]
    entries["transposed"] = wide.t()
    entries["columns"] = wide[:, 1:4]
    entries["rows"] = wide[1:3]
    entries["steps"] = wide[::2, ::3]
    entries["permuted"] = torch.randn(2, 3, 4, generator=numbers).permute(2, 0, 1)
    entries["scalar"] = torch.tensor(2.5)
    entries["empty"] = torch.zeros(0, 4)
    entries["one"] = torch.arange(1).expand(1, 1)
    for dtype in [torch.float64, torch.float16, torch.bfloat16]:
        entries[str(dtype)] = torch.randn(7, generator=numbers).to(dtype)
    for dtype in [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]:
        entries[str(dtype)] = torch.randint(0, 100, (2, 3), generator=numbers).to(dtype)
    entries["torch.bool"] = torch.tensor([True, False, True])
    entries._metadata = collections.OrderedDict({"": {"version": 1}, "embedding": {"version": 1}})
    return entries


def typed():
    values = torch.linspace(-3, 3, 6)
    return {
        "e4m3": values.to(torch.float8_e4m3fn).reshape(2, 3),
        "e5m2": values.to(torch.float8_e5m2),
        "u16": torch.tensor([1, 2, 65535], dtype=torch.uint16),
    }


def legacy(entries):
    """The older layout names storages by their address: number them instead, in the order of the pickle."""
    torch.serialization.sorted = list
    buffer = io.BytesIO()
    torch.save(entries, buffer, _use_new_zipfile_serialization=False)
    del torch.serialization.sorted
    names = {}

    def number(found):
        key = names.setdefault(found.group(1), b"%d" % len(names))
        return b"X" + len(key).to_bytes(4, "little") + key

    return re.sub(rb"X[\x0c-\x10]\0\0\0([0-9]{12,16})", number, buffer.getvalue())


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    entries = state_dict()
    torch.save(entries, OUT / "zip.bin")
    torch.save(entries, OUT / "protocol5.bin", pickle_protocol=5)
    torch.save({"epoch": 3, "loss": 0.5, "state_dict": entries}, OUT / "nested.bin")
    (OUT / "legacy.bin").write_bytes(legacy(entries))
    torch.save(typed(), OUT / "typed.bin")
    plain = {name: tensor.detach().clone().contiguous() for name, tensor in entries.items()}
    save_file(plain, OUT / "expected.safetensors")
    save_file(typed(), OUT / "typed.safetensors")


if __name__ == "__main__":
    main()
