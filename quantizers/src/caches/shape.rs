//! The shape of the cache of one layer.

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Keys.
    Keys,
    /// Values.
    Values,
}

impl Part {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Keys, Self::Values];

    /// The word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Values => "values",
        }
    }

    /// First letter of the names of tensors in artifacts.
    pub fn letter(self) -> char {
        match self {
            Self::Keys => 'k',
            Self::Values => 'v',
        }
    }
}

/// The cache of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// Which layer, from 0.
    pub layer: usize,
    /// Layers of the model.
    pub layers: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Elements of the key of one head.
    pub key_dim: usize,
    /// Elements of the value of one head.
    pub value_dim: usize,
}

impl CacheShape {
    /// Elements of one head.
    pub fn dim(&self, part: Part) -> usize {
        match part {
            Part::Keys => self.key_dim,
            Part::Values => self.value_dim,
        }
    }

    /// Elements of one token: `kv_heads dim`.
    pub fn channels(&self, part: Part) -> usize {
        self.kv_heads * self.dim(part)
    }
}
