//! One decoded image.

/// One image of 8-bit RGB, rows from the top: `[height, width, 3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels down.
    pub height: u32,
    /// Pixels across.
    pub width: u32,
    /// `height * width * 3` bytes.
    pub pixels: Vec<u8>,
}
