//! What is wrong with a log, for a person.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::names::{Sha256Hash, printable};

/// Why a log is not good.
#[derive(Debug)]
pub enum Broken {
    /// A file can't be read.
    Unreadable(PathBuf, io::Error),
    /// There is no such log.
    Absent(PathBuf),
    /// A line is not as it was written.
    Line {
        /// In this file.
        file: PathBuf,
        /// Counts from 1.
        line: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// The server has set this file aside.
    SetAside(PathBuf),
    /// The head that was looked for is not there.
    NotThere(Sha256Hash),
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No line of a log has this form.
    NoLine,
    /// No line is that long.
    TooLong,
    /// The file ends within it.
    Torn,
    /// Lines before it are missing.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// It is there twice, or out of order.
    Misplaced {
        /// Its number.
        seq: u64,
        /// The number that belongs here.
        expected: u64,
    },
    /// The next line was written behind another one.
    Changed {
        /// The number of the next line.
        next: u64,
    },
    /// The first line of all says that there is one before it.
    NotTheFirst,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &Path| printable(&path.display().to_string()).to_string();
        match self {
            Broken::Unreadable(path, error) => write!(f, "can't read {}: {error}", shown(path)),
            Broken::Absent(path) => write!(f, "there is no audit log {}", shown(path)),
            Broken::Line { file, line, fault } => write!(f, "{} line {line}: {fault}", shown(file)),
            Broken::SetAside(path) => write!(
                f,
                "{}: this file was set aside, for it did not end with a line of the log; look into it and move it away",
                shown(path)
            ),
            Broken::NotThere(hash) => write!(
                f,
                "head {hash} is not in the chain: lines were cut off or written anew, or it is in an older file that was removed"
            ),
        }
    }
}

impl std::error::Error for Broken {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoLine => f.write_str("this is no line of an audit log"),
            Fault::TooLong => {
                write!(f, "longer than {} bytes, as no line of an audit log is", limits::MAX_AUDIT_LINE_BYTES)
            }
            Fault::Torn => f.write_str(
                "the file ends within this line, by a power cut or because it was cut; the program that writes it cuts it off when it starts",
            ),
            Fault::Missing { from, to } if from == to => write!(f, "line seq={from} before it is missing"),
            Fault::Missing { from, to } => write!(f, "lines seq={from} to seq={to} before it are missing"),
            Fault::Misplaced { seq, expected } => {
                write!(f, "seq={seq} where seq={expected} belongs: doubled, or out of order")
            }
            Fault::Changed { next } => {
                write!(f, "it was changed: line seq={next} was written behind another one")
            }
            Fault::NotTheFirst => f.write_str("it says that it is the first, and that there is one before it"),
        }
    }
}
