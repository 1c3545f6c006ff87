//! A block in plain loops with random weights and hidden states, as a [`BlockRunner`].

use crate::graph::{
    Activation, BlockNode, Gate, Graph, LinearNode, NormKind, NormNode, NormPlacement, TensorSpec,
};
use crate::grid::Grid;
use crate::statistics::{INPUT_ABS_MAX, INPUT_ABS_MEAN, INPUT_MEAN_SQUARE, Statistic};
use crate::transforms::{BlockEdit, BlockRunner, EditedTensor, TransformError};
use crate::{FloatType, Granularity, MatrixRef};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

const TOKENS: usize = 12;

/// `[tokens, width]`.
type Rows = Vec<Vec<f32>>;

pub(super) struct ToyBlock {
    block: BlockNode,
    tensors: BTreeMap<String, EditedTensor>,
    statistics: BTreeMap<(String, &'static str), Vec<f32>>,
    states: Rows,
    pub(super) grid: Option<Grid>,
    pub(super) stored: FloatType,
}

impl ToyBlock {
    /// Block 0 of `graph`, its weights stored as `stored`, all its layers quantized to 4 bits in groups
    /// of 4.
    pub(super) fn new(graph: &Graph, stored: FloatType) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut values = |count: usize, middle: f32, spread: f32| -> Vec<f32> {
            let one = |_| stored.round(middle + spread * random.random_range(-1.0..1.0_f32));
            (0..count).map(one).collect()
        };
        let mut tensors = BTreeMap::new();
        for TensorSpec { name, shape } in graph.stages[0].inventory().tensors {
            let is_norm = name.starts_with("norm") && name.ends_with("weight");
            let middle = if is_norm { 1.0 } else { 0.0 };
            let values = values(shape.iter().product(), middle, 0.5);
            tensors.insert(name, EditedTensor { shape, values });
        }
        let states: Rows = (0..TOKENS)
            .map(|_| {
                let mut row = values(crate::graph::tests::WIDTH, 0.0, 1.0);
                // Channel 3 is what activation outliers look like.
                row[3] *= 20.0;
                row
            })
            .collect();
        let mut toy = Self {
            block: graph.block_at(0).unwrap().clone(),
            tensors,
            statistics: BTreeMap::new(),
            states,
            grid: Some(Grid {
                bits: 4,
                symmetric: true,
                scale_type: FloatType::F32,
                arithmetic: FloatType::F32,
            }),
            stored,
        };
        toy.observe();
        toy
    }

    /// The block's result without quantization, with `edit`.
    pub(super) fn output(&self, edit: &BlockEdit) -> Vec<f32> {
        self.forward(edit, &mut BTreeMap::new())
            .into_iter()
            .flatten()
            .collect()
    }

    /// `edit` with `layers` rounded on top.
    pub(super) fn rounded(&self, edit: &BlockEdit, layers: &[&LinearNode]) -> BlockEdit {
        let mut rounded = edit.clone();
        for layer in layers {
            let weight = self.matrix(layer, edit).concat();
            let matrix = MatrixRef::new(&weight, layer.rows, layer.cols).unwrap();
            let values = self.quantize(&layer.name, matrix).unwrap();
            let TensorSpec { name, shape } = layer.weight();
            let values = if layer.transposed {
                turned(&values, layer.cols)
            } else {
                values
            };
            rounded.set(name, EditedTensor { shape, values });
        }
        rounded
    }

    /// Forgets a statistic.
    pub(super) fn forget(&mut self, stat: &'static Statistic) {
        self.statistics.retain(|(_, known), _| *known != stat.name);
    }

