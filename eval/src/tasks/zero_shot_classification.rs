//! Zero-shot image classification: the class of an image is the one whose description is nearest to it.
//!
//! For each class the text tower embeds the template with the name of the class in it; the logits of an image
//! are the cosines of its embedding with those, times the exponential of the model's `logit_scale`, plus its
//! `logit_bias` where it has one (Radford et al. 2021, Zhai et al. 2023).

use super::classes;
use super::table_texts::of_another_kind;
use super::task::{ConfiguredTask, Task, TaskInput, options};
use crate::error::{Side, TaskError};
use crate::kind::ModelKind;
use crate::metrics::cosine;
use crate::runner::{Pooling, Wanted};
use crate::score::{Metric, Score};
use crate::subject::{Rows, Subject};
use calib::data::{Content, ImageSet};
use calib::image_processor::ImageProcessor;
use calib::inputs::{Inputs, pixels};
use calib::tokenizer::Tokenizer;
use calib::{JointEmbedding, WeightSource};
use serde::Deserialize;

/// Accuracy of the nearest description.
#[derive(Debug, Clone, Copy)]
pub struct ZeroShotClassification;

const NAME: &str = "zero_shot_classification";
/// Images that are tried before any work.
const TRIED: usize = 8;
/// Images decoded at once.
const CHUNK: usize = 256;
/// What stands for the name of a class.
const PLACE: &str = "{}";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// A text with a place for the name of a class.
    #[serde(default = "photo")]
    template: String,
    /// Names of the classes, in the order of their numbers, where the data does not say.
    #[serde(default)]
    classes: Vec<String>,
}

fn photo() -> String {
    "a photo of a {}".to_owned()
}

impl Task for ZeroShotClassification {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "class of each image by the nearest of their descriptions: accuracy, KL divergence, agreement"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (
                "template",
                "description of an image, with {} for the name of its class",
            ),
            (
                "classes",
                "names of the classes in the order of their numbers, where the data has none",
            ),
        ]
    }

    fn metrics(&self) -> &'static [Metric] {
        classes::METRICS
    }

    fn judges(&self, kind: ModelKind) -> bool {
        kind == ModelKind::ImageTextEncoder
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTask>, TaskError> {
        let options = options::<Options>(NAME, table)?;
        if !options.template.contains(PLACE) {
            return Err(TaskError::Value {
                task: NAME,
                key: "template",
                expected: format!("a text with `{PLACE}` for the name of a class"),
                found: format!("`{}`", options.template),
            });
        }
        Ok(Box::new(options))
    }
}

impl ConfiguredTask for Options {
    fn check(&self, input: &TaskInput<'_>) -> Result<(), TaskError> {
        let (images, processor) = self.labelled(input)?;
        let first: Vec<usize> = (0..images.len().min(TRIED)).collect();
        pixels(images, &first, processor)?;
        self.descriptions(input, images)?;
        for (side, _) in input.subject.sides() {
            similarity(input.subject, side)?;
        }
        Ok(())
    }

    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let (images, processor) = self.labelled(input)?;
        let (subject, progress) = (input.subject, input.progress);
        let count = images.len().min(input.limit);
        let wanted = Wanted::Embedding(Pooling::First);
        let descriptions = self.descriptions(input, images)?;
        let inputs = count + descriptions.len();
        progress.begin((inputs * subject.sides().count()) as u64, "images");
        let texts = subject.rows(&Inputs::Tokens(descriptions), wanted, progress)?;
        let mut embeddings = Rows::default();
        for start in (0..count).step_by(CHUNK) {
            let indices: Vec<usize> = (start..(start + CHUNK).min(count)).collect();
            let pixels = pixels(images, &indices, processor)?;
            embeddings.append(subject.rows(&pixels, wanted, progress)?);
        }
        let logits = Rows {
            original: logits(subject, Side::Original, embeddings.original, texts.original)?,
            quantized: logits(
                subject,
                Side::Quantized,
                embeddings.quantized,
                texts.quantized,
            )?,
        };
        classes::scores(&logits, &images.labels()[..count], input.seed)
    }
}

