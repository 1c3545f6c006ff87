//! The keys that methods with a codebook share: who shares a table, and what scales its entries have.

use super::parameters::Parameters;
use super::{LayerPlan, ParamError, QuantizeError};
use crate::codebook::fit_rows;
use crate::codebook::scaled::{Importance, ScaledLayout, TableChoice, fit_scaled};
use crate::tensor::{Codebook, HALF_BITS, Scheme, SchemeKind, TableScheme};
use crate::{FloatType, Granularity, MatrixRef};

/// Help lines of the keys [`TableParameters::read`] takes.
pub(super) const TABLE_PARAMETERS: [(&str, &str); 4] = [
    ("bits", "width of one index, 1 to 8"),
    (
        "table",
        "rows that share a table: `row`, one each (default without group_size); `tensor`, all (default beside it); a number of rows; `auto`, by the shape of a layer. Shared tables have a scale per row, or per group. `iq4_nl`, `nf4`: one table that is not fitted",
    ),
    (
        "group_size",
        "consecutive inputs that share a scale the entries are multiplied with; the last group of a row may be shorter. Absent: one scale per row, none where each row has a table",
    ),
    (
        "scale_bits",
        "width of such a scale: 16 (default), an f16 each; 8 or 6, signed codes times one f16 per row",
    ),
];

/// Weights one thread places by exact k-means, per second.
const ROW_TABLE_SPEED: f64 = 8e6;
/// Weights one thread fits tables and scales to, per second and entry.
const SCALED_SPEED: f64 = 16e6;
/// Groups that `table = "auto"` considers where none is asked for.
const AUTO_GROUPS: [usize; 4] = [128, 64, 32, 16];
/// Width of the scales of those groups.
const AUTO_SCALE_BITS: u8 = 8;

/// Which rows share a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// None.
    Row,
    /// So many.
    Rows(usize),
    /// All.
    Tensor,
    /// Chosen by shape.
    Auto,
}

/// Codebook granularity as a recipe rule describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableParameters {
    bits: u8,
    sharing: Sharing,
    table: TableChoice,
    group_size: Option<usize>,
    scale_bits: Option<u8>,
}

/// The required key `bits` of a codebook.
pub(super) fn index_bits(parameters: &Parameters<'_>) -> Result<u8, ParamError> {
    let bits = parameters
        .integer("bits", 1..=8)?
        .and_then(|bits| u8::try_from(bits).ok());
    bits.ok_or_else(|| parameters.refuse("bits", "a whole number from 1 to 8"))
}

/// What a method with one f16 table per row does to a layer `[rows, cols]` stored as `stored`.
pub(super) fn row_tables(
    method: &str,
    bits: u8,
    shape: (usize, usize),
    stored: FloatType,
) -> LayerPlan {
    let tables = TableParameters {
        bits,
        sharing: Sharing::Row,
        table: TableChoice::Learned,
        group_size: None,
        scale_bits: None,
    };
    tables.plan(method, shape, stored)
}

impl TableParameters {
    /// Reads the keys of [`TABLE_PARAMETERS`].
    pub(super) fn read(parameters: &Parameters<'_>) -> Result<Self, ParamError> {
        const TABLE: &str =
            "`\"row\"`, `\"tensor\"`, `\"auto\"`, `\"iq4_nl\"`, `\"nf4\"` or a number of rows";
        const SCALE_BITS: &str = "16, 8 or 6";
        let bits = index_bits(parameters)?;
        let group_size = parameters.integer("group_size", 1..=i64::from(u32::MAX))?;
        let group_size = group_size.and_then(|size| usize::try_from(size).ok());
        let rows = parameters.integer_or_text("table", TABLE)?;
        let (sharing, table) = match rows {
            None if group_size.is_some() => (Sharing::Tensor, TableChoice::Learned),
            None | Some(Err("row")) => (Sharing::Row, TableChoice::Learned),
            Some(Ok(rows)) => match usize::try_from(rows) {
                Ok(rows @ 1..) => (Sharing::Rows(rows), TableChoice::Learned),
                _ => return Err(parameters.refuse("table", TABLE)),
            },
            Some(Err("tensor")) => (Sharing::Tensor, TableChoice::Learned),
            Some(Err("auto")) => (Sharing::Auto, TableChoice::Learned),
            Some(Err("iq4_nl")) => (Sharing::Tensor, TableChoice::Iq4Nl),
            Some(Err("nf4")) => (Sharing::Tensor, TableChoice::Nf4),
            Some(Err(_)) => return Err(parameters.refuse("table", TABLE)),
        };
        if table.fixed_bits().is_some_and(|fixed| fixed != bits) {
            return Err(parameters.refuse("bits", "4 beside a table of 16 entries"));
        }
        let scale_bits = match parameters.integer_or_text("scale_bits", SCALE_BITS)? {
            None => None,
            Some(Ok(6)) => Some(6),
            Some(Ok(8)) => Some(8),
            Some(Ok(16)) => Some(HALF_BITS),
            Some(_) => return Err(parameters.refuse("scale_bits", SCALE_BITS)),
        };
        if scale_bits.is_some() && sharing == Sharing::Row && group_size.is_none() {
            let expected = "a shared `table` or a `group_size` beside it";
            return Err(parameters.refuse("scale_bits", expected));
        }
        Ok(Self {
            bits,
            sharing,
            table,
            group_size,
            scale_bits,
        })
    }

