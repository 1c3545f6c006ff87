//! A toy transform: every tensor of the stage is written back with the values it has.

use super::architecture::{Weights, model};
use quantizers::graph::Graph;
use quantizers::transforms::{
    BlockEdit, BlockRunner, ConfiguredTransform, EditedTensor, Transform, TransformError,
};
use quantizers::{FloatType, Granularity, MatrixRef, ParamError, Statistic};

struct Unchanged;

impl Transform for Unchanged {
    fn name(&self) -> &'static str {
        "unchanged"
    }

    fn summary(&self) -> &'static str {
        "writes every tensor back as it is"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn configure(&self, _: &toml::Table) -> Result<Box<dyn ConfiguredTransform>, ParamError> {
        Ok(Box::new(Self))
    }
}

impl ConfiguredTransform for Unchanged {
    fn needs(&self) -> &'static [&'static Statistic] {
        &[]
    }

    fn runs(&self) -> bool {
        false
    }

    fn plan(&self, _graph: &Graph) -> Result<Vec<String>, TransformError> {
        Ok(Vec::new())
    }

    fn apply(
        &self,
        graph: &Graph,
        stage: usize,
        edit: &mut BlockEdit,
        runner: &dyn BlockRunner,
    ) -> Result<Vec<String>, TransformError> {
        let tensors = graph.stages[stage].inventory().tensors;
        for tensor in &tensors {
            edit.set(&tensor.name, runner.tensor(&tensor.name)?);
        }
        Ok(vec![format!("{} tensors", tensors.len())])
    }
}

/// A block without data: all the toy asks for is a tensor.
struct Still;

impl BlockRunner for Still {
    fn tensor(&self, _name: &str) -> Result<EditedTensor, TransformError> {
        Ok(EditedTensor {
            shape: vec![1],
            values: vec![7.0],
        })
    }

    fn float_type(&self, _name: &str) -> FloatType {
        FloatType::F32
    }

    fn statistic(&self, _point: &str, _statistic: &'static Statistic) -> Option<&[f32]> {
        None
    }

    fn run(
        &self,
        _edit: &BlockEdit,
        points: &[&str],
        _max_tokens: usize,
    ) -> Result<Vec<Vec<f32>>, TransformError> {
        Ok(vec![Vec::new(); points.len()])
    }

    fn granularity(&self, _layer: &str) -> Option<Granularity> {
        None
    }

    fn quantize(&self, _layer: &str, weight: MatrixRef<'_>) -> Result<Vec<f32>, TransformError> {
        Ok(weight.data().to_vec())
    }
}

#[test]
fn a_transform_is_one_file() {
    let weights = Weights::new();
    let model = model(&weights);
    let configured = Unchanged.configure(&toml::Table::new()).unwrap();
    assert!(configured.plan(model.graph()).unwrap().is_empty());
    let mut edit = BlockEdit::default();
    let notes = configured
        .apply(model.graph(), 0, &mut edit, &Still)
        .unwrap();
    assert_eq!(notes, ["1 tensors"]);
    assert_eq!(edit.tensor("tokens.weight").unwrap().values, [7.0]);
}
