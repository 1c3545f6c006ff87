//! What can go wrong between a data string in a recipe and inputs for a model.

use crate::StageError;
use crate::chat_template::ChatTemplateError;
use crate::hub::HubError;
use crate::tokenizer::TokenizerError;
use quantizers::nearest::did_you_mean;
use std::path::PathBuf;
use thiserror::Error;

/// Data that cannot be had, read or used.
#[derive(Debug, Error)]
pub enum DataError {
    /// A data string that means nothing.
    #[error("data `{spec}`: expected {expected}, found {found}")]
    Spec {
        /// As written in the recipe.
        spec: String,
        /// The form that would do.
        expected: &'static str,
        /// What is wrong with it.
        found: String,
    },
    /// A file or folder that cannot be read.
    #[error("cannot read `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What a clone without Git LFS leaves of a large file.
    #[error("`{path}` is a Git LFS pointer, expected the file it stands for")]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// No source reads this kind of file.
    #[error("no data source reads `{origin}`, expected {expected}")]
    UnknownKind {
        /// The file.
        origin: String,
        /// The kinds known.
        expected: String,
    },
    /// A line of a table that is not like the others.
    #[error("`{path}` line {line}: expected {expected}, found {found}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1, the header included.
        line: usize,
        /// What a good line holds.
        expected: String,
        /// What this one holds.
        found: String,
    },
    /// A column that is not there.
    #[error("`{origin}` has no column `{column}`, found {}", list(.columns))]
    Column {
        /// The table.
        origin: String,
        /// The name asked for.
        column: String,
        /// The nearest name present.
        nearest: Option<String>,
        /// All names present.
        columns: Vec<String>,
    },
    /// A table of several columns where one of text is needed.
    #[error("`{origin}` has columns {}, expected one to be named", list(.columns))]
    ColumnNotNamed {
        /// The table.
        origin: String,
        /// All names present.
        columns: Vec<String>,
    },
    /// Data of another kind than the task needs.
    #[error("`{origin}` holds {found}, expected {expected}")]
    Kind {
        /// The data.
        origin: String,
        /// The kind needed.
        expected: &'static str,
        /// The kind there.
        found: &'static str,
    },
    /// Not even one sequence.
    #[error("`{origin}` gives no sequence of {needed} tokens: it has {found}")]
    TooShort {
        /// The data.
        origin: String,
        /// Tokens one sequence needs.
        needed: usize,
        /// Tokens there.
        found: usize,
    },
    /// A table or a file of images without a single row.
    #[error("`{origin}` has no rows")]
    NoRows {
        /// The data.
        origin: String,
    },
    /// A column of text whose rows are all null, absent or blank.
    #[error("`{origin}` has no text in `{column}`: {rows} rows, all of them null, absent or blank")]
    NoText {
        /// The table.
        origin: String,
        /// The column.
        column: String,
        /// Rows looked at.
        rows: usize,
    },
    /// Conversations and a model without a template for them.
    #[error("`{origin}` holds conversations, and the model folder has no chat template")]
    NoTemplate {
        /// The data.
        origin: String,
    },
    /// A conversation that the model's chat template does not render.
    #[error("the chat template does not render `{origin}`{}", at_line(*.line))]
    Template {
        /// The data.
        origin: String,
        /// Line of the conversation; nothing where the template is at fault for all.
        line: Option<usize>,
        /// Why.
        #[source]
        source: ChatTemplateError,
    },
    /// Folders that are no classes of the model.
    #[error("the class folders of `{origin}` are {found}, expected {expected}")]
    Classes {
        /// The folder of folders.
        origin: String,
        /// Their names.
        found: String,
        /// What the model calls its classes.
        expected: String,
        /// The class most like the first folder that is none.
        nearest: Option<String>,
        /// The model's classes have numbers only.
        unnamed: bool,
    },
    /// Folders named by numbers whose order is not that of their names.
    #[error(
        "the class folders of `{origin}` are numbers in two orders: `{folder}` is class {number} by its number, and class {place} by the order of the names"
    )]
    NumberedFolders {
        /// The folder of folders.
        origin: String,
        /// The first folder that is out of order.
        folder: String,
        /// The number it is named by.
        number: usize,
        /// Its place among the sorted names.
        place: usize,
    },
    /// A text with a token that the model has no vector for.
    #[error(
        "`{origin}` holds the token `{token}` (id {id}), and the token table of the model has {rows} rows"
    )]
    TokenOutside {
        /// The data.
        origin: String,
        /// The token as the tokenizer writes it.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the token table.
        rows: usize,
    },
    /// An image file that ends before its last row of pixels.
    #[error("image `{path}` is cut short: it ends before its last pixels")]
    CutShort {
        /// The image.
        path: PathBuf,
    },
    /// A model without a begin-of-sequence token where documents need one.
    #[error("documents start with a begin-of-sequence token, and the tokenizer names none")]
    NoBeginToken,
    /// An image that cannot be decoded or resized.
    #[error("cannot decode image `{path}`")]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of tensors or settings that does not hold what it should.
    #[error("`{path}`: `{key}`: expected {expected}, found {found}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Tensor or key.
        key: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Data made with a model there is none for.
    #[error("`synthetic` makes its data with the model, and this one {found}")]
    NotADecoder {
        /// What it does instead.
        found: &'static str,
    },
    /// Logits that are no numbers.
    #[error("the model's logits after {position} tokens are not finite")]
    NotFinite {
        /// Tokens before them.
        position: usize,
    },
    /// A stage that cannot be built or run while sampling.
    #[error("cannot sample from the model")]
    Stage(#[from] StageError),
    /// A download.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl DataError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKind { origin, .. } if origin.split('#').next().is_some_and(is_json) => {
                Some("write one object a line, without the brackets around them, and call it `.jsonl`".to_owned())
            }
            Self::LfsPointer { .. } => Some(quantizers::formats::LFS_HINT.to_owned()),
            Self::Column { nearest, .. } => nearest.as_deref().map(did_you_mean),
            Self::ColumnNotNamed { origin, columns } => {
                let column = columns.last().map_or("column", String::as_str);
                Some(format!("name it after `#`, as in `{origin}#{column}`"))
            }
            Self::TooShort { .. } => {
                Some("take more text, or a smaller `sequence_length`".to_owned())
            }
            Self::Classes {
                nearest: Some(name), ..
            } => Some(did_you_mean(name)),
            Self::Classes { unnamed: true, .. } => Some(
                "name the classes in `label2id` of config.json, or the folders by the numbers of their classes"
                    .to_owned(),
            ),
            Self::Classes { .. } => {
                Some("name the folders as `label2id` of config.json names the classes".to_owned())
            }
            Self::NumberedFolders { folder, number, .. } => Some(format!(
                "say which in `label2id` of config.json, as in `{{\"{folder}\": {number}}}`, or begin the names with zeros"
            )),
            Self::TokenOutside { .. } => Some(
                "resize the table (`model.resize_token_embeddings(len(tokenizer))`), or take text without the token"
                    .to_owned(),
            ),
            Self::NoText { .. } | Self::NoRows { .. } => {
                Some("name other data, or another column after `#`".to_owned())
            }
            Self::NoTemplate { .. } => Some(
                "put `chat_template.jinja` in the model folder, or set `template = \"none\"` in `[calibration]`"
                    .to_owned(),
            ),
            Self::Template { line: Some(_), .. } => Some(
                "leave the conversation out, or set `template = \"none\"` in `[calibration]`".to_owned(),
            ),
            Self::NoBeginToken => Some("use `mode = \"windows\"`".to_owned()),
            Self::NotADecoder { .. } => Some(
                "name a file, as in `data = \"sentences.tsv#sentence\"` or a folder of images"
                    .to_owned(),
            ),
            Self::Hub(error) => error.hint(),
            Self::Tokenizer(error) => error.hint(),
            _ => None,
        }
    }
}

fn at_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(" line {line}"))
}

fn is_json(name: &str) -> bool {
    name.to_lowercase().ends_with(".json")
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
