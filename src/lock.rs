//! Taking a mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes it, also after a panic of one who had it: a release ends with the first panic, and a test is to see its own.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
