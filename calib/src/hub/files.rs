//! Which files of a model repository are needed.

use quantizers::formats::{WeightFiles, weight_files};
use std::path::{Component, Path};

/// Files copied to an artifact or read beside the weights, by exact name.
const SIDE_FILES: [&str; 17] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "NOTICE",
];

/// Weights in forms, or under names, that are not read.
const OTHER_WEIGHTS: [&str; 9] = [
    "safetensors",
    "bin",
    "pt",
    "pth",
    "h5",
    "msgpack",
    "onnx",
    "gguf",
    "ckpt",
];

/// How the weights of a repository are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Weights {
    /// One file.
    Single(&'static str),
    /// Shards named by this file.
    Sharded(&'static str),
    /// None that can be read; files of other kinds.
    None(Vec<String>),
}

/// The weights among `names`, in the order in which an opened folder looks for them.
pub(super) fn weights(names: &[String]) -> Weights {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    for WeightFiles { single, index } in weight_files() {
        if has(single) {
            return Weights::Single(single);
        }
        if has(index) {
            return Weights::Sharded(index);
        }
    }
    let top = |name: &&String| !name.contains('/');
    let of_kind =
        |name: &str, ending: &str| Path::new(name).extension().is_some_and(|e| e == ending);
    let foreign = |name: &&String| OTHER_WEIGHTS.iter().any(|ending| of_kind(name, ending));
    Weights::None(names.iter().filter(top).filter(foreign).cloned().collect())
}

/// The files beside the weights, sorted.
pub(super) fn side_files(names: &[String]) -> Vec<String> {
    let mut files: Vec<String> = names
        .iter()
        .filter(|name| is_safe(name) && is_side_file(name, names))
        .cloned()
        .collect();
    files.sort();
    files
}

fn is_side_file(name: &str, all: &[String]) -> bool {
    let path = Path::new(name);
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    match name.split_once('/') {
        None => {
            SIDE_FILES.contains(&name)
                || name.to_uppercase().starts_with("LICENSE")
                || matches!(ending, "model" | "tiktoken" | "py")
        }
        // Modules of sentence-transformers: `1_Pooling/config.json`, `2_Dense/model.safetensors`.
        Some((folder, file)) => {
            folder.starts_with(|c: char| c.is_ascii_digit())
                && folder.contains('_')
                && match file {
                    "config.json" | "model.safetensors" => true,
                    "pytorch_model.bin" => !all.contains(&format!("{folder}/model.safetensors")),
                    _ => false,
                }
        }
    }
}

/// Whether a name from the network stays inside the folder it is joined to.
pub(super) fn is_safe(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    !name.is_empty()
        && !name.contains('\\')
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn one_file_goes_before_shards_and_other_names_count_for_nothing() {
        let all = names(&[
            "model.safetensors",
            "model.safetensors.index.json",
            "x.safetensors",
        ]);
        let single = "model.safetensors";
        let index = "model.safetensors.index.json";
        assert_eq!(weights(&all), Weights::Single(single));
        assert_eq!(weights(&all[1..]), Weights::Sharded(index));
        assert_eq!(weights(&all[2..]), Weights::None(names(&["x.safetensors"])));
        let foreign = names(&["tf_model.h5", "onnx/model.onnx"]);
        assert_eq!(weights(&foreign), Weights::None(names(&["tf_model.h5"])));
    }

    #[test]
    fn safetensors_go_before_files_of_pytorch() {
        let both = names(&["model.safetensors.index.json", "pytorch_model.bin"]);
        let index = "model.safetensors.index.json";
        assert_eq!(weights(&both), Weights::Sharded(index));
        assert_eq!(weights(&both[1..]), Weights::Single("pytorch_model.bin"));
        let shards = names(&["pytorch_model.bin.index.json", "training_args.bin"]);
        let index = "pytorch_model.bin.index.json";
        assert_eq!(weights(&shards), Weights::Sharded(index));
    }

    #[test]
    fn side_files_leave_other_frameworks_behind() {
        let all = names(&[
            "README.md",
            "config.json",
            "LICENSE.txt",
            "tokenizer.model",
            "modeling_x.py",
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
            "2_Dense/pytorch_model.bin",
            "3_Dense/pytorch_model.bin",
            "onnx/config.json",
            "rust_model.ot",
            "tf_model.h5",
            "../config.json",
        ]);
        let expected = [
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
            "3_Dense/pytorch_model.bin",
            "LICENSE.txt",
            "config.json",
            "modeling_x.py",
            "tokenizer.model",
        ];
        assert_eq!(side_files(&all), expected);
    }

    #[test]
    fn names_that_leave_the_folder_are_unsafe() {
        assert!(is_safe("a/b.json"));
        for name in ["", "/a", "../a", "a/../../b", "a\\b", "./a"] {
            assert!(!is_safe(name), "{name}");
        }
    }
}
