//! Weights of a layer's worst row in bins, with the levels they were rounded to.

use super::Plot;
use super::canvas::Canvas;
use crate::report::model::WeightHistogram;

/// One histogram; a third of the page wide.
pub(in crate::report) fn histogram(data: &WeightHistogram) -> Option<Plot> {
    let tallest = *data.counts.iter().max()?;
    let range = [data.low, data.high];
    let mut canvas = Canvas::new(360.0, 220.0, range, [0.0, (tallest as f64 * 1.05).max(1.0)]);
    canvas.y_axis("weights");
    let width = (data.high - data.low) / data.counts.len() as f64;
    for level in &data.levels {
        let x = f64::from(*level);
        canvas.segment("level", [x, 0.0], [x, tallest as f64 * 1.05]);
    }
    for (bin, &count) in data.counts.iter().enumerate() {
        let from = data.low + bin as f64 * width;
        let to = from + width;
        if count > 0 {
            canvas.bar(
                "s7 bin",
                from,
                to,
                count as f64,
                &format!("{from:.4} to {to:.4}: {count}"),
            );
        }
    }
    for level in &data.levels {
        canvas.rug("level-mark", f64::from(*level), &format!("level {level}"));
    }
    canvas.x_base("weight");
    canvas.x_ticks(5);
    let hidden = match data.hidden_levels {
        0 => String::new(),
        more => format!(", {more} more not drawn"),
    };
    Some(Plot {
        title: data.name.clone(),
        caption: format!(
            "Row {}, the one with the lowest SQNR; {} levels as marks{hidden}.",
            data.row,
            data.levels.len()
        ),
        svg: canvas.finish(&format!("histogram of {}", data.name)),
        legend: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_for_filled_bins_and_a_mark_for_each_level() {
        let data = WeightHistogram::worst_row("a", &[0.0, 1.0, 2.0], &[0.0, 1.0, 1.0], 1).unwrap();
        let plot = histogram(&data).unwrap();
        assert_eq!(plot.svg.matches("<rect").count(), 3);
        assert_eq!(plot.svg.matches("level-mark").count(), 2);
        assert!(plot.caption.contains("2 levels"));
    }
}
