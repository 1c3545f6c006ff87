//! Contract of every transform, and what each does on small blocks.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the reference computes in f64 what it stores as f32"
)]

mod block;

use super::{BlockEdit, BlockRunner, ConfiguredTransform, TRANSFORMS, Transform, find};
use crate::FloatType;
use crate::graph::tests::{decoder, fused, post_norm};
use crate::graph::{Activation, Graph, StageNode};
use crate::statistics::INPUT_ABS_MAX;
use block::ToyBlock;

fn configured(name: &str, parameters: &str) -> Box<dyn ConfiguredTransform> {
    let table = parameters.parse().unwrap();
    find(name).unwrap().configure(&table).unwrap()
}

/// The transforms that rewrite single blocks.
fn of_blocks() -> impl Iterator<Item = &'static dyn Transform> {
    TRANSFORMS.iter().copied().filter(|transform| {
        let configured = configured(transform.name(), "");
        matches!(configured.rewrite(&decoder(), 0), Ok(None))
    })
}

fn applied(transform: &dyn ConfiguredTransform, graph: &Graph, runner: &ToyBlock) -> BlockEdit {
    let mut edit = BlockEdit::default();
    transform.apply(graph, 0, &mut edit, runner).unwrap();
    edit
}

/// `|a - b| / |b|`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|x| f64::from(x).powi(2)).sum()
    };
    let difference = squares(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (difference / squares(&mut b.iter().copied())).sqrt()
}

fn relu(mut graph: Graph) -> Graph {
    if let StageNode::Block(block) = &mut graph.stages[0] {
        crate::graph::tests::set_plain(block, Activation::Relu);
    }
    graph
}

fn graphs() -> Vec<Graph> {
    vec![
        decoder(),
        fused(),
        post_norm(),
        relu(fused()),
        relu(post_norm()),
    ]
}

#[test]
fn names_are_unique_and_every_parameter_has_help() {
    for (at, transform) in TRANSFORMS.iter().enumerate() {
        assert!(
            TRANSFORMS[..at]
                .iter()
                .all(|other| other.name() != transform.name())
        );
        assert!(!transform.summary().is_empty());
        for (name, help) in transform.parameters() {
            assert!(!help.is_empty(), "`{name}` of `{}`", transform.name());
        }
        let unknown = "no_such_key = 1".parse().unwrap();
        assert!(transform.configure(&unknown).is_err());
    }
}

#[test]
fn every_transform_leaves_what_a_block_computes_as_it_was() {
    for transform in of_blocks() {
        // Clipping is the one thing that is meant to change a weight.
        let clips = transform.parameters().iter().any(|(key, _)| *key == "clip");
        let parameters = if clips { "clip = false" } else { "" };
        let configured = configured(transform.name(), parameters);
        for graph in graphs() {
            for stored in [FloatType::F32, FloatType::F16] {
                let runner = ToyBlock::new(&graph, stored);
                configured.plan(&graph).unwrap();
                let edit = applied(configured.as_ref(), &graph, &runner);
                let name = transform.name();
                assert!(!edit.is_empty(), "`{name}` changed nothing");
                let before = runner.output(&BlockEdit::default());
                let change = distance(&runner.output(&edit), &before);
                // What is left with f16 is the rounding of biases, which are stored in it.
                let limit = match stored {
                    FloatType::F32 => 1e-6,
                    _ => 5e-4,
                };
                assert!(change < limit, "`{name}`, {stored:?}: {change}");
            }
        }
    }
}

#[test]
fn every_statistic_a_transform_names_is_needed() {
    for transform in of_blocks() {
        let configured = configured(transform.name(), "");
        for &stat in configured.needs() {
            let graph = decoder();
            let mut runner = ToyBlock::new(&graph, FloatType::F32);
            runner.forget(stat);
            let mut edit = BlockEdit::default();
            let error = configured
                .apply(&graph, 0, &mut edit, &runner)
                .unwrap_err()
                .to_string();
            assert!(error.contains(stat.name), "{error}");
        }
    }
}

#[test]
fn a_stage_that_is_no_block_stays_as_it_is() {
    for transform in of_blocks() {
        let runner = ToyBlock::new(&decoder(), FloatType::F32);
        let empty = Graph {
            stages: Vec::new(),
            ..decoder()
        };
        let configured = configured(transform.name(), "");
        assert!(applied(configured.as_ref(), &empty, &runner).is_empty());
        assert!(configured.plan(&empty).is_err());
    }
}

