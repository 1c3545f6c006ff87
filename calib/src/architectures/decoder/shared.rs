//! Values that many rows have in common.

use super::flavour::{Biases, Flag, Order, Rope, RopeBlocks, Wiring};

pub(super) const BEFORE: Wiring = Wiring {
    order: Order::Sequential,
    attention: "input_layernorm",
    attention_output: "",
    mlp: "post_attention_layernorm",
    mlp_output: "",
};
pub(super) const AFTER: Wiring = Wiring {
    attention: "",
    attention_output: "post_attention_layernorm",
    mlp: "",
    mlp_output: "post_feedforward_layernorm",
    ..BEFORE
};
pub(super) const AROUND: Wiring = Wiring {
    attention_output: "post_attention_layernorm",
    mlp: "pre_feedforward_layernorm",
    mlp_output: "post_feedforward_layernorm",
    ..BEFORE
};
pub(super) const PARALLEL: Wiring = Wiring {
    order: Order::Parallel,
    mlp: "",
    ..BEFORE
};

pub(super) const NO_BIAS: Biases = Biases {
    qkv: Flag::No,
    output: Flag::No,
    mlp: Flag::No,
    head: Flag::No,
};
pub(super) const ALL_BIAS: Biases = Biases {
    qkv: Flag::Yes,
    output: Flag::Yes,
    mlp: Flag::Yes,
    head: Flag::No,
};
pub(super) const ATTENTION_BIAS: Flag = Flag::Key("attention_bias", false);

pub(super) const ROPE: Rope = Rope {
    interleaved: Flag::No,
    theta: ("rope_theta", 10_000.0),
    share: ("partial_rotary_factor", 1.0),
    channels: None,
    blocks: RopeBlocks::All,
    local: None,
    yarn_is_long: false,
};
