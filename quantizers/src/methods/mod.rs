//! Quantization methods: one matrix in, one quantized matrix out.
//!
//! Adding one is a new file here plus two lines: the `mod` line and the entry in [`METHODS`].

pub mod grid_parameters;
pub mod parameters;
mod error;
mod method;
mod autoround;
mod clipping;
pub mod gptq;
mod hqq;
mod kmeans;
pub mod lnq;
mod outlier_parameters;
mod table_parameters;
mod plan;
mod range;
mod rtn;
mod squeezellm;
mod tuned;
mod trellis;

pub use error::{ParamError, QuantizeError};
pub use method::{Method, Quantizer};
pub use plan::{Cost, LayerPlan, Quantized, Sequential, Tuning};
pub use tuned::TunedLayer;

pub(crate) use error::require_finite;

/// Every method, in the order `quench list methods` prints them.
pub static METHODS: &[&dyn Method] = &[
    &rtn::Rtn,
    &hqq::Hqq,
    &gptq::Gptq,
    &autoround::AutoRound,
    &kmeans::KMeans,
    &squeezellm::SqueezeLlm,
    &lnq::Lnq,
    &trellis::TrellisMethod,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_parameter_has_help() {
        for (i, method) in METHODS.iter().enumerate() {
            assert!(
                METHODS[..i]
                    .iter()
                    .all(|other| other.name() != method.name())
            );
            assert!(!method.summary().is_empty());
            for (name, help) in method.parameters() {
                assert!(!help.is_empty(), "`{name}` of `{}`", method.name());
            }
        }
    }
}
