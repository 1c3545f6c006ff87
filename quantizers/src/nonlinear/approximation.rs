//! What an approximation is, what it is compiled for, and what it is compiled to.

use crate::integer::RowKernel;
use crate::integer::attention::HeadAttention;
use thiserror::Error;

/// The function an approximation replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nonlinearity {
    /// `x Phi(x)`.
    Gelu,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`: GELU in its tanh form.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x sigmoid(x)`.
    Silu,
    /// `tanh(x)`.
    Tanh,
    /// `exp(x - max) / sum` over a row.
    Softmax,
    /// `(x - mean) / sqrt(variance + eps) gamma + beta` over a row.
    LayerNorm,
    /// `x / sqrt(mean(x^2) + eps) gamma` over a row.
    RmsNorm,
}

impl Nonlinearity {
    /// Key in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu-tanh",
            Self::Relu => "relu",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
            Self::Softmax => "softmax",
            Self::LayerNorm => "layernorm",
            Self::RmsNorm => "rmsnorm",
        }
    }
}

/// The form in which an approximation wants its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputForm {
    /// The 32-bit accumulator of the operation before, one scale per channel (GELU) or one scale
    /// (attention scores), not requantized.
    Accumulator,
    /// Codes of this many bits on one grid.
    Codes {
        /// Width.
        bits: u32,
        /// Zero point fixed at zero.
        symmetric: bool,
    },
    /// 8-bit codes with a power-of-two factor per channel (FQ-ViT): `scales[c] = s 2^alpha[c]`,
    /// one zero point.
    PowerOfTwoFactor,
}

/// A quantization grid: code `q` of channel `c` means `scales[c] (q - zero_point)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// One scale, or one per channel.
    pub scales: Vec<f64>,
    /// Code of zero.
    pub zero_point: i32,
    /// Smallest code.
    pub low: i32,
    /// Largest code.
    pub high: i32,
}

impl Grid {
    /// Scale of channel `channel`.
    pub fn scale(&self, channel: usize) -> f64 {
        if self.scales.len() == 1 {
            self.scales[0]
        } else {
            self.scales[channel]
        }
    }

    /// The real value of a code.
    pub fn value(&self, code: i32, channel: usize) -> f64 {
        self.scale(channel) * f64::from(code - self.zero_point)
    }
}

/// What an approximation is compiled for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Grid of the inputs.
    pub input: Grid,
    /// Grid of the outputs; softmax has one of its own and is given none.
    pub output: Option<Grid>,
    /// Bits of the outputs, for softmax: 8 or 16.
    pub output_bits: u32,
    /// Values in a row: channels, or the most keys for softmax.
    pub width: usize,
    /// Factor per channel (normalisations).
    pub gamma: Vec<f64>,
    /// Offset per channel (`LayerNorm`).
    pub beta: Vec<f64>,
    /// Added to the variance.
    pub epsilon: f64,
    /// Largest variance of the codes of a row seen in calibration, for kernels that fix a shift from it.
    pub code_variance: Option<f64>,
}

/// What the attention of one head is compiled for.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionRequest {
    /// Grid of the queries, codes 0 to 255.
    pub query: Grid,
    /// Scale of the keys.
    pub key_scale: f64,
    /// Scale of the values.
    pub value_scale: f64,
    /// Factor on `Q K^T`.
    pub factor: f64,
    /// Grid of the outputs.
    pub output: Grid,
    /// Width.
    pub head_dim: usize,
    /// Most keys of a query.
    pub most_keys: usize,
    /// Bits of a weight, 8 or 15.
    pub weight_bits: u32,
    /// Guard bits of the running sums; 8 for 8-bit weights and 4 for 15-bit ones are plenty.
    pub guard_bits: u32,
}

/// A compiled kernel over rows of codes.
#[derive(Debug)]
pub struct Compiled {
    /// The integer operation.
    pub kernel: Box<dyn RowKernel>,
    /// Grid of its outputs.
    pub output: Grid,
}

/// Scales or shapes an approximation cannot be compiled for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{approximation}` cannot replace {function}: expected {expected}, found {found}")]
pub struct ApproximationError {
    /// Registry name.
    pub approximation: &'static str,
    /// What it was to replace.
    pub function: &'static str,
    /// Its precondition.
    pub expected: String,
    /// What it was given.
    pub found: String,
}

/// What an approximation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Family name in recipes: `exact`, `i-bert`, `i-vit`, `fq-vit`.
    pub family: &'static str,
    /// The function.
    pub replaces: Nonlinearity,
    /// One line with the formula.
    pub summary: &'static str,
    /// Whether it is as published elsewhere (then its preconditions and defects are part of it).
    pub published: bool,
    /// The input it wants.
    pub input: InputForm,
}

/// An integer replacement of one nonlinear function.
pub trait Approximation: Sync {
    /// What it is, for recipes, lists and the compile step.
    fn about(&self) -> About;
    /// Integer constants for these scales.
    ///
    /// # Errors
    /// Scales that violate a precondition or would overflow a declared width.
    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError>;
    /// The attention of one head with this softmax inside it, where a program runs the two as one
    /// operation; none where it runs the kernel of [`Approximation::compile`] over rows of scores.
    fn attention(
        &self,
        _request: &AttentionRequest,
    ) -> Option<Result<HeadAttention, ApproximationError>> {
        None
    }
    /// See [`About::family`].
    fn name(&self) -> &'static str {
        self.about().family
    }
    /// See [`About::replaces`].
    fn replaces(&self) -> Nonlinearity {
        self.about().replaces
    }
    /// See [`About::summary`].
    fn summary(&self) -> &'static str {
        self.about().summary
    }
    /// See [`About::published`].
    fn published(&self) -> bool {
        self.about().published
    }
    /// See [`About::input`].
    fn input(&self) -> InputForm {
        self.about().input
    }
}
