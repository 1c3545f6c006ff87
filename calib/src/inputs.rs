//! What a calibration run feeds to the first stage.

use crate::Hidden;
use crate::conversations::{self, Packing};
use crate::data::{Content, DataError, ImageSet, Remark};
use crate::image_processor::ImageProcessor;
use crate::sampling::{Selection, Template, TextMode, beginning, select, text_sequences};
use crate::separator::separator;
use crate::tokenizer::Tokenizer;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// What is drawn from the data: the keys of `[calibration]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// Sequences or images wanted; all there are where there are fewer.
    pub samples: usize,
    /// Tokens per sequence; rows of a table and documents may be shorter.
    pub sequence_length: usize,
    /// Which ones.
    pub selection: Selection,
    /// Seed of a random selection.
    pub seed: u64,
    /// How text is cut.
    pub mode: TextMode,
    /// What conversations become.
    pub template: Template,
}

/// Model inputs, not yet in batches.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Token sequences, of any length.
    Tokens(Vec<Vec<u32>>),
    /// Images `[3, height, width]` of one size.
    Pixels {
        /// One image each.
        images: Vec<Vec<f32>>,
        /// Pixels down and across.
        sides: [usize; 2],
    },
}

impl Inputs {
    /// Number of sequences or images.
    pub fn len(&self) -> usize {
        match self {
            Self::Tokens(sequences) => sequences.len(),
            Self::Pixels { images, .. } => images.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of each input: what must be equal within a batch.
    pub fn lengths(&self) -> Vec<usize> {
        match self {
            Self::Tokens(sequences) => sequences.iter().map(Vec::len).collect(),
            Self::Pixels { images, .. } => images.iter().map(Vec::len).collect(),
        }
    }

    /// The inputs `indices` as one batch: tokens `[batch, length]` or pixels `[batch, 3, height, width]`.
    ///
    /// # Panics
    /// Inputs of different length, or an index out of range.
    pub fn batch(&self, indices: &[usize], device: &Device) -> Hidden {
        match self {
            Self::Tokens(sequences) => {
                let length = indices.first().map_or(0, |&first| sequences[first].len());
                let ids: Vec<i32> = indices
                    .iter()
                    .flat_map(|&index| {
                        assert_eq!(sequences[index].len(), length, "one length per batch");
                        sequences[index].iter().map(|&id| id.cast_signed())
                    })
                    .collect();
                let data = TensorData::new(ids, [indices.len(), length]);
                Hidden::Tokens(Tensor::<2, Int>::from_data(data, device))
            }
            Self::Pixels {
                images,
                sides: [height, width],
            } => {
                let values: Vec<f32> = indices
                    .iter()
                    .flat_map(|&index| images[index].iter().copied())
                    .collect();
                let data = TensorData::new(values, [indices.len(), 3, *height, *width]);
                Hidden::Pixels(Tensor::<4>::from_data(data, device))
            }
        }
    }
}

/// Draws inputs from `content`; `origin` names it in errors.
///
/// Conversations are rendered with the model's chat template and packed. Rows of a table are encoded with the special tokens of the tokenizer, as the model will see
/// them; text as `draw.mode` says; token sequences are taken as they are. `remarks` receives what was left out,
/// and that there are fewer inputs than wanted.
///
/// # Errors
/// Content without a tokenizer or image processor where it needs one, or too short for one sequence.
pub fn calibration_inputs(
    content: &Content,
    origin: &str,
    tokenizer: Option<&Tokenizer>,
    processor: Option<&ImageProcessor>,
    draw: &Draw,
    remarks: &mut Vec<Remark>,
) -> Result<Inputs, DataError> {
    let inputs = drawn(content, origin, (tokenizer, processor), draw, remarks)?;
    if inputs.len() < draw.samples {
        remarks.push(Remark::Note(format!(
            "calibrated on {} of {} samples: `{origin}` gives no more{}",
            inputs.len(),
            draw.samples,
            match &inputs {
                Inputs::Tokens(_) if matches!(content, Content::Text(_) | Content::Chats(_)) => {
                    format!(" of {} tokens", draw.sequence_length)
                }
                _ => String::new(),
            }
        )));
    }
    Ok(inputs)
}

fn drawn(
    content: &Content,
    origin: &str,
    (tokenizer, processor): (Option<&Tokenizer>, Option<&ImageProcessor>),
    draw: &Draw,
    remarks: &mut Vec<Remark>,
) -> Result<Inputs, DataError> {
    let needs = |expected| DataError::Kind {
        origin: origin.to_owned(),
        expected,
        found: content.kind(),
    };
    let pick = |available| select(available, draw.samples, draw.selection, draw.seed);
    match content {
        Content::Text(text) => {
            let tokenizer =
                tokenizer.ok_or_else(|| needs("images: the model folder has no tokenizer"))?;
            let length = draw.sequence_length;
            if matches!(draw.mode, TextMode::Windows { .. })
                && let Some(separator) = separator(text, Some(tokenizer))
            {
                remarks.push(Remark::Note(format!(
                    "`{origin}` holds documents between `{separator}` and is cut in windows across them: `mode = \"documents\"` in `[calibration]` keeps them apart"
                )));
            }
            let text = match draw.selection {
                Selection::First => beginning(text, &draw.mode, length, draw.samples, tokenizer)?,
                Selection::Random => text,
            };
            let sequences = text_sequences(text, &draw.mode, length, tokenizer, origin)?;
            Ok(Inputs::Tokens(taken(sequences, &pick)))
        }
        Content::Table(table) => {
            let tokenizer =
                tokenizer.ok_or_else(|| needs("images: the model folder has no tokenizer"))?;
            let texts = table.texts()?.without_blanks()?;
            remarks.extend(texts.remark());
            let sequences: Vec<Vec<u32>> = pick(texts.rows.len())
                .into_iter()
                .map(|row| tokenizer.encode_special(texts.rows[row].1, Some(draw.sequence_length)))
                .collect::<Result<_, _>>()?;
            let sequences: Vec<Vec<u32>> = sequences
                .into_iter()
                .filter(|sequence| !sequence.is_empty())
                .collect();
            if sequences.is_empty() {
                return Err(DataError::TooShort {
                    origin: origin.to_owned(),
                    needed: 1,
                    found: 0,
                });
            }
            Ok(Inputs::Tokens(sequences))
        }
        Content::Chats(chats) => {
            let tokenizer =
                tokenizer.ok_or_else(|| needs("images: the model folder has no tokenizer"))?;
            let packing = Packing {
                mode: &draw.mode,
                length: draw.sequence_length,
                samples: draw.samples,
                selection: draw.selection,
                template: draw.template,
            };
            let sequences = conversations::sequences(chats, tokenizer, &packing)?;
            Ok(Inputs::Tokens(taken(sequences, &pick)))
        }
        Content::Tokens(sequences) => Ok(Inputs::Tokens(taken(sequences.clone(), &pick))),
        Content::Images(images) => {
            let processor = processor
                .ok_or_else(|| needs("text: the model folder has no `preprocessor_config.json`"))?;
            pixels(images, &pick(images.len()), processor)
        }
    }
}

/// Refuses token ids for which a model of `rows` token vectors has none.
///
/// # Errors
/// The first of them, as `tokenizer` writes it.
pub fn check_tokens<'a>(
    sequences: impl IntoIterator<Item = &'a Vec<u32>>,
    rows: Option<usize>,
    tokenizer: Option<&Tokenizer>,
    origin: &str,
) -> Result<(), DataError> {
    let Some(rows) = rows else {
        return Ok(());
    };
    let mut ids = sequences.into_iter().flatten();
    match ids.find(|&&id| id as usize >= rows) {
        Some(&id) => Err(DataError::TokenOutside {
            origin: origin.to_owned(),
            token: tokenizer
                .and_then(|tokenizer| tokenizer.token(id))
                .unwrap_or_else(|| "unknown".to_owned()),
            id,
            rows,
        }),
        None => Ok(()),
    }
}

fn taken(sequences: Vec<Vec<u32>>, pick: &dyn Fn(usize) -> Vec<usize>) -> Vec<Vec<u32>> {
    let mut sequences: Vec<Option<Vec<u32>>> = sequences.into_iter().map(Some).collect();
    pick(sequences.len())
        .into_iter()
        .filter_map(|index| sequences[index].take())
        .collect()
}

/// The images `indices` as model inputs.
///
/// # Errors
/// An image that cannot be decoded, or of another size than the first where none is resized.
pub fn pixels(
    images: &ImageSet,
    indices: &[usize],
    processor: &ImageProcessor,
) -> Result<Inputs, DataError> {
    let mut sides = [0, 0];
    let mut all = Vec::with_capacity(indices.len());
    for &index in indices {
        let origin = format!("{} image {index}", images.origin());
        let (values, found) = processor.pixels(&images.image(index)?, &origin)?;
        if all.is_empty() {
            sides = found;
        } else if sides != found {
            return Err(DataError::Content {
                path: origin.into(),
                key: "image".to_owned(),
                expected: format!("{} x {} pixels like the first", sides[0], sides[1]),
                found: format!("{} x {}", found[0], found[1]),
            });
        }
        all.push(values);
    }
    Ok(Inputs::Pixels { images: all, sides })
}
