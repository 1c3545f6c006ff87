"""Small tokenizers of every kind of file, 2,000 texts, and the ids other libraries give for them.

Writes to calib/tests/fixtures/tokenizers:

    texts.json       the texts
    tokenizers.json  for each tokenizer, the files of its folder: shared ones by name, JSON files in full
    ids.safetensors  for each tokenizer, 16 bits of a hash of the ids of each text (special tokens
                     included), and 64 bits over all texts
    *.model ...      vocabularies, shared by the tokenizers of one kind

The reference is `AutoTokenizer.from_pretrained(folder)`, and the library `tiktoken` where transformers needs a
model's own code for a file.

    python tests/golden/make_tokenizers.py
    # transformers 5.24, tokenizers 0.23, sentencepiece 0.2.3, tiktoken 0.14, protobuf 7, Python 3.11

Seeded: running it again gives the same bytes. `--ids NAME` prints the ids of one tokenizer, a text a line.
"""

import base64
import collections
import json
import logging
import pathlib
import random
import re
import sys
import tempfile
import unicodedata

import numpy as np
import sentencepiece
import tiktoken
import tokenizers
from safetensors.numpy import save_file
from sentencepiece import sentencepiece_model_pb2 as proto
from transformers import AutoTokenizer

OUT = pathlib.Path(__file__).resolve().parents[2] / "calib" / "tests" / "fixtures" / "tokenizers"
COUNT = 2000

WORDS = {
    "latin": "the of and calibration weights don't we'll It's naïve coöperate façade Straße größer Élève garçon "
    "İstanbul ılık Việt Nam Tiếng được résumé weight weighted quantize quantized quantization lower lowest new "
    "newer newest wide wider model models layer layers of the a to in is that for it as was with be by on not",
    "cyrillic": "веса модель слой ёлка Ещё квантование объект съезд не на и что это как МОСКВА",
    "greek": "βάρος μοντέλο στρώμα ΣΟΦΟΣ σοφός καὶ τὸ ἀλήθεια",
    "rtl": "مرحبا العالم نموذج اللُّغَة שלום עולם מודל שָׁלוֹם فارسی‌ها ٣٫١٤",
    "indic": "नमस्ते दुनिया भाषा க்ஷ தமிழ் ภาษาไทย สวัสดี မြန်မာ",
    "cjk": "你好世界 模型量化 重量 東京都 カタカナ ｶﾀｶﾅ ひらがな が が 한국어 모델 한글 㐀㐁 𠮷野家",
}
EMOJI = "😀 👍🏽 👨‍👩‍👧‍👦 🇩🇪🇫🇷 ❤️ ☃ 🏳️‍🌈 1️⃣ ✂︎ 🫠".split(" ")
COMPATIBLE = "ﬁ ﬂ ① ㎏ ½ Å K Ω ＡＢＣ １２３ ℌ ™ … ㈱ ǆ ﷺ ² ㍿ ｡ ﾞ ẛ̣ ſ ß ẞ ﬆ".split(" ")
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n ", "\u00a0", "\u3000", "\u2003", "\u200b", "\u0085",
          "\u2028", "\x0b", "\x0c", "\u1680", "\u205f", "\u202f", "\u2029", "\ufeff", "\u180e", "\u2060"]
CONTROLS = [chr(i) for i in list(range(0, 9)) + list(range(14, 32)) + [127, 128, 129, 159, 0xAD]] + [
    "\u200d", "\u200e", "\u202e", "\u2066", "\ufffd", "\ufffe", "\U000e0041", "\ue000", "\ufdd0", "\U0010ffff"]
ADDED = ["<s>", "</s>", "<pad>", "<unk>", "<mask>", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "<bos>", "<eos>",
         "<|endoftext|>", "<|startoftext|>", "<|im_start|>", "<|im_end|>", "<extra_id_0>", "<extra_id_99>",
         "<start_of_turn>", "<end_of_turn>", "<user>", "<a b>", "extra", "NEW", "▁<PRE>", "<FILL_ME>", "<0x41>",
         "<0x0A>", "<|endofprompt|>", "<|extra_3|>", "##ing", "[unused1]", "<S>", "<|ENDOFTEXT|>", "<s", "s>"]
