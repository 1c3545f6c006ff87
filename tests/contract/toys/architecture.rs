//! A toy architecture: a token table that is its own head.

use burn::tensor::Device;
use calib::architectures::{
    Abilities, Architecture, InputKind, StageSpec, StagedModel, open_model_from,
};
use calib::{Forward, Model, ModelError, ModelOutput, SourceError, Tensor32, WeightSource};
use quantizers::graph::{HeadNode, Projection, TensorSpec, TokenInputNode};
use serde_json::{Value, json};

/// Vocabulary of the toy.
pub(super) const VOCABULARY: usize = 5;
const WIDTH: usize = 5;

struct Echo;

impl Architecture for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn summary(&self) -> &'static str {
        "decoders that predict the token they were given"
    }

    fn model_types(&self) -> &[&'static str] {
        &["echo"]
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            outputs: &[ModelOutput::TokenLogits],
            takes: InputKind::Tokens,
            calibrates: false,
            integer_only: false,
            layer: String::new(),
        }
    }

    fn open(&self, _: &Value, _: &dyn WeightSource) -> Result<Box<dyn Model>, ModelError> {
        let tokens = TensorSpec::new("tokens.weight", [VOCABULARY, WIDTH]);
        let stages: Vec<Box<dyn StageSpec>> = vec![
            Box::new(TokenInputNode::new(tokens.clone())),
            Box::new(HeadNode::new(
                None,
                Some(Projection::Tied {
                    table: tokens,
                    bias: None,
                    layer: "head".to_owned(),
                }),
            )),
        ];
        let model = StagedModel::new(self.name(), ModelOutput::TokenLogits, stages);
        Ok(Box::new(model.with_text(VOCABULARY, 8)))
    }
}

/// Ten times the unit matrix: the largest logit is that of the token itself.
pub(super) struct Weights(Vec<f32>);

impl Weights {
    pub(super) fn new() -> Self {
        let at = |index: usize| {
            if index.is_multiple_of(WIDTH + 1) {
                10.0
            } else {
                0.0
            }
        };
        Self((0..VOCABULARY * WIDTH).map(at).collect())
    }
}

impl WeightSource for Weights {
    fn tensor(&self, _: &str) -> Result<Tensor32<'_>, SourceError> {
        Ok(Tensor32 {
            shape: vec![VOCABULARY, WIDTH],
            data: self.0.as_slice().into(),
        })
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        (name == "tokens.weight").then(|| vec![VOCABULARY, WIDTH])
    }

    fn names(&self) -> Vec<String> {
        vec!["tokens.weight".to_owned()]
    }
}

/// The toy model, opened as any model is.
pub(super) fn model(weights: &Weights) -> Box<dyn Model> {
    let config = json!({ "model_type": "echo" });
    open_model_from(&[&Echo], &config, weights).unwrap()
}

#[test]
fn an_architecture_is_one_file() {
    let weights = Weights::new();
    let model = model(&weights);
    assert_eq!((model.stages(), model.vocabulary()), (2, Some(VOCABULARY)));
    let forward = Forward::new(model.as_ref(), &weights, Device::flex());
    let tokens = calib::inputs::Inputs::Tokens(vec![vec![3, 1, 4]]);
    let outputs = forward
        .run(0..2, vec![tokens.batch(&[0], &Device::flex())])
        .unwrap();
    let logits = outputs[0]
        .clone()
        .into_states(|| "head".to_owned())
        .unwrap();
    let logits = calib::hidden::values(logits);
    for (row, token) in logits.chunks_exact(VOCABULARY).zip([3_usize, 1, 4]) {
        assert!(row.iter().all(|logit| *logit <= row[token]));
    }
}