#[test]
fn plans_name_what_takes_no_factors() {
    let transform = configured("awq", "");
    assert!(transform.plan(&decoder()).unwrap().is_empty());
    let notes = transform.plan(&post_norm()).unwrap();
    assert_eq!(
        notes[0],
        "no factors in front of `qkv`: the residual reads the same normalised states"
    );
    assert_eq!(notes.len(), 3);
}

#[test]
fn smoothquant_balances_activations_and_weights() {
    let graph = decoder();
    let runner = ToyBlock::new(&graph, FloatType::F32);
    let edit = applied(configured("smoothquant", "").as_ref(), &graph, &runner);
    // alpha 0.5: max|x| / s = max|W| s = sqrt(max|x| max|W|) for each channel in front of gate and up.
    let reach = runner.statistic("mlp_in", &INPUT_ABS_MAX).unwrap();
    let most = |name: &str, c: usize| -> f32 {
        let column = edit.tensor(name).unwrap().values.iter().skip(c).step_by(8);
        column.fold(0.0, |m, x| m.max(x.abs()))
    };
    let gamma = |edit: Option<&super::EditedTensor>, c: usize| edit.unwrap().values[c];
    let before = runner.tensor("norm2.weight").unwrap();
    for (c, &reach) in reach.iter().enumerate() {
        let factor = before.values[c] / gamma(edit.tensor("norm2.weight"), c);
        // up is divided by the factors in front of down afterwards: gate is not.
        let gate = runner.tensor("gate.weight").unwrap().values;
        let up = runner.tensor("up.weight").unwrap().values;
        let original = gate
            .iter()
            .skip(c)
            .step_by(8)
            .chain(up.iter().skip(c).step_by(8));
        let original = original.fold(0.0_f32, |m, x| m.max(x.abs()));
        assert!((factor - (reach / original).sqrt()).abs() < 1e-4 * factor);
        assert!(most("gate.weight", c) <= original * factor * 1.0001);
    }
}

#[test]
fn awq_with_ratio_zero_and_no_clipping_changes_nothing() {
    for graph in graphs() {
        let runner = ToyBlock::new(&graph, FloatType::F16);
        let transform = configured("awq", "ratios = 1\nclip = false");
        assert!(applied(transform.as_ref(), &graph, &runner).is_empty());
    }
}

#[test]
fn awq_loses_no_more_in_any_set_of_layers_than_rounding_alone() {
    let mut better = 0;
    for graph in graphs() {
        let runner = ToyBlock::new(&graph, FloatType::F32);
        let edit = applied(configured("awq", "clip = false").as_ref(), &graph, &runner);
        let scalings = graph.block_at(0).unwrap().scalings();
        for scaling in scalings.into_iter().flatten() {
            let loss = |edit: &BlockEdit| {
                let seen = |edit: &BlockEdit| {
                    let point = scaling.outcome.as_str();
                    runner.run(edit, &[point], usize::MAX).unwrap().remove(0)
                };
                distance(
                    &seen(&runner.rounded(edit, &scaling.consumers)),
                    &seen(edit),
                )
            };
            let (before, after) = (loss(&BlockEdit::default()), loss(&edit));
            assert!(after < before * 1.001, "{after}, rounding alone {before}");
            better += usize::from(after < before * 0.99);
        }
    }
    assert!(better > 5, "{better} sets of layers");
}

#[test]
fn awq_leaves_layers_alone_that_the_plan_keeps() {
    let graph = decoder();
    let mut runner = ToyBlock::new(&graph, FloatType::F32);
    runner.grid = None;
    assert!(applied(configured("awq", "").as_ref(), &graph, &runner).is_empty());
}

#[test]
fn a_norm_and_the_layers_behind_it_agree_in_the_type_of_the_file() {
    let graph = decoder();
    let runner = ToyBlock::new(&graph, FloatType::Bf16);
    let edit = applied(configured("smoothquant", "").as_ref(), &graph, &runner);
    for value in &edit.tensor("norm1.weight").unwrap().values {
        assert_eq!(FloatType::Bf16.round(*value).to_bits(), value.to_bits());
    }
}
