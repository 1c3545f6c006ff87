//! Accumulators of one statistic of the backward pass each, fed with what the weight gradients of one layer are made of.
//!
//! Adding one is a new file here plus two lines: the `mod` line and the entry in [`GRADIENT_OBSERVERS`].

mod guided_hessian;
mod squares;

use crate::running::error::CollectError;
use crate::running::measured::{Entries, Entry, StageStatistics, Wants};
use crate::{LayerSpec, WeightGradient};
use guided_hessian::GuidedHessian;
use quantizers::statistics::Statistic;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Every observer of the backward pass.
static GRADIENT_OBSERVERS: &[&dyn GradientObserver] = &[
    &squares::Fisher,
    &GuidedHessian(1),
    &GuidedHessian(2),
    &GuidedHessian(4),
    &GuidedHessian(8),
];

/// Measures one statistic of the weight gradients of a layer.
trait GradientObserver: Sync {
    /// The statistic it measures.
    fn statistic(&self) -> &'static Statistic;
    /// A fresh accumulator for `layer`.
    fn start(&self, layer: &LayerSpec) -> Box<dyn GradientAccumulator>;
}

/// One statistic of one layer, being accumulated.
trait GradientAccumulator: Send {
    /// Takes in the gradients of some sequences, one for each, in their order.
    fn add(&mut self, gradients: &[WeightGradient]);
    /// The result; zeros where nothing was taken in, as for an expert that no token was sent to.
    fn finish(self: Box<Self>) -> Entry;
}

/// The wanted statistics of the gradients of the layers of one stage, being accumulated.
pub(super) struct GradientSums(BTreeMap<String, Accumulators>);

/// Those of one layer.
type Accumulators = Vec<(&'static Statistic, Box<dyn GradientAccumulator>)>;

impl GradientSums {
    /// Nothing measured yet of what is wanted of `layers`.
    pub(super) fn new(layers: &[&LayerSpec], wants: &Wants) -> Self {
        let started = layers.iter().map(|layer| {
            let wanted = GRADIENT_OBSERVERS
                .iter()
                .filter(|observer| wants.wants_of(&layer.name, observer.statistic()));
            let started = wanted.map(|observer| (observer.statistic(), observer.start(layer)));
            (layer.name.clone(), started.collect())
        });
        Self(started.collect())
    }

    /// Takes in `gradients`, those of one layer in their order; all layers at once.
    pub(super) fn add(&mut self, gradients: Vec<WeightGradient>) {
        let mut by_layer: BTreeMap<String, Vec<WeightGradient>> = BTreeMap::new();
        for gradient in gradients {
            let layer = gradient.layer.clone();
            by_layer.entry(layer).or_default().push(gradient);
        }
        let work: Vec<_> = self
            .0
            .iter_mut()
            .filter_map(|(layer, sums)| Some((sums, by_layer.remove(layer)?)))
            .collect();
        work.into_par_iter().for_each(|(sums, gradients)| {
            for (_, sum) in sums {
                sum.add(&gradients);
            }
        });
    }

    /// The statistics.
    ///
    /// # Errors
    /// A value that is not finite.
    pub(super) fn finish(self) -> Result<StageStatistics, CollectError> {
        let mut statistics = StageStatistics::default();
        for (layer, sums) in self.0 {
            for (statistic, sum) in sums {
                let entry = sum.finish();
                if entry.values.iter().any(|value| !value.is_finite()) {
                    return Err(CollectError::Unsupported {
                        statistic: statistic.name,
                        layer,
                        reason: "its gradient is not finite",
                    });
                }
                statistics.insert(statistic, Entries::from([(layer.clone(), entry)]));
            }
        }
        Ok(statistics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quantizers::statistics::{Pass, STATISTICS};

    #[test]
    fn every_statistic_of_the_backward_pass_has_one_observer() {
        for statistic in STATISTICS {
            let observers = GRADIENT_OBSERVERS
                .iter()
                .filter(|observer| observer.statistic() == *statistic);
            let expected = usize::from(statistic.pass == Pass::Backward);
            assert_eq!(observers.count(), expected, "{}", statistic.name);
        }
    }
}
