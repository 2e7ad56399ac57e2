//! Follows transfers to their end: one thread each asks the server, the calling thread shows what they tell.
//!
//! | thread | started by | ends when |
//! |---|---|---|
//! | `follow` (one a transfer) | [`follow_all`], which joins it | its transfer has ended, and its file is fetched where that was asked for |
//!
//! A transfer lives on the server, so nothing here can harm it: a server that does not answer is asked again for a
//! minute, and whoever presses Ctrl-C leaves the transfer running.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::api::{Api, ApiError};
use super::fetch::{FetchError, fetch};
use super::view::View;
use crate::exit::Exit;
use crate::limits;
use crate::transfer::{Status, Transfer};

/// A transfer to follow.
pub struct Job {
    /// As it was when the server accepted it.
    pub transfer: Transfer,
    /// Where its file is wanted.
    pub target: Option<PathBuf>,
}

/// What becomes of it.
pub enum Event {
    /// It stands like this.
    Seen(Box<Transfer>),
    /// The server does not answer at the moment.
    Away(String),
    /// It is completed, and so many bytes of its file are fetched.
    Fetching(u64),
    /// That is all.
    Ended(Outcome),
}

/// How it ended.
pub enum Outcome {
    /// The transfer has ended, one way or another.
    Ended(Box<Transfer>),
    /// It is completed, and its file is here.
    Saved(Box<Transfer>, PathBuf),
    /// It is completed, and its file could not be fetched.
    NotSaved(Box<Transfer>, FetchError),
    /// It still runs, and there is no time left to wait for it.
    GaveUp(Box<Transfer>),
    /// The server does not tell any more.
    Lost(ApiError),
    /// This machine could not run one more thread to follow it.
    NotFollowed(io::Error),
}

impl Outcome {
    /// What it means for the exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Outcome::Saved(..) => Exit::Done,
            Outcome::Ended(transfer) => match transfer.status {
                Status::Completed => Exit::Done,
                Status::Failed | Status::Cancelled | Status::Expired => Exit::Failed,
                Status::Queued
                | Status::Requested
                | Status::Receiving
                | Status::Verifying
                | Status::Interrupted => unreachable!("followed to its end"),
            },
            Outcome::NotSaved(_, FetchError::Api(error)) | Outcome::Lost(error) => error.exit(),
            Outcome::NotSaved(_, FetchError::Io { .. } | FetchError::Differs { .. })
            | Outcome::GaveUp(_)
            | Outcome::NotFollowed(_) => Exit::Failed,
        }
    }
}

/// Follows `jobs` to their ends, or until it is time to `give_up`; shows them in `view`, and hands each outcome to `ended`, with its place in `jobs`.
pub fn follow_all(
    api: &Api,
    jobs: &[Job],
    view: &mut View,
    give_up: Option<Instant>,
    mut ended: impl FnMut(usize, Outcome),
) {
    let (tell, told) = mpsc::sync_channel(jobs.len() * 4);
    let asking = Asking { pace: view.pace(), pause: POLL_TIME.max(POLL_SHARE * jobs.len() as u32), give_up };
    thread::scope(|scope| {
        for (index, job) in jobs.iter().enumerate() {
            let tell = tell.clone();
            let body = move || follow(api, index, job, asking, &tell);
            if let Err(error) = thread::Builder::new().name("follow".to_owned()).spawn_scoped(scope, body) {
                view.end(index);
                ended(index, Outcome::NotFollowed(error));
            }
        }
        drop(tell); // the channel ends with the last thread
        loop {
            match told.recv_timeout(view.repaint_after()) {
                Ok((index, Event::Ended(outcome))) => {
                    view.end(index);
                    ended(index, outcome);
                }
                Ok((index, event)) => view.note(index, event),
                Err(RecvTimeoutError::Timeout) => view.paint(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    view.close();
}

/// How often the server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A few times a second.
    Poll,
    /// Once a second, or at the end.
    Wait,
}

/// Between two questions on one transfer, for bars that move.
const POLL_TIME: Duration = Duration::from_millis(100);
/// Between two questions on any of them: many transfers must not keep the server busy with answering.
const POLL_SHARE: Duration = Duration::from_millis(10);
/// How long the server may wait for the end before it answers, where each change is a line: it answers no earlier at any
/// other change.
const LINE_TIME: Duration = Duration::from_secs(1);
/// Between two tries at a server that does not answer.
const RETRY_TIME: Duration = Duration::from_secs(1);
/// Between two reports on a file that is fetched.
const REPORT_TIME: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
struct Asking {
    pace: Pace,
    pause: Duration,
    /// When whoever waits has no time left.
    give_up: Option<Instant>,
}

impl Asking {
    /// `time`, or what is left.
    fn at_most(self, time: Duration) -> Duration {
        match self.give_up {
            Some(give_up) => time.min(give_up.saturating_duration_since(Instant::now())),
            None => time,
        }
    }
}

fn follow(api: &Api, index: usize, job: &Job, asking: Asking, tell: &SyncSender<(usize, Event)>) {
    // Whoever listens does so until the last thread has ended.
    let say = |event| tell.send((index, event)).expect("the listener outlives its threads");
    let outcome = match to_the_end(api, job.transfer.clone(), asking, say) {
        Err(error) => Outcome::Lost(error),
        Ok(transfer) => match &job.target {
            Some(target) if transfer.status == Status::Completed => {
                say(Event::Fetching(0));
                let mut reported = Instant::now();
                let progress = |bytes| {
                    // The last byte is always told: what follows is the disk, which has no bytes to count.
                    if reported.elapsed() >= REPORT_TIME || transfer.size == Some(bytes) {
                        reported = Instant::now();
                        say(Event::Fetching(bytes));
                    }
                };
                match fetch(api, &transfer, target, progress) {
                    Ok(()) => Outcome::Saved(Box::new(transfer), target.clone()),
                    Err(error) => Outcome::NotSaved(Box::new(transfer), error),
                }
            }
            Some(_) | None if !transfer.status.is_final() => Outcome::GaveUp(Box::new(transfer)),
            Some(_) | None => Outcome::Ended(Box::new(transfer)),
        },
    };
    say(Event::Ended(outcome));
}

/// The transfer as it ended, or as it is when the time is up.
fn to_the_end(
    api: &Api,
    mut transfer: Transfer,
    asking: Asking,
    say: impl Fn(Event),
) -> Result<Transfer, ApiError> {
    let wait = match asking.pace {
        Pace::Poll => Duration::ZERO,
        Pace::Wait => LINE_TIME,
    };
    let mut answered = Instant::now();
    while !transfer.status.is_final() {
        match api.transfer(transfer.request_id, asking.at_most(wait)) {
            Ok(now) => {
                answered = Instant::now();
                transfer = now;
                say(Event::Seen(Box::new(transfer.clone())));
                if transfer.status.is_final() || asking.at_most(asking.pause).is_zero() {
                    break;
                }
                thread::sleep(asking.at_most(asking.pause));
            }
            Err(error) if error.may_pass() && answered.elapsed() < limits::PULL_PATIENCE + wait => {
                say(Event::Away(error.to_string()));
                if asking.at_most(RETRY_TIME).is_zero() {
                    break;
                }
                thread::sleep(asking.at_most(RETRY_TIME));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(transfer)
}
