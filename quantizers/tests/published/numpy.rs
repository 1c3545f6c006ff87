//! `numpy.random.default_rng(seed)`: the generator the error tables were measured with, so that no
//! data need be stored.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a generator is made of halves of words"
)]

/// PCG64 (XSL-RR 128/64), seeded as `SeedSequence(seed)` does.
pub(crate) struct DefaultRng {
    state: u128,
    increment: u128,
    /// The other half of a 64-bit draw.
    half: Option<u32>,
    ziggurat: Ziggurat,
}

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

impl DefaultRng {
    pub(crate) fn new(seed: u32) -> Self {
        let words = seed_words(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let increment = wide(words[2], words[3]) << 1 | 1;
        let mut made = Self {
            state: 0,
            increment,
            half: None,
            ziggurat: Ziggurat::new(),
        };
        made.step();
        made.state = made.state.wrapping_add(wide(words[0], words[1]));
        made.step();
        made
    }

    fn step(&mut self) {
        self.state = self
            .state
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(self.increment);
    }

    fn bits(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    fn half_bits(&mut self) -> u32 {
        if let Some(half) = self.half.take() {
            return half;
        }
        let bits = self.bits();
        self.half = Some((bits >> 32) as u32);
        bits as u32
    }

    /// In [0, 1), 53 bits.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2.0_f64.powi(-53)
    }

    /// `uniform(low, high, count)`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64, count: usize) -> Vec<f64> {
        (0..count)
            .map(|_| low + (high - low) * self.unit())
            .collect()
    }

    /// An integer in `0..=most`, Lemire's method.
    fn bounded(&mut self, most: u32) -> u32 {
        if most == 0 {
            return 0;
        }
        let span = u64::from(most) + 1;
        let mut product = u64::from(self.half_bits()) * span;
        let threshold = u64::from(u32::MAX - most) % span;
        while (product & 0xffff_ffff) < threshold {
            product = u64::from(self.half_bits()) * span;
        }
        (product >> 32) as u32
    }

    /// `integers(0, end, count)`.
    pub(crate) fn integers(&mut self, end: u32, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.bounded(end - 1) as usize).collect()
    }

    /// `choice(end, count, replace=False)`: Floyd's sampling, then a shuffle.
    pub(crate) fn choice(&mut self, end: u32, count: u32) -> Vec<usize> {
        let mut chosen: Vec<u32> = Vec::new();
        for last in end - count..end {
            let drawn = self.bounded(last);
            chosen.push(if chosen.contains(&drawn) { last } else { drawn });
        }
        for position in (1..count).rev() {
            let other = self.bounded(position);
            chosen.swap(position as usize, other as usize);
        }
        chosen.into_iter().map(|index| index as usize).collect()
    }

    /// `normal(mean, deviation, count)`.
    pub(crate) fn normal(&mut self, mean: f64, deviation: f64, count: usize) -> Vec<f64> {
        (0..count)
            .map(|_| mean + deviation * self.gauss())
            .collect()
    }

    fn gauss(&mut self) -> f64 {
        loop {
            let bits = self.bits();
            let index = (bits & 0xff) as usize;
            let sign = if bits >> 8 & 1 == 1 { -1.0 } else { 1.0 };
            let position = bits >> 9 & ((1 << 52) - 1);
            let x = position as f64 * self.ziggurat.width[index];
            if position < self.ziggurat.inside[index] {
                return sign * x;
            }
            if index == 0 {
                loop {
                    let xx = -(-self.unit()).ln_1p() / TAIL;
                    let yy = -(-self.unit()).ln_1p();
                    if yy + yy > xx * xx {
                        let tail = TAIL + xx;
                        return if position >> 8 & 1 == 1 { -tail } else { tail };
                    }
                }
            }
            let (above, below) = (self.ziggurat.height[index - 1], self.ziggurat.height[index]);
            if (above - below) * self.unit() + below < (-0.5 * x * x).exp() {
                return sign * x;
            }
        }
    }
}

/// Where the tail begins.
const TAIL: f64 = 3.654_152_885_361_009;
/// Area of a layer.
const AREA: f64 = 0.004_928_673_233_974_658;

/// Layers of the normal density, as `ziggurat_constants.h` lists them.
struct Ziggurat {
    inside: [u64; 256],
    width: [f64; 256],
    height: [f64; 256],
}

impl Ziggurat {
    fn new() -> Self {
        let density = |x: f64| (-0.5 * x * x).exp();
        let unit = 2.0_f64.powi(52);
        let mut made = Self {
            inside: [0; 256],
            width: [0.0; 256],
            height: [1.0; 256],
        };
        let mut outer = TAIL;
        made.width[255] = outer / unit;
        made.height[255] = density(outer);
        for layer in (1..255).rev() {
            let inner = (-2.0 * (AREA / outer + density(outer)).ln()).sqrt();
            made.inside[layer + 1] = (inner / outer * unit) as u64;
            made.width[layer] = inner / unit;
            made.height[layer] = density(inner);
            outer = inner;
        }
        let base = AREA / density(TAIL);
        made.inside[0] = (TAIL / base * unit) as u64;
        made.width[0] = base / unit;
        made
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`.
fn seed_words(seed: u32) -> [u64; 4] {
    let mut constant = 0x43b0_d7e5_u32;
    let mut hash = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(constant);
        value ^ value >> 16
    };
    let mix = |x: u32, y: u32| {
        let mixed = x
            .wrapping_mul(0xca01_f9dd)
            .wrapping_sub(y.wrapping_mul(0x4973_f715));
        mixed ^ mixed >> 16
    };
    let mut pool = [seed, 0, 0, 0].map(&mut hash);
    for source in 0..4 {
        for target in 0..4 {
            if source != target {
                pool[target] = mix(pool[target], hash(pool[source]));
            }
        }
    }
    let mut constant = 0x8b51_f9dd_u32;
    let mut words = [0_u32; 8];
    for (index, word) in words.iter_mut().enumerate() {
        let value = pool[index % 4] ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(constant);
        *word = value ^ value >> 16;
    }
    std::array::from_fn(|i| u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32)
}

#[test]
fn the_generator_is_numpys() {
    // numpy 2.4.6: r = default_rng(7); r.normal(0, 1, 3); r.integers(0, 197, 4);
    // r.uniform(3, 8, 2); r.choice(768, 4, replace=False)
    let mut rng = DefaultRng::new(7);
    let normal = rng.normal(0.0, 1.0, 3);
    let expected = [
        0.001_230_153_357_482_574_2,
        0.298_745_537_508_469_9,
        -0.274_137_855_362_217_6,
    ];
    for (found, expected) in normal.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-14, "{found} {expected}");
    }
    assert_eq!(rng.integers(197, 4), [164, 44, 10, 59]);
    for (found, expected) in rng
        .uniform(3.0, 8.0, 2)
        .iter()
        .zip([7.367_767_226_981_309, 3.026_326_522_827_873_5])
    {
        assert!((found - expected).abs() < 1e-14, "{found} {expected}");
    }
    assert_eq!(rng.choice(768, 4), [612, 100, 629, 382]);
    // sum(abs(r.normal(0, 1, 1000000))): every branch of the ziggurat.
    let sum: f64 = rng
        .normal(0.0, 1.0, 1_000_000)
        .iter()
        .map(|x| x.abs())
        .sum();
    assert!((sum - 797_582.806_490_917_2).abs() < 1e-6, "{sum}");
}
