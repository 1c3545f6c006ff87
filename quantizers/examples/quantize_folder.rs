//! Rounds the matrices of a checkpoint folder to a grid and writes the artifact, without a model:
//!
//! `quantize_folder MODEL OUT FORMAT PATTERN RULE [PATTERN RULE ...]`
//!
//! where PATTERN is a regular expression on module names and RULE a recipe rule such as
//! `method = "rtn"\nbits = 4`. Matrices that match no pattern are kept.
#![expect(clippy::unwrap_used, reason = "an example stops at the first error")]
#![expect(clippy::print_stdout, reason = "its result")]

use fancy_regex::Regex;
use quantizers::formats::{self, ArtifactWriter, Dtype, TensorFolder, WriterOptions, verify};
use quantizers::{FloatType, LayerStats, METHODS, MatrixRef, Quantizer};
use serde_json::Value;
use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, out, format, rules @ ..] = &arguments[..] else {
        panic!("MODEL OUT FORMAT PATTERN RULE ...");
    };
    let rules: Vec<(Regex, Box<dyn Quantizer>)> = rules
        .chunks(2)
        .map(|rule| {
            let mut table: toml::Table = rule[1].replace("\\n", "\n").parse().unwrap();
            let name = table.remove("method").unwrap();
            let method = METHODS
                .iter()
                .find(|m| Some(m.name()) == name.as_str())
                .unwrap();
            (
                Regex::new(&rule[0]).unwrap(),
                method.configure(&table).unwrap(),
            )
        })
        .collect();
    let folder = TensorFolder::open(model).unwrap();
    let config = fs_err::read(Path::new(model).join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let options = WriterOptions {
        format: formats::find(format).unwrap(),
        shard_bytes: 5_000_000_000,
        overwrite: true,
    };
    let mut writer = ArtifactWriter::create(out, options).unwrap();
    writer.side_files(Path::new(model)).unwrap();
    let mut linear = Vec::new();
    for (name, info) in folder.tensors() {
        let module = name
            .strip_suffix(".weight")
            .filter(|_| info.shape.len() == 2);
        let rule = module.and_then(|module| {
            rules
                .iter()
                .find(|(pattern, _)| pattern.is_match(module).unwrap())
        });
        let (Some(module), Some((_, quantizer))) = (module, rule) else {
            writer
                .passthrough(name, info.dtype, &info.shape, &folder.bytes(name).unwrap())
                .unwrap();
            continue;
        };
        let values = folder.floats(name).unwrap();
        let (rows, cols) = (info.shape[0], info.shape[1]);
        let weight = MatrixRef::new(&values, rows, cols).unwrap();
        let float_type = match info.dtype {
            Dtype::F16 => FloatType::F16,
            Dtype::BF16 => FloatType::Bf16,
            _ => FloatType::F32,
        };
        let plan = quantizer.plan(rows, cols, float_type).unwrap();
        let quantized = quantizer
            .quantize(weight, &plan, &LayerStats::default())
            .unwrap();
        writer
            .layer(module, &quantized.tensor, &plan.scheme)
            .unwrap();
        linear.push(module.to_owned());
    }
    let written = writer.finish(config.as_object().unwrap(), &linear).unwrap();
    let verified = verify(out, &written.expected).unwrap();
    println!(
        "{} layers, {:.4} bits per weight, {} bytes, {} tensors verified",
        written.layers.len(),
        written.bits_per_weight().unwrap_or(0.0),
        written.bytes(),
        verified.tensors
    );
}
