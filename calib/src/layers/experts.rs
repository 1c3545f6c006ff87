//! A mixture of experts: every token through the few networks its router chooses.

use super::Loader;
use super::linear::Linear;
use super::mlp::Mlp;
use crate::{NoTap, SourceError, Tap};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData, activation};
use quantizers::graph::{ExpertGroups, ExpertsNode, RouterScores, Routing};

/// Keeps the sum of logistic scores above zero, as published.
const LEAST_SUM: f64 = 1e-20;

/// The experts of one block with their weights.
#[derive(Debug, Clone)]
pub struct Experts {
    router: Router,
    networks: Vec<Mlp>,
    shared: Option<Mlp>,
    shared_gate: Option<Linear>,
}

#[derive(Debug, Clone)]
struct Router {
    layer: Linear,
    routing: Routing,
    /// Added to the scores for the choice alone.
    correction: Option<Vec<f32>>,
}

/// What the router decided for `[tokens]`.
struct Choice {
    /// `[tokens, experts]`: the weight of each expert's output, zero where it was not chosen.
    shares: Tensor<2>,
    /// For each expert the tokens that chose it.
    tokens: Vec<Vec<i32>>,
}

impl Experts {
    /// Reads the layers of `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &ExpertsNode, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let correction = node.routing.correction.as_ref();
        let experts = node.experts.iter().map(|expert| Mlp::load(expert, loader));
        let shared = node.shared.as_ref();
        let gate = node.shared_gate.as_ref();
        Ok(Self {
            router: Router {
                layer: Linear::load(&node.router, loader)?,
                routing: node.routing.clone(),
                correction: correction
                    .map(|spec| loader.with_values(spec, <[f32]>::to_vec))
                    .transpose()?,
            },
            networks: experts.collect::<Result<_, _>>()?,
            shared: shared.map(|node| Mlp::load(node, loader)).transpose()?,
            shared_gate: gate.map(|node| Linear::load(node, loader)).transpose()?,
        })
    }

    /// `[batch, tokens, width]` to the same shape; before the residual is added.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        let [batch, tokens, width] = input.dims();
        let rows = batch * tokens;
        let device = input.device();
        let choice = self.router.choose(&input, tap);
        let gate = self.shared_gate.as_ref().map(|gate| {
            gate.observe(&input, tap);
            activation::sigmoid(gate.forward(input.clone(), tap))
        });
        let flat = input.clone().reshape([rows, width]);
        let mut output = Tensor::<2>::zeros([rows, width], &device);
        for (expert, (network, chosen)) in self.networks.iter().zip(&choice.tokens).enumerate() {
            let whole = network.is_wanted_whole(tap);
            if whole {
                network.forward(input.clone(), tap);
            }
            if chosen.is_empty() {
                continue;
            }
            // What was seen whole is not to be seen again.
            let mut unseen = NoTap;
            let tap = if whole { &mut unseen } else { &mut *tap };
            let at = indices(chosen, &device);
            let seen = flat.clone().select(0, at.clone());
            // The next tokens of several texts stay as many texts: their rows may have to be kept apart.
            let shape = if tokens == 1 {
                [chosen.len(), 1, width]
            } else {
                [1, chosen.len(), width]
            };
            let made = network.forward(seen.reshape(shape), tap);
            let share = choice.shares.clone().narrow(1, expert, 1);
            let weighted = made.reshape([chosen.len(), width]) * share.select(0, at.clone());
            output = output.select_assign(0, at, weighted, burn::tensor::IndexingUpdateOp::Add);
        }
        let mut output = output.reshape([batch, tokens, width]);
        if let Some(shared) = &self.shared {
            let mut made = shared.forward(input, tap);
            if let Some(gate) = gate {
                made = made * gate;
            }
            output = output + made;
        }
        output
    }
}

