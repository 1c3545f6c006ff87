//! A two-stage model over tables of numbers, for tests: embedding, then a linear head.

use burn::tensor::{Device, Tensor, TensorData};
use calib::model::ModelOutput;
use calib::{
    Hidden, LayerSpec, Model, SourceError, Stage, StageError, Tap, Tensor32, WeightSource,
};
use quantizers::graph::{Graph, TensorSpec};
use std::collections::BTreeMap;

pub(crate) const VOCABULARY: usize = 11;
pub(crate) const WIDTH: usize = 4;

/// Weights by name.
pub(crate) struct Weights(BTreeMap<&'static str, (Vec<usize>, Vec<f32>)>);

impl Weights {
    /// Numbers that differ with `seed`; `noise` is added to the head alone.
    pub(crate) fn new(seed: u16, noise: f32) -> Self {
        let values = |salt: u16, noise: f32| -> Vec<f32> {
            (0..44_u16)
                .map(|at| {
                    let angle = f32::from(at * 7 + seed * 13 + salt);
                    angle.sin() * 1.5 + noise * (angle * 3.7).cos()
                })
                .collect()
        };
        Self(BTreeMap::from([
            ("embedding", (vec![VOCABULARY, WIDTH], values(1, 0.0))),
            ("head", (vec![WIDTH, VOCABULARY], values(5, noise))),
        ]))
    }

    /// Logits of the token after `id`, in f64.
    pub(crate) fn logits(&self, id: u32) -> Vec<f64> {
        let (embedding, head) = (&self.0["embedding"].1, &self.0["head"].1);
        let states = &embedding[id as usize * WIDTH..][..WIDTH];
        (0..VOCABULARY)
            .map(|token| {
                let terms = states.iter().enumerate();
                terms
                    .map(|(i, &s)| f64::from(s) * f64::from(head[i * VOCABULARY + token]))
                    .sum()
            })
            .collect()
    }
}

impl WeightSource for Weights {
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError> {
        let (shape, data) = &self.0[name];
        Ok(Tensor32 {
            shape: shape.clone(),
            data: data.as_slice().into(),
        })
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.get(name).map(|(shape, _)| shape.clone())
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().map(|&name| name.to_owned()).collect()
    }
}

/// Predicts the next token from the last one alone.
pub(crate) struct Bigram;

impl Model for Bigram {
    fn layers(&self) -> &[LayerSpec] {
        &[]
    }

    fn stages(&self) -> usize {
        2
    }

    fn stage_name(&self, stage: usize) -> String {
        ["embedding", "head"][stage].to_owned()
    }

    fn output(&self) -> ModelOutput {
        ModelOutput::TokenLogits
    }

    fn architecture(&self) -> &'static str {
        "bigram"
    }

    fn tensors(&self, _stage: usize) -> &[TensorSpec] {
        &[]
    }

    fn graph(&self) -> &Graph {
        static EMPTY: Graph = Graph {
            architecture: String::new(),
            stages: Vec::new(),
            max_positions: None,
        };
        &EMPTY
    }

    fn build(
        &self,
        stage: usize,
        source: &dyn WeightSource,
        device: &Device,
    ) -> Result<Box<dyn Stage>, StageError> {
        let tensor = source.tensor(&self.stage_name(stage))?;
        let data = TensorData::new(tensor.data.into_owned(), [tensor.shape[0], tensor.shape[1]]);
        Ok(Box::new(Table {
            is_embedding: stage == 0,
            values: Tensor::from_data(data, device),
        }))
    }

    fn vocabulary(&self) -> Option<usize> {
        Some(VOCABULARY)
    }

    fn max_positions(&self) -> Option<usize> {
        Some(32)
    }
}

struct Table {
    is_embedding: bool,
    values: Tensor<2>,
}

impl Stage for Table {
    fn forward(&self, hidden: Hidden, _tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        Ok(Hidden::States(match (hidden, self.is_embedding) {
            (Hidden::Tokens(ids), true) => {
                let [batch, tokens] = ids.dims();
                let rows = self.values.clone().select(0, ids.reshape([batch * tokens]));
                rows.reshape([batch, tokens, WIDTH])
            }
            (Hidden::States(states), false) => states.matmul(self.values.clone().unsqueeze()),
            _ => unreachable!("stages run in order"),
        }))
    }
}