    /// What `method` does to a layer `[rows, cols]` stored as `stored`.
    pub(super) fn plan(
        &self,
        method: &str,
        (rows, cols): (usize, usize),
        stored: FloatType,
    ) -> LayerPlan {
        let mut notes = Vec::new();
        let (tables, group_size, scale_bits) = match self.sharing {
            Sharing::Auto => {
                let found = self.suited(rows, cols);
                notes.push(found.note(self.bits, rows));
                (found.tables, found.group_size, found.scale_bits)
            }
            sharing => {
                let tables = match sharing {
                    Sharing::Row => rows,
                    Sharing::Rows(asked) => {
                        let (together, note) = divisor(rows, asked);
                        notes.extend(note);
                        rows / together.max(1)
                    }
                    Sharing::Tensor | Sharing::Auto => 1,
                };
                let scaled = tables < rows || self.group_size.is_some();
                let scale_bits = self.scale_bits.unwrap_or(HALF_BITS);
                (tables, self.group_size, scaled.then_some(scale_bits))
            }
        };
        let granularity = match group_size {
            Some(size) if size < cols => Granularity::Group(size),
            _ => Granularity::Channel,
        };
        if let Granularity::Group(size) = granularity
            && !cols.is_multiple_of(size)
        {
            notes.push(format!(
                "the last group of a row is shorter, as group_size {size} does not divide {cols} inputs"
            ));
        }
        let scheme = Scheme {
            granularity,
            tables: scale_bits.map(|bits| TableScheme {
                count: tables,
                scale_bits: Some(bits),
            }),
            ..Scheme::new(method, SchemeKind::Codebook, self.bits)
        };
        let speed = match scale_bits {
            None => ROW_TABLE_SPEED,
            Some(_) => SCALED_SPEED / f64::from(1u16 << self.bits),
        };
        LayerPlan {
            notes,
            ..LayerPlan::new(scheme, stored, rows * cols, speed)
        }
    }

    /// The codebook of `weight` as `plan` says. Weights marked in `removed` do not influence it.
    pub(super) fn fit(
        &self,
        weight: MatrixRef<'_>,
        importance: Importance<'_>,
        removed: Option<&[bool]>,
        plan: &LayerPlan,
    ) -> Result<Codebook, QuantizeError> {
        let scheme = &plan.scheme;
        let Some((tables, scale_bits)) = scheme
            .tables
            .and_then(|tables| Some((tables.count, tables.scale_bits?)))
        else {
            let spread;
            let importance = match importance {
                Importance::Equal => None,
                Importance::PerWeight(weights) => Some(weights),
                Importance::PerInput(inputs) => {
                    spread = inputs.repeat(weight.rows());
                    MatrixRef::new(&spread, weight.rows(), weight.cols()).ok()
                }
            };
            return fit_rows(weight, importance, removed, scheme.bits);
        };
        let layout = ScaledLayout {
            bits: scheme.bits,
            tables,
            granularity: scheme.granularity,
            scale_bits,
            table: self.table,
        };
        Ok(fit_scaled(weight, importance, removed, layout)?.codebook)
    }

    /// The granularity of least predicted error at equal size for a layer `[rows, cols]`.
    fn suited(&self, rows: usize, cols: usize) -> Suited {
        let entries = f64::from(1u16 << self.bits);
        let scale_bits = self.scale_bits.unwrap_or(AUTO_SCALE_BITS);
        let table_bits = 16.0 * entries / cols as f64;
        let mut found = Suited {
            tables: rows,
            group_size: None,
            scale_bits: None,
            // A table of its own is the measure of the others.
            cost: table_bits,
        };
        if let Some(size) = self.group_size {
            found.cost = f64::INFINITY;
            found.group_size = Some(size);
        }
        let groups = self
            .group_size
            .map_or(AUTO_GROUPS.to_vec(), |size| vec![size]);
        for size in groups {
            let scales = if scale_bits == HALF_BITS {
                16.0 / size as f64
            } else {
                f64::from(scale_bits) / size as f64 + 16.0 / cols as f64
            };
            let cost = scales + table_bits / rows as f64 - gain(self.bits, size);
            if size <= cols && cost < found.cost {
                found = Suited {
                    tables: 1,
                    group_size: Some(size),
                    scale_bits: Some(scale_bits),
                    cost,
                };
            }
        }
        if found.group_size.is_some() && found.scale_bits.is_none() {
            // A group wider than the rows: one scale each.
            found.tables = 1;
            found.scale_bits = Some(scale_bits);
        }
        found
    }
}

/// What `table = "auto"` comes to.
struct Suited {
    tables: usize,
    group_size: Option<usize>,
    scale_bits: Option<u8>,
    /// Bits per weight, less what the lower error is worth.
    cost: f64,
}

