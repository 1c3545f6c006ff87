"""The diagonal Fisher of a model by torch autograd, one sequence after the other.

The loss of a sequence is that of `calib/src/running/fisher/loss.rs`: the mean next-token loss of a decoder, the
likelihood of a label drawn from the model's own distribution, a number itself, or the inner product of the output with random signs.
Draws come from the generator the program uses, so both draw the same.
"""

import struct
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


class ChaCha8:
    """ChaCha with 8 rounds from a 64-bit seed, as `rand_chacha` has it."""

    def __init__(self, seed):
        words, state = [], seed
        for _ in range(8):  # PCG32 spreads the seed over the key.
            state = (state * 6364136223846793005 + 11634580027462260723) & MASK64
            mixed, turn = (((state >> 18) ^ state) >> 27) & MASK32, state >> 59
            words.append(((mixed >> turn) | (mixed << (32 - turn))) & MASK32)
        self.key, self.block, self.left = words, 0, []

    def word(self):
        if not self.left:
            constants = list(struct.unpack("<4I", b"expand 32-byte k"))
            start = constants + self.key + [self.block & MASK32, self.block >> 32, 0, 0]
            x = list(start)
            for _ in range(4):
                for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                                   (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                    for first, second, third, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                        x[first] = (x[first] + x[second]) & MASK32
                        mixed = x[third] ^ x[first]
                        x[third] = ((mixed << turn) | (mixed >> (32 - turn))) & MASK32
            self.left = [(a + b) & MASK32 for a, b in zip(x, start)]
            self.block += 1
        return self.left.pop(0)

    def unit(self):
        low = self.word()
        return ((self.word() << 32 | low) >> 11) * 2.0**-53

    def sign(self):
        return 1.0 if self.word() >> 31 else -1.0


def loss(model, output, tokens, draws):
    """The loss of one sequence whose `output` the model gave."""
    if output.get("logits") is None:
        signs = torch.tensor([draws.sign() for _ in range(output["states"].numel())])
        return (output["states"].flatten() * signs).sum() / len(signs) ** 0.5
    logits = output["logits"]
    if logits.shape[-1] == 1:
        return logits.sum() * draws.sign()
    if type(model).__name__.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")):
        return torch.nn.functional.cross_entropy(logits[0, :-1], tokens[0, 1:])
    rows = logits.reshape(-1, logits.shape[-1])
    labels = [drawn(row, draws) for row in rows.softmax(-1).tolist()]
    return torch.nn.functional.cross_entropy(rows, torch.tensor(labels), reduction="sum")


def drawn(row, draws):
    left = draws.unit()
    for label, probability in enumerate(row):
        left -= probability
        if left < 0:
            return label
    return len(row) - 1


def fisher(model, inputs, result, after):
    """Sums along both axes of the Fisher of every matrix inside a block, by its name in the checkpoint.

    `result` takes model and output to what the model is for, `after` changes the folder of a checkpoint.
    """
    for parameter in model.parameters():
        parameter.requires_grad_()
    sums = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    key = "pixels" if "pixels" in inputs else "input_ids"
    for index, row in enumerate(inputs[key]):
        model.zero_grad()
        argument = {"pixel_values" if key == "pixels" else key: row[None]}
        found = model(**argument)
        output = {"logits": found.get("logits"), "states": result(model, found)}
        loss(model, output, row[None], ChaCha8(index)).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                sums[name] += parameter.grad.square()
    # Saved in place of the weights it gets the names and the layout of the checkpoint.
    for name, parameter in model.named_parameters():
        parameter.data = sums[name]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        if after:
            after(Path(folder))
        stored = load_file(Path(folder) / "model.safetensors")
    found = {}
    for name, value in stored.items():
        numbered = any(part.isdigit() for part in name.split("."))
        if not numbered or value.dim() not in (2, 3) or "bias" in name:
            continue
        matrices = {name: value}
        if value.dim() == 3:
            module = name.removesuffix(".weight")
            matrices = {f"{module}.{expert}.weight": matrix for expert, matrix in enumerate(value)}
        for matrix_name, matrix in matrices.items():
            found[f"fisher.{matrix_name}"] = torch.cat([matrix.sum(1), matrix.sum(0)])
    return found
