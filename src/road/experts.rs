//! Layers of experts that saw too few calibration tokens, and what is made of them.

use crate::plan::{PlannedLayer, QuantizeRequest};
use calib::running::expert_calibration::ExpertTokens;
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
        if !planned.routed {
            return None;
        }
        // Gradients are counted by layer. Where only a backward pass is run, inputs are seen there too.
        let sent = |pass| match pass {
            Pass::Backward => statistics.tokens(&planned.name).unwrap_or(0),
            Pass::Forward => {
                let seen = statistics.tokens(point);
                seen.or_else(|| statistics.tokens(&planned.name))
                    .unwrap_or(0)
            }
        };
        let passes = planned.plan.needs.iter().map(|stat| stat.0.pass);
        let transformed = (!plan.transforms.is_empty()).then_some(Pass::Forward);
        let fewest = passes.chain(transformed).map(sent).min()?;
        if !experts.is_few(fewest) {
            return None;
        }
        let is_believed = |pass: Pass| {
            let over_all = pass == Pass::Forward && experts.tokens != ExpertTokens::Routed;
            over_all || !experts.is_few(sent(pass))
        };
        let needs = planned.plan.needs.iter().copied();
        let replaced: Vec<Stat> = needs.filter(|stat| !is_believed(stat.0.pass)).collect();
        let transformed_without = transformed.is_some_and(|pass| !is_believed(pass));
        let data_free = !replaced.is_empty() || transformed_without;
        let consequence = match (data_free, experts.tokens) {
            (true, _) => "quantized without statistics",
            (false, ExpertTokens::AllWhereFew) => "measured over all tokens",
            // All tokens were asked for.
            (false, _) => return None,
        };
        let (tokens, least) = (counted(fewest), experts.min_tokens);
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
