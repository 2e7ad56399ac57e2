//! Files to pull, and what may be found where they are put.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::wait::eventually;

/// `len` bytes that look random and are the same for the same `seed` (splitmix64).
pub fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes `len` such bytes to `path`, and returns them.
pub fn random_file(path: &Path, seed: u64, len: usize) -> Vec<u8> {
    let bytes = random_bytes(seed, len);
    fs::write(path, &bytes).expect("the test's folder takes a file");
    bytes
}

/// `length` bytes of a till's log, of which each line is another one.
pub fn log_lines(from: usize, length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 100);
    for number in from.. {
        if text.len() >= length {
            break;
        }
        let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let line = format!("2025-10-31T15:30:00 till {} sold {dice:x} for {}\n", dice >> 60, dice >> 50);
        text.extend(line.into_bytes());
    }
    text.truncate(length);
    text
}

/// SHA-256 as 64 lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The same of a file that is too large for memory.
pub fn sha256_of_file(path: &Path) -> String {
    let mut file = File::open(path).expect("the file is there");
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer).expect("the file can be read");
        if read == 0 {
            return hex(&hasher.finalize());
        }
        hasher.update(&buffer[..read]);
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Standard base64 with padding (RFC 4648, section 4), as `Repr-Digest` has it.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let used = digit <= three.len();
            text.push(if used { DIGITS[(word >> (18 - 6 * digit)) as usize & 63] as char } else { '=' });
        }
    }
    text
}

/// Asserts that `uploads` holds exactly these downloads (name and SHA-256), and Towline's own folder no part but those of
/// transfers that go on.
#[track_caller]
pub fn assert_downloads(uploads: &Path, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned())).collect();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(uploads).expect("UPLOAD_DIR is a folder") {
        let entry = entry.expect("UPLOAD_DIR can be read");
        let name = entry.file_name().into_string().expect("a download's name is ASCII");
        if name != ".towline" {
            found.insert(name, sha256_of_file(&entry.path()));
        }
    }
    assert_eq!(found, expected, "what is in UPLOAD_DIR");
    // A transfer may be told to have failed a moment before its part is gone.
    let is_over = |part: &PathBuf| {
        let record = fs::read(part.with_file_name("record.json")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        !["receiving", "interrupted", "queued", "requested"].iter().any(|status| record["status"] == *status)
    };
    eventually("no part is left", || (!parts(uploads).iter().any(is_over)).then_some(()));
}

/// Every file in Towline's own folder that is not a record or its own bookkeeping.
pub fn parts(uploads: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&uploads.join(".towline"), &mut found).expect("UPLOAD_DIR can be read");
    let own = ["record.json", "lock", "control.sock", "audit.jsonl"];
    found.retain(|path| !own.iter().any(|name| path.file_name().is_some_and(|found| found == *name)));
    found
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()), // went while we walked
        Err(err) => return Err(err),
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), found)?,
            Ok(_) => found.push(entry.path()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}
