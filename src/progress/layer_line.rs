//! The line printed for a finished layer.

use eval::report::figures;
use std::fmt;

/// A layer that is quantized, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedLayer {
    /// Position among the layers to quantize, from 1.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// Layer name.
    pub name: String,
    /// Registry name of the method.
    pub method: String,
    /// Width of one code.
    pub bits: u8,
    /// Share of weights in the sparse part, 0..1.
    pub outlier_fraction: f64,
    /// Bytes in the checkpoint.
    pub original_bytes: u64,
    /// Bytes in the artifact.
    pub bytes: u64,
    /// Signal to quantization noise of the weight; `None` where nothing was lost.
    pub sqnr_db: Option<f64>,
    /// Time it took.
    pub seconds: f64,
}

impl fmt::Display for FinishedLayer {
    /// `12/42 layers.3.mlp.down_proj  squeezellm 3b+0.45%  6.75 -> 1.36 MiB  sqnr 21.4 dB  0.8 s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.count.to_string().len();
        write!(
            f,
            "{:>width$}/{} {}  {} {}b",
            self.index, self.count, self.name, self.method, self.bits
        )?;
        if self.outlier_fraction > 0.0 {
            write!(f, "+{:.2}%", 100.0 * self.outlier_fraction)?;
        }
        let (before, after) = (
            figures::bytes(self.original_bytes),
            figures::bytes(self.bytes),
        );
        let same_unit = before.split_once(' ').map(|(_, unit)| unit)
            == after.split_once(' ').map(|(_, unit)| unit);
        let before = match before.split_once(' ') {
            Some((number, _)) if same_unit => number.to_owned(),
            _ => before,
        };
        write!(f, "  {before} -> {after}")?;
        match self.sqnr_db {
            Some(sqnr) => write!(f, "  sqnr {sqnr:.1} dB")?,
            None => f.write_str("  exact")?,
        }
        write!(f, "  {:.1} s", self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_documented() {
        let layer = FinishedLayer {
            index: 12,
            count: 42,
            name: "layers.3.mlp.down_proj".into(),
            method: "squeezellm".into(),
            bits: 3,
            outlier_fraction: 0.0045,
            original_bytes: 7_077_888,
            bytes: 1_426_064,
            sqnr_db: Some(21.4),
            seconds: 0.8,
        };
        assert_eq!(
            layer.to_string(),
            "12/42 layers.3.mlp.down_proj  squeezellm 3b+0.45%  6.75 -> 1.36 MiB  sqnr 21.4 dB  0.8 s"
        );
    }
}
