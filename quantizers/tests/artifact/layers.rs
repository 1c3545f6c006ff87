//! Quantized layers of every kind, and artifacts made of them.

use half::f16;
use proptest::prelude::*;
use quantizers::formats::{self, ArtifactWriter, Dtype, WriterOptions, Written};
use quantizers::tensor::{
    Codebook, Csr, Encoding, ScaleValues, SchemeKind, TableScales, TableScheme, Trellis, Uniform,
};
use quantizers::trellis::{CODES, Code};
use quantizers::{FloatType, Granularity, QuantizedTensor, Scheme};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A layer with its scheme.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) tensor: QuantizedTensor,
    pub(crate) scheme: Scheme,
}

/// Numbers that look random and are the same every time.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state >> 32).unwrap()
    }
}

pub(crate) fn uniform(
    (rows, cols): (usize, usize),
    bits: u8,
    granularity: Granularity,
    symmetric: bool,
    scale_type: FloatType,
    seed: u64,
) -> Layer {
    let mut next = noise(seed);
    let mut code = || u8::try_from(next() & 255).unwrap().cast_signed() >> (8 - bits);
    let codes = (0..rows * cols).map(|_| code()).collect();
    let scales = granularity.scale_count(rows, cols);
    let zero_points = (!symmetric).then(|| (0..scales).map(|_| code()).collect());
    let mut scale = || scale_type.round(0.001 + f32::from_bits(0x3f80_0000 | next() >> 9));
    let scales = (0..scales).map(|_| scale()).collect();
    let grid = Uniform {
        bits,
        granularity,
        codes,
        scales,
        scale_type,
        zero_points,
        float_zero_points: None,
        column_groups: None,
    };
    let encoding = Encoding::Uniform(grid);
    let tensor = QuantizedTensor {
        rows,
        cols,
        encoding,
        outliers: None,
    };
    let mut scheme = scheme(SchemeKind::Uniform, bits);
    (scheme.granularity, scheme.symmetric) = (granularity, symmetric);
    Layer { tensor, scheme }
}

/// `layer` with the columns of its groups scattered over the row.
pub(crate) fn scattered(mut layer: Layer) -> Layer {
    let Encoding::Uniform(grid) = &mut layer.tensor.encoding else {
        panic!("groups of a uniform grid")
    };
    let Granularity::Group(size) = grid.granularity else {
        panic!("groups")
    };
    let groups = (0..layer.tensor.cols)
        .rev()
        .map(|col| u32::try_from(col / size).unwrap());
    let (even, odd): (Vec<_>, Vec<_>) = groups.enumerate().partition(|(at, _)| at % 2 == 0);
    grid.column_groups = Some(
        even.into_iter()
            .chain(odd)
            .map(|(_, group)| group)
            .collect(),
    );
    layer.scheme.column_groups = true;
    layer
}

/// An asymmetric `layer` with zero points between its codes.
pub(crate) fn float_zeros(mut layer: Layer) -> Layer {
    let Encoding::Uniform(grid) = &mut layer.tensor.encoding else {
        panic!("a uniform grid")
    };
    let zeros = grid.zero_points.take().expect("zero points");
    let between = zeros
        .iter()
        .map(|zero| f16::from_f32(f32::from(*zero) + 0.375));
    grid.float_zero_points = Some(between.collect());
    layer.scheme.float_zero_points = true;
    layer
}