CODE = ["def f(x):\n    return x ** 2\n", "for (int i=0;i<10;i++) {\n\t\tsum += a[i];\n}", "https://example.org/a?b=c&d=%20#e",
        "x = [1, 2.5, -3e-7]", "1234567890 12 345,678.90", "``quoted'' text", "a\\b\\\\c", "\"'`''", "$x_{i}^{2}$",
        "<div class=\"a\">&nbsp;</div>", "I'M YOU'RE they'Ve he'D it'ſ", "#hashtag @user", "C:\\Windows\\", "--flag=-1 -- -",
        "2024-01-31T23:59:59Z", "٠١٢٣٤ ௧௨௩ 一二三 Ⅷ ⅓", "a.b.c...", "!!!???", "(((())))", "~`!@#$%^&*()_+-={}|[]:;<>,.?/"]


def texts():
    draw = random.Random(20)
    made = ["", " ", "  ", "\n", "\t", "\x00", "a", "▁", "▁▁", " ▁ ", "▁a", " a", "a ", "  a  b  ", "▁ ▁a▁b"]
    words = [word for group in WORDS.values() for word in group.split()]
    made += words[::3] + EMOJI + COMPATIBLE + SPACES + CONTROLS + ADDED + CODE
    made += [f"a{space}b" for space in SPACES] + [f"{space}a{space}{space}" for space in SPACES]
    made += [f"ab{control}cd ef" for control in CONTROLS]
    made += [form.format(token) for token in ADDED for form in ("x{0}y", " {0} ", "x {0} y", "{0}{0}", "the{0}  weights")]
    made += ["x" * 200, "quantization" * 12, "あ" * 120, "ab" * 150 + " end", "é" * 101, "9" * 200, "\u0301" * 90, " " * 90, "😀" * 40,
             "\n" * 50, "=" * 150, "weights" + "\u0308" * 30 + " the", "lower" * 30 + "\n" + "newest" * 30]
    made.append("".join(draw.choice("etaoinshrdlu") for _ in range(1500)))

    def pieces(count):
        kinds = [lambda: draw.choice(words), lambda: draw.choice(words), lambda: draw.choice(words),
                 lambda: draw.choice(WORDS[draw.choice(list(WORDS))].split()), lambda: draw.choice(EMOJI),
                 lambda: draw.choice(COMPATIBLE), lambda: draw.choice(CONTROLS), lambda: draw.choice(ADDED),
                 lambda: str(draw.randrange(10 ** draw.randrange(1, 9))), lambda: draw.choice(CODE)[:12], code_point]
        glue = [" "] * 6 + ["", "", "  ", ", ", "-", "'"] + SPACES
        return "".join(draw.choice(kinds)() + draw.choice(glue) for _ in range(count))

    def code_point():
        while True:
            top = draw.choice([0x250, 0x600, 0x3000, 0xA000, 0x20000])
            char = chr(draw.randrange(0x20, top))
            if unicodedata.category(char) not in ("Cn", "Cs"):
                return char

    while len(made) < COUNT:
        kind = len(made) % 8
        if kind == 0:
            made.append("".join(code_point() for _ in range(draw.randrange(1, 9))))
        elif kind == 1:
            made.append(unicodedata.normalize(draw.choice(["NFD", "NFC", "NFKD"]), pieces(draw.randrange(1, 4))))
        elif kind == 2:
            made.append(pieces(draw.randrange(1, 4)).upper())
        else:
            made.append(pieces(draw.randrange(1, 6)))
    return made[:COUNT]


def corpus():
    draw = random.Random(21)
    words = [word for group in WORDS.values() for word in group.split()]
    common = WORDS["latin"].split()
    lines = []
    for _ in range(1500):
        line = [draw.choice(common if draw.random() < 0.7 else words) for _ in range(draw.randrange(3, 12))]
        if draw.random() < 0.2:
            line.insert(draw.randrange(len(line)), str(draw.randrange(2000)))
        lines.append(" ".join(line) + draw.choice([".", "!", "?", "", "\u3002"]))
    return lines + [line.replace("\n", " ") for line in CODE]


def train_sentencepiece(name, lines, **options):
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(pathlib.Path(folder) / "m")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_prefix=prefix, num_threads=1, minloglevel=2, hard_vocab_limit=False,
            **options)
        model = proto.ModelProto()
        model.ParseFromString(pathlib.Path(prefix + ".model").read_bytes())
    # What the trainer writes about itself (paths among it) is of no use here.
    model.trainer_spec.model_prefix = ""
    charsmap = model.normalizer_spec.precompiled_charsmap
    (OUT / name).write_bytes(model.SerializeToString(deterministic=True))
    return charsmap


