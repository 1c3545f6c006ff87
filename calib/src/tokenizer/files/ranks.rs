//! tiktoken files: a token a line in base64, with its rank.

use super::super::TokenizerError;
use super::super::assembly::{Around, Assembled, Class, Pipeline, part};
use super::super::classes::GENERIC;
use super::super::json_files::JsonFiles;
use super::super::settings::{Settings, Special};
use super::{VocabularyFile, bytes_of, first_of, unusable};
use crate::base64::from_base64;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, Error};

/// The kind.
pub(super) struct Ranks;

/// A table of ranks and the style it is used in.
struct Table {
    bytes: Vec<u8>,
    style: &'static Style,
}

/// How a text is cut before tokens are merged, and which special tokens follow the ranks.
struct Style {
    /// File names of the style.
    files: &'static [&'static str],
    /// Classes, of models' own code, whose files are of the style whatever their name.
    classes: &'static [&'static str],
    /// The expression whose matches are merged apart.
    pattern: &'static str,
    /// Whether texts are composed (NFC) first.
    composed: bool,
    /// Special tokens: their distance from the first id after the ranks, text, and how many of them there are where
    /// the text ends in a number.
    special: &'static [(u32, &'static str, u32)],
}

/// cl100k's; also what transformers takes for a file of ranks whose style nothing tells.
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Ids that may be left out between the ranks and the last special token.
const MOST_PLACEHOLDERS: u32 = 1 << 20;

/// The styles.
static STYLES: &[Style] = &[
    Style {
        files: &["tiktoken.model", "tokenizer.model"],
        classes: &[],
        pattern: CL100K,
        composed: false,
        special: &[],
    },
    Style {
        files: &["qwen.tiktoken"],
        classes: &["QWenTokenizer"],
        pattern: QWEN,
        composed: true,
        special: &[
            (0, "<|endoftext|>", 1),
            (1, "<|im_start|>", 1),
            (2, "<|im_end|>", 1),
            (3, "<|extra_{}|>", 205),
        ],
    },
    Style {
        files: &["cl100k_base.tiktoken"],
        classes: &[],
        pattern: CL100K,
        composed: false,
        special: &[
            (1, "<|endoftext|>", 1),
            (2, "<|fim_prefix|>", 1),
            (3, "<|fim_middle|>", 1),
            (4, "<|fim_suffix|>", 1),
            (20, "<|endofprompt|>", 1),
        ],
    },
    Style {
        files: &["o200k_base.tiktoken"],
        classes: &[],
        pattern: O200K,
        composed: false,
        special: &[(1, "<|endoftext|>", 1), (20, "<|endofprompt|>", 1)],
    },
];

static CLASS: Class<Table> = Class {
    names: &[GENERIC],
    tokens: &[],
    around: Around::Flags,
    again: false,
    pipeline,
};

impl VocabularyFile for Ranks {
    fn names(&self) -> &'static [&'static str] {
        &[
            "tiktoken.model",
            "qwen.tiktoken",
            "cl100k_base.tiktoken",
            "o200k_base.tiktoken",
            "tokenizer.tiktoken",
        ]
    }

    fn find(&self, class: &str, files: &JsonFiles) -> Option<PathBuf> {
        if class != GENERIC {
            return None;
        }
        style(files).map(|(path, _)| path)
    }

    fn read(
        &self,
        path: &Path,
        _class: &str,
        files: &JsonFiles,
    ) -> Result<Assembled, TokenizerError> {
        let style = style(files).map(|(_, style)| style);
        let table = Table {
            bytes: bytes_of(path)?,
            style: style.ok_or_else(|| unusable(path, "its style is not known".into()))?,
        };
        let settings = Settings::read(files)?;
        let assembled = CLASS.assemble(&table, settings);
        assembled.map_err(|source| unusable(path, source))
    }
}

/// The file of ranks in a folder, and its style: by the class the folder declares, else by the file's name.
fn style(files: &JsonFiles) -> Option<(PathBuf, &'static Style)> {
    let declared = files.settings["tokenizer_class"]
        .as_str()
        .unwrap_or_default();
    let of_class = STYLES
        .iter()
        .find(|style| style.classes.contains(&declared));
    let by_class = of_class.and_then(|style| Some((any_ranks(&files.folder)?, style)));
    by_class.or_else(|| {
        let path =
            |style: &Style| first_of(&files.folder, style.files).filter(|path| holds_ranks(path));
        STYLES.iter().find_map(|style| Some((path(style)?, style)))
    })
}

/// The first file whose name ends in `.tiktoken`.
fn any_ranks(folder: &Path) -> Option<PathBuf> {
    let paths = fs_err::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let ranks = paths.filter(|path| path.extension().is_some_and(|ending| ending == "tiktoken"));
    ranks.min()
}

