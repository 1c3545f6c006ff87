"""Tokens a second of `quench generate` beside llama.cpp, alternated, as a table for the README.

    python tests/clients/speed.py target/release/quench --llama-bench llama-bench \\
        --gguf "Q4_0=model-q4_0.gguf" --ours "4-bit codebook + 0.45 %=FOLDER" [--rounds 3] [--threads 1 2] \\
        [--baseline MODEL --judge RECIPE]

Each of `--ours` runs once for every way of `--compute`. Medians of the rounds are printed; ratios are to the first
`--gguf` of the same round. Programs are pinned to as many cores as there are threads. With `--judge`, the KL divergence from
the baseline on what the recipe evaluates is measured as well, with the arithmetic that is timed.
"""

import argparse
import json
import pathlib
import statistics
import subprocess

TESTS = {"pp512": (512, 0), "tg128": (0, 128)}


def pinned(threads):
    return ["taskset", "-c", ",".join(str(core) for core in range(threads))]


def llama(bench, file, threads):
    words = [bench, "-m", file, "-p", "512", "-n", "128", "-t", str(threads), "-r", "1", "-o", "json"]
    found = json.loads(subprocess.run(pinned(threads) + words, capture_output=True, text=True, check=True).stdout)
    return {(test["n_prompt"], test["n_gen"]): test["avg_ts"] for test in found}


def ours(quench, folder, compute, threads):
    words = [quench, "generate", folder, "--bench", ",".join(TESTS), "-r", "1", "--threads", str(threads)]
    words += ["--compute", compute, "--json", "--progress", "none"]
    found = json.loads(subprocess.run(pinned(threads) + words, capture_output=True, text=True, check=True).stdout)
    return {(test["n_prompt"], test["n_gen"]): test["avg_ts"] for test in found}


COMPUTES = ("f32", "bf16", "int16", "int8")


def divergence(args, folder, compute):
    """KL divergence from the original, computed as tokens are one at a time."""
    if not args.judge:
        return ""
    words = [args.quench, "eval", folder, "--baseline", args.baseline, "-r", args.judge]
    words += ["--compute", compute, "--json", "--progress", "none"]
    scores = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)["scores"]
    found = [score["quantized"] for score in scores if score["metric"] == "kl_divergence"]
    return f"{found[0]:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quench")
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--gguf", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--ours", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--baseline")
    parser.add_argument("--judge")
    args = parser.parse_args()
    subjects = []
    for entry in args.gguf:
        name, file = entry.split("=", 1)
        run = lambda threads, file=file: llama(args.llama_bench, file, threads)
        subjects.append((f"llama.cpp {name}", pathlib.Path(file).stat().st_size, "", run))
    for entry in args.ours:
        name, folder = entry.split("=", 1)
        size = sum(path.stat().st_size for path in pathlib.Path(folder).glob("*.safetensors"))
        for compute in COMPUTES:
            run = lambda threads, folder=folder, compute=compute: ours(args.quench, folder, compute, threads)
            subjects.append((f"quench {name}, {compute}", size, divergence(args, folder, compute), run))
    for threads in args.threads:
        table(args, subjects, threads)


def table(args, subjects, threads):
    found = [{test: [] for test in TESTS} for _ in subjects]
    for _ in range(args.rounds):
        for speeds, (_, _, _, run) in zip(found, subjects):
            measured = run(threads)
            for test, counts in TESTS.items():
                speeds[test].append(measured[counts])
    print(f"\n| {threads} thread{'s' * (threads > 1)} | MB | KL | " + " | ".join(f"{test} | ratio" for test in TESTS) + " |")
    print("|---" * (3 + 2 * len(TESTS)) + "|")
    for speeds, (name, size, kl, _) in zip(found, subjects):
        cells = []
        for test in TESTS:
            ratios = [a / b for a, b in zip(speeds[test], found[0][test])]
            cells += [f"{statistics.median(speeds[test]):.1f}", f"{statistics.median(ratios):.2f}"]
        print(f"| {name} | {size / 1e6:.1f} | {kl} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
