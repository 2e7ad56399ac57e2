//! Whether a log is as it was written: nothing changed, missing, doubled or out of order. Holds one line at a time; the log
//! may be written to meanwhile.
//!
//! What no chain can show is that its end was cut off, or that all of it was written anew: for that a head that was noted
//! earlier can be looked for.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::broken::{Broken, Fault};
use super::line::{self, Link};
use super::place::{Place, open_plainly};
use crate::limits;
use crate::names::Sha256Hash;

/// What is good.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verified {
    /// Files that were read.
    pub files: usize,
    /// Lines in them.
    pub lines: u64,
    /// The number of the first line: more than 1 when the oldest files have been removed.
    pub first: Option<u64>,
    /// The last line.
    pub head: Option<Link>,
    /// The number of the line that was looked for.
    pub expected: Option<u64>,
    /// Lines that say something of the log itself, the first [`MAX_REMARKS`] of them.
    pub remarks: Vec<Remark>,
}

/// Remarks that are kept.
pub const MAX_REMARKS: usize = 20;

/// A line that says that something was lost, though the chain holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Remark {
    /// Its number.
    pub seq: u64,
    /// What happened.
    pub event: &'static str,
}

/// Events that are remarks.
const REMARKABLE: [&str; 4] = ["torn_line_cut_off", "file_set_aside", "file_began_anew", "lines_lost"];

/// Verifies the log at `path`, with the full files beside it.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_log(path: &Path, expect: Option<Sha256Hash>) -> Result<Verified, Broken> {
    let unreadable = |error| Broken::Unreadable(path.to_owned(), error);
    let place = Place::new(path).ok_or_else(|| Broken::Absent(path.to_owned()))?;
    // First: should it become an older one meanwhile, it is read once, and what follows is not.
    let current = match open_plainly(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(error)),
    };
    let current_inode = current.as_ref().map(File::metadata).transpose().map_err(unreadable)?;
    let current_inode = current_inode.map(|stat| (stat.dev(), stat.ino()));
    let (old, aside) = match place.look() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Broken::Absent(path.to_owned())),
        Err(error) => return Err(Broken::Unreadable(place.folder().to_owned(), error)),
    };
    if current.is_none() && old.is_empty() {
        return Err(Broken::Absent(path.to_owned()));
    }
    let mut walk = Walk::new(expect);
    for old in &old {
        let unreadable = |error| Broken::Unreadable(old.path.clone(), error);
        let file = open_plainly(&old.path).map_err(unreadable)?;
        let stat = file.metadata().map_err(unreadable)?;
        if Some((stat.dev(), stat.ino())) != current_inode {
            walk.file(&old.path, file, Writing::Over)?;
        }
    }
    if let Some(file) = current {
        walk.file(path, file, Writing::GoesOn)?;
    }
    match aside.first() {
        Some(aside) => Err(Broken::SetAside(aside.clone())),
        None => walk.end(),
    }
}

/// Verifies these files, in this order.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_files(paths: &[PathBuf], expect: Option<Sha256Hash>) -> Result<Verified, Broken> {
    let mut walk = Walk::new(expect);
    for path in paths {
        let file = open_plainly(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Broken::Absent(path.clone()),
            _ => Broken::Unreadable(path.clone(), error),
        })?;
        walk.file(path, file, Writing::GoesOn)?;
    }
    walk.end()
}

/// Verifies a log that is here whole, as that of the file `name`.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_whole(name: &Path, log: impl BufRead, expect: Option<Sha256Hash>) -> Result<Verified, Broken> {
    let mut walk = Walk::new(expect);
    walk.lines(name, log, Writing::Over)?;
    walk.end()
}

/// Whether a file may grow while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    GoesOn,
    Over,
}

/// How a line was found.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Line,
    Torn,
    TooLong,
    End,
}

struct Walk {
    found: Verified,
    expect: Option<Sha256Hash>,
    /// Where the last line stands.
    at: Option<(PathBuf, u64)>,
}