fn indices(values: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

impl Router {
    fn choose(&self, input: &Tensor<3>, tap: &mut dyn Tap) -> Choice {
        let [batch, tokens, _] = input.dims();
        let rows = batch * tokens;
        let device = input.device();
        self.layer.observe(input, tap);
        let logits = self.layer.forward(input.clone(), tap);
        let experts = logits.dims()[2];
        let logits = logits.reshape([rows, experts]);
        let scores = match self.routing.scores {
            RouterScores::Softmax => activation::softmax(logits.clone(), 1),
            RouterScores::Sigmoid => activation::sigmoid(logits.clone()),
            RouterScores::SoftmaxOfChosen | RouterScores::SparseMixer { .. } => logits.clone(),
        };
        let values: Vec<f32> = scores.clone().into_data().iter::<f32>().collect();
        if let RouterScores::SparseMixer { jitter } = self.routing.scores {
            return self.sparse_mixer(&logits, &values, jitter);
        }
        let mut hidden = vec![true; values.len()];
        let mut tokens = vec![Vec::new(); experts];
        for (token, (row, hidden)) in values
            .chunks_exact(experts)
            .zip(hidden.chunks_exact_mut(experts))
            .enumerate()
        {
            for expert in self.best(row) {
                hidden[expert] = false;
                tokens[expert].push(token_index(token));
            }
        }
        let hidden =
            Tensor::<2, Bool>::from_data(TensorData::new(hidden, [rows, experts]), &device);
        let mut shares = match self.routing.scores {
            RouterScores::SoftmaxOfChosen => {
                activation::softmax(scores.mask_fill(hidden, f32::NEG_INFINITY), 1)
            }
            _ => scores.mask_fill(hidden, 0.0),
        };
        if self.routing.normalised {
            shares = shares.clone() / (shares.sum_dim(1) + LEAST_SUM);
        }
        if self.routing.scale.to_bits() != 1.0_f64.to_bits() {
            shares = shares * self.routing.scale;
        }
        Choice { shares, tokens }
    }

    /// The experts of a token with these scores.
    fn best(&self, scores: &[f32]) -> Vec<usize> {
        let corrected: Vec<f32> = match &self.correction {
            Some(correction) => scores.iter().zip(correction).map(|(s, c)| s + c).collect(),
            None => scores.to_vec(),
        };
        let allowed = match self.routing.groups {
            Some(groups) => in_best_groups(&corrected, groups),
            None => (0..corrected.len()).collect(),
        };
        highest(&corrected, allowed, self.routing.top_k)
    }

    /// One expert after the other, each with the softmax over the logits near the largest one left (`phimoe`).
    fn sparse_mixer(&self, logits: &Tensor<2>, values: &[f32], jitter: f64) -> Choice {
        let [rows, experts] = logits.dims();
        let device = logits.device();
        let mut tokens = vec![Vec::new(); experts];
        let mut taken = vec![false; values.len()];
        let mut shares = Tensor::<2>::zeros([rows, experts], &device);
        for _ in 0..self.routing.top_k {
            let (mut hidden, mut others) = (taken.clone(), vec![true; values.len()]);
            for (token, row) in values.chunks_exact(experts).enumerate() {
                let at = token * experts;
                let free = (0..experts).filter(|expert| !taken[at + expert]);
                let Some(&best) = highest(row, free.collect(), 1).first() else {
                    continue;
                };
                for (expert, &logit) in row.iter().enumerate() {
                    let distance = (row[best] - logit) / logit.abs().max(row[best]);
                    hidden[at + expert] |= f64::from(distance) > 2.0 * jitter;
                }
                taken[at + best] = true;
                others[at + best] = false;
                tokens[best].push(token_index(token));
            }
            let mask = |values| {
                Tensor::<2, Bool>::from_data(TensorData::new(values, [rows, experts]), &device)
            };
            let near = logits.clone().mask_fill(mask(hidden), f32::NEG_INFINITY);
            shares = shares + activation::softmax(near, 1).mask_fill(mask(others), 0.0);
        }
        for tokens in &mut tokens {
            tokens.sort_unstable();
        }
        Choice { shares, tokens }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "batches are far below two thousand million tokens"
)]
fn token_index(token: usize) -> i32 {
    token as i32
}

/// The `count` entries of `among` with the highest scores, the first of equals first.
fn highest(scores: &[f32], mut among: Vec<usize>, count: usize) -> Vec<usize> {
    among.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    among.truncate(count);
    among
}

/// The experts of the best groups.
fn in_best_groups(scores: &[f32], groups: ExpertGroups) -> Vec<usize> {
    let size = scores.len() / groups.count.max(1);
    let value = |group: usize| -> f32 {
        let members = (group * size..(group + 1) * size).collect();
        let best = highest(scores, members, groups.best);
        best.into_iter().map(|expert| scores[expert]).sum()
    };
    let values: Vec<f32> = (0..groups.count).map(value).collect();
    let chosen = highest(&values, (0..groups.count).collect(), groups.chosen);
    let members = chosen
        .into_iter()
        .flat_map(|group| group * size..(group + 1) * size);
    members.collect()
}
