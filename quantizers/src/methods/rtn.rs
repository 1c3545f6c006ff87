//! Round to nearest: every group on its own min-max grid.
//!
//! The baseline every other method has to beat, and what compressed-tensors itself does without
//! calibration: on the same weights both give the same bytes (see [`crate::grid`]). With `clip` the
//! grid of a group ends where its squared error is least ([`super::clipping`]).

use super::clipping::{self, Clip};
use super::grid_parameters::{GRID_PARAMETERS, GridParameters, beside_grid};
use super::parameters::Parameters;
use super::{
    LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, range, require_finite,
};
use crate::statistics::{INPUT_MEAN_SQUARE, LayerStats, Stat};
use crate::{FloatType, MatrixRef};

/// Weights one thread puts on a grid, per second.
const WEIGHTS_PER_SECOND: f64 = 80e6;
/// The same where each group tries all grids of [`clipping`], and where it refits their scales.
const CLIPPED_PER_SECOND: f64 = 5e6;
const SEARCHED_PER_SECOND: f64 = 2e6;

/// The registry entry.
pub(super) struct Rtn;

/// The keys of every grid, and `clip`.
static PARAMETERS: [(&str, &str); GRID_PARAMETERS.len() + 1] = beside_grid(&[(
    "clip",
    "`mse`: each grid ends where the squared error is least; `input_mse`: the same, weighted by the mean square of the inputs; `search`: as `input_mse`, and every scale tried is refitted to its codes; `none` (default): at the largest weight",
)]);

impl Method for Rtn {
    fn name(&self) -> &'static str {
        "rtn"
    }

    fn summary(&self) -> &'static str {
        "round to the nearest value of a uniform grid; needs no data unless `clip` does"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), self.parameters(), table)?;
        let [none, mse, input_mse] = Clip::CHOICES.map(|(name, clip)| (name, Ends::Clipped(clip)));
        let ends = [none, mse, input_mse, ("search", Ends::Searched)];
        let ends = parameters.choice("clip", &ends)?;
        Ok(Box::new(RtnQuantizer {
            grid: GridParameters::read(&parameters)?,
            ends: ends.unwrap_or(Ends::Clipped(Clip::Nothing)),
        }))
    }
}

/// What the grid of a group is chosen by.
#[derive(Debug, Clone, Copy)]
enum Ends {
    Clipped(Clip),
    /// As [`Clip::InputMse`], with refitted scales.
    Searched,
}

#[derive(Debug)]
struct RtnQuantizer {
    grid: GridParameters,
    ends: Ends,
}

