//! Where a model folder keeps its chat template.

use super::TokenizerError;
use super::json_files::JsonFiles;
use super::settings::{Settings, Special};
use crate::chat_template::ChatTemplate;
use serde_json::Value;

/// The template in a file of its own, before the one in `tokenizer_config.json`; of several there, the one named
/// `default`. `named` are the special tokens of the tokenizer's class.
///
/// # Errors
/// A file that cannot be read, special tokens that are none.
pub(super) fn read(
    files: &JsonFiles,
    named: &[(String, Special)],
) -> Result<Option<ChatTemplate>, TokenizerError> {
    let own = files.path("chat_template.jinja");
    let (path, source) = if own.exists() {
        let source = fs_err::read_to_string(&own);
        let source = source.map_err(|source| TokenizerError::File {
            path: own.clone(),
            source: Box::new(source),
        })?;
        (own, source)
    } else {
        let found = match &files.settings["chat_template"] {
            Value::String(source) => Some(source.as_str()),
            Value::Array(several) => several
                .iter()
                .find(|template| template["name"] == "default")
                .and_then(|template| template["template"].as_str()),
            _ => None,
        };
        let Some(source) = found else {
            return Ok(None);
        };
        (files.path("tokenizer_config.json"), source.to_owned())
    };
    // A `tokenizer.json` has no class that would name tokens besides those of the files.
    let named = if named.is_empty() {
        Settings::read(files)?.named(&[])
    } else {
        named.to_vec()
    };
    let tokens = named
        .into_iter()
        .map(|(key, token)| (key, token.text().to_owned()));
    Ok(Some(ChatTemplate::new(&path, &source, tokens.collect())))
}
