//! Every form of codebook takes the space its plan promised.

use quantizers::statistics::{FISHER, HESSIAN, INPUT_MEAN_SQUARE};
use quantizers::{FloatType, LayerStats, METHODS, MatrixRef};

#[test]
fn what_was_planned_is_what_is_stored() {
    let (rows, cols) = (24, 72);
    let mut next = 1u32;
    let mut noise = || {
        next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(next >> 16).unwrap()) / 65536.0
    };
    let weights: Vec<f32> = (0..rows * cols).map(|_| noise() - 0.5).collect();
    let fisher: Vec<f32> = (0..rows * cols).map(|_| noise()).collect();
    let mut hessian = vec![0.25; cols * cols];
    hessian
        .iter_mut()
        .step_by(cols + 1)
        .for_each(|value| *value = 1.0);
    let squares = vec![1.0; cols];
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    let stats = LayerStats::default()
        .with(&FISHER, &fisher)
        .with(&HESSIAN, &hessian)
        .with(&INPUT_MEAN_SQUARE, &squares);
    let shapes = [
        "table = \"row\"",
        "table = \"tensor\"\nscale_bits = 8",
        "table = 6\ngroup_size = 24\nscale_bits = 6",
        "table = \"auto\"",
        "group_size = 32",
        "table = \"iq4_nl\"\ngroup_size = 16\nscale_bits = 6",
    ];
    let methods = [
        ("kmeans", "weights = \"inputs\""),
        ("squeezellm", "sensitive_fraction = 0.01"),
        (
            "gptq",
            "grid = \"codebook\"\nweights = \"fisher\"\nact_order = true",
        ),
        ("gptq", "grid = \"codebook\"\nsensitive_fraction = 0.01"),
    ];
    for (name, keys) in methods {
        for shape in shapes {
            let rule = format!("bits = 4\n{shape}\n{keys}");
            let method = METHODS.iter().find(|method| method.name() == name).unwrap();
            let quantizer = method.configure(&rule.parse().unwrap()).unwrap();
            let plan = quantizer.plan(rows, cols, FloatType::F16).unwrap();
            let found = quantizer.quantize(weight, &plan, &stats).unwrap().tensor;
            found.check().unwrap();
            assert!(found.matches(&plan.scheme), "{rule}");
            let sparse = found
                .outliers
                .as_ref()
                .map_or(0, |sparse| sparse.values.len());
            assert_eq!(sparse, plan.outliers, "{rule}");
            let planned = plan
                .scheme
                .storage_bits(rows, cols, plan.scale_type, sparse);
            assert_eq!(found.storage_bits(), planned, "{rule}");
        }
    }
}
