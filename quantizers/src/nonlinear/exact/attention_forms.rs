//! The forms of integer attention against each other: masks, tiles, vectors, both arithmetics.

use super::attention::compile;
use super::samples::{generator, symmetric};
use crate::integer::Fault;
use crate::integer::attention::{Attention, Inputs, Scores, Sums, Visible};
use crate::integer::kernel::Mode;
use crate::nonlinear::{AttentionRequest, Grid};
use proptest::prelude::*;
use rand::{Rng, RngExt};

const WIDTH: usize = 32;

fn bytes_grid(scale: f64, zero_point: i32) -> Grid {
    Grid {
        scales: vec![scale],
        zero_point,
        low: 0,
        high: 255,
    }
}

/// A head of width 32 with scores whose softmax is neither flat nor one hot.
fn head(weight_bits: u32, most_keys: usize, output: Grid) -> Attention {
    compile(&AttentionRequest {
        query: bytes_grid(0.02, 120),
        key_scale: 0.02,
        value_scale: 0.02,
        factor: 1.0 / f64::from(32_u8).sqrt(),
        output,
        head_dim: WIDTH,
        most_keys,
        weight_bits,
        guard_bits: if weight_bits == 8 { 8 } else { 4 },
    })
    .unwrap()
}

struct Codes {
    queries: Vec<u8>,
    keys: Vec<i8>,
    values: Vec<i8>,
}

impl Codes {
    fn random(random: &mut impl Rng, queries: usize, keys: usize) -> Self {
        Self {
            queries: (0..queries * WIDTH).map(|_| random.random()).collect(),
            keys: (0..keys * WIDTH).map(|_| random.random()).collect(),
            values: (0..keys * WIDTH).map(|_| random.random()).collect(),
        }
    }

    fn inputs<'a>(&'a self, visible: Visible<'a>) -> Inputs<'a> {
        Inputs {
            queries: &self.queries,
            keys: &self.keys,
            values: &self.values,
            visible,
        }
    }
}

/// Codes by [`Attention::whole`] (no tile) or [`Attention::online`], the same in both arithmetics.
fn run(attention: &Attention, inputs: Inputs<'_>, tile: Option<usize>) -> Vec<i32> {
    let run = |mode| -> Result<Vec<i32>, Fault> {
        let mut out = vec![0; inputs.queries.len()];
        match tile {
            Some(tile) => attention.online(mode, inputs, tile, &mut out)?,
            None => attention.whole(mode, inputs, &mut out)?,
        }
        Ok(out)
    };
    let fast = run(Mode::Fast).unwrap();
    assert_eq!(run(Mode::Checked), Ok(fast.clone()));
    fast
}

#[test]
fn one_tile_is_whole_and_queries_are_independent() {
    let mut random = generator(1);
    let codes = Codes::random(&mut random, 7, 33);
    for weight_bits in [8, 15] {
        let attention = head(weight_bits, 64, symmetric(2.6, 8));
        let whole = run(&attention, codes.inputs(Visible::All), None);
        assert_eq!(run(&attention, codes.inputs(Visible::All), Some(33)), whole);
        for (query, expected) in codes.queries.chunks(WIDTH).zip(whole.chunks(WIDTH)) {
            let inputs = Inputs {
                queries: query,
                ..codes.inputs(Visible::All)
            };
            assert_eq!(run(&attention, inputs, None), expected);
        }
    }
}

#[test]
fn masked_keys_are_not_there() {
    let mut random = generator(2);
    let codes = Codes::random(&mut random, 5, 20);
    let attention = head(8, 64, symmetric(2.6, 8));
    let seen: Vec<bool> = (0..20).map(|key| key < 13).collect();
    let shorter = Inputs {
        keys: &codes.keys[..13 * WIDTH],
        values: &codes.values[..13 * WIDTH],
        ..codes.inputs(Visible::All)
    };
    for tile in [None, Some(4)] {
        let masked = run(&attention, codes.inputs(Visible::Keys(&seen)), tile);
        assert_eq!(masked, run(&attention, shorter, tile));
        let pairs: Vec<bool> = (0..5 * 20).map(|pair| pair % 20 <= pair / 20 + 3).collect();
        assert_eq!(
            run(&attention, codes.inputs(Visible::Pairs(&pairs)), tile),
            run(
                &attention,
                codes.inputs(Visible::Causal { offset: 3 }),
                tile
            ),
        );
        let none = run(&attention, codes.inputs(Visible::Keys(&[false; 20])), tile);
        assert_eq!(none, [0; 5 * WIDTH]);
    }
}

#[test]
fn extreme_codes_do_not_fault() {
    for weight_bits in [8, 15] {
        let attention = head(weight_bits, 64, symmetric(2.6, 16));
        for (query, key, value) in [(0, -128, -128), (255, -128, 127), (255, 127, -128)] {
            let mut codes = Codes {
                queries: vec![query; 2 * WIDTH],
                keys: vec![key; 64 * WIDTH],
                values: vec![value; 64 * WIDTH],
            };
            // The maximum grows in every tile.
            for (position, code) in codes.keys.iter_mut().enumerate().skip(WIDTH) {
                *code = code.saturating_add(i8::try_from(position / WIDTH).unwrap());
            }
            for tile in [None, Some(1), Some(5)] {
                run(&attention, codes.inputs(Visible::All), tile);
            }
        }
    }
}

#[test]
fn what_would_overflow_is_refused() {
    let refused = |keys| {
        let head = AttentionRequest {
            query: bytes_grid(0.02, 120),
            key_scale: 0.02,
            value_scale: 0.02,
            factor: 0.2,
            output: symmetric(2.6, 8),
            head_dim: WIDTH,
            most_keys: keys,
            weight_bits: 8,
            guard_bits: 8,
        };
        compile(&head).is_err()
    };
    assert!(!refused(65_000));
    assert!(refused(66_000));
}

