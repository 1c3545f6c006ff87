use super::*;
use proptest::prelude::*;

fn grid(bits: u8, symmetric: bool) -> Grid {
    Grid {
        bits,
        symmetric,
        scale_type: FloatType::F32,
        arithmetic: FloatType::F32,
    }
}

#[test]
fn a_row_worked_by_hand() {
    // Largest magnitude 1.5, so 2-bit codes -2..=1 step by 1.5 / 1.5 = 1.
    let grid = grid(2, true);
    let row = [1.5, -1.5, 0.5, -0.5, 0.6, 2.5];
    let point = grid.fit(-1.5, 1.5);
    assert_eq!(
        point,
        Point {
            scale: 1.0,
            zero_point: 0
        }
    );
    let mut codes = [0; 6];
    grid.codes(&row, point, &mut codes);
    // 1.5 saturates, -1.5 and +-0.5 are ties and go to the even code.
    assert_eq!(codes, [1, -2, 0, 0, 1, 1]);
    assert_eq!(point.value(-2), -2.0);
}

#[test]
fn an_asymmetric_grid_reaches_both_ends_and_holds_zero() {
    // -1..2 in 2 bits: scale 1, zero point -2 + 1 = -1, codes -2..=1.
    let grid = grid(2, false);
    let point = grid.fit(-1.0, 2.0);
    assert_eq!(
        point,
        Point {
            scale: 1.0,
            zero_point: -1
        }
    );
    assert_eq!(
        [-1.0, 0.0, 1.0, 2.0].map(|w| grid.code(w, point)),
        [-2, -1, 0, 1]
    );
    // A positive row still starts at zero.
    let point = grid.fit(3.0, 6.0);
    assert_eq!(
        point,
        Point {
            scale: 2.0,
            zero_point: -2
        }
    );
    assert_eq!(point.value(grid.code(0.0, point)), 0.0);
}

#[test]
fn a_row_of_zeros_gets_epsilon_and_code_zero() {
    for (scale_type, epsilon) in [
        (FloatType::F32, f32::EPSILON),
        (FloatType::Bf16, 0.007_812_5),
    ] {
        for symmetric in [true, false] {
            let grid = Grid {
                bits: 4,
                symmetric,
                scale_type,
                arithmetic: scale_type,
            };
            let point = grid.fit_values(&[0.0, -0.0]);
            assert_eq!(
                point,
                Point {
                    scale: epsilon,
                    zero_point: 0
                }
            );
            assert_eq!(grid.code(0.0, point), 0);
        }
    }
}

#[test]
fn a_scale_below_the_stored_type_is_its_smallest_value_not_epsilon() {
    let scale_type = FloatType::F16;
    let grid = Grid {
        bits: 4,
        symmetric: true,
        scale_type,
        arithmetic: FloatType::F32,
    };
    let point = grid.fit(-1e-9, 1e-9);
    assert_eq!(point.scale, f16::from_bits(1).to_f32());
    assert_eq!(grid.fit(0.0, 1e30).scale, f16::MAX.to_f32());
}

#[test]
fn granularities_share_scales_as_they_say() {
    let data = [1.0, 2.0, 3.0, -4.0, 5.0, 6.0];
    let weight = MatrixRef::new(&data, 2, 3).unwrap();
    let scales = |granularity| grid(4, true).quantize(weight, granularity).scales;
    assert_eq!(scales(Granularity::Tensor), [6.0 / 7.5]);
    assert_eq!(scales(Granularity::Channel), [3.0 / 7.5, 6.0 / 7.5]);
    let groups = [2.0, 3.0, 5.0, 6.0].map(|top| top / 7.5);
    assert_eq!(
        scales(Granularity::Group(2)),
        groups,
        "the last group of a row is shorter"
    );
    let empty = MatrixRef::new(&[], 0, 3).unwrap();
    assert!(
        grid(4, false)
            .quantize(empty, Granularity::Group(2))
            .codes
            .is_empty()
    );
}

fn rows() -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(-8.0f32..8.0, 1..60)
}

proptest! {
    #[test]
    fn the_error_is_at_most_half_a_step_where_nothing_is_clipped(
        row in rows(), bits in 2u8..=8, symmetric: bool,
    ) {
        let grid = grid(bits, symmetric);
        let point = grid.fit_values(&row);
        let (qmin, qmax) = grid.code_range();
        for weight in row {
            let code = grid.code(weight, point);
            let reach = point.scale * 1e-4;
            let inside = weight >= point.value(qmin) - reach && weight <= point.value(qmax) + reach;
            if inside {
                prop_assert!((weight - point.value(code)).abs() <= point.scale * 0.5001);
            } else {
                // Only the ends of the range are clipped, by half a step at most.
                prop_assert!(code == qmin || code == qmax);
                prop_assert!((weight - point.value(code)).abs() <= point.scale * 0.5001);
            }
        }
    }

    #[test]
    fn quantizing_a_dequantized_row_changes_nothing(row in rows(), bits in 2u8..=8, symmetric: bool) {
        let grid = grid(bits, symmetric);
        let point = grid.fit_values(&row);
        for weight in row {
            let code = grid.code(weight, point);
            prop_assert_eq!(grid.code(point.value(code), point), code);
        }
    }

    #[test]
    fn permuting_rows_permutes_codes(row in rows(), other in rows(), bits in 2u8..=8) {
        let cols = row.len().min(other.len());
        let (a, b) = (&row[..cols], &other[..cols]);
        let of = |data: Vec<f32>| {
            let weight = MatrixRef::new(&data, 2, cols).unwrap();
            grid(bits, false).quantize(weight, Granularity::Group(7)).codes
        };
        let (ab, ba) = (of([a, b].concat()), of([b, a].concat()));
        prop_assert_eq!(&ab[..cols], &ba[cols..]);
        prop_assert_eq!(&ab[cols..], &ba[..cols]);
    }

    #[test]
    fn rounding_is_half_to_even(value in -128.0f32..127.0) {
        for value in [value, value.trunc() + 0.5] {
            prop_assert_eq!(f32::from(round_to_code(value.clamp(-128.0, 127.0))), value.clamp(-128.0, 127.0).round_ties_even());
        }
    }
}

proptest! {
    #[test]
    fn steps_round_as_the_stored_types_do(values in proptest::collection::vec(-1e5f32..1e5, 1..64)) {
        for arithmetic in [FloatType::F16, FloatType::Bf16] {
            let grid = Grid { arithmetic, ..grid(4, true) };
            let mut rounded = values.clone();
            grid.step(&mut rounded);
            let expected: Vec<f32> = values.iter().map(|value| arithmetic.round(*value)).collect();
            prop_assert_eq!(rounded, expected);
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let data: Vec<f32> = (0..40_000u16).map(|i| f32::from(i).sin()).collect();
    let weight = MatrixRef::new(&data, 200, 200).unwrap();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| grid(3, false).quantize(weight, Granularity::Group(32)))
    };
    assert_eq!(with(1), with(4));
}
