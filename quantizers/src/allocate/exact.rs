//! The search that closes the gap between the relaxation and a choice: a dynamic program over the groups whose
//! candidates the bound does not rule out, in which states that another beats, or that cannot lead to a better choice,
//! are dropped (Pisinger, "A minimal algorithm for the multiple-choice knapsack problem", 1995).
//!
//! With the price `p` of a bit, moving a group from its base to another candidate costs
//! `r = (score + p bits) - (score + p bits of the base) >= 0`. A choice is worse than the bound by the sum of its `r`
//! and `p` times the bits it leaves unused, so nothing with a sum beyond the best known choice needs to be looked at.

use super::frontier::Frontier;
use super::relaxation::Relaxation;

/// Most states at a time; more of them are thinned out, and the result is no longer proven.
const MOST_STATES: usize = 1 << 14;
/// States made before the search gives up with the best choice so far.
const MOST_WORK: usize = 12_000_000;
/// No state before.
const ROOT: u32 = u32::MAX;

/// The best choice that was found.
pub(super) struct Found {
    /// Position of each group on its frontier.
    pub(super) positions: Vec<usize>,
    /// Nothing was left out.
    pub(super) is_optimal: bool,
}

/// A candidate besides the base of its group.
#[derive(Debug, Clone, Copy)]
struct Deviation {
    position: usize,
    /// Bits more than the base.
    bits: i64,
    /// Reduced cost, at least 0.
    cost: f64,
}

/// Groups decided so far.
#[derive(Debug, Clone, Copy)]
struct State {
    /// Bits more than the bases.
    bits: i64,
    /// Sum of reduced costs.
    cost: f64,
    /// What it came from, and the candidate it took in the last group; the root and none where it took the base.
    before: u32,
    taken: Option<u32>,
}

/// A candidate taken on the way to a state.
#[derive(Debug, Clone, Copy)]
struct Node {
    before: u32,
    group: u32,
    position: u32,
}

/// What a bit costs at least, to save or to spend it in the groups that are still to be decided.
#[derive(Debug, Clone, Copy)]
struct Rates {
    save: f64,
    spend: f64,
}

/// Looks for the best choice of `groups` within `budget`.
pub(super) fn search(groups: &[Frontier], relaxation: &Relaxation, budget: u64) -> Found {
    let slack = slack(groups, &relaxation.base, budget);
    let mut search = Search {
        slack,
        price: relaxation.price,
        excess: 0.0,
        best: None,
        nodes: Vec::new(),
    };
    let start = groups.iter().zip(&relaxation.base).zip(&relaxation.greedy);
    let (mut cost, mut bits) = (0.0, 0);
    for ((group, &base), &at) in start {
        let taken = deviation(group, base, at, relaxation.price);
        cost += taken.cost;
        bits += taken.bits;
    }
    search.excess = cost + search.price * (slack - bits) as f64;
    let is_optimal = search.run(groups, relaxation);
    let positions = match search.best {
        None => relaxation.greedy.clone(),
        Some(node) => search.positions(&relaxation.base, node),
    };
    Found {
        positions,
        is_optimal,
    }
}

/// Bits that the bases leave of the budget.
fn slack(groups: &[Frontier], base: &[usize], budget: u64) -> i64 {
    let used = groups.iter().zip(base).map(|(g, &at)| g.steps()[at].bits);
    signed(budget) - signed(used.sum())
}

/// Sizes are far below 2^63 bits; a budget above counts as that.
fn signed(bits: u64) -> i64 {
    i64::try_from(bits).unwrap_or(i64::MAX)
}

fn deviation(group: &Frontier, base: usize, position: usize, price: f64) -> Deviation {
    let [base, to] = [base, position].map(|at| group.steps()[at]);
    let bits = signed(to.bits) - signed(base.bits);
    let cost = (to.score - base.score) + price * bits as f64;
    Deviation {
        position,
        bits,
        cost: cost.max(0.0),
    }
}

struct Search {
    slack: i64,
    price: f64,
    /// Of the best choice: how much worse than the bound it is.
    excess: f64,
    /// Where it ends; none as long as it is the greedy one.
    best: Option<u32>,
    nodes: Vec<Node>,
}

impl Search {
    /// Whether the search came to its end.
    fn run(&mut self, groups: &[Frontier], relaxation: &Relaxation) -> bool {
        let open = self.open(groups, relaxation);
        let rates = rates(&open);
        let mut states = vec![State {
            bits: 0,
            cost: 0.0,
            before: ROOT,
            taken: None,
        }];
        self.meet(&states[0], None);
        let (mut work, mut complete) = (0, true);
        for (index, (group, deviations)) in open.iter().enumerate() {
            let mut next = Vec::with_capacity(states.len() * (deviations.len() + 1));
            for state in &states {
                next.push(State {
                    taken: None,
                    ..*state
                });
                next.extend(deviations.iter().map(|to| State {
                    bits: state.bits + to.bits,
                    cost: state.cost + to.cost,
                    before: state.before,
                    taken: u32::try_from(to.position).ok(),
                }));
            }
            work += next.len();
            for state in &next {
                self.meet(state, Some(*group));
            }
            states = self.kept(next, rates[index + 1]);
            if states.len() > MOST_STATES {
                complete = false;
                self.thin(&mut states, rates[index + 1]);
            }
            self.settle(&mut states, *group);
            if states.is_empty() {
                break;
            }
            if work > MOST_WORK {
                return false;
            }
        }
        complete
    }

