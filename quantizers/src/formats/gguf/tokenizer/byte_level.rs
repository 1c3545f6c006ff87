//! Byte-level BPE (`gpt2`): merges are in the file, how text is split before them goes by a name.

use super::super::header::Header;
use super::Parts;
use super::vocabulary::Vocabulary;
use serde_json::{Value, json};

/// A way of splitting text: `tokenizer.ggml.pre`.
struct Splitting {
    names: &'static [&'static str],
    split: Split,
    /// Text is composed first (NFC).
    composed: bool,
    /// Words that are tokens are taken whole, whatever the merges say.
    whole_words: bool,
    add_begin: bool,
}

enum Split {
    /// As GPT-2 did.
    Words,
    /// As GPT-2 did, after every digit is set apart.
    Digits,
    /// By an expression.
    Pattern(&'static str),
}

/// Every way that is known, as `llama-vocab.cpp` of the ggml project pairs names with expressions.
const SPLITTINGS: &[Splitting] = &[
    Splitting {
        // Files from before the key existed have no name, and converters without a match wrote the second.
        names: &[
            "", "default", "gpt-2", "gpt2", "mpt", "olmo", "phi-2", "jais",
        ],
        split: Split::Words,
        composed: false,
        whole_words: false,
        add_begin: false,
    },
    Splitting {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
        ],
        split: Split::Digits,
        composed: false,
        whole_words: false,
        add_begin: false,
    },
    Splitting {
        names: &[
            "llama3",
            "llama-v3",
            "llama-bpe",
            "falcon3",
            "dbrx",
            "smaug-bpe",
            "pixtral",
            "lfm2",
        ],
        split: Split::Pattern(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        composed: false,
        whole_words: true,
        add_begin: true,
    },
    Splitting {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"],
        split: Split::Pattern(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        composed: true,
        whole_words: false,
        add_begin: false,
    },
    Splitting {
        names: &["tekken"],
        split: Split::Pattern(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        composed: false,
        whole_words: true,
        add_begin: true,
    },
    Splitting {
        names: &["gpt-4o", "llama4"],
        split: Split::Pattern(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        composed: false,
        whole_words: false,
        add_begin: false,
    },
];

/// The parts of `tokenizer.json`.
///
/// # Errors
/// No merges, or a way of splitting that is not known.
pub(super) fn parts(header: &Header<'_>, vocabulary: &Vocabulary) -> Result<Parts, String> {
    let name = header.text("tokenizer.ggml.pre").unwrap_or_default();
    let mut known = SPLITTINGS.iter();
    let splitting = known.find(|splitting| splitting.names.contains(&name.as_str()));
    let splitting = splitting.ok_or_else(|| {
        let names: Vec<&str> = SPLITTINGS
            .iter()
            .flat_map(|known| known.names)
            .copied()
            .collect();
        format!(
            "tokenizer.ggml.pre: expected one of {}, found `{name}`",
            names[1..].join(", ")
        )
    })?;
    let merges = header
        .array("tokenizer.ggml.merges")
        .ok_or("it has no `tokenizer.ggml.merges`")?;
    let merges: Result<Vec<Value>, String> = merges
        .texts()
        .map(|merge| match merge.split_once(' ') {
            Some((left, right)) => Ok(json!([left, right])),
            None => Err(format!(
                "tokenizer.ggml.merges: expected two parts, found `{merge}`"
            )),
        })
        .collect();
    Ok(Parts {
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": splitting.whole_words,
            "vocab": vocabulary.ids(),
            "merges": merges?,
        }),
        normalizer: if splitting.composed {
            json!({ "type": "NFC" })
        } else {
            Value::Null
        },
        pre_tokenizer: splitting.split.to_json(),
        decoder: bytes(true),
        add_begin: splitting.add_begin,
    })
}

/// Bytes as letters; `words` splits as GPT-2 did.
fn bytes(words: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": words })
}

impl Split {
    fn to_json(&self) -> Value {
        let first = match self {
            Self::Words => return bytes(true),
            Self::Digits => json!({ "type": "Digits", "individual_digits": true }),
            Self::Pattern(pattern) => json!({
                "type": "Split",
                "pattern": { "Regex": pattern },
                "behavior": "Isolated",
                "invert": false,
            }),
        };
        let words = matches!(self, Self::Digits);
        json!({ "type": "Sequence", "pretokenizers": [first, bytes(words)] })
    }
}
