//! Running a checkpoint stage by stage and comparing with stored results.

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::{Checkpoint, Hidden, Model, NoTap, WeightSource, open_model};
use quantizers::formats::TensorFolder;
use std::path::Path;

/// Stored results of one model.
pub(crate) struct Expected(pub(crate) TensorFolder);

impl Expected {
    pub(crate) fn open(file: &Path) -> Self {
        Self(TensorFolder::open(file).unwrap())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.info(name).is_some()
    }

    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        self.0.require(name).unwrap().shape.clone()
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        self.0.floats(name).unwrap().into_owned()
    }

    /// An i64 matrix as rows.
    pub(crate) fn rows(&self, name: &str) -> Vec<Vec<i64>> {
        let bytes = self.0.bytes(name).unwrap();
        let values: Vec<i64> = bytes
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
            .collect();
        values
            .chunks(self.shape(name)[1])
            .map(<[i64]>::to_vec)
            .collect()
    }
}

/// Relative L2 distances seen so far, and the largest one allowed.
pub(crate) struct Deviations {
    pub(crate) model: String,
    pub(crate) limit: f64,
    pub(crate) worst: (f64, String),
}

impl Deviations {
    pub(crate) fn new(model: &str, limit: f64) -> Self {
        Self {
            model: model.to_owned(),
            limit,
            worst: (0.0, String::new()),
        }
    }

    pub(crate) fn check(&mut self, name: &str, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len(), "{}: {name}", self.model);
        let (mut distance, mut norm) = (0.0, 0.0);
        for (a, b) in found.iter().zip(expected) {
            distance += (f64::from(*a) - f64::from(*b)).powi(2);
            norm += f64::from(*b).powi(2);
        }
        let deviation = (distance / norm).sqrt();
        assert!(
            deviation <= self.limit,
            "{}: `{name}` deviates by {deviation:e}, expected at most {:e}",
            self.model,
            self.limit
        );
        if deviation >= self.worst.0 {
            self.worst = (deviation, name.to_owned());
        }
    }
}

/// Opens the model of a folder; `class` replaces `architectures`.
pub(crate) fn open(folder: &Path, class: Option<&str>) -> (Checkpoint, Box<dyn Model>) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let mut config = checkpoint.config().clone();
    if let Some(class) = class {
        config["architectures"] = serde_json::json!([class]);
    }
    let model = open_model(&config, &checkpoint).unwrap();
    (checkpoint, model)
}

/// The output of every stage.
pub(crate) fn outputs(
    model: &dyn Model,
    source: &dyn WeightSource,
    input: Hidden,
    device: &Device,
) -> Vec<Vec<f32>> {
    let mut hidden = input;
    (0..model.stages())
        .map(|stage| {
            let built = model.build(stage, source, device).unwrap();
            hidden = built.forward(hidden.clone(), &mut NoTap).unwrap();
            match &hidden {
                Hidden::States(states) => states.clone().into_data().try_to_vec::<f32>().unwrap(),
                other => panic!("stage {stage} gave {}", other.kind()),
            }
        })
        .collect()
}

/// Token ids as the input of a text model.
pub(crate) fn tokens(rows: &[Vec<i64>], device: &Device) -> Hidden {
    let shape = [rows.len(), rows[0].len()];
    Hidden::Tokens(Tensor::<2, Int>::from_data(
        TensorData::new(rows.concat(), shape),
        device,
    ))
}
