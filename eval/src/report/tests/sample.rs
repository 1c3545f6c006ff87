//! A small report for tests.

use crate::gate::Gate;
use crate::intervals::Interval;
use crate::report::{
    ArtifactFacts, CalibrationFacts, CandidateFacts, LayerFacts, ModelFacts, PointRatio,
    RecipeFacts, Report, RunFacts, SCHEMA, SizeFacts, SlotFacts, SyntheticRanges, WeightHistogram,
};
use crate::score::Score;

fn scores() -> Vec<Score> {
    let interval = |low, high| {
        Some(Interval {
            ci95: [low, high],
            standard_error: (high - low) / 4.0,
        })
    };
    let mut scores = vec![
        Score::of_models("perplexity", Some(47.022), Some(48.311))
            .with_interval(interval(1.12, 1.46)),
        Score::of_comparison("kl_divergence", 0.031_25).with_interval(interval(0.0305, 0.032)),
        Score::of_comparison("kl_divergence_p99", 0.25),
        Score::of_comparison("top1_agreement", 0.9125).with_interval(interval(0.911, 0.914)),
    ];
    for score in &mut scores {
        score.task = "perplexity".into();
        score.data = "wiki<text>|test.txt".into();
        score.samples = 815;
        score.tokens = Some(207_825);
    }
    scores
}

fn layers() -> Vec<LayerFacts> {
    let roles = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];
    let mut layers = Vec::new();
    for block in 0..6_u32 {
        for (at, role) in roles.iter().enumerate() {
            let wide = at == 3;
            layers.push(LayerFacts {
                name: format!("model.layers.{block}.{role}"),
                shape: if wide { [128, 384] } else { [128, 128] },
                method: "squeezellm".into(),
                bits: if wide { 4 } else { 3 },
                bits_per_weight: if wide { 4.75 } else { 3.5 } + 0.0625 * f64::from(block % 2),
                sqnr_db: Some(14.0 + f64::from(block) + if wide { 6.5 } else { 0.25 }),
                output_sqnr_db: Some(15.5 + f64::from(block)),
                weighted_error: Some(0.001_953_125),
                outlier_fraction: 0.004_5,
                seconds: 0.25,
                because: "rule 2 `*`".into(),
                notes: if block == 0 {
                    vec!["3 rows of zeros".into()]
                } else {
                    Vec::new()
                },
                group_size: None,
                input_bits: None,
                damage_share: Some(1.0 / 24.0),
                diagonal_output_sqnr_db: None,
            });
        }
    }
    layers
}

fn histograms() -> Vec<WeightHistogram> {
    (0..3_u8)
        .map(|seed| {
            let weights: Vec<f32> = (0..384_u16)
                .map(|i| {
                    let spread = f32::from(i) * 0.618 + f32::from(seed);
                    (spread.sin() + (spread * 1.7).sin() + (spread * 2.9).cos()) * 0.125
                })
                .collect();
            let decoded: Vec<f32> = weights.iter().map(|w| (w * 16.0).round() / 16.0).collect();
            let name = format!("model.layers.{seed}.self_attn.k_proj");
            WeightHistogram::worst_row(&name, &weights, &decoded, 1).unwrap()
        })
        .collect()
}

pub(in crate::report) fn slots() -> Vec<SlotFacts> {
    let candidate = |name: &str, input: f64, output: f64| CandidateFacts {
        name: name.into(),
        input_sqnr_db: Some(input),
        output_sqnr_db: Some(output),
        loss_db: Some(input - output),
        refused: None,
    };
    let refused = || CandidateFacts {
        name: "fq-vit".into(),
        input_sqnr_db: None,
        output_sqnr_db: None,
        loss_db: None,
        refused: Some("`fq-vit` cannot replace layernorm: expected a | b".into()),
    };
    let slot = |name: &str, function: &str, chosen: &str, candidates| SlotFacts {
        name: name.into(),
        function: function.into(),
        chosen: chosen.into(),
        candidates,
    };
    vec![
        slot(
            "encoder.layer.0.mlp",
            "gelu",
            "exact",
            vec![
                candidate("exact", 34.125, 33.875),
                candidate("i-bert", 52.0, 20.375),
            ],
        ),
        slot(
            "encoder.layer.0.norm",
            "layernorm",
            "i-bert",
            vec![candidate("i-bert", 80.0, 79.0), refused()],
        ),
        slot(
            "encoder.layer.1.norm",
            "layernorm",
            "i-bert",
            vec![candidate("i-bert", 81.0, 80.0), refused()],
        ),
    ]
}

fn calibration() -> CalibrationFacts {
    let at = |point: &str, ratio| PointRatio {
        point: point.into(),
        ratio,
    };
    CalibrationFacts {
        data: "news.tsv#text".into(),
        samples: 512,
        synthetic: Some(SyntheticRanges {
            samples: 128,
            points: 40,
            median_ratio: 0.875,
            p10: 0.4,
            p90: 1.25,
            narrowest: at("encoder.layer.0.mlp:out", 0.25),
            widest: at("embeddings:out", 1.5),
        }),
    }
}

pub(in crate::report) fn report() -> Report {
    let scores = scores();
    let gates = ["perplexity_ratio<=1.03", "kl_divergence<=0.02"]
        .map(|gate| gate.parse::<Gate>().unwrap().check(&scores));
    Report {
        schema: SCHEMA,
        model: ModelFacts {
            name: "example/wiki-llama".into(),
            revision: Some("4a1c2d".into()),
            architecture: "llama".into(),
            parameters: 1_443_968,
            kind: Some(crate::kind::ModelKind::Decoder),
        },
        recipe: Some(RecipeFacts {
            name: "squeeze-3".into(),
            sha256: "ab".repeat(32),
        }),
        scores,
        size: Some(SizeFacts {
            original_bytes: 2_890_000,
            artifact_bytes: 1_056_000,
            bits_per_weight_linear: 3.8125,
            bits_per_weight_file: 5.75,
            ratio: 2.7367,
        }),
        layers: layers(),
        run: RunFacts {
            version: "0.1.0".into(),
            seed: 0,
            device: "cpu".into(),
            threads: 2,
            seconds: 93.5,
            peak_memory_bytes: 310_000_000,
            stages: [
                ("calibrate", 40.5),
                ("evaluate", 50.25),
                ("load", 0.125),
                ("write", 0.5),
            ]
            .map(|(name, seconds)| (name.to_owned(), seconds))
            .into(),
            command: "quench quantize example/wiki-llama -r squeeze-3 -o \"out <3\"".into(),
        },
        warnings: vec!["calibration data was part of the training data".into()],
        gates: gates.into(),
        artifact: Some(ArtifactFacts {
            format: "quench".into(),
            path: "out <3".into(),
        }),
        histograms: histograms(),
        nonlinear: slots(),
        calibration: Some(calibration()),
        budget: None,
    }
}
