//! The nonlinear slots of an integer program: what each got and what every candidate loses there.

use serde::{Deserialize, Serialize};

/// One nonlinear function of an integer program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotFacts {
    /// Where: `encoder.layer.3.attention`.
    pub name: String,
    /// Which function: `gelu`, `softmax`, `layernorm`.
    pub function: String,
    /// Family of the approximation it got.
    pub chosen: String,
    /// Every family measured, the chosen one among them.
    pub candidates: Vec<CandidateFacts>,
}

/// One approximation in one slot, on calibration data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateFacts {
    /// Family.
    pub name: String,
    /// Signal to noise of the slot's input on the grid this candidate reads, decibel.
    pub input_sqnr_db: Option<f64>,
    /// Signal to noise of its output against the float function, decibel.
    pub output_sqnr_db: Option<f64>,
    /// `input_sqnr_db - output_sqnr_db`: what the approximation itself adds.
    pub loss_db: Option<f64>,
    /// Why it cannot be used here; absent where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The slots as a table: a row per slot, a column per family.
#[derive(Debug, Serialize)]
pub(super) struct SlotTable {
    /// Families, in order of appearance.
    families: Vec<String>,
    rows: Vec<SlotRow>,
    /// How often each family was chosen, per function.
    counts: Vec<String>,
    /// Different reasons why candidates could not be used.
    refusals: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SlotRow {
    name: String,
    function: String,
    chosen: String,
    /// One for each family.
    cells: Vec<Cell>,
}

/// What one family does in one slot.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Cell {
    text: String,
    /// The slot runs it.
    chosen: bool,
}

impl SlotTable {
    /// Nothing where there is no slot.
    pub(super) fn of(slots: &[SlotFacts], absent: &str) -> Option<Self> {
        if slots.is_empty() {
            return None;
        }
        let mut families: Vec<String> = Vec::new();
        let mut refusals: Vec<String> = Vec::new();
        for candidate in slots.iter().flat_map(|slot| &slot.candidates) {
            if !families.contains(&candidate.name) {
                families.push(candidate.name.clone());
            }
            refusals.extend(
                candidate
                    .refused
                    .iter()
                    .filter(|reason| !refusals.contains(reason))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
        }
        let rows = slots
            .iter()
            .map(|slot| SlotRow {
                name: slot.name.clone(),
                function: slot.function.clone(),
                chosen: slot.chosen.clone(),
                cells: families
                    .iter()
                    .map(|family| {
                        let found = slot.candidates.iter().find(|c| c.name == *family);
                        Cell {
                            text: found
                                .map_or_else(|| absent.to_owned(), |found| cell(found, absent)),
                            chosen: slot.chosen == *family,
                        }
                    })
                    .collect(),
            })
            .collect();
        Some(Self {
            counts: counts(slots),
            families,
            rows,
            refusals,
        })
    }
}

/// `34.1 -> 33.9 (0.2)`: of the input, of the output, what is lost between them.
fn cell(candidate: &CandidateFacts, absent: &str) -> String {
    let figure =
        |value: Option<f64>| value.map_or_else(|| absent.to_owned(), |value| format!("{value:.1}"));
    if candidate.refused.is_some() {
        return "refused".to_owned();
    }
    format!(
        "{} \u{2192} {} ({})",
        figure(candidate.input_sqnr_db),
        figure(candidate.output_sqnr_db),
        figure(candidate.loss_db)
    )
}

/// `gelu: exact 4, i-bert 2`, by function and family in order of appearance.
fn counts(slots: &[SlotFacts]) -> Vec<String> {
    let mut functions: Vec<(&str, Vec<(&str, usize)>)> = Vec::new();
    for slot in slots {
        let at = functions
            .iter()
            .position(|(function, _)| *function == slot.function)
            .unwrap_or_else(|| {
                functions.push((&slot.function, Vec::new()));
                functions.len() - 1
            });
        let families = &mut functions[at].1;
        match families.iter_mut().find(|(name, _)| *name == slot.chosen) {
            Some((_, count)) => *count += 1,
            None => families.push((&slot.chosen, 1)),
        }
    }
    functions
        .into_iter()
        .map(|(function, families)| {
            let families: Vec<String> = families
                .into_iter()
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            format!("{function}: {}", families.join(", "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_row_per_slot_a_column_per_family_and_reasons_once() {
        let table = SlotTable::of(&sample::slots(), "-").unwrap();
        assert_eq!(table.families, ["exact", "i-bert", "fq-vit"]);
        let texts: Vec<&str> = table.rows[0]
            .cells
            .iter()
            .map(|cell| &cell.text[..])
            .collect();
        assert_eq!(
            texts,
            ["34.1 \u{2192} 33.9 (0.2)", "52.0 \u{2192} 20.4 (31.6)", "-"]
        );
        for row in &table.rows {
            let chosen = row.cells.iter().position(|cell| cell.chosen).unwrap();
            assert_eq!(table.families[chosen], row.chosen);
            assert_eq!(row.cells.iter().filter(|cell| cell.chosen).count(), 1);
        }
        assert_eq!(table.rows[1].cells[2].text, "refused");
        assert_eq!(table.counts, ["gelu: exact 1", "layernorm: i-bert 2"]);
        assert_eq!(table.refusals.len(), 1);
        assert!(SlotTable::of(&[], "-").is_none());
    }
}
