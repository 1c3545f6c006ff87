//! Image classification: one image, one class.

use super::{Progress, Side, Task, TaskError, TaskSpec, classes};
use crate::runner::Wanted;
use crate::score::Score;
use crate::subject::Subject;
use calib::data::{Content, DataError};
use calib::inputs::pixels;
use calib::model::Output;

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

    fn metrics(&self) -> &'static [&'static str] {
        classes::METRICS
    }

    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn output(&self) -> Output {
        Output::ClassLogits
    }

    fn run(
        &self,
        subject: &Subject<'_>,
        spec: &TaskSpec,
        content: &Content,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<Score>, TaskError> {
        let Content::Images(images) = content else {
            let origin = spec.data.clone();
            return Err(DataError::Kind {
                origin,
                expected: "images",
                found: content.kind(),
            }
            .into());
        };
        let file = "preprocessor_config.json";
        let processor = subject.inputs.images.as_ref();
        let processor = processor.ok_or(TaskError::MissingFile { task: NAME, file })?;
        let mut images = images.clone();
        if !subject.inputs.labels.is_empty() {
            images.relabel(&subject.inputs.labels)?;
        }
        let count = images.len().min(spec.limit.unwrap_or(usize::MAX));
        let models = [
            (&subject.original, Side::Original),
            (&subject.quantized, Side::Quantized),
        ];
        let present = models.iter().filter(|(runner, _)| runner.is_some()).count();
        progress.begin((count * present) as u64, "images");
        let mut logits = models.map(|(runner, _)| runner.as_ref().map(|_| Vec::new()));
        for start in (0..count).step_by(CHUNK) {
            let indices: Vec<usize> = (start..(start + CHUNK).min(count)).collect();
            let inputs = pixels(&images, &indices, processor)?;
            for (rows, (runner, side)) in logits.iter_mut().zip(models) {
                if let (Some(rows), Some(runner)) = (rows, runner) {
                    rows.extend(runner.rows(side, &inputs, Wanted::ClassLogits, progress)?);
                }
            }
        }
        let labels = &images.labels()[..count];
        let known = logits
            .iter()
            .flatten()
            .flatten()
            .map(Vec::len)
            .min()
            .unwrap_or(0);
        if let Some(row) = labels.iter().position(|&label| label >= known) {
            return Err(TaskError::Label {
                data: spec.data.clone(),
                row: row + 1,
                found: labels[row].to_string(),
                expected: format!("a number below {known}"),
            });
        }
        classes::scores(logits[0].as_deref(), logits[1].as_deref(), labels, seed)
    }
}
