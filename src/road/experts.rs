//! Layers of experts that saw too few calibration tokens, and what is made of them.

use crate::plan::{PlannedLayer, QuantizeRequest};
use calib::running::expert_calibration::{ExpertCalibration, ExpertTokens};
use calib::running::measured::StageStatistics;
use quantizers::Stat;
use quantizers::statistics::Pass;

/// A layer of an expert that saw too few tokens.
pub(super) struct Starved {
    /// What its reader should know.
    pub(super) note: String,
    /// Statistics that are replaced by neutral ones.
    replaced: Vec<Stat>,
    /// Whether nothing measured goes into it.
    pub(super) data_free: bool,
}

impl Starved {
    /// `planned`, whose input is seen at `point`, if it saw too few tokens for what is read of it.
    pub(super) fn of(
        planned: &PlannedLayer,
        point: &str,
        statistics: &StageStatistics,
        request: &QuantizeRequest,
    ) -> Option<Self> {
        let plan = &request.plan;
        let experts = plan.calibration.as_ref()?.experts?;
        let is_read = !planned.plan.needs.is_empty() || !plan.transforms.is_empty();
        if !planned.routed || !is_read {
            return None;
        }
        let tokens = statistics.tokens(point).unwrap_or(0);
        if !experts.is_few(tokens) {
            return None;
        }
        let needs = planned.plan.needs.iter().copied();
        let replaced: Vec<Stat> = needs
            .filter(|stat| !is_measured_over_all(experts, stat.0.pass))
            .collect();
        let forward_over_all = is_measured_over_all(experts, Pass::Forward);
        let data_free = !replaced.is_empty() || !forward_over_all;
        let consequence = if data_free {
            "quantized without statistics"
        } else {
            "measured over all tokens"
        };
        let (tokens, least) = (counted(tokens), experts.min_tokens);
        Some(Self {
            note: format!("its router sent it {tokens}, fewer than {least}: {consequence}"),
            replaced,
            data_free,
        })
    }

    /// What the quantizer reads instead of what was measured.
    pub(super) fn neutral(&self, planned: &PlannedLayer) -> Vec<(Stat, Vec<f32>)> {
        let [rows, cols] = planned.shape;
        let replaced = self.replaced.iter();
        replaced
            .filter_map(|stat| Some((*stat, stat.0.neutral(rows, cols)?)))
            .collect()
    }
}

/// Whether statistics of `pass` are of all tokens where an expert saw few. Gradients are zero for tokens that were not
/// sent to it.
fn is_measured_over_all(experts: ExpertCalibration, pass: Pass) -> bool {
    pass == Pass::Forward && experts.tokens != ExpertTokens::Routed
}

fn counted(tokens: usize) -> String {
    match tokens {
        1 => "1 calibration token".to_owned(),
        tokens => format!("{tokens} calibration tokens"),
    }
}

/// Layers that saw too few tokens, for one warning about all of them.
#[derive(Debug, Default)]
pub(super) struct StarvedLayers {
    data_free: usize,
    over_all: usize,
}

impl StarvedLayers {
    /// Counts a layer.
    pub(super) fn add(&mut self, starved: &Starved) {
        if starved.data_free {
            self.data_free += 1;
        } else {
            self.over_all += 1;
        }
    }

    /// The warning, where some layer was quantized without statistics.
    pub(super) fn warning(&self, request: &QuantizeRequest) -> Option<String> {
        let experts = request.plan.calibration.as_ref()?.experts?;
        let routed = request.plan.layers.iter().filter(|layer| layer.routed);
        let of_all = |count: usize, what: &str| {
            format!(
                "{count} of {} layers of experts saw fewer than {} calibration tokens: {what}",
                routed.clone().count(),
                experts.min_tokens
            )
        };
        match (self.data_free, self.over_all) {
            (0, 0) => None,
            (0, over_all) => Some(of_all(over_all, "they were measured over all tokens")),
            (data_free, _) => Some(of_all(
                data_free,
                "they were quantized without statistics; more `samples` would reach them, `[calibration.experts]` has other ways",
            )),
        }
    }
}
