//! The message in a sentencepiece model file, read with bounds: pieces, and what training and normalisation said.
//!
//! Field numbers and defaults are those of `sentencepiece_model.proto`. A message that comes twice is merged, as
//! protocol buffers ask.

use thiserror::Error;

/// A model file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModelFile {
    /// The vocabulary; a piece's id is its place.
    pub(super) pieces: Vec<Piece>,
    /// How the pieces were found.
    pub(super) algorithm: Algorithm,
    /// Letters that are no piece become pieces of their bytes.
    pub(super) byte_fallback: bool,
    /// Place of the unknown piece.
    pub(super) unknown: usize,
    /// Begin of sequence, if it has an id.
    pub(super) begin: Option<String>,
    /// End of sequence, if it has an id.
    pub(super) end: Option<String>,
    /// The unknown piece.
    pub(super) unknown_piece: String,
    /// What is done to a text first.
    pub(super) normalizer: Normalizer,
}

/// One piece.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    /// Its text, spaces written as `▁`.
    pub(super) text: String,
    /// Log probability (unigram) or minus the rank of its merge (byte pairs).
    pub(super) score: f32,
    /// What it is for.
    pub(super) kind: PieceKind,
}

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Text.
    Normal,
    /// Stands for no text.
    Control,
    /// Named by the user: whole wherever it is found.
    UserDefined,
    /// Unknown, unused, or a byte.
    Other,
}

/// How the pieces were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Most probable sequence of pieces.
    Unigram,
    /// Merges of pairs.
    BytePairs,
}

/// What is done to a text before it is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Normalizer {
    /// The compiled table of replacements; empty for none.
    pub(super) charsmap: Vec<u8>,
    /// A space before the text.
    pub(super) dummy_prefix: bool,
    /// Spaces at the ends and doubled ones go.
    pub(super) extra_whitespace: bool,
    /// Spaces become `▁`.
    pub(super) escape: bool,
}