    fn observe(&mut self) {
        let mut seen = BTreeMap::new();
        self.forward(&BlockEdit::default(), &mut seen);
        for (point, rows) in seen {
            let width = rows[0].len();
            let each = |fold: &dyn Fn(&[f32]) -> f32| -> Vec<f32> {
                (0..width)
                    .map(|c| fold(&rows.iter().map(|row| row[c]).collect::<Vec<f32>>()))
                    .collect()
            };
            let mean = |f: fn(f32) -> f32| {
                move |values: &[f32]| values.iter().map(|&x| f(x)).sum::<f32>() / TOKENS as f32
            };
            let most = |values: &[f32]| values.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            let all = [
                (&INPUT_ABS_MEAN, each(&mean(f32::abs))),
                (&INPUT_MEAN_SQUARE, each(&mean(|x| x * x))),
                (&INPUT_ABS_MAX, each(&most)),
            ];
            for (stat, values) in all {
                self.statistics.insert((point.clone(), stat.name), values);
            }
        }
    }

    fn vector(&self, spec: &TensorSpec, edit: &BlockEdit) -> Vec<f32> {
        let changed = edit.tensor(&spec.name);
        changed.unwrap_or(&self.tensors[&spec.name]).values.clone()
    }

    fn matrix(&self, layer: &LinearNode, edit: &BlockEdit) -> Rows {
        let stored = self.vector(&layer.weight(), edit);
        let values = if layer.transposed {
            turned(&stored, layer.rows)
        } else {
            stored
        };
        values.chunks(layer.cols).map(<[f32]>::to_vec).collect()
    }

    fn linear(
        &self,
        layer: &LinearNode,
        input: &Rows,
        edit: &BlockEdit,
        seen: &mut BTreeMap<String, Rows>,
    ) -> Rows {
        seen.insert(layer.input_point.clone(), input.clone());
        let weight = self.matrix(layer, edit);
        let bias = layer.bias_tensor().map(|bias| self.vector(&bias, edit));
        let row = |x: &Vec<f32>| -> Vec<f32> {
            let output = weight.iter().enumerate().map(|(r, weights)| {
                let sum: f64 = weights
                    .iter()
                    .zip(x)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum();
                sum as f32 + bias.as_ref().map_or(0.0, |bias| bias[r])
            });
            output.collect()
        };
        let output: Rows = input.iter().map(row).collect();
        seen.insert(layer.output_point(), output.clone());
        output
    }

    fn norm(&self, norm: &NormNode, input: &Rows, edit: &BlockEdit) -> Rows {
        let weight = self.vector(&norm.weight().unwrap(), edit);
        let bias = norm.bias().map(|bias| self.vector(&bias, edit));
        let one = |row: &Vec<f32>| -> Vec<f32> {
            let count = row.len() as f32;
            let mean = match norm.kind {
                NormKind::Rms => 0.0,
                NormKind::Layer => row.iter().sum::<f32>() / count,
            };
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count;
            let scale = (variance + norm.epsilon as f32).sqrt().recip();
            let value = |c: usize| (row[c] - mean) * scale * weight[c];
            (0..row.len())
                .map(|c| value(c) + bias.as_ref().map_or(0.0, |bias| bias[c]))
                .collect()
        };
        input.iter().map(one).collect()
    }

    fn attention(&self, input: &Rows, edit: &BlockEdit, seen: &mut BTreeMap<String, Rows>) -> Rows {
        let node = &self.block.attention;
        let [query, key, value] = node.query_key_value().unwrap().map(|part| {
            let output = self.linear(part.layer, input, edit, seen);
            let cut = |row: Vec<f32>| row[part.rows.clone()].to_vec();
            output.into_iter().map(cut).collect::<Rows>()
        });
        let mut attended: Rows = vec![Vec::new(); input.len()];
        for (at, attended) in attended.iter_mut().enumerate() {
            for head in 0..node.heads {
                let shared = head * node.kv_heads / node.heads;
                let of = |row: &[f32], head: usize| {
                    row[head * node.head_dim..(head + 1) * node.head_dim].to_vec()
                };
                let keys = node.pattern.visible(at, input.len());
                let q = of(&query[at], head);
                let weights: Vec<f32> = keys
                    .clone()
                    .map(|k| {
                        let k = of(&key[k], shared);
                        let dot: f32 = q.iter().zip(&k).map(|(a, b)| a * b).sum();
                        (dot * node.scale as f32).exp()
                    })
                    .collect();
                let total: f32 = weights.iter().sum();
                for d in 0..node.head_dim {
                    let values = keys.clone().map(|k| of(&value[k], shared)[d]);
                    attended.push(values.zip(&weights).map(|(v, w)| v * w / total).sum());
                }
            }
        }
        self.linear(&node.output, &attended, edit, seen)
    }

