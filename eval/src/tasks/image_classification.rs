//! Image classification: one image, one class.

use super::classes;
use super::table_texts::of_another_kind;
use super::task::{ConfiguredTask, Task, TaskInput};
use crate::error::TaskError;
use crate::kind::ModelKind;
use crate::runner::Wanted;
use crate::score::{Metric, Score};
use crate::subject::Rows;
use calib::data::{Content, ImageSet};
use calib::image_processor::ImageProcessor;
use calib::inputs::pixels;
use std::borrow::Cow;

/// Top-1 accuracy and cross-entropy over labelled images.
#[derive(Debug, Clone, Copy)]
pub struct ImageClassification;

const NAME: &str = "image_classification";
/// Images that are tried before any work.
const TRIED: usize = 8;
/// Images decoded at once.
const CHUNK: usize = 256;

impl Task for ImageClassification {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "class of each image of a folder or tensor: accuracy, cross-entropy, KL divergence, agreement"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn metrics(&self) -> &'static [Metric] {
        classes::METRICS
    }

    fn judges(&self, kind: ModelKind) -> bool {
        kind == ModelKind::ImageClassifier
    }

    fn configure(&self, _table: &toml::Table) -> Result<Box<dyn ConfiguredTask>, TaskError> {
        Ok(Box::new(*self))
    }
}

impl ConfiguredTask for ImageClassification {
    fn check(&self, input: &TaskInput<'_>) -> Result<(), TaskError> {
        let (images, processor) = labelled(input)?;
        let first: Vec<usize> = (0..images.len().min(TRIED)).collect();
        pixels(&images, &first, processor)?;
        Ok(())
    }

    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let (images, processor) = labelled(input)?;
        let (subject, progress) = (input.subject, input.progress);
        let count = images.len().min(input.limit);
        progress.begin((count * subject.sides().count()) as u64, "images");
        let mut logits = Rows::default();
        for start in (0..count).step_by(CHUNK) {
            let indices: Vec<usize> = (start..(start + CHUNK).min(count)).collect();
            let pixels = pixels(&images, &indices, processor)?;
            logits.append(subject.rows(&pixels, Wanted::ClassLogits, progress)?);
        }
        classes::scores(&logits, &images.labels()[..count], input.seed)
    }
}

/// The images with the model's own class numbers, and what turns them into pixels.
fn labelled<'a>(
    input: &TaskInput<'a>,
) -> Result<(Cow<'a, ImageSet>, &'a ImageProcessor), TaskError> {
    let Content::Images(images) = input.content else {
        return Err(of_another_kind(input, "images", input.content));
    };
    let file = "preprocessor_config.json";
    let processor = input.subject.inputs.images.as_ref();
    let processor = processor.ok_or(TaskError::MissingFile { task: NAME, file })?;
    let model = input.subject.model().ok_or(TaskError::NoModel)?;
    let known = classes::known(input, model)?;
    let count = input.taken(images.len(), "images")?;
    let mut images = Cow::Borrowed(images);
    if !images.classes().is_empty() {
        let numbers = known
            .names
            .of_folders(images.classes(), known.count, input.origin)?;
        images.to_mut().renumber(&numbers);
    }
    let labels = &images.labels()[..count];
    match labels.iter().position(|&label| label >= known.count) {
        Some(image) => Err(TaskError::Label {
            data: input.origin.to_owned(),
            image,
            found: labels[image],
            last: known.count.saturating_sub(1),
        }),
        None => Ok((images, processor)),
    }
}
