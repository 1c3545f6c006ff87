//! What every representation of the dense part of a matrix knows about itself.

use super::digest::Parts;
use super::invalid::InvalidTensor;
use super::scheme::Scheme;

/// A representation of the dense part: each is one file that implements this.
pub(super) trait Dense: Sync {
    /// Whether the parts belong together and to a `[rows, cols]` matrix.
    fn check(&self, rows: usize, cols: usize) -> Result<(), InvalidTensor>;
    /// Bits a file holds for it, `weight_shape` not counted.
    fn storage_bits(&self, rows: usize, cols: usize) -> u64;
    /// Writes the weights of row `row` of `rows` to `out`.
    fn decode_row(&self, row: usize, rows: usize, out: &mut [f32]);
    /// How many consecutive rows of `rows` are decoded together; it divides them.
    fn band(&self, rows: usize) -> usize {
        let _ = rows;
        1
    }
    /// Writes the weights of the band that begins with row `first` of `rows` to `out`, rows of `cols`.
    fn decode_band(&self, first: usize, (rows, cols): (usize, usize), out: &mut [f32]) {
        for (row, out) in out.chunks_exact_mut(cols).enumerate() {
            self.decode_row(first + row, rows, out);
        }
    }
    /// Adds everything it consists of to a fingerprint.
    fn add_to(&self, digest: &mut Parts);
    /// Whether it is what `scheme` announces.
    fn matches(&self, scheme: &Scheme) -> bool;
}
