"""Loads a compressed-tensors artifact with transformers and compares its outputs.

    python load_in_transformers.py ARTIFACT REFERENCE [--tolerance 1e-3]

REFERENCE is a plain checkpoint folder (`quench export ARTIFACT --format dense`), or a safetensors
file with `input_ids` (and `attention_mask`) and `logits` or `hidden` to be reproduced. Prints the
relative L2 difference and exits with 1 above the tolerance. Exits with 77, which test runners take
for "skipped", where torch, transformers or compressed-tensors are not installed.
"""

import argparse
import os
import sys

try:
    import compressed_tensors  # noqa: F401
    import torch
    import transformers
    from safetensors.torch import load_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)


def outputs(folder, inputs):
    config = transformers.AutoConfig.from_pretrained(folder)
    architecture = getattr(transformers, (config.architectures or ["AutoModel"])[0])
    model, report = architecture.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    if report["missing_keys"]:
        sys.exit(f"tensors missing from {folder}: {sorted(report['missing_keys'])}")
    with torch.no_grad():
        result = model.eval()(**inputs)
    return result.logits if hasattr(result, "logits") else result.last_hidden_state


def random_inputs(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    torch.manual_seed(0)
    if hasattr(config, "image_size"):
        size = config.image_size
        return {"pixel_values": torch.randn(2, config.num_channels, size, size)}
    return {"input_ids": torch.randint(0, config.vocab_size, (2, 64))}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("artifact")
    arguments.add_argument("reference")
    arguments.add_argument("--tolerance", type=float, default=1e-3)
    arguments = arguments.parse_args()
    if os.path.isdir(arguments.reference):
        inputs = random_inputs(arguments.artifact)
        expected = outputs(arguments.reference, inputs)
    else:
        tensors = load_file(arguments.reference)
        expected = tensors.get("logits", tensors.get("hidden"))
        inputs = {
            name: tensors[name].long() if name != "pixel_values" else tensors[name]
            for name in ("input_ids", "attention_mask", "pixel_values")
            if name in tensors
        }
    found = outputs(arguments.artifact, inputs)
    difference = ((found - expected).norm() / expected.norm()).item()
    print(f"relative L2 difference {difference:.3e}, largest {(found - expected).abs().max():.3e}")
    sys.exit(difference > arguments.tolerance)


if __name__ == "__main__":
    main()
