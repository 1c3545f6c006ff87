//! Rotation of channel pairs by position, half-rotation layout.

use multiversion::multiversion;
use quantizers::linalg::product::Strided;

/// Rotates the rows of one head `[tokens, head_dim]` by the angles whose cosines and sines are given.
///
/// `out` is contiguous, `cos` and `sin` hold `[tokens, head_dim]` with equal halves. `inverse` rotates back,
/// which is also the product of the Jacobian with a gradient.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn rotate(head: Strided<'_>, cos: &[f32], sin: &[f32], inverse: bool, out: &mut [f32]) {
    let width = head.cols();
    let half = width / 2;
    let sign = if inverse { -1.0 } else { 1.0 };
    let tables = cos.chunks_exact(width).zip(sin.chunks_exact(width));
    for (token, (out, (cos, sin))) in out.chunks_exact_mut(width).zip(tables).enumerate() {
        let (first, second) = head.row(token).split_at(half);
        let (out_first, out_second) = out.split_at_mut(half);
        let pairs = first.iter().zip(second).zip(cos.iter().zip(sin));
        let outs = out_first.iter_mut().zip(out_second);
        for (((a, b), (cos, sin)), (out_a, out_b)) in pairs.zip(outs) {
            let sin = sign * sin;
            *out_a = a * cos - b * sin;
            *out_b = b * cos + a * sin;
        }
    }
}

/// Rotates each head of `row`, one token of heads as wide as `width`, in place: its first channels, as many as there are
/// cosines, by the same angles, pair by pair of halves or of neighbours.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn rotate_token(row: &mut [f32], width: usize, cos: &[f32], sin: &[f32], interleaved: bool) {
    let half = cos.len() / 2;
    let angles = || cos.iter().zip(sin).take(half);
    for head in row.chunks_exact_mut(width) {
        let head = &mut head[..2 * half];
        if interleaved {
            let (pairs, _) = head.as_chunks_mut::<2>();
            for ([a, b], (cos, sin)) in pairs.iter_mut().zip(angles()) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        } else {
            let (first, second) = head.split_at_mut(half);
            for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(angles()) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Angle 90 degrees: the pair (1, 2) becomes (-2, 1); the inverse undoes it.
    #[test]
    fn a_quarter_turn_and_back() {
        let x = [1.0, 2.0, 9.0, 9.0];
        let head = Strided::new(&x, 1, 2, 4, 1);
        let mut turned = [0.0; 2];
        rotate(head, &[0.0, 0.0], &[1.0, 1.0], false, &mut turned);
        assert_eq!(turned.to_vec(), vec![-2.0, 1.0]);
        let mut back = [0.0; 2];
        let head = Strided::new(&turned, 1, 2, 2, 1);
        rotate(head, &[0.0, 0.0], &[1.0, 1.0], true, &mut back);
        assert_eq!(back.to_vec(), vec![1.0, 2.0]);
    }
}
