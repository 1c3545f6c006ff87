//! What was written against the budget, counted from the files.

use crate::Error;
use crate::plan::QuantizeRequest;
use crate::recipe::Scope;
use quantizers::formats::TensorFolder;
use std::path::Path;

/// Counts the bits of the written files that the budget counts.
///
/// # Errors
/// Files that cannot be read, or that hold more than the budget.
pub(super) fn verify(request: &QuantizeRequest) -> Result<(), Error> {
    let Some(budget) = &request.plan.budget else {
        return Ok(());
    };
    let failed = |source: crate::errors::Cause| Error::Verification {
        path: request.output.clone(),
        source,
    };
    let names: Vec<&str> = match budget.scope {
        Scope::Layers => request
            .plan
            .layers
            .iter()
            .map(|layer| layer.name.as_str())
            .collect(),
        Scope::File => Vec::new(),
    };
    let bits = stored_bits(&request.output, &names).map_err(|error| failed(error.into()))?;
    if bits > budget.budget_bits {
        let weights = budget.weights.max(1) as f64;
        return Err(failed(
            format!(
                "expected at most {} bits per weight, found {:.4} in the files",
                budget.bits_per_weight,
                bits as f64 / weights
            )
            .into(),
        ));
    }
    Ok(())
}

/// Bits of the tensors of `layers`, or of all tensors where none are named; headers are not counted.
fn stored_bits(folder: &Path, layers: &[&str]) -> Result<u64, quantizers::formats::FormatError> {
    let folder = TensorFolder::open(folder)?;
    let bits = |name: &str| folder.info(name).map_or(0, |info| 8 * info.bytes as u64);
    if layers.is_empty() {
        return Ok(folder.names().map(bits).sum());
    }
    let of_layer = |layer: &&str| -> u64 {
        let prefix = format!("{layer}.weight");
        folder.names_from(&prefix).map(bits).sum()
    };
    Ok(layers.iter().map(of_layer).sum())
}
