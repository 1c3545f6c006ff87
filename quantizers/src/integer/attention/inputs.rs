//! What a head attends over.

/// Which keys a query sees.
#[derive(Debug, Clone, Copy)]
pub enum Visible<'a> {
    /// All of them.
    All,
    /// Those of a padded sequence, `[keys]`.
    Keys(&'a [bool]),
    /// Query `i` sees keys up to `i + offset`.
    Causal {
        /// Keys before the first query.
        offset: usize,
    },
    /// Pair by pair, `[queries, keys]`.
    Pairs(&'a [bool]),
}

impl Visible<'_> {
    /// Whether `query` sees `key` of `keys`.
    pub fn sees(&self, query: usize, key: usize, keys: usize) -> bool {
        match self {
            Self::All => true,
            Self::Keys(seen) => seen[key],
            Self::Causal { offset } => key <= query + offset,
            Self::Pairs(seen) => seen[query * keys + key],
        }
    }
}

/// Codes of one head, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// `[queries, head_dim]`.
    pub queries: &'a [u8],
    /// `[keys, head_dim]`.
    pub keys: &'a [i8],
    /// `[keys, head_dim]`.
    pub values: &'a [i8],
    /// The mask.
    pub visible: Visible<'a>,
}