impl Walk {
    fn new(expect: Option<Sha256Hash>) -> Walk {
        Walk { found: Verified::default(), expect, at: None }
    }

    fn file(&mut self, path: &Path, file: File, writing: Writing) -> Result<(), Broken> {
        self.lines(path, BufReader::with_capacity(256 << 10, file), writing)
    }

    fn lines(&mut self, path: &Path, mut reader: impl BufRead, writing: Writing) -> Result<(), Broken> {
        self.found.files += 1;
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            number += 1;
            let read = read_line(&mut reader, &mut line, writing);
            let fault = match read.map_err(|error| Broken::Unreadable(path.to_owned(), error))? {
                Read::End => return Ok(()),
                Read::Torn => Fault::Torn,
                Read::TooLong => Fault::TooLong,
                Read::Line => match self.line(&line) {
                    Ok(()) => {
                        self.at = Some((path.to_owned(), number));
                        continue;
                    }
                    Err(fault) => fault,
                },
            };
            let (file, line) = match (fault, self.at.take()) {
                (Fault::Changed { .. }, Some(last)) => last,
                _ => (path.to_owned(), number),
            };
            return Err(Broken::Line { file, line, fault });
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let head = line::read(line).ok_or(Fault::NoLine)?;
        match self.found.head {
            Some(last) => follows(last, head)?,
            None => {
                if head.seq == 0 || (head.seq == 1 && head.prev != Link::START.hash) {
                    return Err(Fault::NotTheFirst);
                }
                self.found.first = Some(head.seq);
                // The last line of a file that has been removed since.
                self.found.expected = (Some(head.prev) == self.expect).then_some(head.seq - 1);
            }
        }
        let hash = line::hash(line);
        if Some(hash) == self.expect {
            self.found.expected = Some(head.seq);
        }
        if self.found.remarks.len() < MAX_REMARKS {
            let event = REMARKABLE.into_iter().find(|event| *event == head.event);
            self.found.remarks.extend(event.map(|event| Remark { seq: head.seq, event }));
        }
        self.found.head = Some(Link { seq: head.seq, hash });
        self.found.lines += 1;
        Ok(())
    }

    fn end(self) -> Result<Verified, Broken> {
        match self.expect {
            Some(expected) if self.found.expected.is_none() => Err(Broken::NotThere(expected)),
            _ => Ok(self.found),
        }
    }
}

fn follows(last: Link, head: line::Head<'_>) -> Result<(), Fault> {
    let expected = last.seq + 1;
    if head.seq > expected {
        return Err(Fault::Missing { from: expected, to: head.seq - 1 });
    }
    if head.seq < expected {
        return Err(Fault::Misplaced { seq: head.seq, expected });
    }
    if head.prev != last.hash { Err(Fault::Changed { next: head.seq }) } else { Ok(()) }
}

/// Reads a line without its line feed, within the bound. One that is being written has a moment to become whole.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, writing: Writing) -> io::Result<Read> {
    line.clear();
    let mut patience = if writing == Writing::GoesOn { 40 } else { 0 };
    loop {
        let more = match reader.fill_buf() {
            Ok(more) => more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let (part, length) = match more.iter().position(|byte| *byte == b'\n') {
            Some(feed) => (&more[..feed], feed + 1),
            None => (more, more.len()),
        };
        if line.len() + part.len() > limits::MAX_AUDIT_LINE_BYTES {
            return Ok(Read::TooLong);
        }
        line.extend_from_slice(part);
        let is_whole = length > part.len();
        reader.consume(length);
        match (is_whole, length) {
            (true, _) => return Ok(Read::Line),
            (false, 0) if line.is_empty() => return Ok(Read::End),
            (false, 0) if patience == 0 => return Ok(Read::Torn),
            (false, 0) => {
                patience -= 1;
                thread::sleep(Duration::from_millis(5));
            }
            (false, _) => {}
        }
    }
}
