//! What is evaluated: the original, the quantized model, and what turns data into their inputs.

use crate::error::{Side, TaskError};
use crate::runner::{Pooling, Progress, Runner, Wanted};
use calib::Model;
use calib::class_names::ClassNames;
use calib::data::DataError;
use calib::image_processor::ImageProcessor;
use calib::inputs::Inputs;
use calib::json_file;
use calib::tokenizer::{Tokenizer, TokenizerError};
use serde_json::Value;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The models of one evaluation; at least one of them is there.
pub struct Subject<'a> {
    /// The original checkpoint.
    pub original: Option<Box<dyn Runner + 'a>>,
    /// The artifact.
    pub quantized: Option<Box<dyn Runner + 'a>>,
    /// What the model folder says about inputs.
    pub inputs: InputFiles,
}

/// What a model folder says about turning data into inputs.
#[derive(Debug, Clone, Default)]
pub struct InputFiles {
    /// For text models.
    pub tokenizer: Option<Tokenizer>,
    /// For vision models.
    pub images: Option<ImageProcessor>,
    /// How token states become one embedding.
    pub pooling: Pooling,
    /// Longest sequence of an embedding model (`sentence_bert_config.json`).
    pub sentence_length: Option<usize>,
    /// What config.json says of classes.
    pub classes: ClassNames,
}

/// Input files that cannot be followed.
#[derive(Debug, Error)]
pub enum SubjectError {
    /// A file that cannot be read.
    #[error("cannot read `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pooling other than mean, first or last token.
    #[error("`{path}`: pooling `{found}`, expected `mean_tokens`, `cls_token` or `lasttoken`")]
    Pooling {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        found: String,
    },
    /// A sentence-transformers module that is not supported.
    #[error("`{path}`: module `{found}`, expected `Transformer`, `Pooling` or `Normalize`")]
    Module {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        found: String,
    },
    /// A tokenizer that cannot be loaded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// An image processor that cannot be loaded.
    #[error(transparent)]
    Images(#[from] DataError),
}

impl Subject<'_> {
    /// The model whose shape both share.
    pub fn model(&self) -> Option<&dyn Model> {
        self.original
            .as_ref()
            .or(self.quantized.as_ref())
            .map(|runner| runner.model())
    }

    /// The models that are there, the original first.
    pub fn sides(&self) -> impl Iterator<Item = (Side, &dyn Runner)> {
        let original = self.original.as_deref();
        let quantized = self.quantized.as_deref();
        let original = original.map(|runner| (Side::Original, runner));
        let quantized = quantized.map(|runner| (Side::Quantized, runner));
        original.into_iter().chain(quantized)
    }

    /// One vector of each model for each of `inputs`.
    ///
    /// # Errors
    /// Inputs a model does not take, or a model that returns something else.
    pub fn rows(
        &self,
        inputs: &Inputs,
        wanted: Wanted,
        progress: &dyn Progress,
    ) -> Result<Rows, TaskError> {
        let mut rows = Rows::default();
        for (side, runner) in self.sides() {
            *rows.of(side) = Some(runner.rows(side, inputs, wanted, progress)?);
        }
        Ok(rows)
    }
}

/// One vector per input of each model that is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Of the original.
    pub original: Option<Vec<Vec<f32>>>,
    /// Of the quantized model.
    pub quantized: Option<Vec<Vec<f32>>>,
}

impl Rows {
    fn of(&mut self, side: Side) -> &mut Option<Vec<Vec<f32>>> {
        match side {
            Side::Original => &mut self.original,
            Side::Quantized => &mut self.quantized,
        }
    }

    /// Adds the vectors of further inputs.
    pub fn append(&mut self, more: Self) {
        for (side, rows) in [
            (Side::Original, more.original),
            (Side::Quantized, more.quantized),
        ] {
            if let Some(rows) = rows {
                self.of(side).get_or_insert_default().extend(rows);
            }
        }
    }

    /// Values of the shortest vector of either model; 0 where there is none.
    pub fn width(&self) -> usize {
        let both = self.original.iter().chain(&self.quantized);
        both.flatten().map(Vec::len).min().unwrap_or(0)
    }
}

impl SubjectError {
    /// At most one line on what the user could do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tokenizer(error) => error.hint(),
            Self::Images(error) => error.hint(),
            _ => None,
        }
    }
}

