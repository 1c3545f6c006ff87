//! Gradient-boosted regression trees on features that are true or false.
//!
//! Squared error, exact splits: the gain of a split is `GL^2/(NL+l) + GR^2/(NR+l) - G^2/(N+l)` with `G` the
//! sum of the residuals of a node, `N` their number and `l` the regularisation (Chen and Guestrin 2016, equation
//! 7, with a second derivative of one). Spaces have some hundred configurations of some dozen features, for which
//! this is a fraction of a millisecond; a dependency would bring far more than that.

/// How trees are grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Boosting {
    /// Trees.
    pub rounds: usize,
    /// Share of each tree's correction that is applied.
    pub shrinkage: f64,
    /// Questions on a path, at most.
    pub depth: usize,
    /// Added to the number of rows of a leaf: pulls the values of small leaves to zero.
    pub regularization: f64,
    /// Gain a split must have.
    pub least_gain: f64,
}

impl Default for Boosting {
    /// 200 rounds with a shrinkage of 0.15, as published; six questions and a regularisation of 1, as in `XGBoost`.
    fn default() -> Self {
        Self {
            rounds: 200,
            shrinkage: 0.15,
            depth: 6,
            regularization: 1.0,
            least_gain: 1e-9,
        }
    }
}

/// A fitted sum of trees.
#[derive(Debug, Clone, PartialEq)]
pub struct BoostedTrees {
    base: f64,
    trees: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Leaf(f64),
    Split {
        feature: usize,
        /// Where the feature is false, and where it is true.
        branches: Box<[Node; 2]>,
    },
}

impl Boosting {
    /// Fits `targets` by `rows`, all of one length.
    ///
    /// # Panics
    /// When there is not one target for each row.
    pub fn fit(&self, rows: &[Vec<bool>], targets: &[f64]) -> BoostedTrees {
        assert_eq!(rows.len(), targets.len(), "a target for each row");
        let base = targets.iter().sum::<f64>() / targets.len().max(1) as f64;
        let mut residuals: Vec<f64> = targets.iter().map(|target| target - base).collect();
        let all: Vec<usize> = (0..rows.len()).collect();
        let mut trees = Vec::new();
        for _ in 0..self.rounds {
            let tree = self.grow(rows, &residuals, &all, self.depth);
            if let Node::Leaf(value) = tree
                && value.abs() < 1e-12
            {
                break;
            }
            for (residual, row) in residuals.iter_mut().zip(rows) {
                *residual -= tree.value(row);
            }
            trees.push(tree);
        }
        BoostedTrees { base, trees }
    }

    fn grow(&self, rows: &[Vec<bool>], residuals: &[f64], of: &[usize], depth: usize) -> Node {
        let sum = |of: &[usize]| of.iter().map(|row| residuals[*row]).sum::<f64>();
        let score = |sum: f64, count: usize| sum * sum / (count as f64 + self.regularization);
        let total = sum(of);
        let leaf = Node::Leaf(self.shrinkage * total / (of.len() as f64 + self.regularization));
        if depth == 0 || of.len() < 2 {
            return leaf;
        }
        let gain = |feature: usize| {
            let inside = of.iter().filter(|row| rows[**row][feature]);
            let count = inside.clone().count();
            let inside: f64 = inside.map(|row| residuals[*row]).sum();
            let outside = score(total - inside, of.len() - count);
            let splits = count > 0 && count < of.len();
            splits.then(|| score(inside, count) + outside - score(total, of.len()))
        };
        let mut best: Option<(f64, usize)> = None;
        for feature in 0..rows.first().map_or(0, Vec::len) {
            if let Some(gain) = gain(feature).filter(|gain| *gain > self.least_gain)
                && best.is_none_or(|(most, _)| gain > most)
            {
                best = Some((gain, feature));
            }
        }
        let Some((_, feature)) = best else {
            return leaf;
        };
        let (taken, left): (Vec<usize>, Vec<usize>) =
            of.iter().partition(|row| rows[**row][feature]);
        let branches = [left, taken].map(|of| self.grow(rows, residuals, &of, depth - 1));
        Node::Split {
            feature,
            branches: Box::new(branches),
        }
    }
}

impl Node {
    fn value(&self, row: &[bool]) -> f64 {
        match self {
            Self::Leaf(value) => *value,
            Self::Split { feature, branches } => branches[usize::from(row[*feature])].value(row),
        }
    }
}

impl BoostedTrees {
    /// The fitted value of `row`.
    pub fn predict(&self, row: &[bool]) -> f64 {
        let trees = self.trees.iter();
        self.base + trees.map(|tree| tree.value(row)).sum::<f64>()
    }
}
