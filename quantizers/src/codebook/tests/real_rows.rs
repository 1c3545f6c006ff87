//! The optimum on the rows of a trained model with its Fisher.

use super::exactness::{plain_optimum, squared_error};
use crate::codebook::{Row, Solver};
use half::f16;
use safetensors::{Dtype, SafeTensors};
use std::path::PathBuf;

fn floats(file: &SafeTensors<'_>, name: &str) -> (Vec<f32>, usize) {
    let view = file.tensor(name).unwrap();
    let cols = view.shape()[1];
    let values = match view.dtype() {
        Dtype::F16 => view
            .data()
            .chunks_exact(2)
            .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect(),
        Dtype::F32 => view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        other => panic!("unexpected {other:?}"),
    };
    (values, cols)
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn every_row_of_a_trained_model_is_optimal() {
    let assets = PathBuf::from(std::env::var("QUENCH_ASSETS").unwrap());
    let fisher = assets.join("../reference/golden/wiki-llama-fisher.safetensors");
    let fisher = fs_err::read(fisher).unwrap();
    let weight = fs_err::read(assets.join("wiki-llama-1.4m/model.safetensors")).unwrap();
    let fisher = SafeTensors::deserialize(&fisher).unwrap();
    let weight = SafeTensors::deserialize(&weight).unwrap();
    let names = fisher
        .names()
        .into_iter()
        .filter(|name| name.ends_with("_proj.weight"));
    let mut solver = Solver::default();
    let mut rows = 0;
    for name in names {
        let (values, cols) = floats(&weight, name);
        let (weights, _) = floats(&fisher, name);
        for (values, weights) in values.chunks(cols).zip(weights.chunks(cols)) {
            for bits in [2, 3, 4] {
                let row = Row {
                    values,
                    weights: Some(weights),
                    removed: None,
                };
                let centroids = solver.solve(row, 1 << bits).centroids;
                let found = squared_error(values, weights, centroids);
                let best = plain_optimum(values, weights, 1 << bits);
                assert!(
                    (found / best - 1.0).abs() < 1e-9,
                    "{name}: {found:e}, optimum {best:e}"
                );
            }
            rows += 1;
        }
    }
    assert_eq!(rows, 2560);
}
