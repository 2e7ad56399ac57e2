//! The proof after any trouble: what was accepted has an end, what is published is verified, nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::files::{parts, sha256_of_file};
use super::server::{Server, is_final};
use super::wait::Deadline;

/// A pull that the server has accepted, and the SHA-256 of each content that its file has had.
#[derive(Debug, Clone)]
pub struct Pull {
    pub id: String,
    pub may_be: BTreeSet<String>,
}

/// What was found. From `lost` on every number of things must be 0.
#[derive(Debug, Default)]
pub struct Audit {
    pub asked: usize,
    pub completed: usize,
    /// Attempts that did not complete, of all pulls.
    pub interruptions: u64,
    /// Failed, cancelled and expired, by reason.
    pub failed: BTreeMap<String, usize>,
    /// Accepted, and unknown now or without an end.
    pub lost: usize,
    /// Completed, and the file is not there, is no content that the source has had, or is not as the API says.
    pub corrupt: usize,
    /// Good files in UPLOAD_DIR that no completed transfer names: second files of a transfer.
    pub duplicated: usize,
    /// Files in UPLOAD_DIR that are no content of any source.
    pub unverified: usize,
    pub leftover_parts: usize,
    /// Records that a restart could not read.
    pub set_aside: usize,
    /// One line for each thing that is wrong.
    pub trouble: Vec<String>,
    pub bytes_of_files: u64,
}

impl Audit {
    /// Looks at all `pulls` and all of UPLOAD_DIR, once every pull has had time to end.
    pub fn of(server: &Server, pulls: &[Pull]) -> Audit {
        let mut audit = Audit { asked: pulls.len(), ..Audit::default() };
        let sources: BTreeSet<&str> =
            pulls.iter().flat_map(|pull| pull.may_be.iter().map(String::as_str)).collect();
        let ended: Vec<_> =
            pulls.iter().filter_map(|pull| Some((pull, audit.end_of(server, pull)?))).collect();
        // Only now: a file appears when its transfer ends.
        let mut files = downloads(&server.uploads, &BTreeMap::new());
        for (pull, transfer) in &ended {
            audit.judge(server, pull, transfer, &mut files);
        }
        for (name, hash) in files {
            let (count, what) = if sources.contains(hash.as_str()) {
                (&mut audit.duplicated, "is a second file of some transfer")
            } else {
                (&mut audit.unverified, "is no content of any source")
            };
            *count += 1;
            audit.trouble.push(format!("{name} {what}"));
        }
        audit.look_for_leftovers(&server.uploads);
        audit
    }

    /// Nothing is wrong. What failed has a reason, which is for the test to judge.
    pub fn is_sound(&self) -> bool {
        self.trouble.is_empty()
    }

    #[track_caller]
    pub fn assert_sound(&self) {
        assert!(self.is_sound(), "{self}");
    }

    /// How it ended, if it did.
    fn end_of(&mut self, server: &Server, pull: &Pull) -> Option<Value> {
        let answer = server.get(&format!("/transfers/{}?wait=50", pull.id));
        let transfer = if answer.status == 200 { answer.json() } else { Value::Null };
        if is_final(&transfer) {
            return Some(transfer);
        }
        self.lost += 1;
        self.trouble.push(format!("{} has no end: {} {transfer}", pull.id, answer.status));
        None
    }

    fn judge(
        &mut self,
        server: &Server,
        pull: &Pull,
        transfer: &Value,
        files: &mut BTreeMap<String, String>,
    ) {
        self.interruptions += transfer["attempts"].as_u64().unwrap_or_default().saturating_sub(1);
        if transfer["status"] != "completed" {
            let code = transfer["failure"]["code"].as_str().or(transfer["status"].as_str());
            *self.failed.entry(code.unwrap_or("no reason").to_owned()).or_default() += 1;
            return;
        }
        self.completed += 1;
        let name = transfer["filename"].as_str().unwrap_or_default();
        let found = files.remove(name);
        let length = std::fs::metadata(server.uploads.join(name)).map_or(0, |file| file.len());
        self.bytes_of_files += length;
        let stated = transfer["sha256"].as_str();
        let is_right =
            found.as_deref().is_some_and(|hash| pull.may_be.contains(hash) && stated == Some(hash))
                && [&transfer["size"], &transfer["bytes"]].iter().all(|stated| **stated == length);
        if !is_right {
            self.corrupt += 1;
            self.trouble
                .push(format!("{} is completed over {found:?} of {length} bytes: {transfer}", pull.id));
        }
    }

    fn look_for_leftovers(&mut self, uploads: &Path) {
        // A transfer may be told to have failed a moment before its part is gone.
        let deadline = Deadline::soon();
        let mut left = parts(uploads);
        while !left.is_empty() && !deadline.passed() {
            super::wait::pause(std::time::Duration::from_millis(10));
            left = parts(uploads);
        }
        self.leftover_parts = left.len();
        self.trouble.extend(left.iter().map(|part| format!("{} is left over", part.display())));
        for entry in std::fs::read_dir(uploads.join(".towline")).expect("the server has its folder").flatten()
        {
            if entry.file_name().to_string_lossy().starts_with("damaged-") {
                self.set_aside += 1;
                self.trouble.push(format!("{} was set aside", entry.path().display()));
            }
        }
    }
}

/// What is in UPLOAD_DIR, by name, with its SHA-256. Files that are `known` are not read again.
pub fn downloads(uploads: &Path, known: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(uploads).expect("UPLOAD_DIR can be read").flatten();
    let files = entries.filter(|entry| entry.file_name() != ".towline");
    files
        .map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            let hash = known.get(&name).cloned().unwrap_or_else(|| sha256_of_file(&file.path()));
            (name, hash)
        })
        .collect()
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pulls asked        {}", self.asked)?;
        writeln!(f, "completed          {}, {} MB", self.completed, self.bytes_of_files / 1_000_000)?;
        writeln!(f, "interruptions      {}", self.interruptions)?;
        for (code, count) in &self.failed {
            writeln!(f, "failed             {count} with {code}")?;
        }
        writeln!(f, "lost               {}", self.lost)?;
        writeln!(f, "corrupt            {}", self.corrupt)?;
        writeln!(f, "duplicated         {}", self.duplicated)?;
        writeln!(f, "unverified files   {}", self.unverified)?;
        writeln!(f, "leftover parts     {}", self.leftover_parts)?;
        write!(f, "records set aside  {}", self.set_aside)?;
        self.trouble.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}
