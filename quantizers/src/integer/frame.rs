//! Buffers of one running sequence.

use super::buffer::{Buffer, Storage};

/// The buffers of one sequence (or image) on its way through a program.
#[derive(Debug)]
pub struct Frame {
    /// Token ids; empty for images.
    pub ids: Vec<u32>,
    /// Pixel codes `[channels, height, width]`; empty for text.
    pub pixels: Vec<u8>,
    /// Which tokens count as keys and in means; empty means all.
    pub mask: Vec<bool>,
    buffers: Vec<Storage>,
    widths: Vec<usize>,
    /// Room for operations; kept between them so that nothing is allocated per layer.
    pub scratch: Scratch,
}

/// Working memory of operations.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Rows of 32-bit values.
    pub wide: Vec<i32>,
    /// More of them.
    pub other: Vec<i32>,
}

impl Frame {
    /// Empty buffers as `declared`.
    pub fn new(declared: &[Buffer]) -> Self {
        Self {
            ids: Vec::new(),
            pixels: Vec::new(),
            mask: Vec::new(),
            buffers: declared
                .iter()
                .map(|buffer| Storage::new(buffer.element))
                .collect(),
            widths: declared.iter().map(|buffer| buffer.width).collect(),
            scratch: Scratch::default(),
        }
    }

    /// Values of buffer `at`.
    pub fn buffer(&self, at: usize) -> &Storage {
        &self.buffers[at]
    }

    /// Values in a row of buffer `at`.
    pub fn width(&self, at: usize) -> usize {
        self.widths[at]
    }

    /// Rows in buffer `at`.
    pub fn rows(&self, at: usize) -> usize {
        self.buffers[at].len() / self.widths[at].max(1)
    }

    /// Takes buffer `at` out, with room for `rows` rows; [`Frame::put`] gives it back.
    pub fn take(&mut self, at: usize, rows: usize) -> Storage {
        let mut taken = std::mem::replace(&mut self.buffers[at], Storage::U8(Vec::new()));
        taken.resize(rows * self.widths[at]);
        taken
    }

    /// Gives back what [`Frame::take`] took.
    pub fn put(&mut self, at: usize, storage: Storage) {
        self.buffers[at] = storage;
    }

    /// Whether token `at` counts.
    pub fn counts(&self, at: usize) -> bool {
        self.mask.get(at).copied().unwrap_or(true)
    }

    /// The bytes of buffer `at`, none of one of another type.
    pub fn bytes(&self, at: usize) -> Option<&[u8]> {
        match &self.buffers[at] {
            Storage::U8(values) => Some(values),
            _ => None,
        }
    }
}