impl Quantizer for RtnQuantizer {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        let (needs, speed) = match self.ends {
            Ends::Clipped(Clip::Nothing) => (Vec::new(), WEIGHTS_PER_SECOND),
            Ends::Clipped(Clip::Mse) => (Vec::new(), CLIPPED_PER_SECOND),
            Ends::Clipped(Clip::InputMse) => (vec![Stat(&INPUT_MEAN_SQUARE)], CLIPPED_PER_SECOND),
            Ends::Searched => (vec![Stat(&INPUT_MEAN_SQUARE)], SEARCHED_PER_SECOND),
        };
        let plan = self.grid.plan(Rtn.name(), (rows, cols), stored, speed)?;
        Ok(LayerPlan { needs, ..plan })
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        let granularity = plan.scheme.granularity;
        require_finite(weight)?;
        let grid = self.grid.grid(plan.weight_type);
        range::require_weights(weight, grid)?;
        let inputs = || stats.require_weights(&INPUT_MEAN_SQUARE, 1, weight.cols());
        let search = |inputs, refit| clipping::quantize(grid, weight, granularity, inputs, refit);
        let uniform = match self.ends {
            Ends::Clipped(Clip::Nothing) => grid.quantize(weight, granularity),
            Ends::Clipped(Clip::Mse) => search(None, false),
            Ends::Clipped(Clip::InputMse) => search(Some(inputs()?), false),
            Ends::Searched => search(Some(inputs()?), true),
        };
        Ok(range::stored(weight, uniform)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Granularity;
    use crate::tensor::{Encoding, QuantizedTensor};

    fn configure(text: &str) -> Result<Box<dyn Quantizer>, ParamError> {
        Rtn.configure(&text.parse().unwrap())
    }

    fn plan(text: &str, rows: usize, cols: usize) -> Result<LayerPlan, QuantizeError> {
        configure(text).unwrap().plan(rows, cols, FloatType::F32)
    }

    fn quantize(text: &str, weight: MatrixRef<'_>) -> Result<QuantizedTensor, QuantizeError> {
        let plan = plan(text, weight.rows(), weight.cols())?;
        let quantizer = configure(text).unwrap();
        let quantized = quantizer.quantize(weight, &plan, &LayerStats::default())?;
        Ok(quantized.tensor)
    }

    fn refused(text: &str) -> String {
        configure(text).err().unwrap().to_string()
    }

    #[test]
    fn a_rule_becomes_a_scheme() {
        let scheme = plan("bits = 4\ngroup_size = 32", 8, 64).unwrap().scheme;
        assert_eq!(
            (scheme.bits, scheme.granularity),
            (4, Granularity::Group(32))
        );
        assert!(scheme.symmetric && !scheme.outliers);
        let scheme = plan("bits = 8\nsymmetric = false", 8, 64).unwrap().scheme;
        assert_eq!(
            (scheme.granularity, scheme.symmetric),
            (Granularity::Channel, false)
        );
        let scheme = plan("bits = 8\ngranularity = \"tensor\"", 8, 64)
            .unwrap()
            .scheme;
        assert_eq!(scheme.granularity, Granularity::Tensor);
    }

    #[test]
    fn wrong_rules_are_refused() {
        assert!(refused("bits = 9").contains("from 2 to 8, found `9`"));
        assert!(refused("group_size = 32").contains("`bits`"));
        assert!(refused("bits = 4\ngroup_size = 0").contains("found `0`"));
        assert!(refused("bits = 4\ngroup_size = 8\ngranularity = \"tensor\"").contains("beside"));
        assert!(refused("bits = 4\ngroup_size_fallback = \"channel\"").contains("`group_size`"));
        let error = configure("bits = 4\ngroupsize = 8").err().unwrap();
        assert_eq!(error.hint().unwrap(), "did you mean `group_size`?");
    }

    #[test]
    fn clipping_is_a_choice_and_says_what_it_needs() {
        let needs = |text: &str| plan(text, 4, 4).unwrap().needs;
        assert!(needs("bits = 4\nclip = \"mse\"").is_empty());
        assert_eq!(
            needs("bits = 4\nclip = \"input_mse\""),
            [Stat(&INPUT_MEAN_SQUARE)]
        );
        assert_eq!(
            needs("bits = 4\nclip = \"search\""),
            [Stat(&INPUT_MEAN_SQUARE)]
        );
        assert!(refused("bits = 4\nclip = \"best\"").contains("`\"input_mse\"`"));
        let mut data: Vec<f32> = (0..256u16)
            .map(|i| (f32::from(i) / 128.0 - 1.0) * 0.3)
            .collect();
        data[7] = 1.0;
        let weight = MatrixRef::new(&data, 1, 256).unwrap();
        let scale = |text: &str| {
            let quantized = quantize(text, weight).unwrap();
            let Encoding::Uniform(uniform) = quantized.encoding else {
                panic!("a uniform grid")
            };
            uniform.scales[0]
        };
        assert!((scale("bits = 4\nclip = \"none\"") - scale("bits = 4")).abs() < 1e-12);
        assert!(scale("bits = 4\nclip = \"mse\"") < 0.8 * scale("bits = 4"));
    }

    #[test]
    fn a_group_size_that_does_not_divide_is_an_error_unless_the_rule_says_otherwise() {
        let rule = |fallback: &str| {
            let text = format!("bits = 4\ngroup_size = 32\ngroup_size_fallback = \"{fallback}\"");
            plan(&text, 64, 172).map(|plan| plan.scheme.granularity)
        };
        assert_eq!(
            rule("error"),
            Err(QuantizeError::GroupSize {
                group_size: 32,
                cols: 172
            })
        );
        assert_eq!(rule("channel"), Ok(Granularity::Channel));
        assert_eq!(rule("shorter_last_group"), Ok(Granularity::Group(32)));

        let rule = "bits = 4\ngroup_size = 32\ngroup_size_fallback = \"shorter_last_group\"";
        let data: Vec<f32> = (0..172u16).map(f32::from).collect();
        let weight = MatrixRef::new(&data, 1, 172).unwrap();
        let quantized = quantize(rule, weight).unwrap();
        let Encoding::Uniform(uniform) = quantized.encoding else {
            panic!("a uniform grid")
        };
        // 172 = 5 * 32 + 12.
        assert_eq!(
            uniform.scales,
            [31.0, 63.0, 95.0, 127.0, 159.0, 171.0].map(|top| top / 7.5)
        );
    }

    #[test]
    fn a_weight_that_is_not_finite_is_refused_with_its_place() {
        let data = [1.0, 2.0, f32::NAN, 4.0];
        let weight = MatrixRef::new(&data, 2, 2).unwrap();
        let error = quantize("bits = 4", weight).unwrap_err();
        assert!(error.to_string().contains("row 1, column 0"), "{error}");
    }
}
