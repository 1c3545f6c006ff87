//! What integer-only execution is compiled from: points, statistics and descriptions of encoders.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

#[path = "models/checkpoints.rs"]
mod checkpoints;

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::running::collect::collect;
use calib::running::error::CollectError;
use calib::running::measured::Wants;
use calib::running::point_statistics::stage_statistics;
use calib::running::stats_store::{Key, StatsStore};
use calib::{Forward, Hidden, Model, WeightSource};
use checkpoints::{fixture, open};
use quantizers::graph::NormNode;
use quantizers::integer::compile::{Encoder, PointStatistics, Samples};
use quantizers::statistics::{MIN_MAX, SEQUENCE_SAMPLES};
use std::collections::{BTreeMap, BTreeSet};

/// Token sequences of a few lengths, or images, all in batches of one; the first batch holds two.
fn batches(model: &dyn Model) -> Vec<Hidden> {
    let device = Device::flex();
    let Some(vocabulary) = model.vocabulary() else {
        return (0..5_u8)
            .map(|index| {
                let images = if index == 0 { 2 } else { 1 };
                let values: Vec<f32> = (0..images * 3 * 16 * 16_u16)
                    .map(|i| f32::sin(f32::from(i) * 0.37 + f32::from(index)))
                    .collect();
                let data = TensorData::new(values, [usize::from(images), 3, 16, 16]);
                Hidden::Pixels(Tensor::from_data(data, &device))
            })
            .collect();
    };
    let vocabulary = i32::try_from(vocabulary).unwrap();
    [(2, 7), (1, 11), (1, 3), (1, 20)]
        .into_iter()
        .map(|(sequences, tokens)| {
            let ids: Vec<i32> = (0..sequences * tokens)
                .map(|i| (i * 31 + tokens) % vocabulary)
                .collect();
            let shape = [sequences, tokens].map(|n| usize::try_from(n).unwrap());
            Hidden::Tokens(Tensor::<2, Int>::from_data(
                TensorData::new(ids, shape),
                &device,
            ))
        })
        .collect()
}

/// Everything the compile step reads, over all stages.
fn statistics(
    model: &dyn Model,
    source: &dyn WeightSource,
    batches: Vec<Hidden>,
    threads: usize,
) -> BTreeMap<String, PointStatistics> {
    let folder = tempfile::tempdir().unwrap();
    let store = StatsStore::open(folder.path(), &Key::default()).unwrap();
    let forward = Forward::new(model, source, Device::flex());
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let wants = Wants::for_integers(model);
    pool.install(|| collect(&forward, batches, &wants, &store, &mut |_, _| {}))
        .unwrap();
    (0..model.stages())
        .flat_map(|stage| stage_statistics(&store, stage).unwrap())
        .collect()
}

fn samples<'a>(points: &'a BTreeMap<String, PointStatistics>, name: &str) -> &'a Samples {
    points[name].samples.as_ref().unwrap()
}

fn close(found: &[f64], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        let distance = (a - f64::from(*b)).abs();
        assert!(distance < 1e-4 * (1.0 + a.abs()), "{what}: {a} {b}");
    }
}

fn matrix(source: &dyn WeightSource, name: &str) -> Vec<f64> {
    let tensor = source.tensor(name).unwrap();
    tensor.data.iter().map(|&x| f64::from(x)).collect()
}

