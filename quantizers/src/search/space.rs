//! Every combination of one choice for each dimension.

/// Sizes of the dimensions of a space; a configuration is a number below their product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    sizes: Vec<usize>,
}

impl Choices {
    /// A space whose dimensions have `sizes` choices each.
    ///
    /// # Panics
    /// When a dimension has no choice.
    pub fn new(sizes: Vec<usize>) -> Self {
        assert!(
            sizes.iter().all(|size| *size > 0),
            "a choice for each dimension"
        );
        Self { sizes }
    }

    /// Number of configurations; nothing where it does not fit a number.
    pub fn count(&self) -> Option<usize> {
        let sizes = self.sizes.iter();
        sizes.copied().try_fold(1, usize::checked_mul)
    }

    /// The choice of configuration `at` in each dimension; the last dimension changes fastest.
    pub fn of(&self, mut at: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = self
            .sizes
            .iter()
            .rev()
            .map(|size| {
                let choice = at % size;
                at /= size;
                choice
            })
            .collect();
        chosen.reverse();
        chosen
    }

    /// One feature for each choice of each dimension, 1 where it is taken.
    pub(super) fn features(&self, at: usize) -> Vec<bool> {
        let mut features = Vec::new();
        for (choice, size) in self.of(at).into_iter().zip(&self.sizes) {
            features.extend((0..*size).map(|other| other == choice));
        }
        features
    }

    /// In how many dimensions two configurations differ.
    pub(super) fn distance(&self, one: usize, other: usize) -> usize {
        let pairs = self.of(one).into_iter().zip(self.of(other));
        pairs.filter(|(one, other)| one != other).count()
    }
}
