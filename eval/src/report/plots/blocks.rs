//! A figure of every block, a line for each way of doing something.

use super::Plot;
use super::canvas::Canvas;

/// One line: its name, and a figure for each block it has one of.
pub(in crate::report) struct Series {
    pub name: String,
    pub points: Vec<(usize, f64)>,
}

/// Colours of the style sheet.
const COLOURS: usize = 8;

/// The lines on a logarithmic scale; nothing without two blocks. More lines than there are colours share them, and say
/// their names when pointed at.
pub(in crate::report) fn by_block(series: &[Series], title: &str, label: &str) -> Option<Plot> {
    let logarithm = |value: f64| (value > 0.0).then(|| value.log10());
    let values = || {
        let all = series.iter().flat_map(|one| &one.points);
        all.filter_map(|(block, value)| Some((*block, logarithm(*value)?)))
    };
    let last = values()
        .map(|(block, _)| block)
        .max()
        .filter(|last| *last > 0)?;
    let (low, high) = (
        values().map(|(_, y)| y).fold(f64::MAX, f64::min),
        values().map(|(_, y)| y).fold(f64::MIN, f64::max),
    );
    let room = ((high - low) * 0.08).max(0.05);
    let mut canvas = Canvas::new(1040.0, 340.0, [0.0, last as f64], [low - room, high + room]);
    canvas.y_axis(&format!("{label}, log10"));
    canvas.x_base("block");
    canvas.x_ticks(last.min(16));
    for (at, one) in series.iter().enumerate() {
        let class = format!("s{}", at % COLOURS);
        let points: Vec<[f64; 2]> = one
            .points
            .iter()
            .filter_map(|(block, value)| Some([*block as f64, logarithm(*value)?]))
            .collect();
        for pair in points.windows(2) {
            canvas.segment("interval", pair[0], pair[1]);
        }
        for [x, y] in points {
            let tooltip = format!("{}, block {x}: {label} {:.4}", one.name, 10.0_f64.powf(y));
            canvas.dot(&class, x, y, 3.5, &tooltip);
        }
    }
    Some(Plot {
        title: title.into(),
        caption: format!("{label} of each block, for each way of keeping its keys and values."),
        svg: canvas.finish(title),
        legend: series
            .iter()
            .take(COLOURS)
            .map(|one| one.name.clone())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_for_every_figure_that_has_a_logarithm() {
        let series = [
            Series {
                name: "a".to_owned(),
                points: vec![(0, 0.1), (1, 0.01), (2, 0.0)],
            },
            Series {
                name: "b".to_owned(),
                points: vec![(1, 1.0)],
            },
        ];
        let plot = by_block(&series, "errors", "error").unwrap();
        assert_eq!(plot.svg.matches("<circle").count(), 3);
        assert_eq!(plot.svg.matches(r#"class="interval""#).count(), 1);
        assert_eq!(plot.legend, ["a", "b"]);
        assert!(by_block(&series[1..], "errors", "error").is_some());
        assert!(by_block(&[], "errors", "error").is_none());
    }
}