impl Options {
    /// The images, and what turns them into pixels.
    fn labelled<'a>(
        &self,
        input: &TaskInput<'a>,
    ) -> Result<(&'a ImageSet, &'a ImageProcessor), TaskError> {
        let Content::Images(images) = input.content else {
            return Err(of_another_kind(input, "images", input.content));
        };
        let file = "preprocessor_config.json";
        let processor = input.subject.inputs.images.as_ref();
        let processor = processor.ok_or(TaskError::MissingFile { task: NAME, file })?;
        let count = input.taken(images.len(), "images")?;
        let names = self.names(images)?.len();
        let labels = &images.labels()[..count];
        match labels.iter().position(|&label| label >= names) {
            Some(image) => Err(TaskError::Label {
                data: input.origin.to_owned(),
                image,
                found: labels[image],
                last: names.saturating_sub(1),
            }),
            None => Ok((images, processor)),
        }
    }

    /// What the classes are called, by number.
    fn names<'s>(&'s self, images: &'s ImageSet) -> Result<&'s [String], TaskError> {
        let names = if self.classes.is_empty() {
            images.classes()
        } else {
            &self.classes
        };
        if names.is_empty() {
            return Err(TaskError::Value {
                task: NAME,
                key: "classes",
                expected: "the names of the classes, as the data has only numbers".to_owned(),
                found: "nothing".to_owned(),
            });
        }
        Ok(names)
    }

    /// A description of each class as the text tower reads it.
    fn descriptions(
        &self,
        input: &TaskInput<'_>,
        images: &ImageSet,
    ) -> Result<Vec<Vec<u32>>, TaskError> {
        let file = "tokenizer.json";
        let tokenizer = input.subject.inputs.tokenizer.as_ref();
        let tokenizer: &Tokenizer = tokenizer.ok_or(TaskError::MissingFile { task: NAME, file })?;
        let joint = joint(input.subject)?;
        let describe = |name: &String| {
            // Folders are named with underscores where the name has spaces.
            let text = self.template.replace(PLACE, &name.replace('_', " "));
            let mut ids = tokenizer.encode_special(&text, Some(joint.longest))?;
            if let Some(filler) = joint.filler {
                ids.resize(joint.longest, filler);
            }
            Ok(ids)
        };
        self.names(images)?.iter().map(describe).collect()
    }
}

fn joint<'s>(subject: &'s Subject<'_>) -> Result<&'s JointEmbedding, TaskError> {
    let model = subject.model().ok_or(TaskError::NoModel)?;
    model.joint().ok_or(TaskError::NoModel)
}

/// Factor and offset of the similarities of one model.
fn similarity(subject: &Subject<'_>, side: Side) -> Result<[f64; 2], TaskError> {
    let joint = joint(subject)?;
    let runner = subject.sides().find(|(found, _)| *found == side);
    let stages = runner.and_then(|(_, runner)| runner.stages());
    let source: &dyn WeightSource = stages.ok_or(TaskError::NoModel)?.source();
    let number = |name: &str| {
        let tensor = source.tensor(name).map_err(|error| TaskError::Stage {
            side,
            source: error.into(),
        })?;
        let value = tensor.data.first().copied();
        let value = value.ok_or_else(|| TaskError::Values {
            side,
            found: format!("an empty `{name}`"),
        })?;
        Ok::<f64, TaskError>(f64::from(value))
    };
    let scale = number(&joint.log_scale)?.exp();
    let offset = match &joint.offset {
        Some(name) => number(name)?,
        None => 0.0,
    };
    Ok([scale, offset])
}

/// Logits of one model from its embeddings of images and of descriptions.
fn logits(
    subject: &Subject<'_>,
    side: Side,
    images: Option<Vec<Vec<f32>>>,
    texts: Option<Vec<Vec<f32>>>,
) -> Result<Option<Vec<Vec<f32>>>, TaskError> {
    let Some((images, texts)) = images.zip(texts) else {
        return Ok(None);
    };
    let [scale, offset] = similarity(subject, side)?;
    let of_image = |image: &Vec<f32>| {
        #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
        let logit = |text: &Vec<f32>| (cosine(image, text) * scale + offset) as f32;
        texts.iter().map(logit).collect()
    };
    Ok(Some(images.iter().map(of_image).collect()))
}