    /// Groups with candidates that can be part of a better choice; those whose candidates change a bit at the least
    /// cost come first.
    fn open(&self, groups: &[Frontier], relaxation: &Relaxation) -> Vec<(usize, Vec<Deviation>)> {
        let mut open: Vec<(usize, Vec<Deviation>)> = Vec::new();
        for (index, (group, &base)) in groups.iter().zip(&relaxation.base).enumerate() {
            let others = (0..group.steps().len()).filter(|&at| at != base);
            let deviations = others.map(|at| deviation(group, base, at, self.price));
            let deviations: Vec<_> = deviations.filter(|to| to.cost < self.excess).collect();
            if !deviations.is_empty() {
                open.push((index, deviations));
            }
        }
        let rate = |deviations: &[Deviation]| {
            let rates = deviations.iter().map(|to| to.cost / to.bits.abs() as f64);
            rates.fold(f64::INFINITY, f64::min)
        };
        open.sort_by(|(_, a), (_, b)| rate(a).total_cmp(&rate(b)));
        open
    }

    /// Takes a state as a choice in which all other groups keep their base, where that fits and is better.
    fn meet(&mut self, state: &State, group: Option<usize>) {
        if state.bits > self.slack {
            return;
        }
        let excess = state.cost + self.price * (self.slack - state.bits) as f64;
        if excess < self.excess {
            self.excess = excess;
            self.best = Some(match (state.taken, group) {
                (Some(position), Some(group)) => self.node(state.before, group, position),
                _ => state.before,
            });
        }
    }

    fn node(&mut self, before: u32, group: usize, position: u32) -> u32 {
        let node = u32::try_from(self.nodes.len()).unwrap_or(ROOT);
        self.nodes.push(Node {
            before,
            group: u32::try_from(group).unwrap_or(ROOT),
            position,
        });
        node
    }

    /// The least excess of any choice that begins with `state`.
    fn bound(&self, state: &State, rates: Rates) -> f64 {
        if state.bits > self.slack {
            let over = (state.bits - self.slack) as f64;
            state.cost + rates.save * over
        } else {
            let unused = (self.slack - state.bits) as f64;
            state.cost + rates.spend.min(self.price) * unused
        }
    }

    /// Those that no other beats and that can still lead to a better choice, by ascending bits.
    fn kept(&self, mut states: Vec<State>, rates: Rates) -> Vec<State> {
        states.retain(|state| self.bound(state, rates) < self.excess);
        let score = |state: &State| state.cost - self.price * state.bits as f64;
        states.sort_by(|a, b| a.bits.cmp(&b.bits).then(score(a).total_cmp(&score(b))));
        let mut least = f64::INFINITY;
        states.retain(|state| {
            let better = score(state) < least;
            least = least.min(score(state));
            better
        });
        states
    }

    /// The most promising of too many.
    fn thin(&self, states: &mut Vec<State>, rates: Rates) {
        states.sort_by(|a, b| self.bound(a, rates).total_cmp(&self.bound(b, rates)));
        states.truncate(MOST_STATES);
        states.sort_by_key(|state| state.bits);
    }

    /// Writes down what the states that are left took in `group`.
    fn settle(&mut self, states: &mut [State], group: usize) {
        for state in states {
            if let Some(position) = state.taken.take() {
                state.before = self.node(state.before, group, position);
            }
        }
    }

    fn positions(&self, base: &[usize], end: u32) -> Vec<usize> {
        let mut positions = base.to_vec();
        let mut at = end;
        while let Some(node) = self.nodes.get(at as usize) {
            positions[node.group as usize] = node.position as usize;
            at = node.before;
        }
        positions
    }
}

/// Rates of the groups from each position of `open` on.
fn rates(open: &[(usize, Vec<Deviation>)]) -> Vec<Rates> {
    let none = Rates {
        save: f64::INFINITY,
        spend: f64::INFINITY,
    };
    let mut rates = vec![none; open.len() + 1];
    for (index, (_, deviations)) in open.iter().enumerate().rev() {
        let mut all = rates[index + 1];
        for to in deviations {
            let rate = to.cost / to.bits.abs() as f64;
            let side = if to.bits < 0 {
                &mut all.save
            } else {
                &mut all.spend
            };
            *side = side.min(rate);
        }
        rates[index] = all;
    }
    rates
}
