//! Order statistics of a matrix in two passes over it and constant memory.

/// Order-preserving map from finite floats to integers; -0 and +0 are one value.
fn key(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 0x8000_0000
    }
}

fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 {
        key & 0x7fff_ffff
    } else {
        !key
    })
}

/// The values at the `ranks` (0 = smallest) of `data`, which must be finite and longer than each rank.
///
/// Counts the upper halves of the keys, then the lower halves within the buckets that hold a rank.
pub(super) fn order_statistics<const N: usize>(data: &[f32], ranks: [usize; N]) -> [f32; N] {
    const HALF: usize = 1 << 16;
    let mut upper = vec![0_usize; HALF];
    for &value in data {
        upper[(key(value) >> 16) as usize] += 1;
    }
    ranks.map(|rank| {
        let (bucket, below) = locate(&upper, rank);
        let mut lower = vec![0_usize; HALF];
        for &value in data {
            let key = key(value);
            if key >> 16 == bucket {
                lower[(key & 0xffff) as usize] += 1;
            }
        }
        value(bucket << 16 | locate(&lower, rank - below).0)
    })
}

/// The bucket that holds `rank`, and how many values lie in the buckets before it.
fn locate(counts: &[usize], rank: usize) -> (u32, usize) {
    let mut below = 0;
    for (bucket, &count) in (0..).zip(counts) {
        if rank < below + count {
            return (bucket, below);
        }
        below += count;
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_sorting(
            data in prop::collection::vec(prop_oneof![-2.0_f32..2.0, Just(0.0), Just(-0.0), Just(1e-40)], 1..300),
            seed in any::<[usize; 2]>(),
        ) {
            let ranks = seed.map(|rank| rank % data.len());
            let mut sorted: Vec<f32> = data.iter().map(|v| v + 0.0).collect();
            sorted.sort_by(f32::total_cmp);
            let expected = ranks.map(|rank| sorted[rank].to_bits());
            prop_assert_eq!(order_statistics(&data, ranks).map(f32::to_bits), expected);
        }
    }
}
