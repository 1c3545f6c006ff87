//! What each budget would buy: predicted loss against size, with the budget that was given.

use super::Plot;
use super::canvas::Canvas;
use crate::report::budget::BudgetFacts;

/// The plot; nothing for fewer than two points above zero.
pub(in crate::report) fn budget_curve(budget: &BudgetFacts) -> Option<Plot> {
    // Losses fall about fourfold with each bit: only their logarithms can be told apart.
    let point = |bits: f64, score: f64| (score > 0.0).then(|| [bits, score.log10()]);
    let points = budget.curve.iter();
    let points: Vec<[f64; 2]> = points
        .filter_map(|&[bits, score]| point(bits, score))
        .collect();
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 || last[0] <= first[0] || first[1] <= last[1] {
        return None;
    }
    let room = 0.05 * (last[0] - first[0]);
    let margin = 0.08 * (first[1] - last[1]);
    let mut canvas = Canvas::new(
        1040.0,
        340.0,
        [first[0] - room, last[0] + room],
        [last[1] - margin, first[1] + margin],
    );
    canvas.y_axis("log10 of predicted loss");
    canvas.x_base("bits per weight");
    canvas.x_ticks(8);
    for pair in points.windows(2) {
        canvas.segment("interval", pair[0], pair[1]);
    }
    if let Some([bits, score]) = point(budget.taken, budget.score) {
        let tooltip = format!("{bits:.4} bits, predicted loss {:.4e}", budget.score);
        canvas.dot("s0", bits, score, 5.0, &tooltip);
        canvas.label(bits, score, "this artifact");
    }
    Some(Plot {
        title: "Predicted loss by budget".into(),
        caption: format!(
            "The least sum of `{}` scores that each size allows, predicted from the same measurements.",
            budget.sensitivity
        ),
        svg: canvas.finish("predicted loss by budget"),
        legend: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(curve: &[[f64; 2]]) -> BudgetFacts {
        BudgetFacts {
            taken: 3.0,
            score: 0.1,
            curve: curve.to_vec(),
            ..BudgetFacts::default()
        }
    }

    #[test]
    fn the_budget_is_a_dot_on_the_line_of_all_budgets() {
        let plot = budget_curve(&facts(&[[2.0, 1.0], [3.0, 0.1], [4.0, 0.01]])).unwrap();
        assert_eq!(plot.svg.matches(r#"class="interval""#).count(), 2);
        assert!(plot.svg.contains(">this artifact</text>"));
    }

    #[test]
    fn a_single_choice_has_no_line() {
        assert!(budget_curve(&facts(&[[2.0, 1.0]])).is_none());
        assert!(budget_curve(&facts(&[[2.0, 0.0], [3.0, 0.0]])).is_none());
    }
}
