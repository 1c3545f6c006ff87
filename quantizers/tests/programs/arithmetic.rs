//! Machine arithmetic and checked arithmetic give the same integers, and none leaves its interval.

use super::tiny::{self, TOKENS, VOCABULARY};
use quantizers::graph::Graph;
use quantizers::integer::{Executor, Mode, ProgramInput};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One input of a program.
struct Sample {
    ids: Vec<u32>,
    mask: Option<Vec<bool>>,
    pixels: Vec<u8>,
}

/// Random inputs and extreme ones.
fn samples(input: &ProgramInput) -> Vec<Sample> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let text = |ids: Vec<u32>, mask: Option<Vec<bool>>| Sample {
        ids,
        mask,
        pixels: Vec::new(),
    };
    let picture = |pixels: Vec<u8>| Sample {
        ids: Vec::new(),
        mask: None,
        pixels,
    };
    let last = u32::try_from(VOCABULARY).unwrap() - 1;
    match input {
        ProgramInput::Tokens { .. } => {
            let mut random = |count: usize| -> Vec<u32> {
                (0..count).map(|_| rng.random_range(0..=last)).collect()
            };
            let alternating = |at: usize| if at.is_multiple_of(2) { 0 } else { last };
            vec![
                text(random(1), None),
                text(random(7), None),
                text(random(TOKENS), None),
                text(vec![0; TOKENS], None),
                text(vec![last; 3], None),
                text((0..TOKENS).map(alternating).collect(), None),
                text(random(9), Some((0..9).map(|at| at < 5).collect())),
                text(random(6), Some((0..6).map(|at| at % 2 == 0).collect())),
                text(random(4), Some(vec![false; 4])),
            ]
        }
        ProgramInput::Pixels { image, .. } => {
            let count = image.iter().product();
            let random = (0..count).map(|_| rng.random_range(0..=255)).collect();
            let checks = (0..count).map(|at| if at % 2 == 0 { 0 } else { 255 });
            let mut one = vec![0; count];
            one[count / 2] = 255;
            vec![
                picture(random),
                picture(vec![0; count]),
                picture(vec![255; count]),
                picture(checks.collect()),
                picture(one),
            ]
        }
    }
}

fn both_agree(graph: &Graph, family: &str, bits: u8, attention_bits: u32) {
    let program = tiny::compiled(graph, family, bits, attention_bits).program;
    let intervals = program.intervals().unwrap();
    let outputs: Vec<Vec<usize>> = program.operations.iter().map(|op| op.outputs()).collect();
    let executor = Executor::new(program);
    for (index, sample) in samples(executor.program().input()).iter().enumerate() {
        let run = |mode: Mode| {
            let mut seen = Vec::new();
            let mask = sample.mask.as_deref();
            executor
                .observe(mode, &sample.ids, mask, &sample.pixels, &mut |at, frame| {
                    for &buffer in &outputs[at] {
                        let values = frame.buffer(buffer).to_i32();
                        let interval = intervals[at][buffer].unwrap();
                        let inside = |value: &i32| {
                            (interval.low..=interval.high).contains(&i128::from(*value))
                        };
                        assert!(values.iter().all(inside), "{family}: operation {at}");
                        seen.push(values);
                    }
                })
                .unwrap_or_else(|error| panic!("{family}, sample {index}: {error:?}"));
            seen
        };
        assert_eq!(
            run(Mode::Fast),
            run(Mode::Checked),
            "{family}, sample {index}"
        );
    }
}

const FAMILIES: &[&str] = &["exact", "i-bert", "i-vit", "fq-vit", "auto"];

#[test]
fn text_classifiers_agree_in_both_arithmetics() {
    for family in FAMILIES {
        both_agree(&tiny::text(), family, 8, 15);
    }
    both_agree(&tiny::text(), "exact", 4, 8);
}

#[test]
fn embeddings_agree_in_both_arithmetics() {
    for family in FAMILIES {
        both_agree(&tiny::embedding(), family, 8, 8);
    }
}

#[test]
fn vision_transformers_agree_in_both_arithmetics() {
    for family in FAMILIES {
        both_agree(&tiny::image(), family, 8, 15);
    }
    both_agree(&tiny::image(), "exact", 4, 8);
}

#[test]
fn a_masked_token_changes_nothing() {
    let program = tiny::compiled(&tiny::embedding(), "exact", 8, 15).program;
    let executor = Executor::new(program);
    let alone = executor.run_tokens(&[3, 8, 21, 40], None).unwrap();
    let mask = [true, true, true, true, false, false];
    for padding in [[0, 0], [7, 49]] {
        let ids = [3, 8, 21, 40, padding[0], padding[1]];
        assert_eq!(executor.run_tokens(&ids, Some(&mask)).unwrap(), alone);
    }
    // Nothing counts: the embedding is zero, not a division by zero.
    let none = executor.run_tokens(&[3, 8], Some(&[false, false])).unwrap();
    assert!(none.iter().all(|&value| value == 0));
}

#[test]
fn inputs_a_program_does_not_take_are_refused() {
    let program = tiny::compiled(&tiny::text(), "exact", 8, 15).program;
    let executor = Executor::new(program);
    let refused = |ids: &[u32], mask: Option<&[bool]>| {
        executor.run_tokens(ids, mask).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&[], None),
        "tokens of a sequence: expected 1 to 24, found 0"
    );
    assert_eq!(
        refused(&[50], None),
        "token id: expected below 50, found 50"
    );
    assert_eq!(
        refused(&[1, 2], Some(&[true])),
        "values of the mask: expected 2, found 1"
    );
}
