"""Runs the clients people have against `quench serve`: the `openai` package, and lm-evaluation-harness.

    python tests/clients/clients.py target/release/quench FOLDER --text FILE [--rows 60]

FOLDER holds a decoder, as a checkpoint or as quench wrote it; FILE is any text of some pages. What is missing of the
packages `openai`, `lm_eval`, `datasets`, `torch` and `transformers` is said, and the part that needs it left out.

lm-eval scores two sets of choices and one perplexity, all made from FILE, once through the server (`local-completions`) and
once in transformers on the dense export of the same folder (`hf`). They have to agree: the same choice on 99.5 % of the rows,
and log-likelihoods within a thousandth.
"""

import argparse
import contextlib
import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import tempfile

SAME_CHOICES = 0.995
RELATIVE = 1e-3


def missing(*packages):
    """Says which packages are not there."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        print(f"skipped: no {', '.join(absent)}")
    return bool(absent)


@contextlib.contextmanager
def serving(quench, folder, *words):
    """A server of `folder`: its URL and the name of the model."""
    command = [quench, "serve", folder, "--port", "0", "--json", "--quiet", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"`{' '.join(command)}` did not start")
            text += line
        found = json.loads(text)
        yield found["url"], found["model"]
    finally:
        process.terminate()
        code = process.wait(timeout=30)
        print(f"server ended with {code}")


def run_openai(url, model, key):
    """What the `openai` package asks, and what it makes of the answers."""
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    assert [entry.id for entry in client.models.list()] == [model]
    asked = {"model": model, "prompt": "In the year", "max_tokens": 12, "temperature": 0}
    whole = client.completions.create(**asked, logprobs=2)
    choice = whole.choices[0]
    assert len(choice.logprobs.token_logprobs) >= whole.usage.completion_tokens > 0
    pieces = client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    pieces = list(pieces)
    text = "".join(piece.choices[0].text for piece in pieces if piece.choices)
    assert text == choice.text, (text, choice.text)
    assert pieces[-1].usage == whole.usage
    print(f"openai: completions, streamed and whole: {choice.text!r}")
    talk = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "temperature": 0}
    try:
        answer = client.chat.completions.create(**talk, logprobs=True, top_logprobs=3)
    except openai.BadRequestError as error:
        assert "no chat template" in str(error), error
        print("openai: chat is refused: the model has no chat template")
    else:
        said = answer.choices[0].message.content
        stream = client.chat.completions.create(**talk, stream=True)
        pieces = [piece.choices[0].delta.content or "" for piece in stream]
        assert "".join(pieces) == said
        assert answer.choices[0].logprobs.content
        print(f"openai: chat, streamed and whole: {said!r}")
    for wrong, expected in [
        ({"model": "other"}, openai.NotFoundError),
        ({"temperature": -1}, openai.BadRequestError),
        ({"extra_body": {"unheard_of": 1}}, openai.BadRequestError),
    ]:
        try:
            client.completions.create(**{**asked, **wrong})
        except expected as error:
            print(f"openai: {type(error).__name__}: {error.body['message']}")
        else:
            raise SystemExit(f"{wrong} was not refused")
    try:
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0).models.list()
    except openai.AuthenticationError as error:
        print(f"openai: {type(error).__name__}: {error.body['message']}")
    else:
        raise SystemExit("a wrong key was let in")


def write_tasks(folder, text, rows):
    """Two sets of choices and one perplexity from the paragraphs of `text`."""
    dice = random.Random(0)
    paragraphs = [" ".join(line.split()) for line in text.splitlines()]
    paragraphs = [line for line in paragraphs if 200 < len(line) and not line.startswith("=")]
    if len(paragraphs) < 8:
        raise SystemExit("the text has too few paragraphs")
    halves = []
    for line in paragraphs:
        words = line.split()[:48]
        halves.append((" ".join(words[:24]), " " + " ".join(words[24:])))
    endings, orders = [], []
    for begin, end in dice.sample(halves, min(rows, len(halves))):
        choices = [end] + [other for _, other in dice.sample(halves, 4) if other != end][:3]
        dice.shuffle(choices)
        endings.append({"query": begin, "choices": choices, "gold": choices.index(end)})
        words = end.split()
        choices = [end]
        for _ in range(2):
            mixed = words[:]
            dice.shuffle(mixed)
            choices.append(" " + " ".join(mixed))
        dice.shuffle(choices)
        orders.append({"query": begin, "choices": choices, "gold": choices.index(end)})
    pages = [{"text": "\n".join(paragraphs[at : at + 2])} for at in range(0, min(rows, len(paragraphs)) // 2, 2)]
    for name, made in [("endings", endings), ("orders", orders), ("pages", pages)]:
        lines = "".join(json.dumps(row) + "\n" for row in made)
        (folder / f"{name}.jsonl").write_text(lines)

    def task(name, lines):
        head = [f"task: {name}", "dataset_path: json", "test_split: test", "dataset_kwargs:"]
        head += ["  data_files:", f"    test: {folder / name}.jsonl"]
        (folder / f"{name}.yaml").write_text("\n".join(head + lines) + "\n")

    choice = ["output_type: multiple_choice", 'doc_to_text: "{{query}}"', 'doc_to_choice: "{{choices}}"']
    choice += ["doc_to_target: gold", 'target_delimiter: ""', "metric_list:", "  - metric: acc"]
    task("endings", choice)
    task("orders", choice)
    task("pages", ["output_type: loglikelihood_rolling", 'doc_to_text: ""', 'doc_to_target: "{{text}}"', "metric_list:", "  - metric: word_perplexity", "  - metric: byte_perplexity"])
    return ["endings", "orders", "pages"]


def evaluate(kind, settings, folder, tasks, batch_size):
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return lm_eval.simple_evaluate(model=kind, model_args=settings, tasks=tasks, task_manager=manager, log_samples=True, bootstrap_iters=0, batch_size=batch_size)


def likelihoods(sample):
    """The log-likelihood of each choice, or of the page."""
    found = []
    for response in sample["filtered_resps"]:
        while isinstance(response, (list, tuple)):
            response = response[0]
        found.append(float(response))
    return found


def run_lm_eval(url, model, key, quench, served, text, rows):
    import os

    os.environ["OPENAI_API_KEY"] = key
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        dense = folder / "dense"
        exported = subprocess.run([quench, "export", served, "--format", "dense", "-o", dense, "--quiet"])
        if exported.returncode != 0:
            print("the folder is a plain checkpoint: transformers reads it as it is")
            dense = pathlib.Path(served)
        tasks = write_tasks(folder, text, rows)
        limit = json.loads((dense / "config.json").read_text()).get("max_position_embeddings", 2048)
        limit = min(limit, 1024)
        ours = evaluate(
            "local-completions",
            {"model": model, "base_url": f"{url}/v1/completions", "tokenizer_backend": "huggingface", "tokenizer": str(dense), "num_concurrent": 4, "max_length": limit, "max_retries": 1},
            folder,
            tasks,
            1,
        )
        # Through an API two tokens of a window go to what is asked beside it.
        theirs = evaluate("hf", {"pretrained": str(dense), "dtype": "float32", "device": "cpu", "max_length": limit - 2, "add_bos_token": False}, folder, tasks, 16)
    ok = True
    for task in tasks:
        mine = sorted(ours["samples"][task], key=lambda sample: sample["doc_id"])
        other = sorted(theirs["samples"][task], key=lambda sample: sample["doc_id"])
        assert len(mine) == len(other)
        same, worst = 0, 0.0
        for one, two in zip(mine, other):
            a, b = likelihoods(one), likelihoods(two)
            same += a.index(max(a)) == b.index(max(b))
            worst = max([worst, *(abs(x - y) / max(abs(y), 1.0) for x, y in zip(a, b))])
        agree = same >= SAME_CHOICES * len(mine) and worst <= RELATIVE
        ok &= agree
        figures = {name: (ours["results"][task][name], theirs["results"][task][name]) for name in ours["results"][task] if name.split(",")[0] in ("acc", "word_perplexity", "byte_perplexity")}
        print(f"lm-eval {task}: {len(mine)} rows, same choice on {same}, largest relative difference {worst:.1e}, {'agrees' if agree else 'DIFFERS'}")
        for name, (one, two) in figures.items():
            print(f"  {name}: served {one}, transformers {two}")
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quench")
    parser.add_argument("folder")
    parser.add_argument("--text", required=True, type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=60)
    asked = parser.parse_args()
    key, ok = "a-key-for-tests", True
    with serving(asked.quench, asked.folder, "--api-key", key) as (url, model):
        if not missing("openai"):
            run_openai(url, model, key)
        if not missing("lm_eval", "datasets", "torch", "transformers"):
            text = asked.text.read_text(errors="replace")
            ok = run_lm_eval(url, model, key, asked.quench, asked.folder, text, asked.rows)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
