"""Conversations rendered by `apply_chat_template`, for the templates of calib/tests/fixtures/chats.

The templates are written in the manner of well known ones. Writes chats.json: the conversations, and for each
template what transformers makes of each of them with and without a prompt for an answer; null where the template
raises an exception. The date is fixed, as quench fixes it. Also rows.jsonl, rows.parquet and texts.parquet, read as
data.

    python tests/golden/make_chats.py        # transformers 5.24, jinja2 3.1.6, pyarrow 26
"""

import datetime
import functools
import json
import pathlib
import tempfile
import unittest.mock

import jinja2
import pyarrow
import pyarrow.parquet
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

OUT = pathlib.Path(__file__).resolve().parents[2] / "calib" / "tests" / "fixtures" / "chats"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def say(*turns, **more):
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": roles[role], "content": content, **more.get(f"_{at}", {})} for at, (role, content) in enumerate(turns)]


CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 3, "exact": True}}}
CHATS = [
    say(("u", "Hello, what is a weight?"), ("a", "A number a model learned.")),
    say(("s", "You answer in one word."), ("u", "Capital of France?"), ("a", "Paris"), ("u", "And of Italy?"), ("a", "Rome")),
    say(("u", "  spaces around \n\n"), ("a", "\n kept or trimmed? \t"), ("u", "end on a question")),
    say(("s", ""), ("u", "日本語と 😀 and <|im_end|> inside & <b>\"quotes\"</b> 'single'"), ("a", "C:\\path\n\ttab")),
    say(("u", "Think."), ("a", "<think>\nfirst this,\nthen that\n</think>\n\nThe answer."), ("u", "Again."), ("a", "<think>\n\n</think>\n\nSame.")),
    say(("u", "Reason apart"), ("a", "Yes."), _1={"reasoning_content": "because\n"}),
    say(("u", "Weather?"), ("a", ""), ("t", "{\"degrees\": 21}"), ("a", "21 degrees."), _1={"tool_calls": [CALL]}),
    say(("u", "Weather?"), ("a", None), ("t", "rain"), ("t", "sun"), ("a", "Both."), _1={"tool_calls": [CALL]}),
    say(("a", "I speak first."), ("u", "That is unusual."), ("a", "It is.")),
    say(("u", "one"), ("u", "two"), ("a", "three")),
    say(("s", "first"), ("s", "second"), ("u", "q"), ("a", "a")),
]


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


def write_rows():
    """The same rows as JSON lines and as Parquet, conversations and plain texts."""
    plain = [[{key: turn[key] for key in ("role", "content")} for turn in chat] for chat in CHATS[:6]]
    rows = [{"id": at, "messages": chat} for at, chat in enumerate(plain)]
    (OUT / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write = functools.partial(pyarrow.parquet.write_table, store_schema=False, use_dictionary=False, write_statistics=False)
    write(pyarrow.Table.from_pylist(rows), OUT / "rows.parquet", compression="zstd")
    texts = [{"text": chat[0]["content"], "score": at / 2, "kept": at % 2 == 0} for at, chat in enumerate(CHATS)]
    texts[1]["text"] = None
    write(pyarrow.Table.from_pylist(texts), OUT / "texts.parquet", compression="snappy")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **TOKENS}))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = {}
    for path in sorted(OUT.glob("*.jinja")):
        expected[path.stem] = []
        for chat in CHATS:
            for prompt in (False, True):
                try:
                    with unittest.mock.patch.object(chat_template_utils, "datetime", FixedDate):
                        text = tokenizer.apply_chat_template(
                            chat, chat_template=path.read_text(), tokenize=False, add_generation_prompt=prompt)
                except jinja2.exceptions.TemplateError as error:
                    print(f"{path.stem}: {error}")
                    text = None
                except TypeError as error:
                    print(f"{path.stem}: {type(error).__name__} {error}")
                    text = None
                expected[path.stem].append(text)
    write_rows()
    (OUT / "chats.json").write_text(
        json.dumps({"tokens": TOKENS, "chats": CHATS, "expected": expected}, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
