//! Parallelism over sequences for work that must not be interleaved.
//!
//! burn's autodiff 0.22 can lock itself up in two ways, and both are avoided here:
//! * A backward pass holds the lock of its graph while matrix products run on rayon. A rayon worker
//!   that waits for such a product may steal the backward pass of ANOTHER sequence and wait for a lock
//!   it holds itself. So each worker has a rayon pool of its own, of one thread: nothing to steal.
//! * Graphs that share a leaf are merged while the registry of graphs is locked, and a backward pass
//!   wants that registry while it holds its graph. So no two graphs may share a leaf: weights are none
//!   ([`Tape`](crate::Tape)).

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::sync::Mutex;
use std::sync::PoisonError;

/// Single-threaded pools, as many as the surrounding rayon pool has threads.
pub struct Workers {
    pools: Vec<ThreadPool>,
}

impl Workers {
    /// As many workers as the current rayon pool has threads.
    ///
    /// # Errors
    /// A system that gives no more threads.
    pub fn new() -> Result<Self, ThreadPoolBuildError> {
        let count = rayon::current_num_threads();
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build();
        Ok(Self {
            pools: (0..count).map(pool).collect::<Result<_, _>>()?,
        })
    }

    /// How many items are in flight at once.
    pub fn count(&self) -> usize {
        self.pools.len()
    }

    /// `work` over `items`; results in the order of the items whoever made them.
    pub fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
        let count = items.len();
        let queue = Mutex::new(items.into_iter().enumerate());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let mut results: Vec<Option<R>> = (0..count).map(|_| None).collect();
        let slots = Mutex::new(&mut results);
        std::thread::scope(|scope| {
            for pool in self.pools.iter().take(count) {
                scope.spawn(|| {
                    while let Some((index, item)) = next() {
                        let result = pool.install(|| work(item));
                        slots.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
                    }
                });
            }
        });
        results.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        pool.install(|| {
            let workers = Workers::new().unwrap();
            assert_eq!(workers.count(), 3);
            let doubled = workers.map((0..50).collect(), |item: u32| {
                assert_eq!(rayon::current_num_threads(), 1);
                item * 2
            });
            assert_eq!(doubled, (0..50).map(|item| item * 2).collect::<Vec<_>>());
            assert!(workers.map(Vec::new(), |item: u32| item).is_empty());
        });
    }
}
