//! Hadamard matrices whose order is no power of two, from the squares modulo a prime (Paley 1933).
//!
//! `C_ij = chi(i - j)` with `chi` 1 for squares, -1 for other numbers and 0 for 0 is bordered to a matrix `S` of order
//! `q + 1` with `S Sᵀ = q I`. For `q = 3 mod 4` it is skew and `I + S` is a Hadamard matrix; for `q = 1 mod 4` it is
//! symmetric, and `S x [1 1; 1 -1] + I x [1 -1; -1 -1]` is one of twice the order.

/// Orders from here on are not made: a product with the matrix takes as many operations as it has entries.
const MOST: usize = 1024;

/// The matrix of `order`, row-major, entries 1 and -1; nothing where neither construction has that order.
pub(super) fn matrix(order: usize) -> Option<Vec<f64>> {
    if !is_order(order) {
        return None;
    }
    let mut entries = vec![0.0; order * order];
    if is_first(order) {
        let bordered = bordered(order - 1, true);
        for (at, entry) in entries.iter_mut().enumerate() {
            let diagonal = at / order == at % order;
            *entry = bordered[at] + f64::from(u8::from(diagonal));
        }
        return Some(entries);
    }
    let half = order / 2;
    let bordered = bordered(half - 1, false);
    for (at, entry) in entries.iter_mut().enumerate() {
        let (row, col) = (at / order, at % order);
        *entry = match (row / 2 == col / 2, row % 2, col % 2) {
            // S is 0 on its diagonal.
            (true, 0, 0) => 1.0,
            (true, ..) => -1.0,
            (false, 1, 1) => -bordered[row / 2 * half + col / 2],
            (false, ..) => bordered[row / 2 * half + col / 2],
        };
    }
    Some(entries)
}

/// Whether there is a matrix of `order` here.
pub(super) fn is_order(order: usize) -> bool {
    (4..MOST).contains(&order) && (is_first(order) || is_second(order))
}

fn is_first(order: usize) -> bool {
    order.is_multiple_of(4) && is_prime(order - 1)
}

fn is_second(order: usize) -> bool {
    order.is_multiple_of(4) && order / 2 % 4 == 2 && is_prime(order / 2 - 1)
}

fn is_prime(number: usize) -> bool {
    let mut divisors = (2..number).take_while(|divisor| divisor * divisor <= number);
    number > 1 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}

/// `S`, `[q + 1, q + 1]`: the first row is 0 and ones, the first column the same or, if `skew`, with minus ones.
fn bordered(q: usize, skew: bool) -> Vec<f64> {
    let mut is_square = vec![false; q];
    for root in 1..q {
        is_square[root * root % q] = true;
    }
    let order = q + 1;
    let mut entries = vec![0.0; order * order];
    for (at, entry) in entries.iter_mut().enumerate() {
        *entry = match (at / order, at % order) {
            (row, col) if row == col => 0.0,
            (0, _) => 1.0,
            (_, 0) if skew => -1.0,
            (_, 0) => 1.0,
            (row, col) if is_square[(row + q - col) % q] => 1.0,
            _ => -1.0,
        };
    }
    entries
}
