//! Bit by bit against the recorded vectors of every formula.

use super::samples::{compiled, request, symmetric};
use crate::integer::kernels::exact::exponential::{DEGREE_3, DEGREE_4};
use crate::integer::kernels::exact::{Norm, Segments, TableSoftmax};
use crate::integer::{Dyadic, Wrapping};
use crate::nonlinear::exact::exponential::exponential;
use crate::nonlinear::exact::minimax::GELU_16;
use crate::nonlinear::exact::softmax::table;
use crate::nonlinear::{Grid, Nonlinearity};
use serde_json::Value;

fn golden(operator: &str) -> Value {
    let text = include_str!("../../../../tests/golden/exact_operators.json");
    let all: Value = serde_json::from_str(text).unwrap();
    all[operator].clone()
}

fn integers(value: &Value) -> Vec<i64> {
    let values = value.as_array().unwrap();
    values.iter().map(|value| value.as_i64().unwrap()).collect()
}

fn codes(value: &Value) -> Vec<i32> {
    let codes = integers(value).into_iter();
    codes.map(|code| i32::try_from(code).unwrap()).collect()
}

fn scale(operator: &Value) -> f64 {
    let text = operator["S"]["dec"].as_str().unwrap();
    text.parse().unwrap()
}

#[test]
fn exponentials() {
    let golden = golden("exp2_deg3");
    assert_eq!(integers(&golden["coef_Q30_ascending"]), DEGREE_3);
    assert_eq!(integers(&golden["deg4_coef_Q30"]), DEGREE_4);
    let kernel = exponential(scale(&golden), &DEGREE_3).unwrap();
    let expected = Dyadic {
        multiplier: golden["b"].as_i64().unwrap(),
        shift: codes(&serde_json::json!([golden["c"]]))[0] - 24,
    };
    assert_eq!(kernel.position, expected);
    let inputs = integers(&golden["q"]);
    let found: Vec<i64> = inputs
        .iter()
        .map(|q| kernel.compute(&Wrapping, -q))
        .collect();
    assert_eq!(found, integers(&golden["out_Q30"]));
}

#[test]
fn gelu() {
    let golden = golden("gelu_16x3");
    let fixed: Vec<Vec<i64>> = golden["coef_Q24_ascending"]
        .as_array()
        .unwrap()
        .iter()
        .map(integers)
        .collect();
    assert_eq!(fixed, GELU_16);
    let input = Grid {
        scales: vec![scale(&golden)],
        ..symmetric(1.0, 16)
    };
    let compiled = compiled(
        Nonlinearity::Gelu,
        &request(input, Some(symmetric(4.0, 16)), 1),
    );
    let kernel = compiled.kernel.as_any().downcast_ref::<Segments>().unwrap();
    let found: Vec<i64> = codes(&golden["q"])
        .iter()
        .map(|q| kernel.value(&Wrapping, *q, 0))
        .collect();
    assert_eq!(found, integers(&golden["out_Q24"]));
}

#[test]
fn layer_norm() {
    let golden = golden("layernorm");
    let row = codes(&golden["row"]);
    let request = request(symmetric(4.0, 8), Some(symmetric(4.0, 8)), row.len());
    let compiled = compiled(Nonlinearity::LayerNorm, &request);
    let kernel = compiled.kernel.as_any().downcast_ref::<Norm>().unwrap();
    let spread = kernel.spread(&Wrapping, &row);
    let values = row.iter().enumerate();
    let found: Vec<i64> = values
        .map(|(channel, q)| kernel.value(&Wrapping, *q, channel, spread))
        .collect();
    assert_eq!(found, integers(&golden["out_Q16"]));
    let short: Vec<i16> = row.iter().map(|q| i16::try_from(*q).unwrap()).collect();
    let mut fast = vec![0; row.len()];
    kernel.normalise(&short, &mut fast);
    assert_eq!(fast, codes(&golden["out_Q16"]));
}

#[test]
fn softmax() {
    let golden = golden("lut_softmax");
    let exponentials = integers(&golden["lut_Q16"]);
    assert_eq!(table(scale(&golden), 255, 16), exponentials);
    let input = Grid {
        scales: vec![scale(&golden)],
        ..symmetric(1.0, 8)
    };
    let compiled = compiled(Nonlinearity::Softmax, &request(input, None, 16));
    assert!(compiled.kernel.as_any().is::<TableSoftmax>());
    let rows = golden["rows"].as_array().unwrap();
    let expected = golden["out_u8_255"].as_array().unwrap();
    for (row, expected) in rows.iter().zip(expected) {
        let found = super::samples::run(&compiled, &codes(row));
        assert_eq!(found, codes(expected));
    }
}
