//! Nearest streams of sixteen tiles; items are ways from a state to a state, two passes over `2^L` of them a weight.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use quantizers::trellis::tile::WEIGHTS;
use quantizers::trellis::{Code, Encoder, Geometry};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TILES: usize = 16;

fn main() {
    divan::main();
}

#[divan::bench(args = [(2, 12), (3, 12), (4, 12), (2, 16), (3, 16), (4, 16)], sample_count = 5)]
fn one_thread(bencher: Bencher, (bits, state_bits): (u8, u8)) {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut bell = || {
        (0..6)
            .map(|_| random.random_range(-1.0_f32..1.0))
            .sum::<f32>()
    };
    let weights: Vec<f32> = (0..TILES * WEIGHTS).map(|_| bell()).collect();
    let encoder = Encoder::new(Code::default(), Geometry { bits, state_bits }, WEIGHTS);
    let mut states = vec![0; weights.len()];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.expect("a thread");
    let ways = (2 * weights.len()) << state_bits;
    bencher
        .counter(ItemsCount::new(ways))
        .bench_local(|| pool.install(|| encoder.encode(black_box(&weights), &mut states)));
}
