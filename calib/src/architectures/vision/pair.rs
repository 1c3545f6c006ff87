//! Models of two towers, one of images and one of texts, in one checkpoint (CLIP, `SigLIP`).
//!
//! | here | checkpoint |
//! |---|---|
//! | image tower, its projection | `vision_model.`, `visual_projection` |
//! | text tower, its projection | `text_model.`, `text_projection` |
//! | factor and offset of similarities | `logit_scale` (its logarithm), `logit_bias` |
//!
//! The stages of the image tower come first. Images pass them and leave those of the text tower alone, and
//! the other way round for texts; either ends as one embedding.

use super::super::{Abilities, Architecture, Config, InputKind, StageSpec, StagedModel};
use super::flavour::{Ending, Flavour};
use super::rows::{CLIP_TEXT, CLIP_VISION, SIGLIP_TEXT, SIGLIP_VISION};
use super::tower::Tower;
use crate::layers::Loader;
use crate::model::JointEmbedding;
use crate::{Hidden, Model, ModelError, ModelOutput, Stage, StageError, Tap, WeightSource};
use quantizers::graph::StageNode;
use serde_json::Value;

/// One family of models of two towers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    model_type: &'static str,
    summary: &'static str,
    /// Class of the model of both towers, and of the image tower with a classifier.
    classes: [&'static str; 2],
    image: &'static Flavour,
    text: &'static Flavour,
    /// Endings of the towers.
    endings: [&'static str; 2],
    /// Offset of similarities.
    offset: Option<&'static str>,
    /// Texts are filled up to the longest length with this token (key, default).
    filler: Option<(&'static str, usize)>,
}

/// Every family.
pub(crate) static PAIRS: &[Pair] = &[
    Pair {
        model_type: "clip",
        summary: "CLIP: an image tower and a text tower that meet in one space, or images with a classifier",
        classes: ["CLIPModel", "CLIPForImageClassification"],
        image: &CLIP_VISION,
        text: &CLIP_TEXT,
        endings: [
            "CLIPVisionModelWithProjection",
            "CLIPTextModelWithProjection",
        ],
        offset: None,
        filler: None,
    },
    Pair {
        model_type: "siglip",
        summary: "SigLIP: an image tower and a text tower that meet in one space, or images with a classifier",
        classes: ["SiglipModel", "SiglipForImageClassification"],
        image: &SIGLIP_VISION,
        text: &SIGLIP_TEXT,
        endings: ["SiglipVisionModel", "SiglipTextModel"],
        offset: Some("logit_bias"),
        filler: Some(("pad_token_id", 1)),
    },
];

impl Architecture for Pair {
    fn name(&self) -> &'static str {
        self.model_type
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn model_types(&self) -> &[&'static str] {
        std::slice::from_ref(&self.model_type)
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            outputs: &[ModelOutput::HiddenStates, ModelOutput::ClassLogits],
            takes: InputKind::Both,
            calibrates: false,
            integer_only: false,
            layer: format!(
                "{}{}.N.{}",
                self.image.prefix, self.image.blocks, self.image.block.output
            ),
        }
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let outside = Config::new(config);
        let [both, classifier] = self.classes;
        let classifies = match outside.class(&self.classes)? {
            Some(class) => class == classifier,
            None => weights.contains("classifier.weight"),
        };
        let part = |key: &'static str| {
            let found = outside.object(key)?;
            found.ok_or_else(|| outside.error(key, "the configuration of a tower", "nothing"))
        };
        let images = part("vision_config")?;
        if classifies {
            let ending = self.image.ending_of(classifier, &images)?;
            let tower = Tower::read(self.image, ending, images, outside, weights)?;
            let mut stages = tower.body()?;
            stages.push(Box::new(tower.last()?));
            let output = ModelOutput::ClassLogits;
            return Ok(Box::new(StagedModel::new(self.model_type, output, stages)));
        }
        let texts = part("text_config")?;
        let [image, text] = self.endings;
        let image_ending: &Ending = self.image.ending_of(image, &images)?;
        let text_ending: &Ending = self.text.ending_of(text, &texts)?;
        let image = Tower::read(self.image, image_ending, images, outside, weights)?;
        let text = Tower::read(self.text, text_ending, texts, outside, weights)?;
        let Some((_, longest)) = text.text()? else {
            return Err(outside.error("architectures", both, "two image towers"));
        };
        let mut stages = in_tower(Side::Image, &image)?;
        let first_of_text = stages.len();
        stages.extend(in_tower(Side::Text, &text)?);
        let filler = match self.filler {
            Some((key, default)) => Some(texts.whole_or(key, default)?),
            None => None,
        };
        let model = StagedModel::new(self.model_type, ModelOutput::HiddenStates, stages);
        Ok(Box::new(model.with_joint(JointEmbedding {
            first_of_text,
            longest,
            filler: filler.and_then(|id| u32::try_from(id).ok()),
            log_scale: "logit_scale".to_owned(),
            offset: self.offset.map(str::to_owned),
        })))
    }
}

/// The stages of one tower, each of which knows the inputs of the other when it sees them.
fn in_tower(side: Side, tower: &Tower<'_>) -> Result<Vec<Box<dyn StageSpec>>, ModelError> {
    let mut stages = tower.body()?;
    stages.push(Box::new(tower.last()?));
    let last = stages.len() - 1;
    let wrapped = stages.into_iter().enumerate().map(|(index, inner)| {
        let part = match index {
            0 => Part::First,
            _ if index == last => Part::Last,
            _ => Part::Middle,
        };
        Box::new(OfTower { side, part, inner }) as Box<dyn StageSpec>
    });
    Ok(wrapped.collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Image,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    First,
    Middle,
    Last,
}

/// A stage of one of two towers.
struct OfTower {
    side: Side,
    part: Part,
    inner: Box<dyn StageSpec>,
}

impl StageSpec for OfTower {
    fn node(&self) -> StageNode {
        self.inner.node()
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(Running {
            side: self.side,
            part: self.part,
            inner: self.inner.build(loader)?,
        }))
    }
}

struct Running {
    side: Side,
    part: Part,
    inner: Box<dyn Stage>,
}

impl Stage for Running {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        match (self.side, self.part, hidden) {
            // Texts wait for their tower.
            (Side::Image, _, tokens @ Hidden::Tokens(_)) => Ok(tokens),
            // The image tower is through: its result is that of the model.
            (Side::Text, Part::Last, Hidden::Embedding(states)) => Ok(Hidden::States(states)),
            (Side::Text, _, done @ Hidden::Embedding(_)) => Ok(done),
            (Side::Image, Part::Last, hidden) => {
                let states = self.inner.forward(hidden, tap)?;
                Ok(Hidden::Embedding(states.into_states(|| "head".to_owned())?))
            }
            (_, _, hidden) => self.inner.forward(hidden, tap),
        }
    }
}
