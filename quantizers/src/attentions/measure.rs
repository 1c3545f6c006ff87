//! What an attention method loses: its last queries against exact attention.

use super::group::{Attended, HeadGroup, Seen};
use super::softmax::{Listed, Row};
use super::{AttentionError, SparseAttention};

/// Queries that are compared unless a caller says otherwise: the last 128 of a sequence.
pub const QUERIES: usize = 128;

/// One figure over all compared queries of all query heads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// What all but the worst twentieth of the queries are at least as good as.
    pub p95: f64,
    /// The worst query.
    pub worst: f64,
}

impl Summary {
    /// Of `values`, of which high ones are good or bad; NaN over no values.
    fn new(mut values: Vec<f64>, high_is_good: bool) -> Self {
        // Worst last.
        values.sort_by(f64::total_cmp);
        if high_is_good {
            values.reverse();
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let at = (values.len() * 95).div_ceil(100).saturating_sub(1);
        Self {
            mean,
            p95: values.get(at).copied().unwrap_or(f64::NAN),
            worst: values.last().copied().unwrap_or(f64::NAN),
        }
    }
}

/// A method against exact attention, on the last queries of one head group.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Queries compared: of each query head, the last ones.
    pub queries: usize,
    /// Keys `recall` asks for.
    pub top: usize,
    /// Fraction of the `top` keys with the largest exact attention that the method looked at, or of all keys a query has
    /// where those are fewer. High is good.
    pub recall: Summary,
    /// Exact attention of the keys the method looked at, of 1 for all keys. High is good.
    pub mass: Summary,
    /// `||output - exact|| / ||exact||`. Low is good; 0 where both are zero.
    pub relative_l2: Summary,
    /// Cosine of output and exact output. High is good; 1 where both are zero.
    pub cosine: Summary,
    /// [`Attended::score_evaluations`] of the method, over the whole sequence.
    pub score_evaluations: u64,
    /// The same of exact attention.
    pub exact_evaluations: u64,
    /// [`Attended::kept_keys_max`] of the method.
    pub kept_keys_max: usize,
}

impl Comparison {
    /// Score evaluations as a fraction of those of exact attention.
    pub fn cost(&self) -> f64 {
        self.score_evaluations as f64 / self.exact_evaluations.max(1) as f64
    }
}

/// Runs `method` on `group` and compares its last `queries` queries with exact attention; `top` keys are asked for in
/// [`Comparison::recall`].
///
/// # Errors
/// What [`SparseAttention::attend`] returns.
pub fn compare(
    group: &HeadGroup<'_>,
    method: &dyn SparseAttention,
    queries: usize,
    top: usize,
) -> Result<Comparison, AttentionError> {
    let first = group.tokens().saturating_sub(queries);
    let mut looks = Looks::new(group, first);
    let attended = method.attend(group, Some(&mut looks))?;
    Ok(judge(group, first, top, &attended, &looks))
}

/// What a method loses on the last queries of one head group, whatever it costs: means of [`Comparison`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// [`Comparison::recall`].
    pub recall: f64,
    /// [`Comparison::mass`].
    pub mass: f64,
    /// [`Comparison::relative_l2`].
    pub relative_l2: f64,
    /// [`Comparison::cosine`].
    pub cosine: f64,
}

/// The means of [`compare`] without its counts: nothing is computed that the last queries do not depend on.
///
/// # Errors
/// What [`SparseAttention::attend`] returns.
pub fn loss(
    group: &HeadGroup<'_>,
    method: &dyn SparseAttention,
    queries: usize,
    top: usize,
) -> Result<Loss, AttentionError> {
    let first = group.tokens().saturating_sub(queries);
    let mut looks = Looks {
        only: true,
        ..Looks::new(group, first)
    };
    let attended = method.attend(group, Some(&mut looks))?;
    let found = judge(group, first, top, &attended, &looks);
    Ok(Loss {
        recall: found.recall.mean,
        mass: found.mass.mean,
        relative_l2: found.relative_l2.mean,
        cosine: found.cosine.mean,
    })
}

/// Keys looked at by the queries from `first` on.
struct Looks {
    first: usize,
    /// No other query is of interest.
    only: bool,
    /// Of each query head and query.
    keys: Vec<Vec<Vec<u32>>>,
}

impl Looks {
    fn new(group: &HeadGroup<'_>, first: usize) -> Self {
        let of_a_head = vec![Vec::new(); group.tokens() - first];
        Self {
            first,
            only: false,
            keys: vec![of_a_head; group.queries.len()],
        }
    }
}

impl Seen for Looks {
    fn wants(&self, token: usize) -> bool {
        token >= self.first
    }

    fn only(&self) -> bool {
        self.only
    }

