//! Size against accuracy, and the artifacts that no other beats in both.

use super::Plot;
use super::canvas::Canvas;

/// One artifact, or one way of doing something.
pub(in crate::report) struct Candidate {
    pub name: String,
    /// Per weight or token, as the axis says.
    pub bits: f64,
    pub figure: f64,
}

/// The plot; nothing for fewer than two artifacts or figures that are not finite.
pub(in crate::report) fn frontier(
    candidates: &[Candidate],
    [size, label]: [&str; 2],
    lower_is_better: bool,
) -> Option<Plot> {
    let finite = |one: &&Candidate| one.figure.is_finite() && one.bits.is_finite();
    let candidates: Vec<&Candidate> = candidates.iter().filter(finite).collect();
    if candidates.len() < 2 {
        return None;
    }
    let range = |value: fn(&Candidate) -> f64, margin: f64| {
        let values = || candidates.iter().map(|one| value(one));
        let (low, high) = (
            values().fold(f64::MAX, f64::min),
            values().fold(f64::MIN, f64::max),
        );
        let room = ((high - low) * margin).max(1e-9);
        [low - room, high + room]
    };
    let mut canvas = Canvas::new(
        1040.0,
        340.0,
        range(|one| one.bits, 0.12),
        range(|one| one.figure, 0.08),
    );
    canvas.y_axis(label);
    canvas.x_base(size);
    canvas.x_ticks(8);
    let best = unbeaten(&candidates, lower_is_better);
    for pair in best.windows(2) {
        let [from, to] = [pair[0], pair[1]].map(|one| [one.bits, one.figure]);
        canvas.segment("interval", from, to);
    }
    for one in &candidates {
        let on_it = best.iter().any(|other| std::ptr::eq(*other, *one));
        let class = if on_it { "s0" } else { "s7" };
        let tooltip = format!(
            "{}: {size} {:.3}, {label} {}",
            one.name, one.bits, one.figure
        );
        canvas.dot(class, one.bits, one.figure, 5.0, &tooltip);
        canvas.label(one.bits, one.figure, &one.name);
    }
    let better = if lower_is_better { "lower" } else { "higher" };
    Some(Plot {
        title: "Size against accuracy".into(),
        caption: format!(
            "{label}: {better} is better. The line joins those that no other beats in both."
        ),
        svg: canvas.finish("size against accuracy"),
        legend: Vec::new(),
    })
}

/// Those for which no other is at most as large and better, by ascending size.
fn unbeaten<'a>(candidates: &[&'a Candidate], lower_is_better: bool) -> Vec<&'a Candidate> {
    let cost = |one: &Candidate| {
        if lower_is_better {
            one.figure
        } else {
            -one.figure
        }
    };
    let mut sorted = candidates.to_vec();
    sorted.sort_by(|a, b| a.bits.total_cmp(&b.bits).then(cost(a).total_cmp(&cost(b))));
    let mut best: Vec<&Candidate> = Vec::new();
    for one in sorted {
        if best.last().is_none_or(|last| cost(one) < cost(last)) {
            best.push(one);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates() -> Vec<Candidate> {
        [
            ("a", 4.0, 0.1),
            ("b", 3.0, 0.3),
            ("c", 4.5, 0.2),
            ("d", 8.0, 0.01),
        ]
        .map(|(name, bits, figure)| Candidate {
            name: name.to_owned(),
            bits,
            figure,
        })
        .into()
    }

    #[test]
    fn the_line_leaves_out_what_another_beats_in_both() {
        let all = candidates();
        let all: Vec<&Candidate> = all.iter().collect();
        let names = |found: Vec<&Candidate>| -> Vec<String> {
            found.iter().map(|one| one.name.clone()).collect()
        };
        assert_eq!(names(unbeaten(&all, true)), ["b", "a", "d"]);
        assert_eq!(names(unbeaten(&all, false)), ["b"]);
    }

    #[test]
    fn every_artifact_is_a_dot_with_its_name_and_one_alone_no_plot() {
        let plot = frontier(&candidates(), ["bits", "KL divergence"], true).unwrap();
        assert_eq!(plot.svg.matches("<circle").count(), 4);
        assert_eq!(plot.svg.matches(r#"class="interval""#).count(), 2);
        assert!(plot.svg.contains(">c</text>"));
        assert!(frontier(&candidates()[..1], ["bits", "KL divergence"], true).is_none());
    }
}