impl Suited {
    fn note(&self, bits: u8, rows: usize) -> String {
        match self.group_size {
            Some(size) => format!(
                "table = \"auto\" by shape: one {bits}-bit table and scales for {size} inputs"
            ),
            None => format!("table = \"auto\" by shape: {rows} {bits}-bit tables, one per row"),
        }
    }
}

/// Bits per weight that one table with a scale for every `size` inputs is worth beside an optimal table per row: half
/// the binary logarithm of the ratio of their squared errors, as measured on attention and feed-forward layers of a
/// small Llama. Groups between those measured count as the wider one.
fn gain(bits: u8, size: usize) -> f64 {
    // Groups of 128, 64, 32 and 16.
    let measured = match bits {
        0..=2 => [0.01, 0.04, 0.10, 0.21],
        3 => [0.05, 0.12, 0.23, 0.41],
        _ => [0.10, 0.19, 0.32, 0.50],
    };
    let of_groups = AUTO_GROUPS.iter().zip(measured);
    let reached = of_groups.filter(|(group, _)| size <= **group);
    reached.map(|(_, gain)| gain).fold(0.0, f64::max)
}

/// The largest divisor of `rows` up to `asked`, and what to say where it is another number.
fn divisor(rows: usize, asked: usize) -> (usize, Option<String>) {
    let below = (1..=asked.min(rows)).rev();
    let found = below.into_iter().find(|size| rows.is_multiple_of(*size));
    let found = found.unwrap_or(1);
    let note = (found != asked.min(rows)).then(|| {
        format!("a table for {found} rows, as table = {asked} does not divide {rows} rows")
    });
    (found, note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::METHODS;

    fn method(name: &str) -> &'static dyn crate::Method {
        *METHODS.iter().find(|method| method.name() == name).unwrap()
    }

    fn plan(name: &str, rule: &str, shape: (usize, usize)) -> LayerPlan {
        let quantizer = method(name).configure(&rule.parse().unwrap()).unwrap();
        quantizer.plan(shape.0, shape.1, FloatType::F16).unwrap()
    }

    fn refused(rule: &str) -> String {
        let error = method("kmeans").configure(&rule.parse().unwrap());
        error.err().unwrap().to_string()
    }

    #[test]
    fn a_rule_becomes_a_scheme() {
        let scheme = |rule: &str| {
            let scheme = plan("kmeans", &format!("bits = 4\n{rule}"), (96, 128)).scheme;
            let tables = scheme
                .tables
                .map(|tables| (tables.count, tables.scale_bits));
            (scheme.granularity, tables)
        };
        assert_eq!(scheme(""), (Granularity::Channel, None));
        assert_eq!(scheme("table = \"row\""), (Granularity::Channel, None));
        let shared = |count, bits| Some((count, Some(bits)));
        assert_eq!(
            scheme("table = \"tensor\""),
            (Granularity::Channel, shared(1, 16))
        );
        assert_eq!(
            scheme("group_size = 32"),
            (Granularity::Group(32), shared(1, 16))
        );
        let rows = "table = 8\nscale_bits = 6";
        assert_eq!(scheme(rows), (Granularity::Channel, shared(12, 6)));
        let rows = "table = \"row\"\ngroup_size = 32\nscale_bits = 8";
        assert_eq!(scheme(rows), (Granularity::Group(32), shared(96, 8)));
        assert_eq!(
            scheme("table = \"nf4\"\ngroup_size = 128").0,
            Granularity::Channel
        );
    }

    #[test]
    fn shapes_that_do_not_fit_come_with_a_note() {
        let notes = |rule: &str| plan("kmeans", &format!("bits = 3\n{rule}"), (96, 120)).notes;
        assert!(notes("table = 10")[0].starts_with("a table for 8 rows"));
        assert!(notes("table = 8").is_empty());
        assert!(notes("group_size = 32")[0].contains("last group of a row is shorter"));
        assert!(notes("table = \"auto\"")[0].starts_with("table = \"auto\" by shape"));
    }

    #[test]
    fn auto_prefers_tables_of_their_own_only_in_wide_rows() {
        let tables = |bits: u8, cols| {
            let rule = format!("bits = {bits}\ntable = \"auto\"");
            plan("kmeans", &rule, (512, cols)).scheme.tables
        };
        assert!(tables(4, 128).is_some_and(|tables| tables.count == 1));
        assert!(tables(4, 576).is_some_and(|tables| tables.count == 1));
        assert!(tables(2, 16384).is_none());
    }

    #[test]
    fn values_that_do_not_go_together_are_errors() {
        assert!(refused("bits = 3\ntable = \"nf4\"").contains("4 beside a table of 16 entries"));
        assert!(refused("bits = 3\nscale_bits = 8").contains("`group_size` beside it"));
        assert!(refused("bits = 3\ntable = 0").contains("a number of rows"));
        assert!(refused("bits = 3\ngroup_size = 32\nscale_bits = 7").contains("16, 8 or 6"));
        assert!(
            refused("bits = 3\nweights = \"fisher\"\nweighted = true").contains("no `weighted`")
        );
    }
}
