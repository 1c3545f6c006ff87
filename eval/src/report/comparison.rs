//! Several artifacts of one model side by side.

use super::figures::{self, ABSENT};
use super::plots::{Candidate, Plot, frontier};
use super::scores::{ratio, unit_of};
use super::table_page::table_page;
use super::{Report, ReportError};
use crate::score::{Better, Score};
use serde::Serialize;
use std::fmt::Write as _;

/// File name of the page.
pub const COMPARISON_HTML: &str = "comparison.html";
/// File name of the table.
pub const COMPARISON_MARKDOWN: &str = "comparison.md";
/// File name of the reports together.
pub const COMPARISON_JSON: &str = "comparison.json";

/// Reports of several artifacts of one model.
#[derive(Debug, Serialize)]
pub struct Comparison {
    schema: u32,
    model: String,
    artifacts: Vec<Artifact>,
}

/// One of them.
#[derive(Debug, Serialize)]
struct Artifact {
    /// Recipe, with the folder where two have the same.
    name: String,
    /// Folder the report was read from.
    path: String,
    size: super::SizeFacts,
    scores: Vec<Score>,
}

/// A figure that is compared: one column.
struct Column<'a> {
    task: &'a str,
    data: &'a str,
    metric: &'a str,
}

impl Column<'_> {
    fn of<'a>(&self, artifact: &'a Artifact) -> Option<&'a Score> {
        let same = |score: &&Score| {
            (&score.task[..], &score.data[..], &score.metric[..])
                == (self.task, self.data, self.metric)
        };
        artifact.scores.iter().find(same)
    }
}

impl Comparison {
    /// Puts `reports`, each with the folder it comes from, beside each other.
    ///
    /// # Errors
    /// Reports of different models, or without a size: those of no artifact.
    pub fn of(reports: Vec<(String, Report)>) -> Result<Self, ReportError> {
        let mut artifacts: Vec<Artifact> = Vec::new();
        let mut model: Option<(String, String)> = None;
        for (path, report) in reports {
            let (first, origin) = model.get_or_insert((report.model.name.clone(), path.clone()));
            if *first != report.model.name {
                return Err(ReportError::OtherModel {
                    first: format!("`{origin}` is made from `{first}`"),
                    other: format!("`{path}` from `{}`", report.model.name),
                });
            }
            let Some(size) = report.size else {
                return Err(ReportError::NoArtifact { path });
            };
            let recipe = report.recipe.map(|recipe| recipe.name);
            artifacts.push(Artifact {
                name: recipe.unwrap_or_else(|| path.clone()),
                path,
                size,
                scores: report.scores,
            });
        }
        let names: Vec<String> = artifacts.iter().map(|one| one.name.clone()).collect();
        for artifact in &mut artifacts {
            if names.iter().filter(|name| **name == artifact.name).count() > 1 {
                artifact.name = format!("{} ({})", artifact.name, artifact.path);
            }
        }
        Ok(Self {
            schema: super::SCHEMA,
            model: model.map(|(name, _)| name).unwrap_or_default(),
            artifacts,
        })
    }

