//! The forms of integer attention against each other: masks, tiles, vectors, both arithmetics.

use super::samples::{generator, symmetric};
use crate::integer::ArithmeticError;
use crate::integer::attention::{HeadAttention, Inputs, Scores, Sums};
use crate::integer::kernel::Mode;
use crate::nonlinear::exact::attention::compile;
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
fn head(weight_bits: u32, most_keys: usize, output: Grid) -> HeadAttention {
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

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            queries: &self.queries,
            keys: &self.keys,
            values: &self.values,
        }
    }
}

/// Codes by [`HeadAttention::whole`] (no tile) or [`HeadAttention::online`], the same in both arithmetics.
fn run(attention: &HeadAttention, inputs: Inputs<'_>, tile: Option<usize>) -> Vec<i32> {
    let run = |mode| -> Result<Vec<i32>, ArithmeticError> {
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
        let whole = run(&attention, codes.inputs(), None);
        assert_eq!(run(&attention, codes.inputs(), Some(33)), whole);
        for (query, expected) in codes.queries.chunks(WIDTH).zip(whole.chunks(WIDTH)) {
            let inputs = Inputs {
                queries: query,
                ..codes.inputs()
            };
            assert_eq!(run(&attention, inputs, None), expected);
        }
    }
}

#[test]
fn a_query_without_keys_gives_the_zero_point() {
    let mut random = generator(2);
    let codes = Codes::random(&mut random, 5, 0);
    let attention = head(8, 64, symmetric(2.6, 8));
    for tile in [None, Some(4)] {
        assert_eq!(run(&attention, codes.inputs(), tile), [0; 5 * WIDTH]);
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
                run(&attention, codes.inputs(), tile);
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

/// Row steps on vectors, between plain products, against [`HeadAttention::whole`].
fn assert_steps_agree(codes: &Codes, keys: usize) {
    let narrow = head(8, 512, bytes_grid(0.02, 128));
    let wide = head(15, 512, bytes_grid(0.02, 128));
    let [of_narrow, of_wide] = [&narrow, &wide].map(|head| run(head, codes.inputs(), None));
    for (row, query) in codes.queries.chunks(WIDTH).enumerate() {
        let scores: Vec<i32> = codes
            .keys
            .chunks(WIDTH)
            .map(|key| dot(query, key))
            .collect();
        let zeros = vec![0; keys];
        let scores = plain(&scores, &zeros);
        let (mut high, mut low) = (vec![0; keys], vec![0; keys]);
        let mut out = [0; WIDTH];
        let place = row * WIDTH..(row + 1) * WIDTH;
        let total = narrow.weights(scores, &mut high);
        let sums = weighted(&high, &codes.values);
        narrow.output.bytes(Sums::plain(&sums), total, &mut out);
        assert_eq!(out.map(i32::from), of_narrow[place.clone()], "query {row}");
        let total = wide.weights_wide(scores, &mut high, &mut low);
        let [high, low] = [&high, &low].map(|part| weighted(part, &codes.values));
        wide.output
            .bytes(Sums::planes(&high, &low), total, &mut out);
        assert_eq!(out.map(i32::from), of_wide[place], "query {row}");
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
    fn row_steps_agree(seed: u64, keys in 1_usize..100) {
        let mut random = generator(seed);
        let codes = Codes::random(&mut random, 3, keys);
        assert_steps_agree(&codes, keys);
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
        // AttentionOutput codes are values: the bound is in their unit.
        let attention = head(8, 512, Grid { scales: vec![0.02], ..symmetric(1.0, 16) });
        let whole = run(&attention, codes.inputs(), None);
        let online = run(&attention, codes.inputs(), Some(tile));
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