    fn mlp(&self, input: &Rows, edit: &BlockEdit, seen: &mut BTreeMap<String, Rows>) -> Rows {
        let node = self.block.mlp.dense().unwrap();
        let up = self.linear(&node.up, input, edit, seen);
        let activate = |x: &f32| match node.activation {
            Activation::Relu => x.max(0.0),
            _ => x / (1.0 + (-x).exp()),
        };
        let inner: Rows = match &node.gate {
            Gate::Layer(gate) => {
                let gate = self.linear(gate, input, edit, seen);
                let product = |(g, u): (&Vec<f32>, &Vec<f32>)| -> Vec<f32> {
                    g.iter().zip(u).map(|(g, u)| activate(g) * u).collect()
                };
                gate.iter().zip(&up).map(product).collect()
            }
            _ => up
                .iter()
                .map(|row| row.iter().map(activate).collect())
                .collect(),
        };
        self.linear(&node.down, &inner, edit, seen)
    }

    fn forward(&self, edit: &BlockEdit, seen: &mut BTreeMap<String, Rows>) -> Rows {
        let block = &self.block;
        let x = &self.states;
        match block.placement {
            NormPlacement::Before => {
                let normed = self.norm(block.attention_norm.as_ref().unwrap(), x, edit);
                let x = sum(x, &self.attention(&normed, edit, seen));
                let normed = self.norm(block.mlp_norm.as_ref().unwrap(), &x, edit);
                sum(&x, &self.mlp(&normed, edit, seen))
            }
            NormPlacement::AfterResidual => {
                let x = sum(x, &self.attention(x, edit, seen));
                let x = self.norm(block.attention_norm.as_ref().unwrap(), &x, edit);
                let x = sum(&x, &self.mlp(&x, edit, seen));
                self.norm(block.mlp_norm.as_ref().unwrap(), &x, edit)
            }
        }
    }
}

impl BlockRunner for ToyBlock {
    fn tensor(&self, name: &str) -> Result<EditedTensor, TransformError> {
        Ok(self.tensors[name].clone())
    }

    fn float_type(&self, _name: &str) -> FloatType {
        self.stored
    }

    fn statistic(&self, point: &str, stat: &'static Statistic) -> Option<&[f32]> {
        self.statistics
            .get(&(point.to_owned(), stat.name))
            .map(Vec::as_slice)
    }

    fn run(
        &self,
        edit: &BlockEdit,
        points: &[&str],
        _max_tokens: usize,
    ) -> Result<Vec<Vec<f32>>, TransformError> {
        let mut seen = BTreeMap::new();
        self.forward(edit, &mut seen);
        Ok(points.iter().map(|point| seen[*point].concat()).collect())
    }

    fn granularity(&self, _layer: &str) -> Option<Granularity> {
        self.grid.map(|_| Granularity::Group(4))
    }

    fn quantize(&self, _layer: &str, weight: MatrixRef<'_>) -> Result<Vec<f32>, TransformError> {
        let Some(grid) = self.grid else {
            return Ok(weight.data().to_vec());
        };
        let uniform = grid.quantize(weight, Granularity::Group(4));
        let tensor = crate::QuantizedTensor {
            rows: weight.rows(),
            cols: weight.cols(),
            encoding: crate::Encoding::Uniform(uniform),
            outliers: None,
        };
        Ok(tensor.dequantize())
    }
}

fn sum(a: &Rows, b: &Rows) -> Rows {
    let row = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(a, b)| a + b).collect();
    a.iter().zip(b).map(row).collect()
}

fn turned(values: &[f32], width: usize) -> Vec<f32> {
    let height = values.len() / width;
    (0..width)
        .flat_map(|column| (0..height).map(move |row| values[row * width + column]))
        .collect()
}
