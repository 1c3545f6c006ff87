//! A toy task: how many models there are, times a number from the recipe.

use super::architecture::{Weights, model};
use burn::tensor::Device;
use calib::Forward;
use calib::data::Content;
use eval::kind::ModelKind;
use eval::score::{Better, Metric, Score, Unit};
use eval::subject::{InputFiles, Subject};
use eval::tasks::{ConfiguredTask, Task, TaskError, TaskInput, TaskSpec, evaluate, options};

struct Count;

#[derive(serde::Deserialize)]
struct Times {
    times: u32,
}

impl Task for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    fn summary(&self) -> &'static str {
        "number of models, multiplied"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[("times", "the factor")]
    }

    fn metrics(&self) -> &'static [Metric] {
        const {
            &[Metric {
                name: "models",
                label: "models",
                summary: "their number times the factor",
                better: Better::Higher,
                unit: Unit::Plain(0),
                per_model: false,
            }]
        }
    }

    fn judges(&self, kind: ModelKind) -> bool {
        kind == ModelKind::Decoder
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTask>, TaskError> {
        Ok(Box::new(options::<Times>(self.name(), table)?))
    }
}

impl ConfiguredTask for Times {
    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let models = u32::try_from(input.subject.sides().count()).unwrap();
        Ok(vec![Score::of_comparison(
            "models",
            f64::from(models * self.times),
        )])
    }
}

#[test]
fn a_task_is_one_file() {
    let weights = Weights::new();
    let model = model(&weights);
    let subject = Subject {
        original: Some(Box::new(Forward::new(
            model.as_ref(),
            &weights,
            Device::flex(),
        ))),
        quantized: None,
        inputs: InputFiles::default(),
    };
    let content = Content::Tokens(vec![vec![1, 2]]);
    let registry: &[&dyn Task] = &[&Count];
    let spec: TaskSpec = toml::from_str("task = 'count'\ndata = 'none'\ntimes = 3").unwrap();
    let scores = evaluate(registry, &subject, &spec, &content, 0, &()).unwrap();
    assert_eq!(scores[0].quantized, Some(3.0));
    assert_eq!(
        (scores[0].task.as_str(), scores[0].data.as_str()),
        ("count", "none")
    );
    let typo: TaskSpec = toml::from_str("task = 'count'\ndata = 'none'\ntime = 3").unwrap();
    let error = typo.configure(registry).err().unwrap();
    assert_eq!(error.hint().unwrap(), "did you mean `times`?");
}
