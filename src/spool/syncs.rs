//! Makes files and folders durable: each by itself while there are few, all together while there are many.
//!
//! A disk takes for one sync of the whole file system about as long as for three of single files, however many have
//! been written. So whoever comes while others are at it waits for the next round, which one of them does for all. A round
//! begins after everybody in it has written, and ends before any of them goes on: no sync is left out, only shared.
//!
//! A round costs what everything else that is unwritten on this file system costs too. When one has taken long, files
//! are synced by themselves again for a while. So they are where a sync of the whole is not known to wait for the disk
//! and to tell of errors, and for good after a round that failed: a file's own sync says whose error it was.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::limits;
use crate::lock::lock;

/// Who waits for a sync, and who is at it.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Files that are being synced by themselves.
    alone: usize,
    /// A round is under way.
    is_running: bool,
    /// The next one, and the files in it.
    next: Arc<Round>,
    waiting: usize,
    /// Rounds take too long until then.
    slow_until: Option<Instant>,
    /// One has failed. The system tells of an error once: a later round would not know of it any more.
    has_failed: bool,
}

/// One sync of all that was written before it.
#[derive(Debug, Default)]
struct Round {
    /// Whether it went well.
    outcome: OnceLock<bool>,
    is_over: Condvar,
}

impl Syncs {
    /// When this returns, these have been synced, or not, each. `whole` syncs the file system that they are all on.
    pub(super) fn settle(
        &self,
        files: &[&File],
        whole: Option<&dyn Fn() -> io::Result<()>>,
    ) -> Vec<io::Result<()>> {
        if files.is_empty() {
            return Vec::new(); // who has nothing to wait for waits for no round
        }
        let mut state = self.lock();
        let is_slow = state.slow_until.is_some_and(|until| Instant::now() < until);
        let crowd = state.alone + state.waiting + files.len();
        if let Some(whole) = whole
            && !is_slow
            && !state.has_failed
            && (state.is_running || crowd >= limits::SYNCS_TOGETHER)
        {
            if self.together(state, files.len(), whole) {
                return files.iter().map(|_| Ok(())).collect();
            }
            state = self.lock();
        }
        state.alone += files.len();
        drop(state);
        let done = files.iter().map(|file| file.sync_all()).collect();
        self.lock().alone -= files.len();
        done
    }

