//! Requests that wait for the model: only so many, first come, first served.

use super::failure::Failure;
use super::job::Job;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue of bounded length.
pub(super) struct Queue<J> {
    most: usize,
    waiting: Mutex<Waiting<J>>,
    changed: Condvar,
}

struct Waiting<J> {
    jobs: VecDeque<J>,
    is_closed: bool,
}

impl<J: Job> Queue<J> {
    /// An empty one that holds `most` jobs.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            waiting: Mutex::new(Waiting {
                jobs: VecDeque::new(),
                is_closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Most jobs that wait.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Adds all of `jobs` or none.
    pub(super) fn push(&self, jobs: Vec<J>) -> Result<(), Failure> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(Failure::stopping());
        }
        if waiting.jobs.len() + jobs.len() > self.most {
            // Those whose clients went away hold nobody up.
            waiting.jobs.retain(|job| !job.is_given_up());
        }
        if waiting.jobs.len() + jobs.len() > self.most {
            return Err(Failure::full(waiting.jobs.len()));
        }
        waiting.jobs.extend(jobs);
        drop(waiting);
        self.changed.notify_all();
        Ok(())
    }

    /// The next job, if one waits.
    pub(super) fn next(&self) -> Option<J> {
        self.lock().jobs.pop_front()
    }

    /// The next job, once there is one; nothing after [`Self::close`].
    pub(super) fn wait(&self) -> Option<J> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.is_closed {
                return None;
            }
            let woken = self.changed.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more jobs, and ends those that wait.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        for job in waiting.jobs.drain(..) {
            job.fail(Failure::stopping());
        }
        drop(waiting);
        self.changed.notify_all();
    }

    /// Whether it has been closed.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<J>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Named(u8, bool, Cell<bool>);

    impl Job for Named {
        fn is_given_up(&self) -> bool {
            self.1
        }

        fn fail(&self, _failure: Failure) {
            self.2.set(true);
        }
    }

    fn named(name: u8, is_given_up: bool) -> Named {
        Named(name, is_given_up, Cell::new(false))
    }

    #[test]
    fn what_has_no_room_is_refused_whole_and_the_given_up_make_room() {
        let queue = Queue::new(2);
        queue.push(vec![named(1, true)]).unwrap();
        assert!(
            queue
                .push(vec![named(2, false), named(3, false), named(4, false)])
                .is_err()
        );
        assert_eq!(queue.len(), 0);
        queue.push(vec![named(5, false), named(6, false)]).unwrap();
        assert!(queue.push(vec![named(7, false)]).is_err());
        assert_eq!(queue.next().unwrap().0, 5);
        queue.close();
        assert!(queue.next().is_none() && queue.wait().is_none());
        assert!(queue.push(vec![named(8, false)]).is_err());
    }
}
