//! `quench inspect`: the tensors of a folder, or one of them closely.

mod program;
mod values;

use super::{fetch_options, print, print_json};
use crate::Error;
use crate::args::InspectArgs;
use crate::model::OpenModel;
use crate::plan::dtype_name;
use crate::progress::Progress;
use ::eval::report::figures;
use calib::WeightSource;
use program::ProgramFacts;
use quantizers::formats::StoredLayer;
use quantizers::nearest::{did_you_mean, nearest};
use quantizers::tensor::{SchemeKind, TableScheme};
use quantizers::{Encoding, Granularity, QuantizedTensor};
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use values::Values;

/// One line of the listing: a stored tensor, or all those of a quantized layer together.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// Stored type, or the scheme of a quantized layer.
    stored: String,
    shape: Vec<usize>,
    bits_per_weight: f64,
    bytes: u64,
}

/// Prints what there is.
///
/// # Errors
/// A model that cannot be opened, or a tensor it does not have.
pub fn run(args: &InspectArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let open = OpenModel::open(
        &args.model,
        args.source.revision.as_deref(),
        &fetch_options(&args.source),
        progress,
    )?;
    match &args.tensor {
        None => all(&open, json),
        Some(name) => one(&open, name, json),
    }
}

fn all(open: &OpenModel, json: bool) -> Result<(), Error> {
    let rows = rows(open);
    let facts = open.facts();
    let weights_of = |row: &Row| row.shape.iter().product::<usize>() as u64;
    let second = open.second_names();
    let counted = rows.iter().filter(|row| !second.contains_key(&row.name));
    let total: u64 = counted.map(|row| row.bytes).sum();
    let quantized: Vec<&Row> = rows
        .iter()
        .filter(|row| is_quantized(open, &row.name))
        .collect();
    let quantized_weights: u64 = quantized.iter().map(|row| weights_of(row)).sum();
    let quantized_bytes: u64 = quantized.iter().map(|row| row.bytes).sum();
    let per_weight = |bytes: u64, weights: u64| 8.0 * bytes as f64 / weights.max(1) as f64;
    let program = ProgramFacts::of(open)?;
    if json {
        return print_json(&json!({
            "model": facts.name,
            "architecture": facts.architecture,
            "kind": facts.kind,
            "parameters": facts.parameters,
            "bytes": total,
            "bits_per_weight": per_weight(total, facts.parameters),
            "quant_method": open.artifact.reader().quant_method(),
            "tensors": rows,
            "integer_program": program,
        }));
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let stored = rows.iter().map(|row| row.stored.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows {
        let shape = format!("{:?}", row.shape);
        let _ = writeln!(
            text,
            "{:<width$}  {shape:>14}  {:<stored$}  {:>8.4} bits/w  {:>10}",
            row.name,
            row.stored,
            row.bits_per_weight,
            figures::bytes(row.bytes),
        );
    }
    let _ = writeln!(
        text,
        "\n{} ({}, {}): {} parameters, {}, {:.3} bits per weight",
        facts.name,
        facts.architecture,
        facts.kind.name(),
        facts.parameters,
        figures::bytes(total),
        per_weight(total, facts.parameters),
    );
    let _ = match open.artifact.reader().quant_method() {
        Some(method) => writeln!(
            text,
            "{method}: {} quantized layers, {}, {:.3} bits per weight",
            quantized.len(),
            figures::bytes(quantized_bytes),
            per_weight(quantized_bytes, quantized_weights),
        ),
        None => writeln!(
            text,
            "not quantized; {} linear layers in blocks",
            facts.layers.iter().filter(|layer| layer.in_block).count(),
        ),
    };
    if let Some(program) = program {
        text.push_str(&program.render());
    }
    print(&text)
}

fn rows(open: &OpenModel) -> Vec<Row> {
    let reader = open.artifact.reader();
    let mut rows: Vec<Row> = reader
        .folder()
        .tensors()
        .filter(|(name, _)| !reader.is_part(name))
        .map(|(name, info)| Row {
            name: name.to_owned(),
            stored: dtype_name(info.dtype),
            shape: info.shape.clone(),
            bits_per_weight: 8.0 * info.bytes as f64 / info.elements().max(1) as f64,
            bytes: info.bytes as u64,
        })
        .collect();
    rows.extend(reader.layers().iter().map(|(name, stored)| {
        let parts = reader.folder().tensors();
        let bytes: usize = parts
            .filter(|(part, _)| reader.layer_of_entry(part) == Some(name))
            .map(|(_, info)| info.bytes)
            .sum();
        Row {
            name: name.clone(),
            stored: scheme(stored),
            shape: vec![stored.rows, stored.cols],
            bits_per_weight: 8.0 * bytes as f64 / (stored.rows * stored.cols).max(1) as f64,
            bytes: bytes as u64,
        }
    }));
    rows.extend(reader.decoded().iter().map(|(name, tensor)| {
        let bytes = tensor.stored_bytes(reader.folder());
        Row {
            name: name.clone(),
            stored: tensor.stored.clone(),
            shape: tensor.shape.clone(),
            bits_per_weight: 8.0 * bytes as f64 / tensor.elements().max(1) as f64,
            bytes,
        }
    }));
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

/// Whether `name` is a quantized layer, or a tensor that another program quantized.
fn is_quantized(open: &OpenModel, name: &str) -> bool {
    let reader = open.artifact.reader();
    let decoded = reader.decoded().get(name);
    reader.layers().contains_key(name) || decoded.is_some_and(|tensor| tensor.quantized)
}

/// `codebook`, `codebook (1 table, scales for 32 inputs)`.
fn codebook(tables: Option<TableScheme>, granularity: Granularity) -> String {
    let Some(tables) = tables else {
        return "codebook".to_owned();
    };
    let count = match tables.count {
        1 => "1 table".to_owned(),
        count => format!("{count} tables"),
    };
    let scales = match (tables.scale_bits, granularity) {
        (None, _) => String::new(),
        (Some(_), Granularity::Group(size)) => format!(", scales for {size} inputs"),
        (Some(_), Granularity::Tensor | Granularity::Channel) => ", row scales".to_owned(),
    };
    format!("codebook ({count}{scales})")
}

/// `rtn 4b symmetric, group 128`, `squeezellm 3b codebook + sparse`.
fn scheme(stored: &StoredLayer) -> String {
    let scheme = &stored.scheme;
    let dense = match (scheme.kind, scheme.granularity) {
        (SchemeKind::Codebook, granularity) => codebook(scheme.tables, granularity),
        (SchemeKind::Trellis { code, state_bits }, _) => {
            format!("trellis {}, states of {state_bits}b", code.0.name)
        }
        (SchemeKind::Uniform, granularity) => {
            let sign = if scheme.symmetric {
                "symmetric"
            } else {
                "asymmetric"
            };
            match granularity {
                Granularity::Tensor => format!("{sign}, tensor"),
                Granularity::Channel => format!("{sign}, channel"),
                Granularity::Group(size) => format!("{sign}, group {size}"),
            }
        }
    };
    let sparse = if scheme.outliers { " + sparse" } else { "" };
    let inputs = match scheme.inputs {
        Some(inputs) => format!(", inputs {}b", inputs.bits),
        None => String::new(),
    };
    format!("{} {}b {dense}{sparse}{inputs}", scheme.method, scheme.bits)
}

fn one(open: &OpenModel, name: &str, json: bool) -> Result<(), Error> {
    let weight = format!("{name}.weight");
    let names = open.artifact.names();
    let Some(found) = [name, weight.as_str()]
        .into_iter()
        .find(|n| open.artifact.contains(n))
    else {
        let nearest = nearest(name, names.iter().map(String::as_str));
        return Err(Error::Mismatch {
            message: format!("`{}` has no tensor `{name}`", open.name),
            source: None,
            hint: nearest.as_deref().map(did_you_mean),
        });
    };
    let failed = |error| Error::mismatch(format!("cannot read tensor `{found}`"), error);
    if open.is_integer_only() && open.artifact.reader().layer_of_entry(found).is_none() {
        return integers(open, found, json);
    }
    let tensor = open.artifact.tensor(found).map_err(failed)?;
    let values = Values::of(&tensor.data);
    let layer = found.strip_suffix(".weight").unwrap_or(found);
    let reader = open.artifact.reader();
    let quantized = match reader.layers().get(layer) {
        None => None,
        Some(stored) => {
            let decoded = reader.layer(layer).map_err(|error| {
                Error::mismatch(format!("cannot decode layer `{layer}`"), error)
            })?;
            Some((stored, decoded))
        }
    };
    if json {
        return print_json(&json!({
            "name": found,
            "shape": tensor.shape,
            "scheme": quantized.as_ref().map(|(stored, _)| &stored.scheme),
            "bits_per_weight": quantized.as_ref().map(|(_, decoded)| decoded.bits_per_weight()),
            "sparse_values": quantized.as_ref().map(|(_, decoded)| sparse_values(decoded)),
            "values": values,
        }));
    }
    let mut text = format!("{found} {:?}\n", tensor.shape);
    if let Some((stored, decoded)) = &quantized {
        let _ = writeln!(
            text,
            "scheme    {}, {:.4} bits per weight, {} sparse values{}",
            scheme(stored),
            decoded.bits_per_weight(),
            sparse_values(decoded),
            first_table(decoded),
        );
    }
    print(&(text + &values.render()))
}

/// An integer tensor of an integer program.
fn integers(open: &OpenModel, name: &str, json: bool) -> Result<(), Error> {
    let tensor = open.artifact.reader().integer_tensor(name);
    let tensor =
        tensor.map_err(|error| Error::mismatch(format!("cannot read tensor `{name}`"), error))?;
    let data: Vec<f32> = tensor
        .values()
        .into_iter()
        .map(|value| value as f32)
        .collect();
    let values = Values::of(&data);
    if json {
        return print_json(&json!({ "name": name, "shape": tensor.shape, "values": values }));
    }
    print(&format!(
        "{name} {:?}, integers\n{}",
        tensor.shape,
        values.render()
    ))
}

fn sparse_values(decoded: &QuantizedTensor) -> usize {
    decoded.outliers.as_ref().map_or(0, |csr| csr.values.len())
}

/// The codebook of the first row, where there is one.
fn first_table(decoded: &QuantizedTensor) -> String {
    let Encoding::Codebook(codebook) = &decoded.encoding else {
        return String::new();
    };
    let entries: Vec<String> = codebook
        .tables
        .iter()
        .take(1 << codebook.bits)
        .map(|v| format!("{v:.4}"))
        .collect();
    let what = if codebook.scales.is_some() {
        "first row, without its scales"
    } else {
        "first row"
    };
    format!("\ncodebook  {what}: {}", entries.join(" "))
}