def split_charsmap(name):
    """Moves the character map of a model into a file of its own, which models share: a quarter of a megabyte.

    The file is a message with nothing but the map; appended to the model it merges into it.
    """
    model = proto.ModelProto()
    model.ParseFromString((OUT / name).read_bytes())
    rest = proto.ModelProto()
    rest.normalizer_spec.precompiled_charsmap = model.normalizer_spec.precompiled_charsmap
    model.normalizer_spec.ClearField("precompiled_charsmap")
    (OUT / name).write_bytes(model.SerializeToString(deterministic=True))
    (OUT / "nmt_nfkc.charsmap").write_bytes(rest.SerializeToString(deterministic=True))


def case_folding(path):
    """A short table of rules in the manner of nfkc_cf: lower case, ligatures, widths, a deletion."""
    rules = {chr(i): chr(i).casefold() for i in list(range(0x41, 0x5B)) + list(range(0xC0, 0x180)) + list(range(0x391, 0x430))
             if chr(i).casefold() != chr(i) and unicodedata.category(chr(i)) != "Cn"}
    for text in ["ﬁ", "ﬂ", "①", "㎏", "½", "Ａ", "１", "ß", "İ", "が", "é", "\u00ad", "\u3000", "\t"]:
        rules[text] = unicodedata.normalize("NFKC", text).casefold() if text not in "\u00ad\t" else {"\u00ad": "", "\t": " "}[text]
    hexes = lambda text: " ".join(f"{ord(char):X}" for char in text)
    path.write_text("".join(f"{hexes(k)}\t{hexes(v)}\n" for k, v in sorted(rules.items()) if k != v))


def train_byte_pairs(lines, name, suffix="", merges=264):
    """Byte pairs by count, then by text: the library's trainer draws lots between equal counts."""
    cut = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    counts = collections.Counter(word for line in lines for word, _ in cut(line.lower() if suffix else line))
    words = {tuple(word[:-1]) + (word[-1] + suffix,): count for word, count in counts.items()}
    letters = sorted(byte_chars())
    tokens = letters + ([letter + suffix for letter in letters] if suffix else [])
    made = []
    for _ in range(merges):
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        made.append((left, right))
        words = {merged(word, left, right): count for word, count in words.items()}
    tokens += dict.fromkeys(left + right for left, right in made if left + right not in tokens)
    (OUT / f"{name}.merges.txt").write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in made))
    return {token: place for place, token in enumerate(tokens)}, made


def merged(word, left, right):
    parts, at = [], 0
    while at < len(word):
        pair = word[at:at + 2] == (left, right)
        parts.append(left + right if pair else word[at])
        at += 2 if pair else 1
    return tuple(parts)


def write_vocabulary(name, vocab):
    (OUT / name).write_text(json.dumps(vocab, ensure_ascii=False, separators=(",", ":")))


def byte_chars():
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table = {byte: chr(byte) for byte in printable}
    for index, byte in enumerate(byte for byte in range(256) if byte not in printable):
        table[byte] = chr(256 + index)
    return {char: byte for byte, char in table.items()}


def write_ranks(vocab, merges):
    """A tiktoken file: the bytes first, then the merges in order of rank."""
    chars = byte_chars()
    tokens = sorted(char for char in vocab if len(char) == 1)
    tokens += [left + right for left, right in merges]
    lines = []
    for rank, token in enumerate(tokens):
        encoded = base64.b64encode(bytes(chars[char] for char in token)).decode()
        lines.append(f"{encoded} {rank}")
    (OUT / "ranks.tiktoken").write_text("\n".join(lines) + "\n")
    return len(tokens)


