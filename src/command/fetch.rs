//! Takes a verified file from the server, for `--output`: under a hidden name in the target's folder, hashed while it
//! is written, and given its name only when its size and hash are those of the transfer. Nothing is overwritten.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::api::{Api, ApiError};
use crate::folder;
use crate::hash::Hasher;
use crate::names::Sha256Hash;
use crate::spool;
use crate::transfer::Transfer;

const BUFFER_BYTES: usize = 256 << 10;

/// Why a file could not be taken.
#[derive(Debug)]
pub enum FetchError {
    /// The server did not give it.
    Api(ApiError),
    /// Reading or writing failed.
    Io {
        /// What we were doing.
        doing: String,
        /// Why it failed.
        error: io::Error,
    },
    /// What came is not what the server verified.
    Differs {
        /// What is expected and what came.
        text: String,
    },
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Api(error) => error.fmt(f),
            FetchError::Io { doing, error } => write!(f, "cannot {doing}: {error}"),
            FetchError::Differs { text } => {
                write!(f, "what came from the server is not the verified file ({text}); try again")
            }
        }
    }
}

impl std::error::Error for FetchError {}

/// Takes the file of `transfer`, which is completed, to `target`; tells `progress` how many bytes are here.
///
/// # Errors
/// When it does not come whole, cannot be written, or `target` is there already. Nothing is left behind then.
pub fn fetch(
    api: &Api,
    transfer: &Transfer,
    target: &Path,
    progress: impl FnMut(u64),
) -> Result<(), FetchError> {
    let from = api.file(transfer.request_id).map_err(FetchError::Api)?;
    save(from, transfer.size, transfer.sha256, target, progress)
}

fn save(
    from: impl Read,
    size: Option<u64>,
    sha256: Option<Sha256Hash>,
    target: &Path,
    progress: impl FnMut(u64),
) -> Result<(), FetchError> {
    let folder = folder::of(target);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(40).collect(); // the part's name must not be too long where the target's fits
    let part = Part(folder.join(format!(".{short}.{}.part", std::process::id())));
    let at = |verb: &str, path: &Path| {
        let doing = format!("{verb} {}", path.display());
        move |error| FetchError::Io { doing, error }
    };
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&part.0).map_err(at("create", &part.0))?;
    let (bytes, hash) = copy(from, &mut file, progress).map_err(at("fetch the file to", &part.0))?;
    if size.is_some_and(|size| size != bytes) {
        return Err(FetchError::Differs { text: format!("{bytes} bytes instead of {}", size.unwrap_or(0)) });
    }
    if sha256 != Some(hash) {
        return Err(FetchError::Differs { text: format!("its SHA-256 is {hash}") });
    }
    file.sync_all().map_err(at("write", &part.0))?;
    spool::rename_new(&part.0, target).map_err(at("save the file as", target))?;
    drop(part);
    folder::sync(folder).map_err(at("write", folder))
}

fn copy(
    mut from: impl Read,
    to: &mut impl Write,
    mut progress: impl FnMut(u64),
) -> io::Result<(u64, Sha256Hash)> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut hash = Hasher::default();
    let mut bytes = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hash.hash())),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        bytes += count as u64;
        progress(bytes);
    }
}

/// A file that is removed when it is no longer needed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("towline: cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash_all;

    #[test]
    fn verified_or_absent() {
        let folder = std::env::temp_dir().join(format!("towline-fetch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let target = folder.join("pos.db");
        let data = vec![7; 1_000_000];
        let hash = Some(hash_all(&data[..]).unwrap().0);
        let names = || fs::read_dir(&folder).unwrap().count();

        for (bytes, size, sha256, wanted) in [
            (&data[1..], Some(1_000_000), hash, "999999 bytes instead of 1000000"),
            (&data[..], Some(1_000_000), Some(Sha256Hash([0; 32])), "SHA-256"),
            (&data[..], None, None, "SHA-256"),
        ] {
            let error = save(bytes, size, sha256, &target, |_| {}).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
            assert_eq!(names(), 0);
        }

        let mut seen = 0;
        save(&data[..], Some(1_000_000), hash, &target, |bytes| seen = bytes).unwrap();
        assert_eq!((fs::read(&target).unwrap(), seen, names()), (data.clone(), 1_000_000, 1));

        fs::write(&target, "precious").unwrap();
        let error = save(&data[..], Some(1_000_000), hash, &target, |_| {}).unwrap_err().to_string();
        assert!(error.starts_with("cannot save the file as "), "{error}");
        assert_eq!((fs::read(&target).unwrap(), names()), (b"precious".to_vec(), 1));
        fs::remove_dir_all(folder).unwrap();
    }
}
