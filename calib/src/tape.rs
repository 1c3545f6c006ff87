//! The vector-Jacobian product of a stage by one autodiff tape.

use crate::{Hidden, NoTap, Stage, StageError, Vjp};
use burn::tensor::Tensor;

/// Runs `stage` on `input` and sends the gradient of its output back; see [`Stage::vjp`].
pub(crate) fn vjp<S: Stage + ?Sized>(
    stage: &S,
    input: Tensor<3>,
    output_gradient: &mut dyn FnMut(Tensor<3>) -> Tensor<3>,
) -> Result<Vjp, StageError> {
    let input = input.autodiff().require_grad();
    let output = match stage.forward(Hidden::States(input.clone()), &mut NoTap)? {
        Hidden::States(states) => states,
        Hidden::Tokens(_) | Hidden::Pixels(_) => {
            return Err(StageError::Input {
                stage: "vjp".to_owned(),
                expected: "states",
                found: "another kind of output",
            });
        }
    };
    let output_gradient = output_gradient(output.clone().inner());
    let shape = input.dims();
    let device = output.device().inner();
    let mut gradients = (output * output_gradient).sum().backward();
    let input_gradient = input
        .grad_remove(&mut gradients)
        .unwrap_or_else(|| Tensor::zeros(shape, &device));
    let weight_gradients = stage
        .weights()
        .into_iter()
        .filter_map(|(name, weight)| {
            weight
                .grad_remove(&mut gradients)
                .map(|gradient| (name, gradient))
        })
        .collect();
    Ok(Vjp {
        input_gradient,
        weight_gradients,
    })
}
