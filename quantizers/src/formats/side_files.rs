//! The files beside the weights that an artifact needs to be used: tokenizers, prompts, licences.

use super::FormatError;
use std::path::{Path, PathBuf};

/// Names copied as they are.
const NAMES: &[&str] = &[
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
];
/// Endings copied: sentencepiece and tiktoken vocabularies, chat templates, a model's own code.
const ENDINGS: &[&str] = &[".model", ".tiktoken", ".jinja", ".py"];
/// Beginnings copied.
const BEGINNINGS: &[&str] = &["LICENSE", "LICENCE", "NOTICE", "COPYING"];
/// Folders of files copied whole, besides the modules of sentence-transformers (`1_Pooling`).
const FOLDERS: &[&str] = &["additional_chat_templates"];

/// Paths of the side files of `folder`, relative to it, sorted.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(|e| FormatError::io("read", folder, e))? {
        let path = entry
            .map_err(|e| FormatError::io("read", folder, e))?
            .path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if path.is_file() && is_side_file(name) {
            found.push(PathBuf::from(name));
        } else if path.is_dir() && is_side_folder(name) {
            list_all(folder, &PathBuf::from(name), &mut found)?;
        }
    }
    found.sort();
    Ok(found)
}

/// Bytes of the side files of `folder`; 0 where it cannot be read.
pub fn side_file_bytes(folder: &Path) -> u64 {
    let files = list(folder).unwrap_or_default();
    let bytes = files
        .iter()
        .filter_map(|file| fs_err::metadata(folder.join(file)).ok());
    bytes.map(|found| found.len()).sum()
}

fn list_all(root: &Path, inside: &Path, found: &mut Vec<PathBuf>) -> Result<(), FormatError> {
    let folder = root.join(inside);
    for entry in fs_err::read_dir(&folder).map_err(|e| FormatError::io("read", &folder, e))? {
        let path = entry
            .map_err(|e| FormatError::io("read", &folder, e))?
            .path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let relative = inside.join(name);
        if path.is_dir() {
            list_all(root, &relative, found)?;
        } else if path.is_file() {
            found.push(relative);
        }
    }
    Ok(())
}

fn is_side_file(name: &str) -> bool {
    NAMES.contains(&name)
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
        || BEGINNINGS
            .iter()
            .any(|beginning| name.starts_with(beginning))
}

/// `1_Pooling`, `2_Dense`, ... of sentence-transformers.
fn is_side_folder(name: &str) -> bool {
    let numbered = name.split_once('_').is_some_and(|(number, rest)| {
        !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) && !rest.is_empty()
    });
    numbered || FOLDERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokenizers_licences_code_and_pooling_are_side_files_and_weights_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            "1_Pooling/config.json",
            "LICENSE.txt",
            "chat_template.jinja",
            "config.json",
            "model.safetensors",
            "modeling_custom.py",
            "modules.json",
            "pytorch_model.bin",
            "report.json",
            "runs/events",
            "spiece.model",
            "tokenizer.json",
        ];
        for file in files {
            let path = dir.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, b"x").unwrap();
        }
        let listed = list(dir.path()).unwrap();
        let listed: Vec<_> = listed.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            listed,
            [
                "1_Pooling/config.json",
                "LICENSE.txt",
                "chat_template.jinja",
                "modeling_custom.py",
                "modules.json",
                "spiece.model",
                "tokenizer.json",
            ]
        );
    }
}