impl InputFiles {
    /// Reads what `folder` has; files it lacks are no error until a task needs them.
    ///
    /// # Errors
    /// Files that are there but cannot be read or followed.
    pub fn from_folder(folder: &Path) -> Result<Self, SubjectError> {
        let tokenizer = match Tokenizer::from_folder(folder) {
            Ok(tokenizer) => Some(tokenizer),
            // A task that needs one says so; many vision models come with files that nothing here reads.
            Err(TokenizerError::Missing { .. } | TokenizerError::Class { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let images = if folder.join("preprocessor_config.json").exists() {
            Some(ImageProcessor::from_folder(folder)?)
        } else {
            None
        };
        let sentence = json(&folder.join("sentence_bert_config.json"))?;
        let config = json(&folder.join("config.json"))?;
        Ok(Self {
            tokenizer,
            images,
            pooling: pooling(folder)?,
            sentence_length: number(sentence.get("max_seq_length")),
            classes: ClassNames::from_config(&config),
        })
    }
}

fn number(value: Option<&Value>) -> Option<usize> {
    value
        .and_then(Value::as_u64)
        .and_then(|number| usize::try_from(number).ok())
}

/// Null where there is no such file.
fn json(path: &Path) -> Result<Value, SubjectError> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    let error = |source| SubjectError::File {
        path: path.to_owned(),
        source,
    };
    json_file::read(path).map_err(|source| error(Box::new(source)))
}

/// The pooling of the sentence-transformers files; mean where there are none.
fn pooling(folder: &Path) -> Result<Pooling, SubjectError> {
    let path = folder.join("modules.json");
    let modules = json(&path)?;
    let mut pooling = Pooling::default();
    for module in modules.as_array().into_iter().flatten() {
        let kind = module
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                let place = module
                    .get("path")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                pooling = pooling_of(&folder.join(place).join("config.json"))?;
            }
            _ => {
                return Err(SubjectError::Module {
                    path,
                    found: kind.to_owned(),
                });
            }
        }
    }
    Ok(pooling)
}

fn pooling_of(path: &Path) -> Result<Pooling, SubjectError> {
    let config = json(path)?;
    let mut modes = Vec::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        // Written as flags up to version 5, as one name since.
        match (key.strip_prefix("pooling_mode"), value) {
            (Some(""), Value::String(mode)) => modes.push(mode.clone()),
            (Some(mode), Value::Bool(true)) => modes.push(mode.trim_start_matches('_').to_owned()),
            _ => {}
        }
    }
    let modes: Vec<&str> = modes.iter().map(String::as_str).collect();
    match modes.as_slice() {
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::First),
        ["lasttoken"] => Ok(Pooling::Last),
        _ => Err(SubjectError::Pooling {
            path: path.to_owned(),
            found: modes.join(" + "),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folder(modules: &Value, pooling: &Value) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("1_Pooling")).unwrap();
        fs_err::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
        let config = folder.path().join("1_Pooling/config.json");
        fs_err::write(config, pooling.to_string()).unwrap();
        folder
    }

    fn modules() -> Value {
        json!([
            { "type": "sentence_transformers.models.Transformer", "path": "" },
            { "type": "sentence_transformers.models.Pooling", "path": "1_Pooling" },
            { "type": "sentence_transformers.models.Normalize", "path": "2_Normalize" },
        ])
    }

    #[test]
    fn pooling_is_read_and_other_kinds_are_errors() {
        let mean = json!({ "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false });
        assert_eq!(
            pooling(folder(&modules(), &mean).path()).unwrap(),
            Pooling::Mean
        );
        let first = json!({ "pooling_mode_cls_token": true });
        assert_eq!(
            pooling(folder(&modules(), &first).path()).unwrap(),
            Pooling::First
        );
        let last = json!({ "pooling_mode_cls_token": false, "pooling_mode_lasttoken": true });
        assert_eq!(
            pooling(folder(&modules(), &last).path()).unwrap(),
            Pooling::Last
        );
        let named = json!({ "pooling_mode": "cls" });
        assert_eq!(
            pooling(folder(&modules(), &named).path()).unwrap(),
            Pooling::First
        );
        let both = json!({ "pooling_mode_cls_token": true, "pooling_mode_max_tokens": true });
        let error = pooling(folder(&modules(), &both).path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pooling `cls_token + max_tokens`"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_module_is_an_error() {
        let dense = json!([{ "type": "sentence_transformers.models.Dense", "path": "2_Dense" }]);
        let folder = folder(&dense, &json!({}));
        assert!(matches!(
            pooling(folder.path()),
            Err(SubjectError::Module { .. })
        ));
    }

    #[test]
    fn an_empty_folder_has_no_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = InputFiles::from_folder(folder.path()).unwrap();
        assert!(inputs.tokenizer.is_none() && inputs.images.is_none());
        assert_eq!(inputs.pooling, Pooling::Mean);
        let config = json!({ "label2id": { "negative": 0, "positive": 1 } });
        fs_err::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let inputs = InputFiles::from_folder(folder.path()).unwrap();
        assert_eq!(inputs.classes.number("positive", 2), Ok(1));
    }
}
