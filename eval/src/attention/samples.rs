//! Keys and values of windows as rows of tokens, for fitting.

use burn::tensor::Tensor;
use calib::attention_policy::Attending;
use calib::hidden::values;
use quantizers::caches::{CacheSamples, KeyHook};
use quantizers::matrix::MatrixRef;

/// Keys and values of windows, `[tokens, kv_heads dim]` each.
#[derive(Default)]
pub struct Samples {
    keys: Vec<Rows>,
    values: Vec<Rows>,
    /// Of the loss, for keys and values; of every window or of none.
    gradients: [Vec<Rows>; 2],
}

struct Rows {
    values: Vec<f32>,
    tokens: usize,
}

impl Rows {
    /// Of `[batch, heads, tokens, dim]`.
    fn of(x: &Tensor<4>) -> Self {
        let [batch, heads, tokens, dim] = x.dims();
        let rows = x.clone().swap_dims(1, 2);
        Self {
            values: values(rows.reshape([batch * tokens, heads * dim])),
            tokens: batch * tokens,
        }
    }

    fn matrix(&self) -> MatrixRef<'_> {
        let cols = self.values.len() / self.tokens.max(1);
        MatrixRef::new(&self.values, self.tokens, cols).expect("rows of equal length")
    }
}

impl Samples {
    /// What was seen, keys at `hook`.
    pub fn new(hook: KeyHook, seen: &[Attending]) -> Self {
        let mut samples = Self::default();
        for seen in seen {
            samples.add(hook, seen);
        }
        samples
    }

    /// Adds a window.
    pub fn add(&mut self, hook: KeyHook, seen: &Attending) {
        self.keys.push(match hook {
            KeyHook::BeforeRotary => Rows::of(&seen.unrotated),
            KeyHook::AfterRotary => Rows::of(&seen.key),
        });
        self.values.push(Rows::of(&seen.value));
    }

    /// Adds a window with the loss gradients of its keys before the rotary embedding and of its values.
    pub fn add_with_gradients(
        &mut self,
        hook: KeyHook,
        seen: &Attending,
        [key, value]: &[Tensor<4>; 2],
    ) {
        self.add(hook, seen);
        self.gradients[0].push(match hook {
            KeyHook::BeforeRotary => Rows::of(key),
            // A rotation turns gradients as it turns keys.
            KeyHook::AfterRotary => Rows::of(&(seen.rotate)(key.clone())),
        });
        self.gradients[1].push(Rows::of(value));
    }

    /// Lends them to `body`.
    pub fn lend<R>(&self, body: impl FnOnce(&CacheSamples<'_>) -> R) -> R {
        let (keys, values) = (matrices(&self.keys), matrices(&self.values));
        let of_keys = matrices(&self.gradients[0]);
        let of_values = matrices(&self.gradients[1]);
        body(&CacheSamples {
            keys: &keys,
            values: &values,
            key_gradients: (!of_keys.is_empty()).then_some(&of_keys),
            value_gradients: (!of_values.is_empty()).then_some(&of_values),
        })
    }
}

fn matrices(rows: &[Rows]) -> Vec<MatrixRef<'_>> {
    rows.iter().map(Rows::matrix).collect()
}