/// Whether a file begins with a token in base64 and its rank.
pub(super) fn holds_ranks(path: &Path) -> bool {
    let mut head = Vec::new();
    let file = fs_err::File::open(path);
    let read = file.and_then(|file| file.take(1024).read_to_end(&mut head));
    let line = head.split(|&byte| byte == b'\n').next();
    read.is_ok() && line.is_some_and(|line| !line.is_empty() && entry(line).is_some())
}

/// A token and its rank.
fn entry(line: &[u8]) -> Option<(Vec<u8>, u32)> {
    let text = std::str::from_utf8(line).ok()?;
    let (token, rank) = text.trim_end_matches('\r').split_once(' ')?;
    let token = from_base64(token)?;
    (!token.is_empty()).then_some((token, rank.trim().parse().ok()?))
}

/// The letter GPT-2 writes for each byte: the byte itself where it can be seen, else one from U+0100 up.
fn letters() -> Vec<char> {
    let mut next = 256_u32;
    let letter = |byte: u32| {
        let seen = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let code = if seen { byte } else { next };
        next += u32::from(!seen);
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    (0..256).map(letter).collect()
}

fn pipeline(table: &Table, settings: &mut Settings) -> Result<Pipeline, Error> {
    let mut ranks: Vec<(Vec<u8>, u32)> = Vec::new();
    for (at, line) in table.bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let entry = entry(line);
        ranks.push(
            entry.ok_or_else(|| {
                format!("line {}: expected a token in base64 and its rank", at + 1)
            })?,
        );
    }
    let letters = letters();
    let written = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|&byte| letters[usize::from(byte)])
            .collect::<String>()
    };
    let vocabulary: Vocab = ranks
        .iter()
        .map(|(token, rank)| (written(token), *rank))
        .collect();
    let merges = merges(&ranks);
    let merges = merges
        .into_iter()
        .map(|(left, right)| (written(left), written(right)))
        .collect();
    let count = u32::try_from(ranks.len())?;
    let model = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(true)
        .build()?;
    let cut = json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Split", "pattern": { "Regex": table.style.pattern }, "behavior": "Isolated", "invert": false },
        { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false }] });
    let composed = if table.style.composed {
        json!({ "type": "NFC" })
    } else {
        Value::Null
    };
    let first = match table.style.special {
        [] => from_settings(count, settings)?,
        special => numbered(count, special),
    };
    let first = first.into_iter().map(|text| AddedToken::from(text, true));
    Ok(Pipeline {
        model: model.into(),
        normalizer: part(composed)?,
        pre_tokenizer: Some(part(cut)?),
        decoder: Some(part(json!({ "type": "ByteLevel",
            "add_prefix_space": true, "trim_offsets": true, "use_regex": true }))?),
        first: first.collect(),
        extra: None,
    })
}

/// The pairs that make each token, lower ranks first.
fn merges(ranks: &[(Vec<u8>, u32)]) -> Vec<(&[u8], &[u8])> {
    let rank: HashMap<&[u8], u32> = ranks
        .iter()
        .map(|(token, rank)| (token.as_slice(), *rank))
        .collect();
    let mut found = Vec::new();
    for (token, whole) in ranks {
        for at in 1..token.len() {
            let (left, right) = token.split_at(at);
            if let (Some(first), Some(second)) = (rank.get(left), rank.get(right)) {
                found.push((*whole, *first, *second, left, right));
            }
        }
    }
    found.sort_unstable();
    found
        .into_iter()
        .map(|(.., left, right)| (left, right))
        .collect()
}

/// What stands where a token is missing between two ids.
fn placeholder(id: u32) -> String {
    format!("<|reserved_token_{id}|>")
}

/// The special tokens of a style, with placeholders where ids are left out.
fn numbered(count: u32, special: &[(u32, &str, u32)]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for &(distance, text, repeats) in special {
        while (texts.len() as u64) < u64::from(distance) {
            let next = u32::try_from(texts.len()).unwrap_or(u32::MAX);
            texts.push(placeholder(count.saturating_add(next)));
        }
        texts.extend((0..repeats).map(|number| text.replace("{}", &number.to_string())));
    }
    texts
}

/// The special tokens `added_tokens_decoder` numbers past the ranks, with placeholders between them, and then
/// those without a number.
fn from_settings(count: u32, settings: &Settings) -> Result<Vec<String>, Error> {
    let last = settings.added.keys().next_back().copied();
    if let Some(last) = last.filter(|&last| last.saturating_sub(count) > MOST_PLACEHOLDERS) {
        return Err(format!("added token {last} stands too far behind {count} ranks").into());
    }
    let numbers = last.map_or(0..0, |last| count..last.saturating_add(1));
    let text = |id: u32| {
        settings
            .added
            .get(&id)
            .map_or_else(|| placeholder(id), |token| token.content.clone())
    };
    let mut texts: Vec<String> = numbers.map(text).collect();
    for token in settings.extra(None) {
        let text = Special::text(&token).to_owned();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    Ok(texts)
}
