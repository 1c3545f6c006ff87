//! How the inputs of a layer are rounded, as the configuration of an artifact says it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use quantizers::formats::ArtifactReader;
use quantizers::grid::{InputQuantizer, Point};
use quantizers::tensor::InputGrid;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};

const EIGHT: InputGrid = InputGrid {
    bits: 8,
    symmetric: true,
    dynamic: true,
};

/// What is read for an int8 layer `l` with a stored input scale of `scale` whose group has `inputs`.
fn read(inputs: &Value, scale: Option<f32>) -> Result<Option<InputQuantizer>, String> {
    read_with_zero_point(inputs, scale, None)
}

/// [`read`] with a stored zero point.
fn read_with_zero_point(
    inputs: &Value,
    scale: Option<f32>,
    zero_point: Option<i8>,
) -> Result<Option<InputQuantizer>, String> {
    let dir = tempfile::tempdir().unwrap();
    let scales: Vec<u8> = [0.5f32, 0.25]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    let stored = scale.map(f32::to_le_bytes);
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).unwrap();
    let mut tensors = vec![
        ("l.weight", view(Dtype::I8, vec![2, 4], &[1u8; 8][..])),
        ("l.weight_scale", view(Dtype::F32, vec![2, 1], &scales[..])),
    ];
    if let Some(stored) = &stored {
        tensors.push(("l.input_scale", view(Dtype::F32, vec![1], &stored[..])));
    }
    let zero_point = zero_point.map(|code| [code.cast_unsigned()]);
    if let Some(code) = &zero_point {
        tensors.push(("l.input_zero_point", view(Dtype::I8, vec![1], &code[..])));
    }
    let file = dir.path().join("model.safetensors");
    fs_err::write(file, serialize(tensors, None).unwrap()).unwrap();
    let config = json!({ "quantization_config": {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "config_groups": { "group_0": {
            "targets": ["Linear"],
            "weights": { "num_bits": 8, "type": "int", "strategy": "channel", "symmetric": true },
            "input_activations": inputs,
        }},
    }});
    fs_err::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let reader = ArtifactReader::open(dir.path()).map_err(|error| chain(&error))?;
    reader.input_quantizer("l").map_err(|error| chain(&error))
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(chain);
    cause.map_or(error.to_string(), |cause| format!("{error}: {cause}"))
}

#[test]
fn a_scale_for_each_token_one_for_all_or_none() {
    assert_eq!(read(&Value::Null, None), Ok(None));
    let token = json!({ "num_bits": 8, "type": "int", "strategy": "token", "dynamic": true });
    assert_eq!(
        read(&token, None),
        Ok(Some(InputQuantizer::per_token(EIGHT)))
    );
    let tensor = json!({ "num_bits": 8, "type": "int", "strategy": "tensor", "dynamic": false });
    let fixed = InputGrid {
        dynamic: false,
        ..EIGHT
    };
    let at = |zero_point| Point {
        scale: 0.125,
        zero_point,
    };
    assert_eq!(
        read(&tensor, Some(0.125)),
        Ok(Some(InputQuantizer::fixed(fixed, at(0))))
    );
    let mut shifted = tensor;
    shifted["symmetric"] = false.into();
    let asymmetric = InputGrid {
        symmetric: false,
        ..fixed
    };
    assert_eq!(
        read_with_zero_point(&shifted, Some(0.125), Some(-7)),
        Ok(Some(InputQuantizer::fixed(asymmetric, at(-7))))
    );
}

#[test]
fn what_could_not_be_evaluated_truly_is_refused() {
    let refused = |inputs: Value, scale| read(&inputs, scale).unwrap_err();
    let tensor = json!({ "num_bits": 8, "type": "int", "strategy": "tensor", "dynamic": false });
    assert!(refused(tensor.clone(), None).contains("no tensor `l.input_scale`"));
    assert!(refused(tensor, Some(-1.0)).contains("input scale above 0, found -1"));
    let float = json!({ "num_bits": 8, "type": "float", "strategy": "token", "dynamic": true });
    assert!(refused(float, None).contains("inputs as 8-bit float, strategy `token`"));
    let zero_point = json!({
        "num_bits": 8, "type": "int", "strategy": "tensor", "dynamic": false, "symmetric": false
    });
    assert!(refused(zero_point.clone(), Some(1.0)).contains("no tensor `l.input_zero_point`"));
    let mut narrow = zero_point;
    narrow["num_bits"] = 4.into();
    let error = read_with_zero_point(&narrow, Some(1.0), Some(-9)).unwrap_err();
    assert!(
        error.contains("an input zero point of 4 bits, found -9"),
        "{error}"
    );
    let wide = json!({ "num_bits": 16, "type": "int", "strategy": "token", "dynamic": true });
    assert!(refused(wide, None).contains("inputs of 16 bits"));
    let group = json!({ "num_bits": 8, "type": "int", "strategy": "group", "group_size": 2, "dynamic": true });
    assert!(refused(group, None).contains("strategy `group`"));
}
