//! Threads that a peer can make us start: counted.
//!
//! A thread takes four memory maps, two of them once it runs already: where these are refused, the standard library ends the
//! whole process. So whoever would take us near the system's bound gets an error here instead, and nothing else is disturbed. All other
//! bounds (tasks of a control group, of a user, of the system) make an honest error of the start by themselves.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, Builder, Scope};

use crate::limits;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Threads that fit by `vm.max_map_count`, all kinds together.
pub fn most() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
        let maps = text.and_then(|text| text.trim().parse().ok()).unwrap_or(limits::USUAL_MAPS);
        (maps / limits::MAPS_A_THREAD).saturating_sub(limits::SPARE_THREADS).max(1)
    })
}

/// A thread that was counted; given back on drop.
struct Counted(&'static AtomicUsize);

impl Counted {
    fn take(counter: &'static AtomicUsize, most: usize) -> io::Result<Counted> {
        let free = |running| (running < most).then_some(running + 1);
        match counter.fetch_update(Relaxed, Relaxed, free) {
            Ok(_) => Ok(Counted(counter)),
            Err(_) => Err(io::Error::other("as many threads run as vm.max_map_count lets a process have")),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn builder(name: impl Into<String>, stack: usize) -> Builder {
    Builder::new().name(name.into()).stack_size(stack)
}

/// Starts a thread with a stack of so many bytes, that nobody waits for.
///
/// # Errors
/// When there is no room for it, or the system gives none.
pub fn spawn(name: impl Into<String>, stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let counted = Counted::take(&RUNNING, most())?;
    let work = move || {
        work();
        drop(counted);
    };
    builder(name, stack).spawn(work).map(drop)
}

/// Starts a thread with a stack of so many bytes, that its scope joins.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: impl Into<String>,
    stack: usize,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<thread::ScopedJoinHandle<'scope, T>> {
    let counted = Counted::take(&RUNNING, most())?;
    let work = move || {
        let done = work();
        drop(counted);
        done
    };
    builder(name, stack).spawn_scoped(scope, work)
}

/// This thread has long work: from now on those that have little go first, such as another file's, or a caller's. Whatever is
/// idle it may have as before.
#[cfg(target_os = "linux")]
pub fn step_back() {
    // Per thread, for Linux (sched(7)). To become nicer is always allowed.
    if let Err(error) = rustix::process::nice(limits::LONG_WORK_NICE) {
        log::debug!("a thread with long work stays as it is: {error}");
    }
}

/// Elsewhere it would be the whole process that steps back.
#[cfg(not(target_os = "linux"))]
pub fn step_back() {}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn as_many_as_fit_and_no_more() {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let (one, _two) = (Counted::take(&COUNTER, 2).unwrap(), Counted::take(&COUNTER, 2).unwrap());
        let refused = Counted::take(&COUNTER, 2).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("vm.max_map_count"), "{refused}");
        drop(one);
        assert!(Counted::take(&COUNTER, 2).is_ok());
    }

    #[test]
    fn a_thread_counts_while_it_runs() {
        let (tell, told) = channel::<()>();
        thread::scope(|scope| {
            let waiting =
                spawn_scoped(scope, "waiting", limits::SMALL_STACK, move || told.recv().is_err()).unwrap();
            assert!(RUNNING.load(Relaxed) > 0);
            drop(tell);
            assert!(waiting.join().unwrap());
        });
    }
}
