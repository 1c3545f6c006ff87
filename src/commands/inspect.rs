//! `quench inspect`: the tensors of a folder, or one of them closely.

mod values;

use super::open::OpenModel;
use super::{print, print_json};
use crate::Error;
use crate::args::InspectArgs;
use crate::plan::dtype_name;
use crate::progress::{Progress, memory};
use crate::recipe::names;
use calib::WeightSource;
use serde::Serialize;
use std::fmt::Write;
use values::Values;

/// One line of the listing.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes: u64,
}

/// Prints what there is.
///
/// # Errors
/// A model that cannot be opened, or a tensor it does not have.
pub fn run(args: &InspectArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let open = OpenModel::open(&args.model, &args.source, progress)?;
    match &args.tensor {
        None => all(&open, json),
        Some(name) => one(&open, name, json),
    }
}

fn all(open: &OpenModel, json: bool) -> Result<(), Error> {
    let rows: Vec<Row> = open
        .checkpoint
        .tensors()
        .tensors()
        .map(|(name, info)| Row {
            name: name.to_owned(),
            dtype: dtype_name(info.dtype),
            shape: info.shape.clone(),
            bytes: info.bytes as u64,
        })
        .collect();
    if json {
        return print_json(&rows);
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows {
        let shape = format!("{:?}", row.shape);
        let bytes = memory::shown(row.bytes);
        let _ = writeln!(text, "{:<width$}  {:<5}  {shape:>14}  {bytes:>10}", row.name, row.dtype);
    }
    let facts = open.facts();
    let _ = writeln!(
        text,
        "\n{} ({}, {}): {} tensors, {} parameters, {}, {} linear layers in blocks",
        facts.name,
        facts.architecture,
        facts.kind.name(),
        rows.len(),
        facts.parameters,
        memory::shown(facts.tensor_bytes),
        facts.layers.iter().filter(|layer| layer.in_block).count(),
    );
    print(&text)
}

fn one(open: &OpenModel, name: &str, json: bool) -> Result<(), Error> {
    let weight = format!("{name}.weight");
    let known = open.checkpoint.names();
    let Some(found) = [name, weight.as_str()].into_iter().find(|n| open.checkpoint.contains(n))
    else {
        let nearest = names::nearest(name, known.iter().map(String::as_str));
        return Err(Error::Mismatch {
            message: format!("`{}` has no tensor `{name}`", open.name),
            source: None,
            hint: nearest.map(|nearest| format!("did you mean `{nearest}`?")),
        });
    };
    let tensor = open
        .checkpoint
        .tensor(found)
        .map_err(|error| Error::mismatch(format!("cannot read tensor `{found}`"), error))?;
    let values = Values::of(&tensor.data);
    if json {
        return print_json(&values);
    }
    print(&format!("{found} {:?}\n{}", tensor.shape, values.render()))
}