/// Every row has a table, or `sharing` consecutive rows share one and have scales, whose form depends on `seed`.
pub(crate) fn codebook((rows, cols): (usize, usize), bits: u8, sharing: usize, seed: u64) -> Layer {
    let mut next = noise(seed);
    let indices = (0..rows * cols).map(|_| u8::try_from(next() & 255).unwrap() >> (8 - bits));
    let indices = indices.collect();
    let mut half = || f16::from_f32(f32::from_bits(0x3f80_0000 | next() >> 9) - 1.5);
    let tables = (0..rows / sharing)
        .flat_map(|_| {
            let mut table: Vec<f16> = (0..1 << bits).map(|_| half()).collect();
            table.sort_by(f16::total_cmp);
            table
        })
        .collect();
    let granularity = match seed & 8 {
        0 => Granularity::Channel,
        _ => Granularity::Group(16),
    };
    let count = granularity.scale_count(rows, cols);
    let values = match [16, 8, 6][usize::try_from(seed % 3).unwrap()] {
        16 => ScaleValues::Half((0..count).map(|_| half()).collect()),
        bits => ScaleValues::Codes {
            bits,
            steps: (0..rows).map(|_| half()).collect(),
            codes: (0..count)
                .map(|_| u8::try_from(next() & 255).unwrap().cast_signed() >> (8 - bits))
                .collect(),
        },
    };
    let mut scheme = scheme(SchemeKind::Codebook, bits);
    let scales = (sharing > 1).then_some(TableScales {
        granularity,
        values,
    });
    if let Some(scales) = &scales {
        scheme.granularity = granularity;
        scheme.tables = Some(TableScheme {
            count: rows / sharing,
            scale_bits: Some(scales.values.bits()),
        });
    }
    let encoding = Encoding::Codebook(Codebook {
        bits,
        indices,
        tables,
        scales,
    });
    let tensor = QuantizedTensor {
        rows,
        cols,
        encoding,
        outliers: None,
    };
    Layer { tensor, scheme }
}

/// Any streams of a trellis.
pub(crate) fn trellis(
    (rows, cols): (usize, usize),
    bits: u8,
    state_bits: u8,
    code: Code,
    seed: u64,
) -> Layer {
    let mut next = noise(seed);
    let streams = (0..rows * cols * usize::from(bits) / 32)
        .map(|_| next())
        .collect();
    let mut half = || f16::from_f32(f32::from_bits(0x3f80_0000 | next() >> 9) - 1.5);
    let input_scales = (0..cols).map(|_| half()).collect();
    let output_scales = (0..rows).map(|_| half()).collect();
    let tensor = QuantizedTensor {
        rows,
        cols,
        encoding: Encoding::Trellis(Trellis {
            bits,
            state_bits,
            code,
            streams,
            input_scales,
            output_scales,
        }),
        outliers: None,
    };
    Layer {
        tensor,
        scheme: scheme(SchemeKind::Trellis { code, state_bits }, bits),
    }
}

/// Adds a sparse part with about one value in `spacing`.
pub(crate) fn with_outliers(mut layer: Layer, spacing: u32, seed: u64) -> Layer {
    let mut next = noise(seed);
    let mut sparse = Csr {
        row_pointers: vec![0],
        ..Csr::default()
    };
    for _ in 0..layer.tensor.rows {
        for column in 0..u32::try_from(layer.tensor.cols).unwrap() {
            if next().is_multiple_of(spacing) {
                sparse.columns.push(column);
                // Below 2^15: with a value of the grid added it still fits F16, the narrowest type of a dense
                // weight. What does not fit is refused, which has a test of its own.
                sparse.values.push(f16::from_bits(
                    u16::try_from(next() >> 17).unwrap() & 0x77ff,
                ));
            }
        }
        sparse
            .row_pointers
            .push(u32::try_from(sparse.columns.len()).unwrap());
    }
    layer.tensor.outliers = Some(sparse);
    layer.scheme.outliers = true;
    layer
}

fn scheme(kind: SchemeKind, bits: u8) -> Scheme {
    Scheme::new("rtn", kind, bits)
}

