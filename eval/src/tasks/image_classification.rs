//! Image classification: one image, one class.

use super::classes;
use super::table_texts::of_another_kind;
use super::task::{ConfiguredTask, Task, TaskInput};
use crate::error::TaskError;
use crate::kind::ModelKind;
use crate::runner::Wanted;
use crate::score::{Metric, Score};
use crate::subject::Rows;
use calib::data::Content;
use calib::inputs::pixels;

/// Top-1 accuracy and cross-entropy over labelled images.
#[derive(Debug, Clone, Copy)]
pub struct ImageClassification;

const NAME: &str = "image_classification";
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
    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let Content::Images(images) = input.content else {
            return Err(of_another_kind(input, "images", input.content));
        };
        let (subject, progress) = (input.subject, input.progress);
        let file = "preprocessor_config.json";
        let processor = subject.inputs.images.as_ref();
        let processor = processor.ok_or(TaskError::MissingFile { task: NAME, file })?;
        let mut images = images.clone();
        if !subject.inputs.labels.is_empty() {
            images.relabel(&subject.inputs.labels)?;
        }
        let count = images.len().min(input.limit);
        progress.begin((count * subject.sides().count()) as u64, "images");
        let mut logits = Rows::default();
        for start in (0..count).step_by(CHUNK) {
            let indices: Vec<usize> = (start..(start + CHUNK).min(count)).collect();
            let pixels = pixels(&images, &indices, processor)?;
            logits.append(subject.rows(&pixels, Wanted::ClassLogits, progress)?);
        }
        let labels = &images.labels()[..count];
        let known = logits.width();
        if let Some(row) = labels.iter().position(|&label| label >= known) {
            return Err(TaskError::Label {
                data: input.origin.to_owned(),
                row: row + 1,
                found: labels[row].to_string(),
                expected: format!("a number below {known}"),
            });
        }
        classes::scores(&logits, labels, input.seed)
    }
}
