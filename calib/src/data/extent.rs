//! How much data a source holds, without reading what it says.

/// Size of a source, from lengths, names and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of text; 0 for images.
    pub bytes: u64,
    /// Rows or images, at most; nothing for running text.
    pub items: Option<usize>,
}

/// Lines of a larger file are not counted.
const COUNTED_BYTES: u64 = 64 << 20;

impl Extent {
    /// Of a file of running text.
    pub(super) fn of_text(path: &std::path::Path) -> Option<Self> {
        let bytes = fs_err::metadata(path).ok()?.len();
        Some(Self { bytes, items: None })
    }

    /// Of a file with a row a line at most, after `header` lines.
    pub(super) fn of_lines(path: &std::path::Path, header: usize) -> Option<Self> {
        let bytes = fs_err::metadata(path).ok()?.len();
        if bytes > COUNTED_BYTES {
            return None;
        }
        let text = fs_err::read(path).ok()?;
        let lines = text.split(|&byte| byte == b'\n');
        let lines = lines.filter(|line| !line.trim_ascii().is_empty()).count();
        let items = Some(lines.saturating_sub(header));
        Some(Self { bytes, items })
    }

    /// Of so many images.
    pub(super) fn of_images(count: usize) -> Self {
        Self {
            bytes: 0,
            items: Some(count),
        }
    }
}