/// `LayerNorm` of every sampled row at the input of `norm`, in f64.
fn normalised(
    source: &dyn WeightSource,
    norm: &NormNode,
    points: &BTreeMap<String, PointStatistics>,
) -> Vec<f64> {
    let input = samples(points, &norm.input_point());
    let weight = matrix(source, &norm.weight().unwrap().name);
    let bias = matrix(source, &norm.bias().unwrap().name);
    let rows = input.values.chunks_exact(input.width);
    rows.flat_map(|row| {
        let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = (variance + norm.epsilon).sqrt().recip();
        let parameters = weight.iter().zip(&bias);
        row.iter()
            .zip(parameters)
            .map(|(x, (weight, bias))| (x - mean) * scale * weight + bias)
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Attention of every sampled sequence from its projections, in f64, `[rows, heads * head_dim]`.
fn attended(query: &Samples, key: &Samples, value: &Samples, heads: usize, scale: f64) -> Vec<f64> {
    let (width, head_dim) = (query.width, query.width / heads);
    let mut all = Vec::new();
    for ((query, key), value) in query
        .sequences()
        .zip(key.sequences())
        .zip(value.sequences())
    {
        let tokens = query.len() / width;
        let mut out = vec![0.0; query.len()];
        for head in 0..heads {
            let at = |token: usize| token * width + head * head_dim;
            for i in 0..tokens {
                let exponentials: Vec<f64> = (0..tokens)
                    .map(|j| {
                        let dot: f64 = (0..head_dim)
                            .map(|d| f64::from(query[at(i) + d]) * f64::from(key[at(j) + d]))
                            .sum();
                        (dot * scale).exp()
                    })
                    .collect();
                let total: f64 = exponentials.iter().sum();
                for (j, exponential) in exponentials.iter().enumerate() {
                    for d in 0..head_dim {
                        out[at(i) + d] += exponential / total * f64::from(value[at(j) + d]);
                    }
                }
            }
        }
        all.extend(out);
    }
    all
}

/// Functions between points computed again from what was kept at them.
fn check_recomputed(name: &str) {
    let (checkpoint, model) = open(&fixture(name));
    let graph = Encoder::of(model.graph()).unwrap();
    let points = statistics(model.as_ref(), &checkpoint, batches(model.as_ref()), 1);
    for block in &graph.blocks {
        let [query, key, value] = [block.query, block.key, block.value]
            .map(|layer| samples(&points, &layer.output_point()));
        let found = attended(query, key, value, block.heads, block.scale);
        close(
            &found,
            &samples(&points, &block.output.input_point).values,
            "attention",
        );
        for norm in [block.attention_norm, block.mlp_norm] {
            let found = normalised(&checkpoint, norm, &points);
            close(
                &found,
                &samples(&points, &norm.output_point()).values,
                &norm.name,
            );
        }
        let input = samples(&points, &block.up.input_point);
        let weight = matrix(&checkpoint, &format!("{}.weight", block.up.name));
        let bias = matrix(&checkpoint, &format!("{}.bias", block.up.name));
        let found: Vec<f64> = input
            .values
            .chunks_exact(input.width)
            .flat_map(|row| {
                weight
                    .chunks_exact(row.len())
                    .zip(&bias)
                    .map(|(weights, bias)| {
                        let products = weights.iter().zip(row).map(|(w, &x)| w * f64::from(x));
                        products.sum::<f64>() + bias
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        close(
            &found,
            &samples(&points, &block.up.output_point()).values,
            "up",
        );
    }
    let lengths = &samples(&points, &graph.blocks[0].query.input_point).lengths;
    for (point, statistics) in &points {
        let kept = statistics.samples.as_ref().unwrap();
        assert_eq!(kept.lengths.len(), lengths.len(), "{point}");
        assert_eq!(kept.rows() * kept.width, kept.values.len(), "{point}");
        // Every value lies within what the other observers say of all sequences.
        let (low, high) = statistics.ranges["min_max"];
        assert!(
            kept.values.iter().all(|&x| low <= x && x <= high),
            "{point}"
        );
        let channels = statistics.channels.as_ref().unwrap();
        assert_eq!(
            (channels.width(), channels.range()),
            (kept.width, (low, high)),
            "{point}"
        );
        assert!(statistics.ranges.contains_key("moving_average"), "{point}");
        assert!(statistics.ranges.contains_key("percentile"), "{point}");
    }
}

#[test]
fn a_bert_is_recomputed_from_its_samples() {
    check_recomputed("bert-classifier-relu");
    check_recomputed("bert-prefixed-greek");
}

#[test]
fn a_vit_is_recomputed_from_its_samples() {
    check_recomputed("vit-classifier-no-bias");
    check_recomputed("vit-model");
}

#[test]
fn every_point_of_every_stage_is_measured() {
    for name in ["bert-classifier-relu", "vit-classifier-no-bias"] {
        let (checkpoint, model) = open(&fixture(name));
        let points = statistics(model.as_ref(), &checkpoint, batches(model.as_ref()), 1);
        let found: BTreeSet<(String, usize)> = points
            .into_iter()
            .map(|(name, point)| (name, point.samples.unwrap().width))
            .collect();
        let expected = (0..model.stages())
            .flat_map(|stage| model.points(stage))
            .map(|point| (point.name, point.width))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn two_threads_measure_what_one_does() {
    for name in ["bert-classifier-relu", "vit-classifier-no-bias"] {
        let (checkpoint, model) = open(&fixture(name));
        let on = |threads| {
            let batches = batches(model.as_ref());
            statistics(model.as_ref(), &checkpoint, batches, threads)
        };
        assert_eq!(on(1), on(2));
    }
}

#[test]
fn the_sample_is_the_first_sequences_that_fit_at_the_widest_point() {
    // 2^21 values at 96 channels (a feed-forward half of 48 and a vocabulary do not count: the
    // widest point has 48) are 43,690 rows: 4096 sequences of 10 tokens and 273 more of 10.
    let (checkpoint, model) = open(&fixture("bert-classifier-relu"));
    let widest = (0..model.stages())
        .flat_map(|stage| model.points(stage))
        .map(|point| point.width)
        .max()
        .unwrap();
    assert_eq!(widest, 48);
    let ids: Vec<i32> = (0..4096 * 10).map(|i| i % 96).collect();
    let batch = Hidden::Tokens(Tensor::<2, Int>::from_data(
        TensorData::new(ids, [4096, 10]),
        &Device::flex(),
    ));
    let folder = tempfile::tempdir().unwrap();
    let store = StatsStore::open(folder.path(), &Key::default()).unwrap();
    let forward = Forward::new(model.as_ref(), &checkpoint, Device::flex());
    // One point alone keeps the same sequences as all together would.
    let mut wants = Wants::default();
    wants.point("classifier:out", &SEQUENCE_SAMPLES);
    collect(
        &forward,
        vec![batch.clone(), batch],
        &wants,
        &store,
        &mut |_, _| {},
    )
    .unwrap();
    let point = &stage_statistics(&store, model.stages() - 1).unwrap()["classifier:out"];
    let kept = point.samples.as_ref().unwrap();
    assert_eq!(kept.rows(), 4096 + 273);
    assert!(kept.lengths.iter().all(|&length| length == 1));
}

#[test]
fn a_point_that_is_none_is_refused() {
    let (checkpoint, model) = open(&fixture("bert-classifier-relu"));
    let folder = tempfile::tempdir().unwrap();
    let store = StatsStore::open(folder.path(), &Key::default()).unwrap();
    let forward = Forward::new(model.as_ref(), &checkpoint, Device::flex());
    let mut wants = Wants::default();
    wants.point("classifier:inn", &MIN_MAX);
    let error = collect(&forward, Vec::new(), &wants, &store, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, CollectError::NoPoint { point } if point == "classifier:inn"));
}
