//! Values that are wanted for a moment, in memory that is used again.
//!
//! A token runs through some hundred products of a few thousand values each. Asking the allocator for each of them takes
//! longer than clearing them; a thread that keeps what it has let go asks for nothing once it has seen a token.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Values whose memory a thread keeps when they go.
pub trait Reusable: Copy + Default + 'static {
    /// Does `work` on what this thread keeps; `None` while it ends.
    fn with_kept<R>(work: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> Option<R>;
}

macro_rules! reusable {
    ($($value:ty),*) => {
        $(impl Reusable for $value {
            fn with_kept<R>(work: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> Option<R> {
                thread_local! {
                    static KEPT: RefCell<Vec<Vec<$value>>> = const { RefCell::new(Vec::new()) };
                }
                KEPT.try_with(|kept| work(&mut kept.borrow_mut())).ok()
            }
        })*
    };
}

reusable!(f32, f64, i8, i16, u16, u32, (usize, f64));

/// A vector in memory that its thread uses again.
#[derive(Debug, PartialEq)]
pub struct Scratch<T: Reusable>(Vec<T>);

impl<T: Reusable> Scratch<T> {
    /// Vectors that a thread keeps.
    const KEPT: usize = 64;
    /// Values of the longest of them: the logits of a few texts.
    const LONGEST: usize = 1 << 19;

    /// `count` values that mean nothing, for somebody who writes all of them.
    pub fn unwritten(count: usize) -> Self {
        let mut values = Self::taken(count);
        if cfg!(debug_assertions) {
            values.clear();
        }
        values.resize(count, T::default());
        Self(values)
    }

    /// `count` zeros.
    pub fn zeros(count: usize) -> Self {
        let mut zeros = Self::with_capacity(count);
        zeros.resize(count, T::default());
        zeros
    }

    /// None yet, and room for `count`.
    pub fn with_capacity(count: usize) -> Self {
        let mut values = Self::taken(count);
        values.clear();
        Self(values)
    }

    /// A copy of `values`.
    pub fn copied(values: &[T]) -> Self {
        let mut copy = Self::with_capacity(values.len());
        copy.extend_from_slice(values);
        copy
    }

    /// All of `values`.
    pub fn collected(values: impl ExactSizeIterator<Item = T>) -> Self {
        let mut collected = Self::with_capacity(values.len());
        collected.extend(values);
        collected
    }

    /// The vector, for good.
    pub fn into_vec(mut self) -> Vec<T> {
        std::mem::take(&mut self.0)
    }

    /// The shortest of those kept that has room for `count`, or a new one.
    fn taken(count: usize) -> Vec<T> {
        let kept = T::with_kept(|kept| {
            let fitting = kept.iter().enumerate();
            let fitting = fitting.filter(|(_, values)| values.capacity() >= count);
            let shortest = fitting.min_by_key(|(_, values)| values.capacity());
            shortest.map(|(at, _)| at).map(|at| kept.swap_remove(at))
        });
        kept.flatten().unwrap_or_else(|| {
            // What grows a little with every token has room for many.
            let room = if count <= Self::LONGEST / 2 {
                count.next_power_of_two()
            } else {
                count
            };
            Vec::with_capacity(room)
        })
    }
}

impl<T: Reusable> Drop for Scratch<T> {
    fn drop(&mut self) {
        if (1..=Self::LONGEST).contains(&self.0.capacity()) {
            let values = std::mem::take(&mut self.0);
            T::with_kept(|kept| {
                if kept.len() < Self::KEPT {
                    if kept.capacity() == 0 {
                        kept.reserve_exact(Self::KEPT);
                    }
                    kept.push(values);
                }
            });
        }
    }
}

impl<T: Reusable> Deref for Scratch<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Reusable> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<'a, T: Reusable> IntoIterator for &'a Scratch<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Reusable> Default for Scratch<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Reusable> Clone for Scratch<T> {
    fn clone(&self) -> Self {
        Self::copied(self)
    }
}

impl<T: Reusable> From<Vec<T>> for Scratch<T> {
    fn from(values: Vec<T>) -> Self {
        Self(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A thread of its own has kept nothing yet.
    fn on_a_new_thread(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    fn address(values: &Scratch<i16>) -> *const i16 {
        values.as_ptr()
    }

    #[test]
    fn memory_is_used_again_and_holds_what_is_asked_for() {
        on_a_new_thread(|| {
            let (long, short) = (Scratch::<i16>::zeros(900), Scratch::copied(&[1_i16; 20]));
            let (of_long, of_short) = (address(&long), address(&short));
            drop(long);
            drop(short);
            let again = Scratch::<i16>::zeros(17);
            assert_eq!((address(&again), &again[..]), (of_short, &[0; 17][..]));
            // The shortest is in use.
            let other = Scratch::collected((0..3_i16).map(|x| x + 1));
            assert_eq!((address(&other), &other[..]), (of_long, &[1, 2, 3][..]));
            assert_eq!(Scratch::<i16>::unwritten(9).len(), 9);
            let taken = other.into_vec();
            assert_eq!(taken.as_ptr(), of_long);
            assert_ne!(address(&Scratch::zeros(700)), of_long);
        });
    }

    #[test]
    fn little_is_kept() {
        on_a_new_thread(|| {
            let many: Vec<Scratch<i8>> = (0..200).map(|_| Scratch::zeros(5)).collect();
            drop(many);
            drop(Scratch::<i8>::zeros(Scratch::<i8>::LONGEST + 1));
            let kept = i8::with_kept(|kept| kept.iter().map(Vec::capacity).max());
            assert_eq!(kept, Some(Some(8)));
            assert_eq!(i8::with_kept(|kept| kept.len()), Some(Scratch::<i8>::KEPT));
        });
    }
}
