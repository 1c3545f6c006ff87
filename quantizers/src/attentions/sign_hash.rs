//! Locality-sensitive hashing by signs of random projections, with codes in an order in which neighbours differ by one
//! sign.

use super::random::Random;

/// Projections whose signs are the bits of a code.
pub(super) struct SignHash {
    /// `[projections, dim]`.
    directions: Vec<f32>,
    dim: usize,
}

impl SignHash {
    /// The most projections a code has room for.
    pub(super) const MOST: i64 = 31;

    /// `projections` normal directions of `dim` channels.
    pub(super) fn new(projections: usize, dim: usize, random: &mut Random) -> Self {
        Self {
            directions: (0..projections * dim).map(|_| random.normal()).collect(),
            dim,
        }
    }

    /// Place of the code of `row` in the Gray order: rows with neighbouring places differ in one sign.
    ///
    /// The order is that of the recursion `a_1 = [0, 1]`, `a_n = [a_{n-1}, reverse(a_{n-1}) + 2^{n-1}]`, and a code's place
    /// is where it stands in it. The released code looks up `a_n[code]` instead, which is the same up to two projections;
    /// with more, its neighbours differ in several signs.
    pub(super) fn place(&self, row: &[f32]) -> u32 {
        let mut code = 0_u32;
        for (bit, direction) in self.directions.chunks_exact(self.dim.max(1)).enumerate() {
            let product: f32 = direction.iter().zip(row).map(|(x, y)| x * y).sum();
            code |= u32::from(product > 0.0) << bit;
        }
        let mut place = code;
        for shift in [16, 8, 4, 2, 1] {
            place ^= place >> shift;
        }
        place
    }

    /// The rows `positions` of `matrix`, sorted by place; rows with equal codes stay in order.
    pub(super) fn sorted(&self, matrix: crate::MatrixRef<'_>, positions: &[u32]) -> Vec<u32> {
        let mut sorted = positions.to_vec();
        sorted.sort_by_cached_key(|position| self.place(matrix.row(*position as usize)));
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_places_differ_in_one_sign() {
        let hash = SignHash {
            directions: (0..16)
                .map(|at| if at % 5 == 0 { 1.0 } else { 0.0 })
                .collect(),
            dim: 4,
        };
        let mut codes = [u32::MAX; 16];
        for code in 0..16_u32 {
            let row: Vec<f32> = (0..4)
                .map(|bit| if code >> bit & 1 == 1 { 1.0 } else { -1.0 })
                .collect();
            codes[hash.place(&row) as usize] = code;
        }
        assert_eq!(codes[..8], [0, 1, 3, 2, 6, 7, 5, 4]);
        for pair in codes.windows(2) {
            assert_eq!((pair[0] ^ pair[1]).count_ones(), 1);
        }
    }

    #[test]
    fn close_rows_have_equal_codes_more_often_than_random_ones() {
        let mut random = Random::new(3, "test", 0, 0);
        let hash = SignHash::new(4, 8, &mut random);
        let rows: Vec<Vec<f32>> = (0..200)
            .map(|_| (0..8).map(|_| random.normal()).collect())
            .collect();
        let equal = |noise: f32, random: &mut Random, from: &dyn Fn(usize) -> usize| {
            let mut equal = 0;
            for (at, row) in rows.iter().enumerate() {
                let other = rows[from(at)].iter().map(|x| x + noise * random.normal());
                let other: Vec<f32> = other.collect();
                equal += usize::from(hash.place(row) == hash.place(&other));
            }
            equal
        };
        let close = equal(0.1, &mut random, &|at| at);
        let far = equal(0.1, &mut random, &|at| (at + 1) % 200);
        assert!(close > 150, "{close}");
        assert!(far < 40, "{far}");
    }
}
