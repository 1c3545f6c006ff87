//! A model folder's tokenizer, from whatever kind of file holds it, with the few token ids other files name.

mod error;
mod parts;
mod json_files;
mod classes;
mod settings;
mod assembly;
mod files;
mod template;
mod vocabulary;

pub use error::TokenizerError;
pub use vocabulary::Vocabulary;

use crate::chat_template::ChatTemplate;
use crate::foreign_code::guarded;
use json_files::JsonFiles;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokenizers::Encoding;
use tokenizers::utils::truncation::TruncationDirection;

/// Usual names of the token that stands in place of one to be guessed.
const MASKS: &[&str] = &["[MASK]", "<mask>"];

/// Text to token ids and back. Never pads, truncates only where asked.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    begin: Option<u32>,
    ends: Vec<u32>,
    mask: Option<u32>,
    max_length: Option<usize>,
    direction: TruncationDirection,
    template: Option<ChatTemplate>,
}

impl Tokenizer {
    /// Loads the tokenizer of a model folder.
    ///
    /// The begin-of-sequence token is the one named by `tokenizer_config.json`, else by
    /// `special_tokens_map.json`, else the id in `generation_config.json` or `config.json`;
    /// end-of-sequence ids are all those any of these files name.
    ///
    /// # Errors
    /// No tokenizer, one of a class that is not known, or a file that cannot be read.
    pub fn from_folder(folder: &Path) -> Result<Self, TokenizerError> {
        let files = JsonFiles::read(folder)?;
        let (path, read) = files::read(&classes::class(&files), &files)?;
        let mut tokenizer = Self::new(read.tokenizer, path);
        let settings = &files.settings;
        let named = |key: &str| -> Vec<u32> {
            let names = [settings, &files.map]
                .into_iter()
                .filter_map(|file| token_text(&file[key]));
            let of_class = read.named.iter().filter(|(known, _)| known == key);
            let names = names.chain(of_class.map(|(_, token)| token.text().to_owned()));
            names
                .filter_map(|name| tokenizer.inner.token_to_id(&name))
                .collect()
        };
        let numbered = |key: &str| -> Vec<u32> {
            [&files.generation, &files.config]
                .into_iter()
                .flat_map(|file| token_ids(&file[key]))
                .collect()
        };
        let begin = named("bos_token")
            .into_iter()
            .chain(numbered("bos_token_id"))
            .next();
        let mut ends = named("eos_token");
        ends.extend(numbered("eos_token_id"));
        ends.sort_unstable();
        ends.dedup();
        let mask = named("mask_token").into_iter().next();
        tokenizer.mask = mask.or(tokenizer.mask);
        tokenizer.begin = begin;
        tokenizer.ends = ends;
        // transformers writes 1e30 for "no limit".
        tokenizer.max_length = settings["model_max_length"]
            .as_u64()
            .filter(|&length| length < 1 << 30)
            .and_then(|length| usize::try_from(length).ok());
        if settings["truncation_side"] == "left" {
            tokenizer.direction = TruncationDirection::Left;
        }
        tokenizer.template = template::read(&files, &read.named)?;
        Ok(tokenizer)
    }

    /// Loads a `tokenizer.json` alone; it names no begin or end of sequence.
    ///
    /// # Errors
    /// A file that cannot be read or is no tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        Ok(Self::new(files::load_json(path)?, path.to_owned()))
    }

    fn new(inner: tokenizers::Tokenizer, path: PathBuf) -> Self {
        let mut masks = MASKS.iter().filter_map(|name| inner.token_to_id(name));
        Self {
            mask: masks.next(),
            inner,
            path,
            begin: None,
            ends: Vec::new(),
            max_length: None,
            direction: TruncationDirection::Right,
            template: None,
        }
    }

    /// The begin-of-sequence token.
    pub fn begin(&self) -> Option<u32> {
        self.begin
    }

    /// The token that stands in place of one to be guessed: the one the files name, else one of the usual names.
    pub fn mask(&self) -> Option<u32> {
        self.mask
    }

    /// The end-of-sequence tokens, ascending.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Longest sequence `tokenizer_config.json` allows, special tokens included.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// The model's chat template, if its folder has one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Number of token ids, added tokens included.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token `id` as the tokenizer writes it; nothing where there is none.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of the token that is written as `token`; nothing where there is none.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether some token has an id from `rows` up.
    pub fn reaches(&self, rows: usize) -> bool {
        self.inner
            .get_vocab(true)
            .into_values()
            .any(|id| id as usize >= rows)
    }

    /// Ids of `text` and nothing else.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.plain(text).map(|encoding| encoding.get_ids().to_vec())
    }

    /// Ids of `text` with the special tokens of the tokenizer around it, at most `max_length`
    /// with them: the text is cut, as transformers does with `truncation=True`.
    ///
    /// # Errors
    /// The tokenizer refuses the text, or the limit leaves no room.
    pub fn encode_special(
        &self,
        text: &str,
        max_length: Option<usize>,
    ) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.with_special(text, max_length)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Ids of `text` as something to be continued: a tokenizer made for whole texts ends each, and this one has no end.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = self.encode_special(text, None)?;
        while ids.len() > 1 && ids.last().is_some_and(|id| self.ends.contains(id)) {
            ids.pop();
        }
        Ok(ids)
    }

    /// As [`Self::encode_special`], and which of the ids are of the text: the others are special tokens put around it.
    ///
    /// # Errors
    /// As [`Self::encode_special`].
    pub fn encode_marked(
        &self,
        text: &str,
        max_length: Option<usize>,
    ) -> Result<(Vec<u32>, Vec<bool>), TokenizerError> {
        let encoding = self.with_special(text, max_length)?;
        let special = encoding.get_special_tokens_mask().iter();
        let of_text = special.map(|&special| special == 0).collect();
        Ok((encoding.get_ids().to_vec(), of_text))
    }

    fn with_special(
        &self,
        text: &str,
        max_length: Option<usize>,
    ) -> Result<Encoding, TokenizerError> {
        let mut encoding = self.plain(text)?;
        if let Some(limit) = max_length {
            let special = self.special_count();
            let room = limit.checked_sub(special).filter(|&room| room > 0).ok_or(
                TokenizerError::NoRoom {
                    found: limit,
                    special,
                },
            )?;
            encoding.truncate(room, 0, self.direction);
        }
        self.inner
            .post_process(encoding, None, true)
            .map_err(|source| self.refused("encode", source))
    }

    /// Text of `ids`, special tokens left out.
    ///
    /// # Errors
    /// The decoder refuses them.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        // Some decoders look at a last token that is not there.
        if ids.is_empty() {
            return Ok(String::new());
        }
        guarded(|| self.inner.decode(ids, true))
            .unwrap_or_else(|message| Err(message.into()))
            .map_err(|source| self.refused("decode", source))
    }

    fn plain(&self, text: &str) -> Result<Encoding, TokenizerError> {
        guarded(|| self.inner.encode_fast(text, false))
            .unwrap_or_else(|message| Err(message.into()))
            .map_err(|source| self.refused("encode", source))
    }

    fn refused(&self, action: &'static str, source: tokenizers::Error) -> TokenizerError {
        TokenizerError::Refused {
            path: self.path.clone(),
            action,
            source,
        }
    }
}