def write_words(lines):
    """The vocabulary of word pieces: characters, frequent words, frequent endings (the library's trainer draws lots)."""
    words = collections.Counter(word for line in lines for word in re.findall(r"\w+|[^\w\s]", f"{line} {line.lower()}"))
    endings = collections.Counter()
    for word, count in words.items():
        for length in range(2, min(5, len(word))):
            endings["##" + word[-length:]] += count
    ranked = lambda counter, count: [text for text, _ in sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:count]]
    letters = sorted({char for word in words for char in word})
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"] + letters + ["##" + char for char in letters[:300]]
    vocab += [text for text in ranked(words, 160) + ranked(endings, 80) if text not in vocab]
    (OUT / "words.txt").write_text("".join(f"{token}\n" for token in vocab))
    # MPNet's special tokens are named otherwise.
    renamed = {"[PAD]": "<pad>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
    (OUT / "mpnet.txt").write_text("".join(f"{renamed.get(token, token)}\n" for token in vocab))


QWEN = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
O200K = "|".join([
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
    r"""\p{N}{1,3}""", r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""", r"""\s*[\r\n]+""", r"""\s+(?!\S)""", r"""\s+"""])


def token(content, **options):
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {"content": content, **flags, **options}


def folders(ranks):
    """The tokenizers: shared files by the name they get in the folder, and JSON files."""
    pairs = {"vocab.json": "bytes.vocab.json", "merges.txt": "bytes.merges.txt"}
    unigram = ["unigram.model", "nmt_nfkc.charsmap"]
    config = lambda kind, **more: {"model_type": kind, **more}
    settings = lambda name, **more: {"tokenizer_class": name, **more}
    return {
        "llama": ({"tokenizer.model": ["bpe.model"]}, {
            "config.json": config("llama"),
            "tokenizer_config.json": settings("LlamaTokenizer", add_bos_token=True, add_eos_token=False, legacy=False,
                                              bos_token=token("<s>", __type="AddedToken"),
                                              eos_token=token("</s>", __type="AddedToken"), unk_token="<unk>", pad_token=None)}),
        "llama-legacy": ({"tokenizer.model": ["bpe.model"]}, {
            "config.json": config("llama"),
            "tokenizer_config.json": settings("LlamaTokenizer", add_bos_token=True, add_eos_token=True, legacy=True, model_max_length=512),
            "special_tokens_map.json": {"bos_token": token("<s>", normalized=True), "eos_token": "</s>", "unk_token": "<unk>",
                                        "pad_token": "<pad>", "additional_special_tokens": ["<|im_start|>"]},
            "added_tokens.json": {"<pad>": 600, "extra": 601, "<|im_end|>": 602}}),
        "code-llama": ({"tokenizer.model": ["bpe.model"]}, {
            "config.json": config("code_llama"), "tokenizer_config.json": settings("CodeLlamaTokenizer")}),
        "mistral": ({"tokenizer.model": ["bpe-symbols.model"]}, {
            "config.json": config("mistral"),
            "tokenizer_config.json": settings("LlamaTokenizer", add_bos_token=True, added_tokens_decoder={
                "0": token("<unk>"), "1": token("<s>"), "2": token("</s>"), "700": token("NEW", special=False, normalized=True),
                "701": token("extra", special=False, lstrip=True, rstrip=True, single_word=True)})}),
        "gemma": ({"tokenizer.model": ["bpe-gemma.model"]}, {
            "config.json": config("gemma2"),
            "tokenizer_config.json": settings("GemmaTokenizer", add_bos_token=True)}),
        "t5": ({"spiece.model": unigram}, {
            "config.json": config("t5"),
            "tokenizer_config.json": settings("T5Tokenizer", extra_ids=100, additional_special_tokens=[f"<extra_id_{i}>" for i in range(100)])}),
        "xlm-roberta": ({"sentencepiece.bpe.model": unigram}, {"config.json": config("xlm-roberta")}),
        "camembert": ({"sentencepiece.bpe.model": unigram}, {"config.json": config("camembert")}),
        "albert": ({"spiece.model": ["unigram-albert.model", "nmt_nfkc.charsmap"]}, {"config.json": config("albert"), "tokenizer_config.json": {"do_lower_case": True}}),
        "deberta-v2": ({"spm.model": ["unigram-deberta.model", "nmt_nfkc.charsmap"]}, {
            "config.json": config("deberta-v2"), "tokenizer_config.json": {"do_lower_case": False, "vocab_type": "spm"},
            "added_tokens.json": {"[MASK]": 700}}),
        "umt5": ({"tokenizer.model": ["unigram-folding.model"]}, {
            "config.json": config("umt5"), "tokenizer_config.json": settings("T5Tokenizer", add_eos_token=True, extra_ids=0)}),
        "siglip2": ({"tokenizer.model": ["bpe-gemma.model"]}, {"config.json": config("siglip2"), "tokenizer_config.json": settings("GemmaTokenizer")}),
        "gpt2": (pairs, {"config.json": config("gpt2")}),
        "gpt2-prefix": (pairs, {
            "config.json": config("opt"),
            "tokenizer_config.json": settings("GPT2Tokenizer", add_bos_token=True, add_prefix_space=True, bos_token="</s>",
                                              eos_token="</s>", unk_token="</s>", pad_token="<pad>")}),
        "roberta": (pairs, {"config.json": config("roberta"), "tokenizer_config.json": {"mask_token": token("<mask>", lstrip=True, __type="AddedToken")}}),
        "clip": ({"vocab.json": "clip.vocab.json", "merges.txt": "clip.merges.txt"}, {"config.json": config("clip")}),
        "qwen2": (pairs, {
            "config.json": config("qwen2"),
            "tokenizer_config.json": settings(
                "Qwen2Tokenizer", added_tokens_decoder={str(520 + i): token(name) for i, name in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])},
                additional_special_tokens=["<|im_start|>", "<|im_end|>"], bos_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None)}),
        "gpt-neox": (pairs, {"config.json": config("gpt_neox"), "tokenizer_config.json": settings("GPTNeoXTokenizer", add_bos_token=True)}),
        "cohere": (pairs, {"config.json": config("cohere"), "tokenizer_config.json": settings("CohereTokenizer", add_bos_token=True)}),
        "bert": ({"vocab.txt": "words.txt"}, {"config.json": config("bert")}),
        "bert-cased": ({"vocab.txt": "words.txt"}, {
            "config.json": config("electra"),
            "tokenizer_config.json": settings("ElectraTokenizer", do_lower_case=False, tokenize_chinese_chars=False, strip_accents=True),
            "added_tokens.json": {"extra": 650, "<user>": 651}}),
        "mpnet": ({"vocab.txt": "mpnet.txt"}, {"config.json": config("mpnet")}),
        "tiktoken": ({"tiktoken.model": "ranks.tiktoken"}, {
            "config.json": config("kimi_k25"),
            "tokenizer_config.json": settings("TikTokenTokenizer", bos_token="<s>", eos_token="</s>", added_tokens_decoder={
                str(ranks + 1): token("<s>"), str(ranks + 2): token("</s>"), str(ranks + 5): token("<|im_start|>")})}),
        "qwen": ({"qwen.tiktoken": "ranks.tiktoken"}, {
            "config.json": config("qwen"), "tokenizer_config.json": settings("QWenTokenizer", auto_map={
                "AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]})}),
        "o200k": ({"o200k_base.tiktoken": "ranks.tiktoken"}, {"config.json": config("later")}),
    }


def by_tiktoken(name):
    """What the classes that come with such files do: special tokens numbered after the ranks."""
    lines = (OUT / "ranks.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in lines}
    count = len(ranks)
    if name == "qwen":
        names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [f"<|extra_{i}|>" for i in range(205)]
        special, pattern = {text: count + i for i, text in enumerate(names)}, QWEN
    else:
        # The real file has 199,998 ranks; the tokens stand at 199,999 and 200,018.
        special, pattern = {"<|endoftext|>": count + 1, "<|endofprompt|>": count + 20}, O200K
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    prepare = (lambda text: unicodedata.normalize("NFC", text)) if name == "qwen" else (lambda text: text)
    return lambda text: encoding.encode(prepare(text), allowed_special="all")


def read(names):
    names = names if isinstance(names, list) else [names]
    return b"".join((OUT / name).read_bytes() for name in names)


def reference(name, files, settings):
    if name in ("qwen", "o200k"):
        return by_tiktoken(name)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for inside, names in files.items():
            (folder / inside).write_bytes(read(names))
        for inside, value in settings.items():
            (folder / inside).write_text(json.dumps(value))
        made = AutoTokenizer.from_pretrained(folder)
    print(f"{name}: {type(made).__name__}, {len(made)} tokens", file=sys.stderr)
    if name == "code-llama":
        # The class cuts a text at `<FILL_ME>` and puts infilling tokens around the parts: a prompt, not a text.
        return lambda text: made.backend_tokenizer.encode(text).ids
    return lambda text: made(text)["input_ids"]


def fnv(ids, start=0xCBF29CE484222325):
    """FNV-1a over the little-endian bytes of each id."""
    state = start
    for number in ids:
        for byte in int(number).to_bytes(4, "little"):
            state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state


def vocabularies():
    lines = corpus()
    shared = dict(input_sentence_size=0, shuffle_input_sentence=False)
    special = dict(unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    train_sentencepiece("bpe.model", lines, model_type="bpe", vocab_size=600, byte_fallback=True, split_digits=True,
                        normalization_rule_name="identity", remove_extra_whitespaces=False,
                        allow_whitespace_only_pieces=True, **special, **shared)
    train_sentencepiece("bpe-symbols.model", lines, model_type="bpe", vocab_size=600, byte_fallback=True,
                        normalization_rule_name="identity", user_defined_symbols=["<user>", "<a b>", "quant", "ed"],
                        control_symbols=["<|im_start|>"], **special, **shared)
    train_sentencepiece("bpe-gemma.model", lines, model_type="bpe", vocab_size=620, byte_fallback=True, split_digits=True,
                        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
                        allow_whitespace_only_pieces=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
                        pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>",
                        user_defined_symbols=["<mask>", "<start_of_turn>", "<end_of_turn>", "\t", "  ", "    "], **shared)
    train_sentencepiece("unigram.model", lines, model_type="unigram", vocab_size=500, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                        normalization_rule_name="nmt_nfkc", **shared)
    train_sentencepiece("unigram-albert.model", lines, model_type="unigram", vocab_size=480, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
                        normalization_rule_name="nmt_nfkc", control_symbols=["[CLS]", "[SEP]"], user_defined_symbols=["[MASK]"], **shared)
    train_sentencepiece("unigram-deberta.model", lines, model_type="unigram", vocab_size=490, pad_id=0, bos_id=1, eos_id=2, unk_id=3,
                        pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]",
                        normalization_rule_name="nmt_nfkc", **shared)
    for name in ["unigram.model", "unigram-albert.model", "unigram-deberta.model"]:
        split_charsmap(name)
    with tempfile.TemporaryDirectory() as folder:
        rules = pathlib.Path(folder) / "rules.tsv"
        case_folding(rules)
        train_sentencepiece("unigram-folding.model", [line.casefold() for line in lines], model_type="unigram", vocab_size=760, byte_fallback=True,
                            normalization_rule_tsv=str(rules), user_defined_symbols=["<user>", "<a b>"],
                            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, **shared)
    model = proto.ModelProto()
    model.ParseFromString((OUT / "unigram-folding.model").read_bytes())
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    (OUT / "unigram-folding.model").write_bytes(model.SerializeToString(deterministic=True))

    vocab, merges = train_byte_pairs(lines, "bytes")
    write_vocabulary("bytes.vocab.json", vocab)
    ranks = write_ranks(vocab, merges)
    vocab, _ = train_byte_pairs(lines, "clip", suffix="</w>")
    for extra in ["<|startoftext|>", "<|endoftext|>"]:
        vocab[extra] = len(vocab)
    write_vocabulary("clip.vocab.json", vocab)
    write_words(lines)
    return ranks


def main():
    logging.getLogger("transformers").setLevel(logging.ERROR)
    OUT.mkdir(parents=True, exist_ok=True)
    ranks = vocabularies()
    samples = texts()
    if sys.argv[1:2] == ["--ids"]:
        files, settings = folders(ranks)[sys.argv[2]]
        encode = reference(sys.argv[2], files, settings)
        for sample in samples:
            print(json.dumps(encode(sample)))
        return
    (OUT / "texts.json").write_text(json.dumps(samples, ensure_ascii=False, indent=0))
    manifest, hashes = {}, {}
    for name, (files, settings) in folders(ranks).items():
        encode = reference(name, files, settings)
        each = [fnv(encode(sample)) for sample in samples]
        hashes[name] = np.array([one & 0xFFFF for one in each], dtype=np.uint16)
        low = lambda one: (one & 0xFFFFFFFF, one >> 32)
        whole = fnv(half for one in each for half in low(one))
        hashes[f"{name}.all"] = np.array([whole], dtype=np.uint64)
        manifest[name] = {"files": {inside: names if isinstance(names, list) else [names] for inside, names in files.items()},
                          "json": settings}
    (OUT / "tokenizers.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
    save_file(hashes, OUT / "ids.safetensors")


if __name__ == "__main__":
    main()
