//! Tensors in host memory as slices, and operations on them with hand-written gradients.

use crate::hidden::values as all_values;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchTensorKind, Flex,
    GradientCheckpointingStrategy,
};
use burn::tensor::{Bytes, DType, Shape, Tensor};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Deref;

/// A tensor on a tape over host memory.
type Taped = FloatTensor<Autodiff<Flex>>;

/// An f32 tensor in host memory, on a tape or not.
#[derive(Debug, Clone)]
pub(super) enum Host {
    /// No gradient will be asked for.
    Plain(FlexTensor),
    /// On a tape.
    Taped(Taped),
}

impl Host {
    /// The primitive of `tensor`; `None` for other devices, other types of float and tapes that
    /// recompute.
    pub(super) fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        let tensor = tensor.clone().into_dispatch();
        let host = match (tensor.kind, tensor.autodiff) {
            (
                DispatchTensorKind::Flex(BackendTensor::Float(plain)),
                DispatchAutodiffContext::Disabled,
            ) => Self::Plain(plain),
            (
                DispatchTensorKind::Autodiff(kind),
                DispatchAutodiffContext::Enabled(GradientCheckpointingStrategy::Disabled),
            ) => match *kind {
                DispatchTensorKind::Flex(BackendTensor::Autodiff(taped)) => Self::Taped(taped),
                _ => return None,
            },
            _ => return None,
        };
        (host.primitive().dtype() == DType::F32).then_some(host)
    }

    /// The primitive of `tensor` if it is in host memory and no gradient is tracked for it.
    pub(super) fn constant<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
        match Self::of(tensor)? {
            Self::Taped(taped) if taped.is_tracked() => None,
            host => Some(host.primitive().clone()),
        }
    }

    fn primitive(&self) -> &FlexTensor {
        match self {
            Self::Plain(plain) => plain,
            Self::Taped(taped) => taped.primitive(),
        }
    }

    fn taped(self) -> Taped {
        match self {
            Self::Plain(plain) => Taped::new(plain),
            Self::Taped(taped) => taped,
        }
    }
}

/// A differentiable operation on `N` tensors in host memory.
pub(super) trait HostOperation<const N: usize>: Debug + Send + 'static {
    /// What the gradient needs, and nothing else: tapes may live long.
    type Saved: Debug + Clone + Send + 'static;

    /// The result, and what the gradient needs.
    fn forward(self, inputs: [FlexTensor; N]) -> (FlexTensor, Self::Saved);

    /// Gradients of the inputs that are `wanted`, given the gradient of the result.
    fn gradient(
        saved: Self::Saved,
        gradient: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N];
}

/// Runs `operation`, as one step of the tape if any input is on one.
pub(super) fn apply<O: HostOperation<N>, const N: usize, const D: usize>(
    operation: O,
    inputs: [Host; N],
) -> Tensor<D> {
    if inputs.iter().all(|input| matches!(input, Host::Plain(_))) {
        let inputs = inputs.map(|input| input.primitive().clone());
        return Tensor::from_primitive::<Flex>(operation.forward(inputs).0);
    }
    let inputs = inputs.map(Host::taped);
    let nodes = inputs.each_ref().map(Taped::node);
    let (output, saved) = operation.forward(inputs.map(Taped::into_primitive));
    let step = Step::<O>(PhantomData).prepare::<NoCheckpointing>(nodes);
    let output = match step.compute_bound().stateful() {
        OpsKind::Tracked(tracked) => tracked.finish(saved, output),
        OpsKind::UnTracked(untracked) => untracked.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// One operation on a tape.
#[derive(Debug)]
struct Step<O>(PhantomData<O>);

impl<const N: usize, O: HostOperation<N>> Backward<Flex, N> for Step<O> {
    type State = O::Saved;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = O::gradient(ops.state, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// A tensor that owns `values`.
pub(super) fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape),
        DType::F32,
    )
}

/// Shape of a primitive.
pub(super) fn shape(tensor: &FlexTensor) -> Shape {
    tensor.layout().shape().clone()
}

/// The same values, adjacent and in order; copies views only.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.layout().contiguous_offsets().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The values of a [`contiguous`] tensor.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    let (from, to) = tensor
        .layout()
        .contiguous_offsets()
        .unwrap_or_else(|| unreachable!("asked for the values of a view"));
    &tensor.storage::<f32>()[from..to]
}

/// The values of a tensor, row-major.
#[derive(Debug, Clone)]
pub(in crate::layers) enum HostValues {
    /// Where the tensor has them.
    Shared(FlexTensor),
    /// Elsewhere they are, or not in order.
    Copied(Vec<f32>),
}

impl HostValues {
    pub(in crate::layers) fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        match Host::constant(tensor).map(contiguous) {
            Some(host) => Self::Shared(host),
            None => Self::Copied(all_values(tensor.clone())),
        }
    }
}

impl Deref for HostValues {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Shared(tensor) => values(tensor),
            Self::Copied(values) => values,
        }
    }
}