/// A token written as a string or as `{"content": ..}`.
fn token_text(value: &Value) -> Option<String> {
    value
        .as_str()
        .or_else(|| value["content"].as_str())
        .map(str::to_owned)
}

/// Ids written as one number or as a list.
fn token_ids(value: &Value) -> Vec<u32> {
    let numbers = value
        .as_array()
        .map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    numbers
        .iter()
        .filter_map(|number| u32::try_from(number.as_u64()?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Words of one letter, `[CLS]` and `[SEP]` around every text, padded to 8 by its file.
    pub(crate) fn write_words(folder: &Path) {
        let special = |id: u32, content: &str| {
            json!({ "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true })
        };
        let part = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
        let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
        let tokenizer = json!({
            "version": "1.0",
            "truncation": { "max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right" },
            "padding": { "strategy": { "Fixed": 8 }, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]" },
            "added_tokens": [special(0, "[PAD]"), special(1, "[CLS]"), special(2, "[SEP]")],
            "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
            "post_processor": { "type": "TemplateProcessing",
                "single": [part("[CLS]"), text, part("[SEP]")], "pair": [text, text],
                "special_tokens": {
                    "[CLS]": { "id": "[CLS]", "ids": [1], "tokens": ["[CLS]"] },
                    "[SEP]": { "id": "[SEP]", "ids": [2], "tokens": ["[SEP]"] } } },
            "model": { "type": "WordLevel", "unk_token": "[PAD]",
                "vocab": { "[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4, "c": 5, "d": 6 } },
        });
        fs_err::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    }

    #[test]
    fn padding_and_truncation_of_the_file_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        write_words(folder.path());
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(tokenizer.encode("a b c d a").unwrap(), [3, 4, 5, 6, 3]);
        assert_eq!(
            tokenizer.encode_special("a b c", None).unwrap(),
            [1, 3, 4, 5, 2]
        );
    }

    #[test]
    fn the_limit_counts_special_tokens() {
        let folder = tempfile::tempdir().unwrap();
        write_words(folder.path());
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(
            tokenizer.encode_special("a b c d", Some(4)).unwrap(),
            [1, 3, 4, 2]
        );
        let error = tokenizer.encode_special("a", Some(2)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "max_length 2 leaves no room beside 2 special tokens"
        );
    }

    #[test]
    fn begin_and_end_come_from_names_before_numbers() {
        let folder = tempfile::tempdir().unwrap();
        write_words(folder.path());
        let write = |name: &str, value: Value| {
            fs_err::write(folder.path().join(name), value.to_string()).unwrap();
        };
        write(
            "config.json",
            json!({ "bos_token_id": 5, "eos_token_id": [6, 2] }),
        );
        assert_eq!(
            Tokenizer::from_folder(folder.path()).unwrap().begin(),
            Some(5)
        );
        let limit = 1_000_000_000_000_000_019_884_624_838_656_f64;
        write(
            "tokenizer_config.json",
            json!({ "bos_token": { "content": "[CLS]" }, "eos_token": "d",
            "model_max_length": limit, "truncation_side": "left" }),
        );
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(
            (tokenizer.begin(), tokenizer.ends()),
            (Some(1), &[2, 6][..])
        );
        assert_eq!(tokenizer.max_length(), None);
        assert_eq!(
            tokenizer.encode_special("a b c d", Some(4)).unwrap(),
            [1, 5, 6, 2]
        );
    }

    #[test]
    fn a_folder_without_a_usable_tokenizer_says_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let error = Tokenizer::from_folder(folder.path()).unwrap_err();
        assert!(matches!(error, TokenizerError::Missing { .. }));
        fs_err::write(folder.path().join("vocab.txt"), "a").unwrap();
        let error = Tokenizer::from_folder(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with(
            "has `vocab.txt`, which is not known for the tokenizer class `TokenizersBackend`"
        ));
        assert!(error.hint().is_some());
    }
}