    fn saw(&mut self, head: usize, token: usize, positions: &[u32], _shares: &[f32]) {
        // A method may attend twice to be exact the second time: what it looked at last is what it gives back.
        positions.clone_into(&mut self.keys[head][token - self.first]);
    }
}

fn judge(
    group: &HeadGroup<'_>,
    first: usize,
    top: usize,
    attended: &Attended,
    looks: &Looks,
) -> Comparison {
    let mut row = Row::new(group.values.cols());
    let mut exact = vec![0.0; group.values.cols()];
    let all: Vec<u32> = (0..).take(group.tokens()).collect();
    let [mut recall, mut mass, mut distance, mut cosine] = [const { Vec::new() }; 4];
    for (head, outputs) in attended.outputs.iter().enumerate() {
        for token in first..group.tokens() {
            let keys = if group.causal {
                token + 1
            } else {
                group.tokens()
            };
            let query = group.queries[head].row(token);
            let matrices = (group.keys, group.values);
            row.attend(query, group.scale, matrices, Listed::plain(&all[..keys]));
            row.partial.write(&mut exact);
            let mut looked = vec![false; keys];
            for position in &looks.keys[head][token - first] {
                looked[*position as usize] = true;
            }
            recall.push(found(&row.weights, &looked, top));
            let seen = row
                .weights
                .iter()
                .zip(&looked)
                .filter(|(_, looked)| **looked);
            let seen: f64 = seen.map(|(weight, _)| f64::from(*weight)).sum();
            mass.push(seen / row.partial.sum);
            let output = outputs.row(token);
            distance.push(relative_l2(output, &exact));
            cosine.push(cosine_of(output, &exact));
        }
    }
    Comparison {
        queries: recall.len(),
        top,
        recall: Summary::new(recall, true),
        mass: Summary::new(mass, true),
        relative_l2: Summary::new(distance, false),
        cosine: Summary::new(cosine, true),
        score_evaluations: attended.score_evaluations,
        exact_evaluations: group.exact_evaluations(),
        kept_keys_max: attended.kept_keys_max,
    }
}

/// The fraction of the `top` largest `weights` that has been looked at.
fn found(weights: &[f32], looked: &[bool], top: usize) -> f64 {
    let top = top.clamp(1, weights.len());
    let mut order: Vec<usize> = (0..weights.len()).collect();
    // Of equal weights the later key counts.
    let before = |a: &usize, b: &usize| weights[*b].total_cmp(&weights[*a]).then(b.cmp(a));
    if top < order.len() {
        order.select_nth_unstable_by(top - 1, before);
    }
    let found = order[..top].iter().filter(|at| looked[**at]).count();
    found as f64 / top as f64
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values
        .map(|value| f64::from(value).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn relative_l2(output: &[f32], exact: &[f32]) -> f64 {
    let error = norm(
        output
            .iter()
            .zip(exact)
            .map(|(output, exact)| output - exact),
    );
    if error > 0.0 {
        error / norm(exact.iter().copied())
    } else {
        error
    }
}

fn cosine_of(output: &[f32], exact: &[f32]) -> f64 {
    let [own, other] = [output, exact].map(|values| norm(values.iter().copied()));
    if own <= 0.0 && other <= 0.0 {
        return 1.0;
    }
    let products = output
        .iter()
        .zip(exact)
        .map(|(x, y)| f64::from(*x) * f64::from(*y));
    products.sum::<f64>() / (own * other).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_sorts_by_what_is_good() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        let errors = Summary::new(values.clone(), false);
        assert!((errors.mean - 50.5).abs() < 1e-9);
        assert!((errors.p95 - 95.0).abs() < 1e-9 && (errors.worst - 100.0).abs() < 1e-9);
        let recalls = Summary::new(values, true);
        assert!((recalls.p95 - 6.0).abs() < 1e-9 && (recalls.worst - 1.0).abs() < 1e-9);
    }

    #[test]
    fn recall_counts_the_largest_weights_that_were_looked_at() {
        let weights = [0.1, 0.9, 0.3, 0.9];
        let looked = [true, false, false, true];
        assert!((found(&weights, &looked, 2) - 0.5).abs() < 1e-9);
        assert!((found(&weights, &looked, 1) - 1.0).abs() < 1e-9);
        assert!((found(&weights, &looked, 9) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn errors_of_zero_and_opposite_outputs() {
        assert!(relative_l2(&[0.0], &[0.0]) <= 0.0);
        assert!((cosine_of(&[0.0], &[0.0]) - 1.0).abs() < 1e-12);
        assert!((relative_l2(&[1.0, 0.0], &[-1.0, 0.0]) - 2.0).abs() < 1e-12);
        assert!((cosine_of(&[1.0, 0.0], &[-1.0, 0.0]) + 1.0).abs() < 1e-12);
    }
}
