//! Perplexity over a two-stage model whose figures a textbook formula gives.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod bigram;

use bigram::{Bigram, Weights};
use burn::tensor::Device;
use calib::Forward;
use calib::data::Content;
use eval::metrics::quantile;
use eval::runner::Runner;
use eval::score::Score;
use eval::subject::{InputFiles, Subject};
use eval::tasks::{Perplexity, TASKS, Task, TaskSpec, evaluate};

fn subject<'a>(original: Option<&'a Weights>, quantized: Option<&'a Weights>) -> Subject<'a> {
    let forward = |weights: &'a Weights| -> Box<dyn Runner + 'a> {
        Box::new(Forward::new(&Bigram, weights, Device::flex()))
    };
    let (original, quantized) = (original.map(forward), quantized.map(forward));
    Subject {
        original,
        quantized,
        inputs: InputFiles::default(),
    }
}

/// Token sequences of different length.
fn content() -> Content {
    let ids = |length: u32, step: u32| (0..length).map(|at| (at * step + at * at) % 11).collect();
    Content::Tokens(vec![
        ids(9, 3),
        ids(14, 5),
        ids(2, 1),
        ids(14, 7),
        ids(1, 0),
    ])
}

fn run(subject: &Subject<'_>, spec: &TaskSpec) -> Vec<Score> {
    evaluate(TASKS, subject, spec, &content(), 0, &()).unwrap()
}

fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit - sum.ln()).collect()
}

#[test]
fn figures_equal_the_textbook_over_all_tokens_at_once() {
    let (original, quantized) = (Weights::new(1, 0.0), Weights::new(1, 0.05));
    let scores = run(
        &subject(Some(&original), Some(&quantized)),
        &TaskSpec::new("perplexity", "toy"),
    );
    let (mut tokens, mut o_loss, mut q_loss) = (0.0, 0.0, 0.0);
    let (mut divergences, mut agreeing) = (Vec::new(), 0.0);
    let Content::Tokens(sequences) = content() else {
        unreachable!("tokens")
    };
    for pair in sequences.iter().flat_map(|ids| ids.windows(2)) {
        let o = log_softmax(&original.logits(pair[0]));
        let q = log_softmax(&quantized.logits(pair[0]));
        tokens += 1.0;
        o_loss -= o[pair[1] as usize];
        q_loss -= q[pair[1] as usize];
        divergences.push(
            o.iter()
                .zip(&q)
                .map(|(o, q)| o.exp() * (o - q))
                .sum::<f64>(),
        );
        let top = |values: &[f64]| {
            (0..values.len())
                .max_by(|&a, &b| values[a].total_cmp(&values[b]))
                .unwrap()
        };
        agreeing += f64::from(u8::from(top(&o) == top(&q)));
    }
    let near = |found: Option<f64>, expected: f64| {
        let found = found.unwrap();
        assert!(
            (found - expected).abs() < 2e-6 * expected.max(1e-3),
            "{found} {expected}"
        );
    };
    near(scores[0].original, (o_loss / tokens).exp());
    near(scores[0].quantized, (q_loss / tokens).exp());
    near(scores[0].ratio, ((q_loss - o_loss) / tokens).exp());
    near(
        scores[1].quantized,
        divergences.iter().sum::<f64>() / tokens,
    );
    divergences.sort_by(f64::total_cmp);
    near(scores[2].quantized, quantile(&divergences, 0.99));
    near(scores[3].quantized, agreeing / tokens);
    let [low, high] = scores[0].ci95.unwrap();
    let delta = scores[0].delta.unwrap();
    assert!(low <= delta && delta <= high && low < high);
    // The sequence of one token scores nothing.
    assert!(
        scores
            .iter()
            .all(|score| score.samples == 4 && score.tokens == Some(35))
    );
    let names: Vec<&str> = scores.iter().map(|score| score.metric.as_str()).collect();
    let expected: Vec<&str> = Perplexity
        .metrics()
        .iter()
        .map(|metric| metric.name)
        .collect();
    assert_eq!(names, expected);
}

#[test]
fn one_model_gives_its_figure_on_its_side() {
    let weights = Weights::new(2, 0.0);
    let spec = TaskSpec::new("perplexity", "toy");
    let alone = run(&subject(None, Some(&weights)), &spec);
    let both = run(&subject(Some(&weights), Some(&weights)), &spec);
    assert_eq!((alone.len(), alone[0].original), (1, None));
    assert_eq!(alone[0].quantized, both[0].original);
    assert_eq!(
        (both[0].delta, both[1].quantized, both[3].quantized),
        (Some(0.0), Some(0.0), Some(1.0))
    );
}

#[test]
fn threads_do_not_change_a_bit() {
    let (original, quantized) = (Weights::new(1, 0.0), Weights::new(1, 0.05));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let spec = TaskSpec::new("perplexity", "toy");
        pool.install(|| run(&subject(Some(&original), Some(&quantized)), &spec))
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let (original, quantized) = (Weights::new(1, 0.0), Weights::new(1, f32::NAN));
    let subject = subject(Some(&original), Some(&quantized));
    let spec = TaskSpec::new("perplexity", "toy");
    let error = evaluate(TASKS, &subject, &spec, &content(), 0, &()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "output of the quantized model is not finite (sequence 1, position 1)"
    );
}

#[test]
fn too_long_windows_and_other_data_are_errors_before_any_work() {
    let weights = Weights::new(1, 0.0);
    let subject = subject(Some(&weights), None);
    let error_of = |spec: &TaskSpec, content: &Content| {
        evaluate(TASKS, &subject, spec, content, 0, &())
            .unwrap_err()
            .to_string()
    };
    let spec = TaskSpec::new("perplexity", "toy");
    assert_eq!(
        error_of(&spec, &Content::Text("a".into())),
        "task `perplexity` needs `tokenizer.json`, and the model folder has none"
    );
    let spec = spec.with("sequence_length", 33);
    assert_eq!(
        error_of(&spec, &content()),
        "task `perplexity`: `sequence_length`: expected at most the 32 positions of the model, found 33"
    );
    let spec = TaskSpec::new("classification", "toy");
    assert_eq!(
        error_of(&spec, &content()),
        "task `classification` does not judge a decoder"
    );
}
