//! Code of other crates that panics on input it should refuse: the panic becomes an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread will become an error: a panic hook has nothing to say then.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Runs `body`; what it says when it panics is the error.
///
/// # Errors
/// A panic.
pub fn guarded<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    let before = GUARDED.replace(true);
    // Nothing of a value that was being made is used after a panic.
    let ended = catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(before);
    ended.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("no reason given").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(guarded(|| 3), Ok(3));
        let error = guarded(|| {
            assert!(is_guarded());
            [0][..].get(7).copied().expect("column 7")
        });
        assert_eq!(error, Err("column 7".to_owned()));
        assert!(!is_guarded());
    }
}
