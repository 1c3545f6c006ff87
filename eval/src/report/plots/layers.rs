//! Bits and signal to noise of every layer, in execution order, coloured by the layer's role.

use super::Plot;
use super::canvas::Canvas;
use crate::report::model::LayerFacts;

const WIDTH: f64 = 1040.0;
const HEIGHT: f64 = 260.0;
/// Colours of the style sheet; the last is shared by all further roles.
const COLOURS: usize = 8;
/// Labels that fit side by side on the x axis.
const LABELS: usize = 24;

/// Bars of true bits per weight.
pub(in crate::report) fn bits_per_layer(layers: &[LayerFacts]) -> Option<Plot> {
    let highest = layers
        .iter()
        .map(|layer| layer.bits_per_weight)
        .reduce(f64::max)?;
    let roles = Roles::of(layers);
    let mut canvas = Canvas::new(
        WIDTH,
        HEIGHT,
        [0.0, layers.len() as f64],
        [0.0, highest * 1.08],
    );
    canvas.y_axis("bits per weight");
    block_axis(&mut canvas, layers);
    let gap = if layers.len() < 200 { 0.12 } else { 0.0 };
    for (at, layer) in layers.iter().enumerate() {
        let tooltip = format!(
            "{}: {:.3} bits per weight, {} {} bit",
            layer.name, layer.bits_per_weight, layer.method, layer.bits
        );
        let (from, to) = (at as f64 + gap, at as f64 + 1.0 - gap);
        canvas.bar(
            &roles.class(layer),
            from,
            to,
            layer.bits_per_weight,
            &tooltip,
        );
    }
    Some(Plot {
        title: "Bits per layer".into(),
        caption: "True stored bits per weight: codes, scales, tables, outliers and padding.".into(),
        svg: canvas.finish("bits per layer"),
        legend: roles.legend(),
    })
}

/// Dots of weight SQNR, rings of output SQNR where it was measured.
pub(in crate::report) fn sqnr_per_layer(layers: &[LayerFacts]) -> Option<Plot> {
    let values = || {
        let both = layers
            .iter()
            .flat_map(|layer| [layer.sqnr_db, output_sqnr(layer)]);
        both.flatten().filter(|value| value.is_finite())
    };
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    let margin = ((high - low) * 0.08).max(0.5);
    let roles = Roles::of(layers);
    let y = [low - margin, high + margin];
    let mut canvas = Canvas::new(WIDTH, HEIGHT, [0.0, layers.len() as f64], y);
    canvas.y_axis("SQNR, dB");
    block_axis(&mut canvas, layers);
    for (at, layer) in layers.iter().enumerate() {
        let x = at as f64 + 0.5;
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        if let Some(sqnr) = finite(output_sqnr(layer)) {
            let tooltip = format!("{}: output {sqnr:.2} dB", layer.name);
            canvas.dot(
                &format!("ring {}", roles.class(layer)),
                x,
                sqnr,
                4.0,
                &tooltip,
            );
        }
        if let Some(sqnr) = finite(layer.sqnr_db) {
            let tooltip = format!("{}: weight {sqnr:.2} dB", layer.name);
            canvas.dot(&roles.class(layer), x, sqnr, 4.0, &tooltip);
        }
    }
    let rings = layers.iter().any(|layer| output_sqnr(layer).is_some());
    let caption = if rings {
        "Signal to quantization noise; higher is better. Dots: the weight; rings: the layer's output on calibration data."
    } else {
        "Signal to quantization noise of the weight; higher is better."
    };
    Some(Plot {
        title: "SQNR per layer".into(),
        caption: caption.into(),
        svg: canvas.finish("SQNR per layer"),
        legend: roles.legend(),
    })
}

/// With the full Hessian where it was measured, else with its diagonal.
fn output_sqnr(layer: &LayerFacts) -> Option<f64> {
    layer.output_sqnr_db.or(layer.diagonal_output_sqnr_db)
}

/// Base line with the number of each block at its first layer, thinned where there are many.
fn block_axis(canvas: &mut Canvas, layers: &[LayerFacts]) {
    canvas.x_base("block");
    let mut starts = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let block = split(&layer.name).0;
        if starts.last().is_none_or(|&(_, last)| last != block) {
            starts.push((at, block));
        }
    }
    let every = starts.len().div_ceil(LABELS).max(1);
    for (at, block) in starts.into_iter().step_by(every) {
        canvas.x_label(at as f64, block.unwrap_or(""));
    }
}

/// Block number and the rest of a layer's name: `model.layers.3.mlp.up_proj` is `3`, `mlp.up_proj`.
fn split(name: &str) -> (Option<&str>, &str) {
    let mut rest = name;
    while let Some((part, after)) = rest.split_once('.') {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            return (Some(part), after);
        }
        rest = after;
    }
    (None, name)
}

/// What layers of different blocks have in common, in order of appearance.
struct Roles<'a> {
    names: Vec<&'a str>,
}

impl<'a> Roles<'a> {
    fn of(layers: &'a [LayerFacts]) -> Self {
        let mut names = Vec::new();
        for layer in layers {
            let role = split(&layer.name).1;
            if !names.contains(&role) {
                names.push(role);
            }
        }
        Self { names }
    }

    fn class(&self, layer: &LayerFacts) -> String {
        let role = split(&layer.name).1;
        let at = self
            .names
            .iter()
            .position(|name| *name == role)
            .unwrap_or(0);
        format!("s{}", at.min(COLOURS - 1))
    }

    fn legend(&self) -> Vec<String> {
        let mut legend: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        if legend.len() > COLOURS {
            legend.truncate(COLOURS - 1);
            legend.push("other".into());
        }
        legend
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn names_split_into_block_and_role() {
        assert_eq!(
            split("model.layers.3.mlp.up_proj"),
            (Some("3"), "mlp.up_proj")
        );
        assert_eq!(
            split("bert.encoder.layer.11.output.dense"),
            (Some("11"), "output.dense")
        );
        assert_eq!(split("lm_head"), (None, "lm_head"));
    }

    #[test]
    fn every_layer_is_drawn_once_with_its_figure() {
        let layers = sample::report().layers;
        let bits = bits_per_layer(&layers).unwrap();
        assert_eq!(bits.svg.matches("<rect").count(), layers.len());
        assert!(
            bits.svg
                .contains("model.layers.5.mlp.down_proj: 4.812 bits per weight")
        );
        assert_eq!(bits.legend.len(), 4);
        let sqnr = sqnr_per_layer(&layers).unwrap();
        assert_eq!(sqnr.svg.matches("<circle").count(), 2 * layers.len());
    }

    #[test]
    fn exact_layers_have_no_dot_and_no_layers_no_plot() {
        let mut layers = sample::report().layers;
        layers[0].sqnr_db = None;
        layers[1].sqnr_db = Some(f64::INFINITY);
        let sqnr = sqnr_per_layer(&layers).unwrap();
        assert_eq!(sqnr.svg.matches("weight ").count(), layers.len() - 2);
        assert!(bits_per_layer(&[]).is_none() && sqnr_per_layer(&[]).is_none());
    }

    #[test]
    fn many_roles_share_the_last_colour() {
        let layers: Vec<LayerFacts> = (0..12)
            .map(|role| LayerFacts {
                name: format!("h.0.role{role}"),
                bits_per_weight: 4.0,
                ..LayerFacts::default()
            })
            .collect();
        let plot = bits_per_layer(&layers).unwrap();
        assert_eq!((plot.legend.len(), plot.legend[7].as_str()), (8, "other"));
        assert!(!plot.svg.contains("\"s8\""));
    }
}
