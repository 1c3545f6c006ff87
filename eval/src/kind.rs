//! What a model is for: decides which tasks judge it.

use calib::architectures::{Abilities, InputKind};
use calib::class_names::classes;
use calib::{Model, ModelOutput};
use serde::{Deserialize, Serialize};

/// What a model is for, from what it takes and returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Predicts the next token.
    Decoder,
    /// Gives a text one of several labels.
    TextClassifier,
    /// Turns a text into hidden states.
    TextEncoder,
    /// Gives an image one of several labels.
    ImageClassifier,
    /// Turns an image into hidden states.
    ImageEncoder,
    /// Predicts tokens from those on both sides.
    MaskedModel,
    /// Gives each token of a text one of several labels.
    TokenClassifier,
    /// Turns images and texts into embeddings of one space.
    ImageTextEncoder,
    /// Gives a text one number.
    TextRegressor,
    /// Gives an image one number.
    ImageRegressor,
    /// Of unknown architecture: it has weights, and cannot be run.
    Unknown,
}

impl ModelKind {
    /// The kind of `model`.
    pub fn of(model: &dyn Model) -> Self {
        if !model.runs() {
            return Self::Unknown;
        }
        if model.joint().is_some() {
            return Self::ImageTextEncoder;
        }
        let text = model.vocabulary().is_some();
        Self::returning(model.output(), text, classes(model) == Some(1))
    }

    /// The kinds of the models of a family.
    pub fn all_of(family: &Abilities) -> Vec<Self> {
        let outputs = family.outputs.iter();
        match family.takes {
            InputKind::Tokens => outputs
                .map(|&output| Self::returning(output, true, false))
                .collect(),
            InputKind::Images => outputs
                .map(|&output| Self::returning(output, false, false))
                .collect(),
            InputKind::Both => {
                // Embeddings of both towers; classes of images alone.
                let kinds = outputs.map(|&output| match output {
                    ModelOutput::HiddenStates => Self::ImageTextEncoder,
                    output => Self::returning(output, false, false),
                });
                kinds.collect()
            }
        }
    }

    /// The kind of a model of one tower that takes texts or images and returns `output`, one `number` or several.
    fn returning(output: ModelOutput, text: bool, number: bool) -> Self {
        match output {
            ModelOutput::ClassLogits if number && text => Self::TextRegressor,
            ModelOutput::ClassLogits if number => Self::ImageRegressor,
            ModelOutput::TokenLogits => Self::Decoder,
            ModelOutput::MaskedTokenLogits => Self::MaskedModel,
            ModelOutput::TokenClassLogits => Self::TokenClassifier,
            ModelOutput::ClassLogits if text => Self::TextClassifier,
            ModelOutput::ClassLogits => Self::ImageClassifier,
            ModelOutput::HiddenStates if text => Self::TextEncoder,
            ModelOutput::HiddenStates => Self::ImageEncoder,
        }
    }

    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::TextClassifier => "text classifier",
            Self::TextEncoder => "text encoder",
            Self::ImageClassifier => "image classifier",
            Self::ImageEncoder => "image encoder",
            Self::MaskedModel => "masked language model",
            Self::TokenClassifier => "token classifier",
            Self::ImageTextEncoder => "image and text encoder",
            Self::TextRegressor => "text model with one output, a regression",
            Self::ImageRegressor => "image model with one output, a regression",
            Self::Unknown => "model of unknown architecture",
        }
    }

    /// `a decoder`, `an image encoder`.
    pub fn with_article(self) -> String {
        let name = self.name();
        let vowel = name.starts_with(['a', 'e', 'i', 'o']);
        format!("{} {name}", if vowel { "an" } else { "a" })
    }

    /// Takes images rather than tokens.
    pub fn is_vision(self) -> bool {
        matches!(
            self,
            Self::ImageClassifier
                | Self::ImageEncoder
                | Self::ImageTextEncoder
                | Self::ImageRegressor
        )
    }
}
