//! Small models and files for the cases, and the program run on them.

use assert_cmd::Command;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A folder of its own for a case; gone when dropped.
pub(crate) struct Workbench(tempfile::TempDir);

/// What a run ended with.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A tensor as stored: type, shape, bytes.
pub(crate) type Stored = (Dtype, Vec<usize>, Vec<u8>);

impl Workbench {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, content).unwrap();
        path
    }

    /// A tiny model without tokenizer, from the fixtures of the library.
    pub(crate) fn model(&self, fixture: &str, name: &str) -> PathBuf {
        self.copied(&Self::fixture(fixture), name)
    }

    /// The folder of such a model.
    pub(crate) fn fixture(name: &str) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        root.join("calib/tests/fixtures/models").join(name)
    }

    /// The small decoder with a tokenizer that the program carries, as a folder.
    pub(crate) fn decoder(&self, name: &str) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        self.copied(&root.join("tests/fixtures/wiki-llama-1.4m"), name)
    }

    fn copied(&self, from: &Path, name: &str) -> PathBuf {
        let to = self.at(name);
        fs_err::create_dir_all(&to).unwrap();
        for entry in fs_err::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "expected.safetensors" {
                fs_err::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
        to
    }

    /// A few thousand characters of text.
    pub(crate) fn text(&self, name: &str) -> PathBuf {
        let text = include_str!("../fixtures/text/sampled.txt");
        let end = text
            .char_indices()
            .map(|(at, _)| at)
            .find(|at| *at >= 4000)
            .unwrap();
        self.write(name, &text[..end])
    }

    /// Runs the program here, offline, with a cache of its own and without colours.
    pub(crate) fn quench(&self, words: &[&str]) -> Ended {
        self.quench_with(words, &[])
    }

    /// As [`Self::quench`] with more variables.
    pub(crate) fn quench_with<S: AsRef<OsStr>>(
        &self,
        words: &[S],
        variables: &[(&str, &str)],
    ) -> Ended {
        self.quench_reading(words, variables, "")
    }

    /// As [`Self::quench_with`] with `input` on stdin.
    pub(crate) fn quench_reading<S: AsRef<OsStr>>(
        &self,
        words: &[S],
        variables: &[(&str, &str)],
        input: &str,
    ) -> Ended {
        // A long run of mutations keeps its program while others are built.
        let program = std::env::var_os("QUENCH_UNDER_TEST");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_quench").into());
        let output = Command::new(program)
            .current_dir(self.path())
            .args(words)
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", self.at("hub-cache"))
            .env("QUENCH_CACHE", self.at("cache"))
            .env("NO_COLOR", "1")
            .env_remove("HF_TOKEN")
            .env_remove("RUST_BACKTRACE")
            .envs(variables.iter().copied())
            .write_stdin(input)
            .output()
            .unwrap();
        let here = self.path().to_string_lossy().into_owned();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&here, "[HERE]");
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ended {
    /// Everything, for the message of a failed test.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("exit code {}\n", self.code);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let _ = write!(text, "--- {name} ---\n{stream}");
        }
        text
    }

    /// Asserts the exit code and that stderr holds every one of `parts`.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.shown());
        for part in parts {
            assert!(self.stderr.contains(part), "no `{part}`: {}", self.shown());
        }
    }

    /// stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{}", self.shown()))
    }
}

/// Changes config.json, or another JSON file, of a model.
pub(crate) fn edit_json(file: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs_err::read(file).unwrap()).unwrap();
    edit(&mut value);
    fs_err::write(file, format!("{value:#}")).unwrap();
}

/// The tensors of a `.safetensors` file.
pub(crate) fn tensors(file: &Path) -> BTreeMap<String, Stored> {
    let bytes = fs_err::read(file).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    all.tensors()
        .into_iter()
        .map(|(name, view)| {
            let stored = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name, stored)
        })
        .collect()
}

/// Writes a `.safetensors` file.
pub(crate) fn write_tensors(file: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs_err::write(file, bytes).unwrap();
}

/// Changes the tensors of a model in one file.
pub(crate) fn edit_tensors(model: &Path, edit: impl FnOnce(&mut BTreeMap<String, Stored>)) {
    let file = model.join("model.safetensors");
    let mut all = tensors(&file);
    edit(&mut all);
    write_tensors(&file, &all);
}

/// The values of a float tensor.
pub(crate) fn floats((dtype, _, bytes): &Stored) -> Vec<f32> {
    let halves = || {
        bytes
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    };
    match dtype {
        Dtype::F32 => bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        Dtype::F16 => halves().map(|b| half::f16::from_bits(b).to_f32()).collect(),
        Dtype::BF16 => halves()
            .map(|b| half::bf16::from_bits(b).to_f32())
            .collect(),
        other => panic!("{other:?} is no float"),
    }
}

/// Float values as stored in f32.
pub(crate) fn as_f32(shape: &[usize], values: &[f32]) -> Stored {
    let bytes = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    (Dtype::F32, shape.to_vec(), bytes)
}

/// Float values as stored in f16.
pub(crate) fn as_f16(shape: &[usize], values: &[f32]) -> Stored {
    let bytes = values
        .iter()
        .flat_map(|value| half::f16::from_f32(*value).to_le_bytes());
    (Dtype::F16, shape.to_vec(), bytes.collect())
}

/// Every file below `folder` with its content.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs_err::read(&path).unwrap());
            }
        }
    }
    found
}

/// Gives a model of 96 tokens a tokenizer: four special tokens and the words `w4` to `w95`.
pub(crate) fn word_tokenizer(model: &Path) {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let words = special.iter().map(|&word| word.to_owned());
    let words = words.chain((4..96).map(|id| format!("w{id}")));
    let vocabulary: serde_json::Map<String, Value> = words
        .enumerate()
        .map(|(id, word)| (word, Value::from(id)))
        .collect();
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, word)| {
            serde_json::json!({ "id": id, "content": word, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true })
        })
        .collect();
    let token = |name: &str| serde_json::json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let sequence = |name: &str| serde_json::json!({ "Sequence": { "id": name, "type_id": 0 } });
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), sequence("A"), token("[SEP]")],
            "pair": [token("[CLS]"), sequence("A"), token("[SEP]"), sequence("B"), token("[SEP]")],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] },
            },
        },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
    });
    fs_err::write(model.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

/// A table of sentences of that tokenizer's words, with labels `LABEL_0` to `LABEL_2`.
pub(crate) fn sentences(rows: usize) -> String {
    let mut text = "sentence\tlabel\n".to_owned();
    for row in 0..rows {
        let words: Vec<String> = (0..3 + row % 9)
            .map(|at| format!("w{}", 4 + (row * 37 + at * at * 11) % 92))
            .collect();
        let _ = writeln!(text, "{}\tLABEL_{}", words.join(" "), row % 3);
    }
    text
}