    /// Every figure that any of them has, in order of appearance.
    fn columns(&self) -> Vec<Column<'_>> {
        let mut columns: Vec<Column<'_>> = Vec::new();
        for score in self.artifacts.iter().flat_map(|artifact| &artifact.scores) {
            let column = Column {
                task: &score.task,
                data: &score.data,
                metric: &score.metric,
            };
            let known = columns.iter().any(|known| {
                (known.task, known.data, known.metric) == (column.task, column.data, column.metric)
            });
            if !known {
                columns.push(column);
            }
        }
        columns
    }

    /// The table: headings, the original, and one row for each artifact.
    pub fn table(&self) -> Vec<Vec<String>> {
        let columns = self.columns();
        let several = |column: &Column<'_>| {
            let same = columns.iter().filter(|other| other.metric == column.metric);
            same.count() > 1
        };
        let mut head: Vec<String> = ["artifact", "bits per weight", "whole file", "size"]
            .map(str::to_owned)
            .into();
        head.extend(columns.iter().map(|column| {
            let known = crate::tasks::metric(column.metric);
            let label = known.map_or(column.metric, |metric| metric.label);
            if several(column) {
                format!("{label}, {}", figures::short_path(column.data))
            } else {
                label.to_owned()
            }
        }));
        let mut rows = vec![head];
        if let Some(first) = self.artifacts.first() {
            let size = figures::bytes(first.size.original_bytes);
            let mut row = vec![
                "original".to_owned(),
                ABSENT.to_owned(),
                ABSENT.to_owned(),
                size,
            ];
            row.extend(columns.iter().map(|column| {
                let found = self.artifacts.iter().find_map(|one| {
                    let score = column.of(one)?;
                    Some(figures::figure(score.original?, unit_of(score).1))
                });
                found.unwrap_or_else(|| ABSENT.to_owned())
            }));
            rows.push(row);
        }
        for artifact in &self.artifacts {
            let mut row = vec![
                artifact.name.clone(),
                format!("{:.3}", artifact.size.bits_per_weight_linear),
                format!("{:.3}", artifact.size.bits_per_weight_file),
                figures::bytes(artifact.size.artifact_bytes),
            ];
            row.extend(columns.iter().map(|column| {
                let score = column.of(artifact);
                let value = score.and_then(|score| Some((score, score.quantized?)));
                value.map_or_else(
                    || ABSENT.to_owned(),
                    |(score, value)| {
                        let text = figures::figure(value, unit_of(score).1);
                        match ratio(score) {
                            Some(ratio) => format!("{text} ({ratio:.4}x)"),
                            None => text,
                        }
                    },
                )
            }));
            rows.push(row);
        }
        rows
    }

    /// Size against the figure that tells most: divergence where every artifact has one, else the first that
    /// all have.
    fn plot(&self) -> Option<Plot> {
        let columns = self.columns();
        let shared: Vec<&Column<'_>> = columns
            .iter()
            .filter(|column| {
                let has = |one| {
                    column
                        .of(one)
                        .is_some_and(|score| score.quantized.is_some())
                };
                self.artifacts.iter().all(has)
            })
            .collect();
        let divergence = shared
            .iter()
            .find(|column| column.metric == "kl_divergence");
        let column = divergence.or(shared.first())?;
        let known = crate::tasks::metric(column.metric)?;
        let points: Vec<Candidate> = self
            .artifacts
            .iter()
            .filter_map(|artifact| {
                Some(Candidate {
                    name: artifact.name.clone(),
                    bits: artifact.size.bits_per_weight_file,
                    figure: column.of(artifact)?.quantized?,
                })
            })
            .collect();
        let axes = ["bits per weight, whole file", known.label];
        frontier(&points, axes, known.better == Better::Lower)
    }

    /// As indented JSON.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The table as markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n", figures::short_path(&self.model));
        for (at, row) in self.table().into_iter().enumerate() {
            let cells: Vec<String> = row.iter().map(|cell| super::markdown::cell(cell)).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
            if at == 0 {
                let aligned = vec!["---:"; row.len() - 1].join("|");
                let _ = writeln!(text, "|---|{aligned}|");
            }
        }
        text
    }

    /// The table and the plot as one page.
    ///
    /// # Errors
    /// A template that does not render.
    pub fn html(&self) -> Result<String, ReportError> {
        let error = |source| ReportError::Template {
            template: COMPARISON_HTML,
            source: Box::new(source),
        };
        let subtitle = format!("Comparison of {} artifacts", self.artifacts.len());
        let plots = self.plot().into_iter().collect();
        table_page(&self.model, &subtitle, self.table(), plots).map_err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn reports() -> Vec<(String, Report)> {
        let mut other = sample::report();
        other.size.as_mut().unwrap().bits_per_weight_linear = 8.0;
        other.scores.truncate(1);
        vec![("a".to_owned(), sample::report()), ("b".to_owned(), other)]
    }

    #[test]
    fn a_row_for_the_original_and_each_artifact_and_a_cell_for_every_figure() {
        let comparison = Comparison::of(reports()).unwrap();
        let table = comparison.table();
        assert_eq!(table.len(), 4);
        assert!(table.iter().all(|row| row.len() == table[0].len()));
        assert_eq!(table[1][0], "original");
        // The same recipe twice: the folder tells them apart.
        assert!(table[2][0].ends_with("(a)") && table[3][0].ends_with("(b)"));
        assert_eq!(table[3][1], "8.000");
        assert_eq!(
            table[3].last().unwrap(),
            ABSENT,
            "a figure only the first has"
        );
        let page = comparison.html().unwrap();
        assert!(page.contains("<svg") && page.contains("2 artifacts"));
        assert_eq!(comparison.markdown().lines().count(), 2 + 1 + 4);
    }

    #[test]
    fn other_models_and_models_that_were_not_quantized_are_refused() {
        let mut reports = reports();
        reports[1].1.model.name = "other".into();
        let error = Comparison::of(reports).err().unwrap().to_string();
        assert!(
            error.contains("`b` from `other`: expected artifacts of one model"),
            "{error}"
        );
        let mut plain = sample::report();
        plain.size = None;
        let error = Comparison::of(vec![("c".to_owned(), plain)]).err().unwrap();
        assert!(
            error
                .to_string()
                .contains("`c` holds the report of a model")
        );
    }
}
