//! Memory that trying ways of keeping keys and values takes, told before any weight is read.

use crate::Error;
use crate::model::OpenModel;
use crate::plan::KEPT_INPUT_BYTES;
use crate::progress::memory;
use calib::running::fisher::stage_sizes;
use eval::attention::candidate::{BlockPlan, BlockShape};
use eval::attention::rows::QUERIES;

/// The program, its threads and what the allocator keeps between tensors of many sizes.
const BASE_BYTES: u64 = 128 << 20;
/// Copies of the shares of attention that comparing two ways of attending holds: of both, their logarithms and products.
const SHARES: u64 = 8;

/// What is tried.
pub(super) struct Tried<'a> {
    /// On which model.
    pub model: &'a OpenModel,
    /// Windows to fit on and to judge on.
    pub windows: [usize; 2],
    /// Tokens of a window.
    pub tokens: usize,
    /// Tokens of all texts that hide something.
    pub hidden_tokens: usize,
    /// Threads that run at once.
    pub threads: usize,
    /// The attention of every block.
    pub shapes: &'a [BlockShape],
    /// What each way of attending does in every block.
    pub plans: Vec<&'a [BlockPlan]>,
}

/// Checks that all windows of all ways of attending find room.
///
/// # Errors
/// Less memory than that.
pub(super) fn check(tried: &Tried<'_>) -> Result<(), Error> {
    let needed_bytes = tried.needed();
    match memory::available_bytes() {
        Some(free_bytes) if needed_bytes > free_bytes => Err(Error::WindowMemory {
            needed_bytes,
            free_bytes,
        }),
        _ => Ok(()),
    }
}

impl Tried<'_> {
    fn needed(&self) -> u64 {
        let facts = self.model.facts();
        let [fitting, judged] = self.windows.map(|count| count as u64);
        let tokens = self.tokens as u64;
        let threads = self.threads as u64;
        let state = 4 * tokens * facts.width() as u64;
        // What enters the next block, with every token quantized and as it is in use.
        let runs = self.plans.iter().map(|plans| {
            let waits = plans.iter().any(BlockPlan::waits);
            1 + u64::from(waits)
        });
        let states = state * (fitting + judged * (1 + runs.sum::<u64>()));
        // What enters a block and what leaves it, of one method at a time.
        let hidden = 2 * 4 * (self.hidden_tokens * facts.width()) as u64;
        // Queries, keys before and after their rotation, and values of one block, and one copy as rows.
        let attending = self.shapes.iter().map(|shape| {
            let cache = &shape.cache;
            let query_heads = shape.group.query_heads * cache.kv_heads;
            let key = query_heads * cache.key_dim + 2 * cache.kv_heads * cache.key_dim;
            4 * tokens * (key + cache.kv_heads * cache.value_dim) as u64
        });
        let attending = 2 * (fitting + judged) * attending.max().unwrap_or(0);
        let heads = self
            .shapes
            .iter()
            .map(|shape| shape.group.query_heads * shape.cache.kv_heads);
        let of_a_copy = 4 * QUERIES as u64 * tokens * heads.max().unwrap_or(0) as u64;
        // What caches are compared with: shares of every window, and their logarithms.
        let compared = 2 * judged * of_a_copy;
        let shares = SHARES * of_a_copy;
        let sizes = stage_sizes(self.model.model.as_ref());
        let weights = sizes.iter().map(|size| size.weights as u64).max();
        let activations = sizes.iter().map(|size| size.activations as u64).max();
        let in_flight = 4 * tokens * activations.unwrap_or(0);
        let gradients = if self
            .plans
            .iter()
            .any(|plans| plans.iter().any(BlockPlan::wants_gradients))
        {
            // Inputs of blocks, a tape in each thread.
            KEPT_INPUT_BYTES + threads * in_flight
        } else {
            0
        };
        // As they are stored, and in the order they are multiplied in.
        let stage = 2 * 4 * weights.unwrap_or(0);
        BASE_BYTES
            + states
            + hidden
            + attending
            + compared
            + stage
            + threads * (in_flight + shares)
            + gradients
    }
}
