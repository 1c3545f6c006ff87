//! Calibration without data, for every kind of model.
//!
//! | model | what is made | how |
//! |---|---|---|
//! | predicts tokens | text it finds likely | sampled from the model itself ([`ModelSampler`]) |
//! | text encoder | `[CLS] ... [SEP]` | words drawn as often as they occur ([`WordSampler`]) |
//! | vision encoder | images | discs that hide each other, textured ([`ImageSampler`]) |
//!
//! Q-ASR (Kim et al. 2022) optimises its synthetic inputs until they match the means and variances
//! stored in batch normalisations. Transformers store none, so what is matched here is what is known
//! of such data beforehand: how often words occur, and the spectrum and edges of images.

mod words;
mod images;

pub use images::ImageSampler;
pub use words::WordSampler;

use crate::data::Sampler;
use crate::model_sampler::ModelSampler;
use crate::tokenizer::Tokenizer;
use crate::{Forward, ModelOutput};
use quantizers::graph::StageNode;

/// What makes data for the model of `forward`; `tokenizer` is its own, absent for vision models.
///
/// A model there is no data for gets a sampler that says so when it is asked.
pub fn sampler<'a>(
    forward: &Forward<'a>,
    tokenizer: Option<&'a Tokenizer>,
) -> Box<dyn Sampler + 'a> {
    let (model, source) = (forward.model(), forward.source());
    let from_model = || {
        ModelSampler::new(
            model,
            source,
            forward.device().clone(),
            tokenizer.and_then(Tokenizer::begin),
            tokenizer.map_or_else(Vec::new, |tokenizer| tokenizer.ends().to_vec()),
        )
    };
    let graph = model.graph();
    // Words without context suit only those that look at a text from both sides.
    if model.output() == ModelOutput::TokenLogits || graph.is_causal() {
        return Box::new(from_model());
    }
    match (graph.stages.first(), graph.max_rows()) {
        (Some(StageNode::Tokens(input)), Some(max_tokens)) => {
            let tokens = input.tokens.name.clone();
            Box::new(WordSampler::new(source, tokens, max_tokens, tokenizer))
        }
        (Some(StageNode::Patches(input)), _) => Box::new(ImageSampler::new(input.image)),
        _ => Box::new(from_model()),
    }
}
