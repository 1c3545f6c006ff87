//! A decoder read into memory, for commands that continue texts.

use super::resources;
use crate::Error;
use crate::errors::Cause;
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::progress::Progress;
use calib::cache_policy::Protocol;
use calib::generation::Decoder;
use calib::heap;
use calib::packed_weights::PackedWeights;
use calib::plain_cache::CacheFloats;
use quantizers::kernels::Compute;

/// The weights of `open` as they are stored, multiplied as `compute` says, and keys and values kept as `floats` where the
/// model does not pack them; `failed` makes an error of what stands in the
/// way.
///
/// # Errors
/// Weights that do not fit in memory or cannot be read, a model that does not continue text.
pub(super) fn load(
    open: &OpenModel,
    machine: &Machine,
    (compute, floats): (Compute, CacheFloats),
    progress: &Progress,
    failed: &dyn Fn(Cause) -> Error,
) -> Result<Decoder, Error> {
    resources::check_weights(open)?;
    let device = machine.device.open()?;
    // What reading the tokenizer took for a moment would lie beside the weights.
    heap::give_back_freed_memory();
    let weights = PackedWeights::new(open.weights(), &open.artifact, compute);
    let policy = open.attention_policy(Protocol::Runtime)?;
    let loading = progress.stage("load", open.model.stages());
    let decoder = Decoder::new(
        open.model.as_ref(),
        &weights,
        &device,
        policy.as_ref(),
        &mut |_, _| loading.advance(1),
    );
    drop(loading);
    weights.use_large_pages();
    let decoder = decoder.map_err(|error| failed(error.into()))?;
    Ok(decoder.keeping(floats))
}
