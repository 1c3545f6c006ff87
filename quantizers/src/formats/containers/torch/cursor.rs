//! Reading a pickle byte by byte, never beyond its end.

use super::error::TorchError;

/// What a truncated pickle is called in messages.
const WHAT: &str = "its pickle";

/// Longest line of text (module or name of a global).
const LONGEST_LINE: usize = 512;

/// A position in a pickle.
pub(super) struct Cursor<'a> {
    content: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at byte `at` of `content`; positions are those of `content`.
    pub(super) fn new(content: &'a [u8], at: usize) -> Self {
        Self { content, at }
    }

    /// The byte that is read next.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], TorchError> {
        let end = self.at.checked_add(count);
        let Some(bytes) = end.and_then(|end| self.content.get(self.at..end)) else {
            return Err(TorchError::Truncated {
                at: self.content.len(),
                what: WHAT,
            });
        };
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TorchError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, TorchError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, TorchError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, TorchError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, TorchError> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, TorchError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text of `count` bytes.
    pub(super) fn text(&mut self, count: u64) -> Result<&'a str, TorchError> {
        let at = self.at;
        let bytes = self.bytes(usize::try_from(count).unwrap_or(usize::MAX))?;
        text(at, bytes)
    }

    /// The text up to the next line feed, which is skipped.
    pub(super) fn line(&mut self) -> Result<&'a str, TorchError> {
        let at = self.at;
        let rest = &self.content[at..];
        let window = &rest[..rest.len().min(LONGEST_LINE)];
        match window.iter().position(|&byte| byte == b'\n') {
            Some(length) => {
                self.at += length + 1;
                text(at, &window[..length])
            }
            None if window.len() < LONGEST_LINE => Err(TorchError::Truncated {
                at: self.content.len(),
                what: WHAT,
            }),
            None => Err(TorchError::Pickle {
                at,
                expected: "a name of at most 512 bytes",
            }),
        }
    }
}

fn text(at: usize, bytes: &[u8]) -> Result<&str, TorchError> {
    std::str::from_utf8(bytes).map_err(|_| TorchError::Pickle {
        at,
        expected: "UTF-8 text",
    })
}
