//! The layers of a plan as rows: each on its own, or equal ones of many blocks together.

use crate::plan::{KeptLayer, PlannedLayer};
use eval::report::figures;
use quantizers::Granularity;
use quantizers::tensor::SchemeKind;
use std::fmt::Write;

/// One row of the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    name: String,
    count: usize,
    /// Everything between the name and the sizes, as shown: rows that differ in it are not equal.
    cells: [String; 5],
    original_bytes: u64,
    bytes: u64,
}

/// A row for every layer.
pub(super) fn each(layers: &[PlannedLayer]) -> Vec<Row> {
    layers.iter().map(row).collect()
}

/// A row for layers that differ in nothing but the number of their block.
pub(super) fn grouped(layers: &[PlannedLayer]) -> Vec<Row> {
    let rows = each(layers);
    group(
        &rows,
        |row| {
            (
                row.name.as_str(),
                format!("{:?} {} {}", row.cells, row.bytes, row.original_bytes),
            )
        },
        |name, members| Row {
            name,
            count: members.len(),
            cells: members[0].cells.clone(),
            original_bytes: members.iter().map(|row| row.original_bytes).sum(),
            bytes: members.iter().map(|row| row.bytes).sum(),
        },
    )
}

/// Name and shape, count, bytes and reason of layers that are kept, equal ones together.
pub(super) fn grouped_kept(layers: &[KeptLayer]) -> Vec<(String, usize, u64, String)> {
    group(
        layers,
        |layer| {
            (
                layer.name.as_str(),
                format!("{:?} {}", layer.shape, layer.because),
            )
        },
        |name, members| {
            let [rows, cols] = members[0].shape;
            (
                format!("{name} [{rows}, {cols}]"),
                members.len(),
                members.iter().map(|layer| layer.bytes).sum(),
                members[0].because.clone(),
            )
        },
    )
}

/// Puts together what has the same `key` and names that differ in their numbers only.
fn group<T, R>(
    items: &[T],
    key: impl Fn(&T) -> (&str, String),
    together: impl Fn(String, &[&T]) -> R,
) -> Vec<R> {
    let mut groups: Vec<(String, Vec<usize>, Vec<&T>)> = Vec::new();
    for item in items {
        let (name, rest) = key(item);
        let (pattern, number) = pattern(name);
        let same = format!("{pattern} {rest}");
        match groups.iter_mut().find(|(other, ..)| *other == same) {
            Some((_, numbers, members)) => {
                numbers.push(number);
                members.push(item);
            }
            None => groups.push((same, vec![number], vec![item])),
        }
    }
    groups
        .into_iter()
        .map(|(_, numbers, members)| {
            let (name, _) = key(members[0]);
            together(with_numbers(name, &numbers), &members)
        })
        .collect()
}

/// `name` with its first number replaced, and that number.
fn pattern(name: &str) -> (String, usize) {
    let mut number = None;
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| match part.parse() {
            Ok(found) if number.is_none() => {
                number = Some(found);
                "#"
            }
            _ => part,
        })
        .collect();
    (parts.join("."), number.unwrap_or(0))
}

/// `name` with its first number replaced by `numbers`, which are in order: `0-5`, `0-2,4`.
fn with_numbers(name: &str, numbers: &[usize]) -> String {
    let mut ranges: Vec<[usize; 2]> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some([_, last]) if *last + 1 == number => *last = number,
            _ => ranges.push([number, number]),
        }
    }
    let ranges: Vec<String> = ranges
        .into_iter()
        .map(|[first, last]| match last - first {
            0 => first.to_string(),
            _ => format!("{first}-{last}"),
        })
        .collect();
    let (pattern, _) = pattern(name);
    pattern.replacen('#', &ranges.join(","), 1)
}

fn row(layer: &PlannedLayer) -> Row {
    let [rows, cols] = layer.shape;
    Row {
        name: layer.name.clone(),
        count: 1,
        cells: [
            format!("[{rows}, {cols}]"),
            layer.method.clone(),
            layer.plan.scheme.bits.to_string(),
            scheme(layer),
            format!("{:.4}", layer.bits_per_weight),
        ],
        original_bytes: layer.original_bytes,
        bytes: layer.bytes,
    }
}

/// Writes the table; the column of counts only where some row stands for several layers.
pub(super) fn write(text: &mut String, rows: &[Row]) {
    let counted = rows.iter().any(|row| row.count > 1);
    let name_width = rows
        .iter()
        .map(|row| row.name.len())
        .max()
        .unwrap_or(0)
        .max(5);
    let method_width = rows
        .iter()
        .map(|row| row.cells[1].len())
        .max()
        .unwrap_or(0)
        .max(6);
    let mut line = |name: &str, count: &str, cells: [&str; 5], sizes: [&str; 2]| {
        let [shape, method, bits, scheme, per_weight] = cells;
        let [original, quantized] = sizes;
        let count = if counted {
            format!("{count:>7}")
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "{name:<name_width$}{count}  {shape:>14}  {method:<method_width$}  {bits:>4}  {scheme:<12}  {per_weight:>8}  {original:>10}  {quantized:>10}",
        );
    };
    line(
        "layer",
        "count",
        ["shape", "method", "bits", "scheme", "bits/w"],
        ["original", "quantized"],
    );
    for row in rows {
        let sizes = [row.original_bytes, row.bytes].map(figures::bytes);
        line(
            &row.name,
            &row.count.to_string(),
            row.cells.each_ref().map(String::as_str),
            sizes.each_ref().map(String::as_str),
        );
    }
}

/// `group 128`, `channel`, `codebook`, `trellis mcg`, with `+csr` for a sparse part and `a8` for inputs on a grid of 8 bits.
fn scheme(layer: &PlannedLayer) -> String {
    let dense = match (layer.plan.scheme.kind, layer.plan.scheme.granularity) {
        (SchemeKind::Codebook, Granularity::Group(size)) if layer.plan.scheme.tables.is_some() => {
            format!("codebook {size}")
        }
        (SchemeKind::Codebook, _) => "codebook".to_owned(),
        (SchemeKind::Trellis { code, .. }, _) => format!("trellis {}", code.0.name),
        (SchemeKind::Uniform, Granularity::Tensor) => "tensor".to_owned(),
        (SchemeKind::Uniform, Granularity::Channel) => "channel".to_owned(),
        (SchemeKind::Uniform, Granularity::Group(size)) => format!("group {size}"),
    };
    let sparse = if layer.plan.scheme.outliers {
        "+csr"
    } else {
        ""
    };
    let inputs = match layer.plan.scheme.inputs {
        Some(inputs) => format!(" a{}", inputs.bits),
        None => String::new(),
    };
    format!("{dense}{sparse}{inputs}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_blocks_become_ranges() {
        let name = "model.layers.0.mlp.experts.3.up_proj";
        assert_eq!(
            with_numbers(name, &[0, 1, 2, 4, 7, 8]),
            "model.layers.0-2,4,7-8.mlp.experts.3.up_proj"
        );
        assert_eq!(with_numbers("lm_head", &[0]), "lm_head");
    }

    #[test]
    fn equal_rows_are_put_together_and_others_are_not() {
        let items = [("a.0.x", 1), ("a.0.y", 1), ("a.1.x", 1), ("a.1.y", 2)];
        let found = group(
            &items,
            |(name, key)| (name, key.to_string()),
            |name, members| (name, members.len()),
        );
        let expected = [("a.0-1.x", 2), ("a.0.y", 1), ("a.1.y", 1)];
        assert_eq!(
            found,
            expected.map(|(name, count)| (name.to_owned(), count))
        );
    }
}
