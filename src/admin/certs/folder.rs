//! The folder of the certificates: files come whole or not at all, keys are private from their first byte, and nothing
//! that is there is replaced unless that is asked for.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::spool::rename_new;
use crate::{folder, limits, random};

/// Whether what is there may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replace {
    Yes,
    No,
}

/// A file that is to be there.
pub(super) struct Fresh<'a> {
    pub(super) name: String,
    pub(super) text: &'a str,
    /// `0o600` for a key.
    pub(super) mode: u32,
}

/// What went wrong with the folder.
#[derive(Debug)]
pub(super) enum FolderError {
    /// It is there, and was not to be replaced.
    Exists(PathBuf),
    /// Others than its owner may read it.
    Open(PathBuf),
    Io {
        doing: &'static str,
        path: PathBuf,
        error: io::Error,
    },
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderError::Exists(path) => {
                let path = path.display();
                write!(f, "{path} is there already, and is left as it is; --replace replaces it")
            }
            FolderError::Open(path) => {
                let path = path.display();
                write!(f, "others than its owner may read {path}, and sign with it: chmod 600 it first")
            }
            FolderError::Io { doing, path, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
        }
    }
}

fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError + use<> {
    let path = path.to_owned();
    move |error| FolderError::Io { doing, path, error }
}

/// The folder.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Folder {
        Folder { path }
    }

    /// Where a file of it is, or will be.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The same from the root, for a file that is there.
    pub(super) fn full_path(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::canonicalize(&path).unwrap_or(path)
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// The text of a file.
    pub(super) fn read(&self, name: &str) -> Result<String, FolderError> {
        let path = self.path(name);
        let mut text = String::new();
        let read =
            File::open(&path).and_then(|file| file.take(limits::MAX_PEM_BYTES).read_to_string(&mut text));
        read.map_err(at("read", &path))?;
        Ok(text)
    }

    /// The text of a key, which must be private.
    pub(super) fn read_key(&self, name: &str) -> Result<String, FolderError> {
        let path = self.path(name);
        let metadata = fs::metadata(&path).map_err(at("read", &path))?;
        match metadata.permissions().mode() & 0o077 {
            0 => self.read(name),
            _ => Err(FolderError::Open(path)),
        }
    }

    /// Puts all of `files` there, each in one step, after all of them have been written and synced. Without `replace`
    /// none is there when this fails.
    pub(super) fn put(&self, files: &[Fresh<'_>], replace: Replace) -> Result<(), FolderError> {
        if replace == Replace::No
            && let Some(there) = files.iter().find(|file| self.holds(&file.name))
        {
            return Err(FolderError::Exists(self.path(&there.name)));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        made.map_err(at("make the folder", &self.path))?;
        let drafts: Vec<Draft> = files.iter().map(|file| self.draft(file)).collect::<Result<_, _>>()?;
        let mut placed = Vec::new();
        for (draft, file) in drafts.iter().zip(files) {
            let path = self.path(&file.name);
            let put = match replace {
                Replace::Yes => fs::rename(&draft.0, &path),
                // Of two that do this at once, the first file decides.
                Replace::No => rename_new(&draft.0, &path),
            };
            match put {
                Ok(()) => placed.push(path),
                Err(error) => {
                    if replace == Replace::No {
                        take_back(&placed);
                    }
                    return Err(match error.kind() {
                        io::ErrorKind::AlreadyExists => FolderError::Exists(path),
                        _ => at("write", &path)(error),
                    });
                }
            }
        }
        folder::sync(&self.path).map_err(at("sync", &self.path))
    }

    /// Writes a file under a name that it does not keep.
    fn draft(&self, file: &Fresh<'_>) -> Result<Draft, FolderError> {
        let random = u64::from_ne_bytes(random::bytes());
        let path = self.path(&format!(".{}.{random:016x}", file.name));
        let draft = Draft(path.clone());
        let written = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&path);
        let written = written.and_then(|mut draft| {
            draft.write_all(file.text.as_bytes())?;
            draft.sync_all()
        });
        written.map_err(at("write", &path))?;
        Ok(draft)
    }
}

/// A file that goes with its owner, unless it has got another name.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _renamed = fs::remove_file(&self.0); // most often, and then it is not there
    }
}

fn take_back(placed: &[PathBuf]) {
    for path in placed {
        if let Err(error) = fs::remove_file(path) {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }
}
