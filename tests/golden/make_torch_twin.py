"""The weights of a model folder as PyTorch saves them, in a second folder with the same other files.

    python tests/golden/make_torch_twin.py FOLDER OUT zip|legacy|shards|double|tied

`shards` makes two files and their index, `double` stores every float as f64, `tied` adds `lm_head.weight` as a
second name of the token table. Needs torch and safetensors.
"""

import collections
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file


def weights(folder):
    tensors = collections.OrderedDict()
    for file in sorted(folder.glob("model*.safetensors")):
        tensors.update(load_file(file))
    return tensors


def main():
    folder, out, layout = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    out.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.copytree(path, out / path.name)
        elif "safetensors" not in path.name:
            shutil.copy(path, out / path.name)
    tensors = weights(folder)
    if layout == "double":
        tensors = {name: t.double() if t.is_floating_point() else t for name, t in tensors.items()}
    if layout == "tied":
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    if layout != "shards":
        zip_layout = layout != "legacy"
        torch.save(tensors, out / "pytorch_model.bin", _use_new_zipfile_serialization=zip_layout)
        return
    names = list(tensors)
    places = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({name: tensors[name] for name in part}, out / file)
        places |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (out / "pytorch_model.bin.index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()