/// Any layer the types can express, up to 12 x 80, or nine tiles.
pub(crate) fn any_layer() -> impl Strategy<Value = Layer> {
    let shape = (1usize..12, 1usize..80);
    let grid = (
        shape.clone(),
        1u8..=8,
        prop_oneof![
            Just(Granularity::Tensor),
            Just(Granularity::Channel),
            (1usize..40).prop_map(Granularity::Group),
        ],
        (any::<bool>(), any::<bool>(), any::<bool>()),
        prop_oneof![
            Just(FloatType::F32),
            Just(FloatType::F16),
            Just(FloatType::Bf16)
        ],
        any::<u64>(),
    )
        .prop_map(
            |(shape, bits, granularity, (symmetric, scatter, between), float, seed)| {
                let mut layer = uniform(shape, bits, granularity, symmetric, float, seed);
                if between && !symmetric {
                    layer = float_zeros(layer);
                }
                match granularity {
                    Granularity::Group(_) if scatter => scattered(layer),
                    _ => layer,
                }
            },
        );
    let tables = (shape, 1u8..=8, 1usize..4, any::<u64>()).prop_map(
        |((rows, cols), bits, sharing, seed)| codebook((rows * sharing, cols), bits, sharing, seed),
    );
    let streams = (
        (1usize..4, 1usize..4),
        1u8..=8,
        12u8..=16,
        0..CODES.len(),
        any::<u64>(),
    )
        .prop_map(|((down, across), bits, state_bits, code, seed)| {
            let shape = (16 * down, 16 * across);
            trellis(shape, bits, state_bits, Code(CODES[code]), seed)
        });
    (prop_oneof![grid, tables, streams], any::<Option<u64>>()).prop_map(|(layer, sparse)| {
        match sparse {
            Some(seed) => with_outliers(layer, 9, seed),
            None => layer,
        }
    })
}

/// One layer of each kind, with names.
pub(crate) fn one_of_each() -> Vec<(&'static str, Layer)> {
    let mut transposed = codebook((12, 40), 4, 1, 6);
    transposed.scheme.transposed = true;
    vec![
        (
            "block.0.a",
            uniform((6, 64), 4, Granularity::Group(32), true, FloatType::Bf16, 1),
        ),
        (
            "block.0.b",
            uniform((5, 44), 3, Granularity::Group(32), false, FloatType::F16, 2),
        ),
        (
            "block.0.c",
            uniform((5, 7), 8, Granularity::Tensor, false, FloatType::F32, 3),
        ),
        ("block.1.a", codebook((6, 50), 3, 1, 4)),
        (
            "block.1.b",
            with_outliers(codebook((6, 50), 2, 3, 14), 7, 5),
        ),
        ("block.1.c", transposed),
        (
            "block.1.d",
            with_outliers(
                uniform((3, 9), 5, Granularity::Channel, true, FloatType::F32, 7),
                4,
                7,
            ),
        ),
        ("block.1.e", trellis((32, 48), 3, 16, Code::default(), 8)),
    ]
}

pub(crate) fn options(format: &str) -> WriterOptions {
    let format = formats::find(format).unwrap();
    WriterOptions {
        format,
        shard_bytes: 1 << 30,
        overwrite: false,
    }
}

pub(crate) fn config() -> Map<String, Value> {
    let config = json!({ "model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16" });
    config.as_object().unwrap().clone()
}

/// Writes `layers` and two tensors that are not quantized.
pub(crate) fn write(dir: &Path, options: WriterOptions, layers: &[(&str, Layer)]) -> Written {
    let mut writer = ArtifactWriter::create(dir, options).unwrap();
    writer
        .passthrough(
            "embed.weight",
            Dtype::BF16,
            &[3, 2],
            &[0x80, 0x3f].repeat(6),
        )
        .unwrap();
    for (name, layer) in layers {
        writer.layer(name, &layer.tensor, &layer.scheme).unwrap();
    }
    writer
        .passthrough("norm.bias", Dtype::F32, &[1], &1.5f32.to_le_bytes())
        .unwrap();
    let names: Vec<String> = layers.iter().map(|(name, _)| (*name).to_owned()).collect();
    writer.finish(&config(), &names).unwrap()
}
