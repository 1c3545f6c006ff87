//! Weights of a layer's worst row in bins, with the levels they were rounded to.

use super::Plot;
use super::canvas::Canvas;
use crate::report::model::WeightHistogram;

/// A bin that many times taller than the next asks for a logarithmic scale.
const DWARFING: u64 = 8;

/// One histogram; a third of the page wide.
pub(in crate::report) fn histogram(data: &WeightHistogram) -> Option<Plot> {
    let tallest = *data.counts.iter().max()?;
    let range = [data.low, data.high];
    let logarithmic = is_dwarfed(&data.counts);
    let height = |count: u64| {
        if logarithmic {
            (count as f64).ln_1p()
        } else {
            count as f64
        }
    };
    let top = (height(tallest) * 1.05).max(1.0);
    let mut canvas = Canvas::new(360.0, 220.0, range, [0.0, top]);
    if logarithmic {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let ticks: Vec<(f64, String)> = powers
            .take_while(|count| *count <= tallest)
            .map(|count| (height(count), count.to_string()))
            .collect();
        canvas.y_axis_at("weights, log scale", &ticks);
    } else {
        canvas.y_axis("weights");
    }
    let width = (data.high - data.low) / data.counts.len() as f64;
    for level in &data.levels {
        let x = f64::from(*level);
        canvas.segment("level", [x, 0.0], [x, top]);
    }
    for (bin, &count) in data.counts.iter().enumerate() {
        let from = data.low + bin as f64 * width;
        let to = from + width;
        if count > 0 {
            canvas.bar(
                "s7 bin",
                from,
                to,
                height(count),
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

/// Whether one bin is so tall that the others would be a line on the base.
fn is_dwarfed(counts: &[u64]) -> bool {
    let mut sorted: Vec<u64> = counts.iter().copied().filter(|count| *count > 0).collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    matches!(sorted[..], [first, second, ..] if first > DWARFING * second)
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

    #[test]
    fn a_bin_that_dwarfs_the_rest_gets_a_log_scale() {
        let mut weights = vec![0.0_f32; 400];
        weights.extend([1.0, 2.0, 3.0]);
        let data = WeightHistogram::worst_row("a", &weights, &weights, 1).unwrap();
        let svg = histogram(&data).unwrap().svg;
        assert!(
            svg.contains("weights, log scale") && svg.contains(">100<"),
            "{svg}"
        );
        assert!(!is_dwarfed(&[80, 10, 0, 3]) && is_dwarfed(&[81, 10, 3]) && !is_dwarfed(&[80]));
    }
}
