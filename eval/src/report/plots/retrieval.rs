//! What is found in texts that hide something, by length and depth, a row of cells for each way of attending.

use super::Plot;
use super::canvas::Canvas;
use crate::attention::RetrievalCell;

/// Pixels of a row, with the name above its cells.
const ROW: f64 = 36.0;
/// Share of a row that its cells fill.
const CELLS: f64 = 0.5;

/// The texts of kind `task`: the original first, then each of `rows`, a name with its cells. Nothing without texts.
pub(in crate::report) fn retrieval_grid(
    task: &str,
    rows: &[(&str, &[RetrievalCell])],
) -> Option<Plot> {
    let of_task = |cells: &[RetrievalCell]| -> Vec<RetrievalCell> {
        let cells = cells.iter().filter(|cell| cell.task == task);
        cells.cloned().collect()
    };
    let first = of_task(rows.first()?.1);
    if first.is_empty() {
        return None;
    }
    let exact = first.iter().map(|cell| RetrievalCell {
        found: cell.original,
        ..cell.clone()
    });
    let mut shown = vec![("the model itself", exact.collect())];
    shown.extend(rows.iter().map(|(name, cells)| (*name, of_task(cells))));
    let (count, columns) = (shown.len(), first.len());
    let height = ROW * count as f64 + 60.0;
    let mut canvas = Canvas::new(1040.0, height, [0.0, columns as f64], [0.0, count as f64]);
    for (row, (name, cells)) in shown.iter().enumerate() {
        let base = (count - 1 - row) as f64;
        canvas.label(0.0, base + CELLS, name);
        for (column, cell) in cells.iter().enumerate() {
            let share = cell.found as f64 / cell.samples.max(1) as f64;
            let tooltip = format!(
                "{name}: {} of {} at {} % of {} tokens",
                cell.found, cell.samples, cell.depth, cell.length
            );
            let from = [column as f64 + 0.03, base];
            let to = [column as f64 + 0.97, base + CELLS];
            canvas.cell("s0", from, to, 0.08 + 0.92 * share, &tooltip);
        }
    }
    canvas.x_base("depth in per cent of the text, by its tokens");
    for (column, cell) in first.iter().enumerate() {
        let begins = column == 0 || first[column - 1].length != cell.length;
        let text = if begins {
            format!("{}: {}", cell.length, cell.depth)
        } else {
            cell.depth.to_string()
        };
        canvas.x_label(column as f64 + 0.5, &text);
    }
    let title = format!("Found: {task}");
    Some(Plot {
        caption: "Share of answers that are right, every token of them: full colour is all, pale is none."
            .to_owned(),
        svg: canvas.finish(&title),
        title,
        legend: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_for_every_length_and_depth_of_the_task() {
        let cell = |task, length, depth| RetrievalCell {
            task,
            length,
            depth,
            samples: 2,
            original: 2,
            found: 1,
        };
        let cells = [
            cell("passkey", 64, 0),
            cell("passkey", 64, 50),
            cell("needle", 64, 0),
        ];
        let rows = [("a", &cells[..]), ("b", &cells[..])];
        let plot = retrieval_grid("passkey", &rows).unwrap();
        assert_eq!(plot.svg.matches("<rect").count(), 6);
        assert!(
            plot.svg
                .contains("the model itself: 2 of 2 at 0 % of 64 tokens")
        );
        assert!(plot.svg.contains("b: 1 of 2 at 50 % of 64 tokens"));
        assert!(retrieval_grid("variables", &rows).is_none());
        assert!(retrieval_grid("passkey", &[]).is_none());
    }
}