    /// Waits for the next round, or does it; whether it went well.
    fn together<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        files: usize,
        whole: &dyn Fn() -> io::Result<()>,
    ) -> bool {
        let round = state.next.clone();
        state.waiting += files;
        loop {
            if let Some(went_well) = round.outcome.get() {
                return *went_well;
            }
            if !state.is_running {
                break;
            }
            state = round.is_over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Nobody is at it, so this round has not begun. Who comes from now on is in the one after it.
        state.is_running = true;
        state.waiting = 0;
        state.next = Arc::default();
        drop(state);
        let started = Instant::now();
        let synced = whole();
        let took = started.elapsed();
        let mut state = self.lock();
        state.is_running = false;
        if let Err(error) = &synced {
            log::warn!("a sync of the whole file system failed, each file has its own from now on: {error}");
            state.has_failed = true;
        }
        if took > limits::SLOW_SYNC {
            log::debug!("a sync of the whole file system took {} ms", took.as_millis());
            state.slow_until = Some(Instant::now() + limits::SYNC_ALONE_TIME.max(20 * took));
        }
        let went_well = *round.outcome.get_or_init(|| synced.is_ok());
        // One of those who came meanwhile does theirs.
        state.next.is_over.notify_one();
        drop(state);
        round.is_over.notify_all();
        went_well
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Syncs the file system that `file` is on.
#[cfg(target_os = "linux")]
pub(super) fn sync_whole(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// There is no such thing that tells of errors.
#[cfg(not(target_os = "linux"))]
pub(super) fn sync_whole(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether a sync of the whole file system that `file` is on waits until all is on the disk, and tells of errors: those of
/// files since Linux 5.8, those of names since 5.17. Others than these take it for a hint, or leave it out.
#[cfg(target_os = "linux")]
pub(super) fn syncs_whole(file: &File) -> bool {
    const EXT4: i64 = 0xef53;
    const XFS: i64 = 0x5846_5342;
    const BTRFS: i64 = 0x9123_683e;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    #[allow(clippy::unnecessary_cast, reason = "another type on other processors")]
    let kind = rustix::fs::fstatfs(file).map(|stat| stat.f_type as i64);
    tells_of_errors(&release) && kind.is_ok_and(|kind| [EXT4, XFS, BTRFS].contains(&kind))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn syncs_whole(_: &File) -> bool {
    false
}

/// Whether this release of Linux is 5.17 or later.
#[cfg(target_os = "linux")]
fn tells_of_errors(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map(|part| part.trim().parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 17),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn any_file() -> File {
        File::open(std::env::temp_dir()).unwrap()
    }

    fn all_well(done: &[io::Result<()>]) -> bool {
        done.iter().all(Result::is_ok)
    }

    #[test]
    fn a_few_are_synced_by_themselves() {
        let (syncs, file) = (Syncs::default(), any_file());
        let never = || -> io::Result<()> { panic!("the whole is not synced for one") };
        assert!(all_well(&syncs.settle(&[&file], Some(&never))));
        assert!(all_well(&syncs.settle(&[&file; 8], None)), "nor where it can't be");
        syncs.lock().alone = limits::SYNCS_TOGETHER;
        assert!(syncs.settle(&[], Some(&never)).is_empty(), "nor for nothing, whoever else is at it");
        syncs.lock().alone = 0;
        assert_eq!(syncs.lock().alone, 0);
    }

    #[test]
    fn a_round_begins_after_everybody_in_it_has_come() {
        let (syncs, file) = (Syncs::default(), any_file());
        let many = [&file; limits::SYNCS_TOGETHER];
        let (rounds, (entered_in, entered), (go_in, go)) =
            (AtomicUsize::new(0), mpsc::channel(), mpsc::channel());
        let go = Mutex::new(go);
        let whole = || {
            rounds.fetch_add(1, SeqCst);
            entered_in.send(()).unwrap();
            go.lock().unwrap().recv().unwrap();
            Ok(())
        };
        thread::scope(|scope| {
            let (syncs, whole) = (&syncs, &whole);
            let first = scope.spawn(move || syncs.settle(&many, Some(whole)));
            entered.recv().unwrap();
            // They come while it is under way: it does not count for them, however few they are.
            let later: Vec<_> =
                (0..5).map(|_| scope.spawn(move || syncs.settle(&[&any_file()], Some(whole)))).collect();
            while syncs.lock().waiting < 5 {
                thread::yield_now();
            }
            assert_eq!(rounds.load(SeqCst), 1);
            go_in.send(()).unwrap();
            assert!(all_well(&first.join().unwrap()));
            entered.recv().unwrap();
            assert!(later.iter().all(|thread| !thread.is_finished()), "they wait for a round of their own");
            go_in.send(()).unwrap();
            assert!(later.into_iter().all(|thread| all_well(&thread.join().unwrap())));
        });
        assert_eq!(rounds.load(SeqCst), 2, "one for all five");
        let state = syncs.lock();
        assert!(!state.is_running && state.waiting == 0);
    }

    #[test]
    fn after_a_round_that_failed_or_took_long_each_is_synced_by_itself() {
        let file = any_file();
        let many = [&file; limits::SYNCS_TOGETHER];
        let fails = || Err(io::ErrorKind::Other.into());
        let is_slow = || {
            thread::sleep(limits::SLOW_SYNC + Duration::from_millis(1));
            Ok(())
        };
        let whole: [(&dyn Fn() -> io::Result<()>, usize); 2] = [(&fails, 0), (&is_slow, 1)];
        for (whole, rounds) in whole {
            let syncs = Syncs::default();
            assert!(all_well(&syncs.settle(&many, Some(whole))), "their own syncs went well");
            let never = || -> io::Result<()> { panic!("not for a while") };
            assert!(all_well(&syncs.settle(&many, Some(&never))));
            syncs.lock().slow_until = Some(Instant::now());
            let again = AtomicUsize::new(0);
            let counts = || {
                again.fetch_add(1, SeqCst);
                Ok(())
            };
            assert!(all_well(&syncs.settle(&many, Some(&counts))));
            assert_eq!(again.load(SeqCst), rounds, "never again after an error");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn releases() {
        for new in ["5.17.0", "6.1.0-28-amd64", "6.18.44-fc-v657\n", "5.17-rc1", "10.0"] {
            assert!(tells_of_errors(new), "{new}");
        }
        for old in ["5.16.20", "5.10.0-28-amd64", "4.19.0-25-amd64", "3.10.0", "", "x.y", "5"] {
            assert!(!tells_of_errors(old), "{old}");
        }
    }
}