/// A file that is no such message.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum ModelFileError {
    /// Bytes that are no message.
    #[error("it is no sentencepiece model: byte {at}: expected {expected}, found {found}")]
    Wire {
        /// Where in the file.
        at: usize,
        /// What a message has there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A message that says what cannot be.
    #[error("its {what}: expected {expected}, found {found}")]
    Value {
        /// The field, in words.
        what: &'static str,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
}

/// A field's value as it stands in the file.
enum Wire<'a> {
    Number(u64),
    Bytes(Message<'a>),
    Word(u32),
    Long,
}

/// The fields of one message that have not been read; `at` is its place in the file.
struct Message<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The fields read so far; a field that comes again replaces the one before.
struct Reading {
    pieces: Vec<Piece>,
    algorithm: u64,
    byte_fallback: bool,
    unknown: u64,
    begin: u64,
    end: u64,
    unknown_piece: String,
    begin_piece: String,
    end_piece: String,
    normalizer: Normalizer,
}

impl ModelFile {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Bytes that are no such message, no piece at all, an algorithm other than unigram and byte pairs.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ModelFileError> {
        let mut reading = Reading {
            pieces: Vec::new(),
            algorithm: 1,
            byte_fallback: false,
            unknown: 0,
            begin: 1,
            end: 2,
            unknown_piece: "<unk>".to_owned(),
            begin_piece: "<s>".to_owned(),
            end_piece: "</s>".to_owned(),
            normalizer: Normalizer {
                charsmap: Vec::new(),
                dummy_prefix: true,
                extra_whitespace: true,
                escape: true,
            },
        };
        let mut file = Message { bytes, at: 0 };
        while let Some((field, wire)) = file.next()? {
            match (field, wire) {
                (1, Wire::Bytes(piece)) => reading.pieces.push(read_piece(piece)?),
                (2, Wire::Bytes(message)) => reading.read_trainer(message)?,
                (3, Wire::Bytes(message)) => reading.read_normalizer(message)?,
                _ => {}
            }
        }
        reading.finish()
    }

    /// The pieces of `kind` with their ids.
    pub(super) fn of_kind(&self, kind: PieceKind) -> impl Iterator<Item = (usize, &Piece)> {
        let pieces = self.pieces.iter().enumerate();
        pieces.filter(move |(_, piece)| piece.kind == kind)
    }
}

impl Reading {
    fn read_trainer(&mut self, mut message: Message<'_>) -> Result<(), ModelFileError> {
        while let Some((field, wire)) = message.next()? {
            match (field, wire) {
                (3, Wire::Number(value)) => self.algorithm = value,
                (35, Wire::Number(value)) => self.byte_fallback = value != 0,
                (40, Wire::Number(value)) => self.unknown = value,
                (41, Wire::Number(value)) => self.begin = value,
                (42, Wire::Number(value)) => self.end = value,
                (45, Wire::Bytes(text)) => self.unknown_piece = text.text()?,
                (46, Wire::Bytes(text)) => self.begin_piece = text.text()?,
                (47, Wire::Bytes(text)) => self.end_piece = text.text()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, mut message: Message<'_>) -> Result<(), ModelFileError> {
        while let Some((field, wire)) = message.next()? {
            match (field, wire) {
                (2, Wire::Bytes(map)) => self.normalizer.charsmap = map.bytes.to_vec(),
                (3, Wire::Number(value)) => self.normalizer.dummy_prefix = value != 0,
                (4, Wire::Number(value)) => self.normalizer.extra_whitespace = value != 0,
                (5, Wire::Number(value)) => self.normalizer.escape = value != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<ModelFile, ModelFileError> {
        let algorithm = match self.algorithm {
            1 => Algorithm::Unigram,
            2 => Algorithm::BytePairs,
            other => {
                return Err(ModelFileError::Value {
                    what: "model_type",
                    expected: "1 (unigram) or 2 (byte pairs)".to_owned(),
                    found: other.to_string(),
                });
            }
        };
        let count = self.pieces.len();
        let unknown = usize::try_from(self.unknown).ok().filter(|&id| id < count);
        let unknown = unknown.ok_or_else(|| ModelFileError::Value {
            what: "unk_id",
            expected: format!("one of {count} pieces"),
            found: self.unknown.cast_signed().to_string(),
        })?;
        // A special piece that the model does without has the id -1.
        let piece = |id: u64, text: String| (id.cast_signed() >= 0).then_some(text);
        Ok(ModelFile {
            pieces: self.pieces,
            algorithm,
            byte_fallback: self.byte_fallback,
            unknown,
            begin: piece(self.begin, self.begin_piece),
            end: piece(self.end, self.end_piece),
            unknown_piece: self.unknown_piece,
            normalizer: self.normalizer,
        })
    }
}

fn read_piece(mut message: Message<'_>) -> Result<Piece, ModelFileError> {
    let mut piece = Piece {
        text: String::new(),
        score: 0.0,
        kind: PieceKind::Normal,
    };
    while let Some((field, wire)) = message.next()? {
        match (field, wire) {
            (1, Wire::Bytes(text)) => piece.text = text.text()?,
            (2, Wire::Word(bits)) => piece.score = f32::from_bits(bits),
            (3, Wire::Number(kind)) => {
                piece.kind = match kind {
                    1 => PieceKind::Normal,
                    3 => PieceKind::Control,
                    4 => PieceKind::UserDefined,
                    _ => PieceKind::Other,
                }
            }
            _ => {}
        }
    }
    Ok(piece)
}

impl<'a> Message<'a> {
    /// The next field and its value; nothing at the end.
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, ModelFileError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let key = self.number()?;
        let value = match key & 7 {
            0 => Wire::Number(self.number()?),
            1 => {
                self.take(8)?;
                Wire::Long
            }
            2 => {
                let length = self.number()?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                let word = self.take(4)?.bytes.try_into().unwrap_or_default();
                Wire::Word(u32::from_le_bytes(word))
            }
            other => {
                return Err(wire(
                    start,
                    "a field of type 0, 1, 2 or 5",
                    other.to_string(),
                ));
            }
        };
        match key >> 3 {
            0 => Err(wire(start, "a field number", "0".to_owned())),
            field => Ok(Some((field, value))),
        }
    }

    /// A number of seven bits a byte, the lowest first.
    fn number(&mut self) -> Result<u64, ModelFileError> {
        let start = self.at;
        let mut value = 0_u64;
        for place in 0..10 {
            let byte = self.take(1)?.bytes.first().copied().unwrap_or_default();
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(wire(
            start,
            "a number of at most 10 bytes",
            "a longer one".to_owned(),
        ))
    }

    fn take(&mut self, length: usize) -> Result<Self, ModelFileError> {
        let Some((bytes, rest)) = self.bytes.split_at_checked(length) else {
            let found = format!("the end after {}", self.bytes.len());
            return Err(wire(self.at, "as many bytes as it announces", found));
        };
        let at = self.at;
        self.bytes = rest;
        self.at += length;
        Ok(Message { bytes, at })
    }

    fn text(&self) -> Result<String, ModelFileError> {
        let text = std::str::from_utf8(self.bytes);
        let text = text.map_err(|_| wire(self.at, "UTF-8 text", "other bytes".to_owned()))?;
        Ok(text.to_owned())
    }
}

fn wire(at: usize, expected: &'static str, found: String) -> ModelFileError {
    ModelFileError::Wire {
        at,
        expected,
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend_from_slice(bytes);
        field
    }

    fn piece(text: &str) -> Vec<u8> {
        let mut inside = field(1, text.as_bytes());
        inside.push(2 << 3 | 5);
        inside.extend((-1.5_f32).to_le_bytes());
        field(1, &inside)
    }

    #[test]
    fn messages_that_come_twice_are_merged_over_the_defaults() {
        let mut file = [piece("<unk>"), piece("▁a")].concat();
        file.extend(field(3, &[3 << 3, 0]));
        file.extend(field(3, &field(2, b"map")));
        // model_type 2, bos_id -1 in ten bytes.
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let trainer = [&[3 << 3, 2, 0xc8, 2][..], &minus_one].concat();
        file.extend(field(2, &trainer));
        let model = ModelFile::parse(&file).unwrap();
        assert_eq!(model.pieces[1].text, "▁a");
        assert_eq!(model.pieces[1].score.to_bits(), (-1.5_f32).to_bits());
        assert_eq!(model.algorithm, Algorithm::BytePairs);
        assert_eq!((model.begin, model.end.as_deref()), (None, Some("</s>")));
        let normalizer = model.normalizer;
        assert_eq!(normalizer.charsmap, b"map");
        assert!(!normalizer.dummy_prefix && normalizer.extra_whitespace);
    }

    #[test]
    fn cut_and_foreign_files_are_errors_with_a_place() {
        let file = piece("abc");
        let error = ModelFile::parse(&file[..file.len() - 1]).unwrap_err();
        assert!(
            error.to_string().contains("byte 2: expected as many bytes"),
            "{error}"
        );
        assert!(ModelFile::parse(b"{\"model\": 1}").is_err());
        let error = ModelFile::parse(b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "its unk_id: expected one of 0 pieces, found 0"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(ModelFile::parse(&bytes));
        }
    }
}
