//! Golden vectors of whole rows: softmax and `LayerNorm`.

use crate::golden::{both, cases, integer, list, real, row, rows, vectors};
use quantizers::integer::kernels::{EvenRequantization, fq_vit, i_bert, i_vit};
use quantizers::integer::{Checked, Mode, RowKernel, Wrapping};
use quantizers::nonlinear::{i_bert as compile_i_bert, i_vit as compile_i_vit};

/// A kernel's row, the same in both modes.
pub(crate) fn run(kernel: &dyn RowKernel, input: &[i32]) -> Vec<i32> {
    let mut fast = vec![0; input.len()];
    let mut checked = fast.clone();
    kernel.run(Mode::Fast, input, &mut fast).unwrap();
    kernel.run(Mode::Checked, input, &mut checked).unwrap();
    assert_eq!(fast, checked);
    fast
}

#[test]
fn i_bert_softmax() {
    for case in cases("ibert_softmax") {
        let scale = real(&case["S"]);
        for (bits, expected) in [(8, "out8"), (16, "out16")] {
            let kernel = compile_i_bert::softmax::kernel(scale, bits);
            assert_eq!(
                kernel.exponential.largest(),
                i128::from(integer(&case["emax"]))
            );
            assert_eq!(kernel.to_sixteen_bits.multiplier, integer(&case["rq_b"]));
            assert_eq!(
                i64::from(kernel.to_sixteen_bits.shift),
                integer(&case["rq_c"])
            );
            let outputs = rows(&case[expected]);
            let exponentials = rows(&case["e16"]);
            for (index, input) in rows(&case["rows"]).iter().enumerate() {
                let mut found = vec![0; input.len()];
                let sixteen = both!(|a| {
                    kernel.exponentials(a, input, &mut found);
                    found.clone()
                });
                assert_eq!(sixteen, exponentials[index]);
                // A probability of 1 needs a bit more than there are and saturates.
                let saturated = outputs[index].iter().map(|p| *p.min(&((1 << bits) - 1)));
                assert_eq!(run(&kernel, input), saturated.collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn i_vit_softmax() {
    let octaves = integer(&vectors("ivit_shiftmax")["n"]);
    assert_eq!(octaves, i64::from(compile_i_vit::softmax::OCTAVES));
    for case in cases("ivit_shiftmax") {
        for (bits, expected) in [(8, "out8"), (16, "out16")] {
            let kernel = compile_i_vit::softmax::kernel(real(&case["S"]), bits);
            let outputs = rows(&case[expected]);
            for (input, expected) in rows(&case["rows"]).iter().zip(outputs) {
                assert_eq!(run(&kernel, input), expected);
            }
        }
    }
}

#[test]
fn fq_vit_softmax() {
    for case in cases("fqvit_lis") {
        let kernel = fq_vit::Softmax {
            exponential: compile_i_bert::exponential(real(&case["S"])),
        };
        for (input, expected) in rows(&case["rows"]).iter().zip(rows(&case["qlog4"])) {
            let found = both!(|a| kernel.exponents(a, input));
            let signed: Vec<i32> = found.iter().map(|k| k.map_or(-1, i32::from)).collect();
            assert_eq!(signed, expected);
            // The code of an exponent is the power of two it stands for.
            let codes: Vec<i32> = found
                .iter()
                .map(|k| k.map_or(0, |k| 1 << (15 - k)))
                .collect();
            assert_eq!(run(&kernel, input), codes);
        }
    }
}

/// Factors and offsets that show the wide value: one channel each, no rounding.
fn nothing(channels: usize) -> EvenRequantization {
    EvenRequantization {
        multipliers: vec![1 << 30; channels],
        shifts: vec![30; channels],
        offsets: vec![0; channels],
        wide: true,
        low: i32::MIN,
        high: i32::MAX,
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "powers of two are exact")]
fn layernorms() {
    for case in cases("layernorm") {
        let input = row(&case["row"]);
        let channels = input.len();
        assert_eq!(i64::try_from(channels).unwrap(), integer(&case["C"]));
        let reals =
            |name: &str| -> Vec<f64> { serde_json::from_value(case[name].clone()).unwrap() };
        let bias: Vec<i64> = reals("gamma")
            .iter()
            .zip(reals("beta"))
            .map(|(gamma, beta)| compile_i_bert::layernorm::bias(*gamma, beta, channels))
            .collect();
        assert_eq!(bias, list(&case["bias_int"]));
        let unit = compile_i_bert::layernorm::unit(channels);
        assert_eq!(unit, real(&case["S_out_div_gamma"]));
        let kernel = i_bert::LayerNorm {
            shift: u32::try_from(integer(&case["shift"])).unwrap(),
            bias: bias.clone(),
            requantization: nothing(channels),
        };
        let normalised = both!(|a| {
            let row = kernel.statistics(a, &input);
            let values = input.iter().map(|q| row.normalised(a, *q));
            values.collect::<Vec<_>>()
        });
        assert_eq!(normalised, list(&case["ibert_norm"]));
        assert_eq!(run(&kernel, &input), row(&case["ibert_out"]));
        let kernel = i_vit::LayerNorm {
            bias,
            requantization: nothing(channels),
        };
        let normalised = both!(|a| {
            let row = kernel.statistics(a, &input);
            let values = input.iter().map(|q| row.normalised(a, *q));
            values.collect::<Vec<_>>()
        });
        assert_eq!(normalised, list(&case["ivit_norm"]));
    }
}
