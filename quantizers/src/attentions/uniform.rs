//! Uniform sampling of the middle of the sequence: the control for every method that chooses what to keep.

use super::compressed::{CACHE_PARAMETERS, Compressed, Compressor, Kept, beside_cache};
use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::random::Random;
use super::settings::Settings;
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;
use std::ops::Range;

/// The registry entry.
pub(super) struct Uniform;

static PARAMETERS: [(&str, &str); CACHE_PARAMETERS.len() + 2] = beside_cache(&[
    (
        "keep",
        "fraction of the tokens between sinks and window that is kept, from 0 to 1; default 0.25",
    ),
    ("seed", "of the random choice; default 0"),
]);

impl Attention for Uniform {
    fn name(&self) -> &'static str {
        "uniform"
    }

    fn summary(&self) -> &'static str {
        "control: sinks, a window, and a uniform sample of the tokens between, weighted up to stand for all of them"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        Ok(Box::new(UniformAttention {
            cache: Compressed::read(&settings)?,
            keep: settings.number("keep", 0.0..=1.0, 0.25)?,
            seed: settings.seed()?,
        }))
    }
}

struct UniformAttention {
    cache: Compressed,
    keep: f64,
    seed: u64,
}

impl SparseAttention for UniformAttention {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        self.cache.plan(Uniform.name(), shape)
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        let mut sample = Sample {
            keep: self.keep,
            random: Random::new(self.seed, "uniform", group.layer, group.head),
        };
        self.cache.attend(Uniform.name(), &mut sample, group, seen)
    }

    fn randomised(&self) -> bool {
        true
    }
}

/// A sample without replacement, each token weighted by the inverse of the fraction kept.
struct Sample {
    keep: f64,
    random: Random,
}

impl Compressor for Sample {
    fn compress(&mut self, _group: &HeadGroup<'_>, batch: Range<usize>) -> (Vec<Kept>, usize) {
        let count = batch.len();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and `count`"
        )]
        let kept = ((count as f64 * self.keep).round() as usize).min(count);
        let mut tokens: Vec<usize> = batch.collect();
        for at in 0..kept {
            tokens.swap(at, at + self.random.below(count - at));
        }
        tokens.truncate(kept);
        tokens.sort_unstable();
        let log_weight = (count as f32 / kept as f32).ln();
        let kept = tokens.into_iter().filter_map(|token| {
            Some(Kept {
                position: u32::try_from(token).ok()?,
                log_weight,
                factor: 1.0,
            })
        });
        (kept.collect(), 0)
    }
}