/// Row steps on vectors, between plain products, against [`Attention::whole`].
fn assert_steps_agree(codes: &Codes, seen: &[bool]) {
    let keys = seen.len();
    let inputs = codes.inputs(Visible::Keys(seen));
    let narrow = head(8, 512, bytes_grid(0.02, 128));
    let wide = head(15, 512, symmetric(2.6, 16));
    let expected_bytes = run(&narrow, inputs, None);
    let all = run(&wide, codes.inputs(Visible::All), None);
    for (row, query) in codes.queries.chunks(WIDTH).enumerate() {
        let scores: Vec<i32> = codes
            .keys
            .chunks(WIDTH)
            .map(|key| dot(query, key))
            .collect();
        let zeros = vec![0; keys];
        let (mut weights, mut low) = (vec![0; keys], vec![0; keys]);
        let mut out = [0; WIDTH];
        let total = narrow.weights_seen(plain(&scores, &zeros), seen, &mut weights);
        let sums = weighted(&weights, &codes.values);
        narrow.output.bytes(Sums::plain(&sums), total, &mut out);
        assert_eq!(
            out.map(i32::from),
            expected_bytes[row * WIDTH..][..WIDTH],
            "bytes of query {row}"
        );
        if seen.iter().all(|seen| *seen) {
            let before = weights.clone();
            assert_eq!(narrow.weights(plain(&scores, &zeros), &mut weights), total);
            assert_eq!(weights, before);
        }
        let total = wide.weights_wide(plain(&scores, &zeros), &mut weights, &mut low);
        let (high, low) = (
            weighted(&weights, &codes.values),
            weighted(&low, &codes.values),
        );
        let mut out = [0_i16; WIDTH];
        wide.output
            .words(Sums::planes(&high, &low), total, &mut out);
        assert_eq!(
            out.map(i32::from),
            all[row * WIDTH..][..WIDTH],
            "words of query {row}"
        );
    }
}

/// Scores without a zero point.
fn plain<'a>(products: &'a [i32], offsets: &'a [i32]) -> Scores<'a> {
    Scores { products, offsets }
}

fn dot(query: &[u8], key: &[i8]) -> i32 {
    let product = |(q, k): (&u8, &i8)| (i32::from(*q) - 120) * i32::from(*k);
    query.iter().zip(key).map(product).sum()
}

fn weighted(weights: &[u8], values: &[i8]) -> Vec<i32> {
    let column = |channel: usize| {
        let values = values.iter().skip(channel).step_by(WIDTH);
        let product = |(w, v): (&u8, &i8)| i32::from(*w) * i32::from(*v);
        weights.iter().zip(values).map(product).sum()
    };
    (0..WIDTH).map(column).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn row_steps_agree(seed: u64, seen in prop::collection::vec(any::<bool>(), 1..100), all: bool) {
        let mut random = generator(seed);
        let codes = Codes::random(&mut random, 3, seen.len());
        let seen: Vec<bool> = seen.into_iter().map(|seen| seen || all).collect();
        assert_steps_agree(&codes, &seen);
    }

    #[test]
    fn weights_of_any_scores_agree(
        scores in prop::collection::vec(any::<i32>(), 1..80),
        shift in 0_u32..31,
    ) {
        let attention = head(8, 512, bytes_grid(0.02, 128));
        let scores: Vec<i32> = scores.into_iter().map(|score| score >> shift).collect();
        let highest = i64::from(*scores.iter().max().unwrap());
        let zeros = vec![0; scores.len()];
        let mut found = vec![0; scores.len()];
        let total = attention.weights(plain(&scores, &zeros), &mut found);
        let expected: Vec<u8> = scores
            .iter()
            .map(|score| highest - i64::from(*score))
            .map(|d| attention.decay.weight(&crate::integer::Wrapping, 8, d))
            .map(|p| u8::try_from(p).unwrap())
            .collect();
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(total, expected.iter().map(|p| u32::from(*p)).sum::<u32>());
    }

    #[test]
    fn tiles_stay_within_their_bound(seed: u64, keys in 1_usize..120, tile in 1_usize..40) {
        let mut random = generator(seed);
        let codes = Codes::random(&mut random, 2, keys);
        // Output codes are values: the bound is in their unit.
        let attention = head(8, 512, Grid { scales: vec![0.02], ..symmetric(1.0, 16) });
        let whole = run(&attention, codes.inputs(Visible::All), None);
        let online = run(&attention, codes.inputs(Visible::All), Some(tile));
        for (row, query) in codes.queries.chunks(WIDTH).enumerate() {
            let scores: Vec<i32> = codes.keys.chunks(WIDTH).map(|key| dot(query, key)).collect();
            let zeros = vec![0; keys];
            let mut weights = vec![0; keys];
            let total = attention.weights(plain(&scores, &zeros), &mut weights);
            // Two errors of 0.51 units a weight, 5.4e-5 a rescaling and one rounding each.
            let rescalings = keys.div_ceil(tile) as f64;
            let share = 1.02 * keys as f64 / f64::from(total) + 1.1e-4 * rescalings;
            let bound = 255.0 * share / (1.0 - share / 2.0) + 1.0;
            for channel in row * WIDTH..(row + 1) * WIDTH {
                let apart = f64::from((whole[channel] - online[channel]).abs());
                prop_assert!(apart <= bound, "{} {}", apart, bound);
            }
        }
    }
}
