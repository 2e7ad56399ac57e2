//! What an operator may see before pulling: the shares, or the entries of a shared folder.
//!
//! Invariants: no content is opened, links are shown and not followed, and the answer fits one text message
//! however full the folder is. Memory is bounded by the answer, not by the folder.

use std::collections::BinaryHeap;
use std::ffi::OsString;
use std::{fs, io};

use cap_std::fs::Dir;
use serde::{Deserialize, Serialize};

use super::{Shares, milliseconds, open_folder, refusal};
use crate::limits;
use crate::names::{FileKey, printable};
use crate::refusal::{Refusal, RefusalCode};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file: it can be pulled.
    File,
    /// A folder: it can be listed.
    Folder,
    /// A symbolic link: it can be pulled when it leads to a file within the share.
    Link,
    /// A device, a pipe, a socket; a share that is missing right now.
    Other,
}

/// One share, or one entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The share's name, or the entry's; bytes that are not UTF-8 are shown as U+FFFD.
    pub name: String,
    /// Bytes, of a regular file.
    pub size: Option<u64>,
    /// Last modification, in milliseconds since the epoch.
    pub modified: Option<u64>,
    /// What it is.
    pub kind: Kind,
}

/// The answer to a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The entries, by name; the shares in the order of `SHARES`.
    pub entries: Vec<Entry>,
    /// Whether there are more than are listed.
    pub truncated: bool,
}

impl Shares {
    /// The shares themselves, or the entries of the folder that `path` names (`<share>` or `<share>/<path>`).
    ///
    /// # Errors
    /// As [`Shares::open`]; a path that names a file is `bad_request`.
    pub fn list(&self, path: Option<&str>) -> Result<Listing, Refusal> {
        let path = path.map(|path| path.strip_suffix('/').unwrap_or(path));
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            let entries = self.shares.iter().map(|(name, path)| match fs::metadata(path) {
                Ok(found) => {
                    let kind = kind(found.is_file(), found.is_dir(), found.is_symlink());
                    entry(name.to_string(), kind, found.len(), found.modified())
                }
                Err(_) => Entry { name: name.to_string(), size: None, modified: None, kind: Kind::Other },
            });
            return Ok(Listing { entries: entries.collect(), truncated: false });
        };
        let key: FileKey = path
            .parse()
            .map_err(|wanted| Refusal::new(RefusalCode::BadRequest, format!("path: {wanted}")))?;
        let shown = printable(path).to_string();
        let a_file = || {
            let message = format!("{shown}: this is a file, and only folders can be listed");
            Refusal::new(RefusalCode::BadRequest, message)
        };
        let (share, beneath) = self.locate(&key)?;
        if beneath.is_none() && fs::metadata(share).is_ok_and(|found| !found.is_dir()) {
            return Err(a_file());
        }
        let mut folder = open_folder(share, &shown)?;
        if let Some(beneath) = beneath {
            let found = folder.metadata(&beneath).map_err(|error| refusal(&error, &shown))?;
            if !found.is_dir() {
                return Err(a_file());
            }
            folder = folder.open_dir(&beneath).map_err(|error| refusal(&error, &shown))?;
        }
        entries_of(&folder).map_err(|error| refusal(&error, &shown))
    }
}

/// The first entries of `folder` by name.
fn entries_of(folder: &Dir) -> io::Result<Listing> {
    let mut truncated = false;
    // A heap of the smallest names so far, the largest on top: a folder of millions costs a thousand names.
    let mut first: BinaryHeap<OsString> = BinaryHeap::new();
    for (scanned, found) in folder.entries()?.enumerate() {
        if scanned == limits::MAX_SCANNED_ENTRIES {
            truncated = true;
            break;
        }
        first.push(found?.file_name());
        if first.len() > limits::MAX_LISTED_ENTRIES {
            first.pop();
            truncated = true;
        }
    }
    let mut entries = Vec::with_capacity(first.len());
    let mut bytes = 0;
    for name in first.into_sorted_vec() {
        let Ok(found) = folder.symlink_metadata(&name) else { continue }; // gone since
        let kind = kind(found.is_file(), found.is_dir(), found.is_symlink());
        let modified = found.modified().map(cap_std::time::SystemTime::into_std);
        let entry = entry(name.to_string_lossy().into_owned(), kind, found.len(), modified);
        bytes += serde_json::to_string(&entry).map_or(0, |json| json.len()) + ",".len();
        if bytes > limits::MAX_LISTED_BYTES {
            truncated = true;
            break;
        }
        entries.push(entry);
    }
    Ok(Listing { entries, truncated })
}

fn kind(file: bool, folder: bool, link: bool) -> Kind {
    match (file, folder, link) {
        (true, _, _) => Kind::File,
        (_, true, _) => Kind::Folder,
        (_, _, true) => Kind::Link,
        _ => Kind::Other,
    }
}

fn entry(name: String, kind: Kind, size: u64, modified: io::Result<std::time::SystemTime>) -> Entry {
    Entry {
        name,
        size: (kind == Kind::File).then_some(size),
        modified: modified.ok().map(milliseconds),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::super::tests::Temp;
    use super::*;

    #[test]
    fn listings() {
        let (temp, shares) = Temp::shop();
        let shop = temp.0.join("shop");
        symlink("/etc", shop.join("link")).unwrap();
        mkfifoat(CWD, shop.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        fs::write(shop.join(OsStr::from_bytes(b"z\xff")), "zz").unwrap();
        let list = |path| {
            let listing = shares.list(path).unwrap();
            assert!(!listing.truncated);
            listing.entries.into_iter().map(|e| (e.name, e.kind, e.size)).collect::<Vec<_>>()
        };
        let entry = |name: &str, kind, size| (name.to_owned(), kind, size);
        let top = [entry("s", Kind::Folder, None), entry("db", Kind::File, Some(2))];
        assert_eq!(list(None), top);
        assert_eq!(list(Some("")), top);
        assert_eq!(list(Some("/")), top);
        let in_shop = [
            entry("a.log", Kind::File, Some(1)),
            entry("link", Kind::Link, None),
            entry("pipe", Kind::Other, None),
            entry("sub", Kind::Folder, None),
            entry("z\u{fffd}", Kind::File, Some(2)),
        ];
        assert_eq!(list(Some("s")), in_shop);
        assert_eq!(list(Some("s/")), in_shop);
        assert_eq!(list(Some("s/sub")).len(), 2);
        let listing = shares.list(Some("s/sub")).unwrap();
        let age = crate::clock::now_ms().abs_diff(listing.entries[0].modified.unwrap());
        assert!(age < 60_000, "modified is in milliseconds since the epoch");

        for (path, code) in [
            ("s/link", RefusalCode::NotShared),
            ("s/gone", RefusalCode::FileNotFound),
            ("s/a.log", RefusalCode::BadRequest),
            ("db", RefusalCode::BadRequest),
            ("s/..", RefusalCode::BadRequest),
            ("//", RefusalCode::BadRequest),
            ("nothing", RefusalCode::NotShared),
            ("a\0b", RefusalCode::BadRequest),
        ] {
            assert_eq!(shares.list(Some(path)).map_err(|refusal| refusal.code), Err(code), "{path:?}");
        }
        fs::rename(&shop, temp.0.join("moved")).unwrap();
        let missing = &shares.list(None).unwrap().entries[0];
        assert_eq!((missing.kind, missing.modified), (Kind::Other, None));
    }

    #[test]
    fn a_full_folder_is_listed_in_part() {
        let (temp, shares) = Temp::shop();
        let many = temp.0.join("shop/many");
        fs::create_dir(&many).unwrap();
        for n in 0..limits::MAX_LISTED_ENTRIES + 5 {
            fs::write(many.join(format!("{n:05}")), "").unwrap();
        }
        let listing = shares.list(Some("s/many")).unwrap();
        assert!(listing.truncated);
        assert_eq!(listing.entries.len(), limits::MAX_LISTED_ENTRIES);
        let names: Vec<_> = listing.entries.iter().map(|entry| &*entry.name).collect();
        assert!(names.is_sorted() && names[0] == "00000" && names[999] == "00999");

        let long = temp.0.join("shop/long");
        fs::create_dir(&long).unwrap();
        for n in 0..limits::MAX_LISTED_ENTRIES {
            fs::write(long.join(format!("{n:05}{}", "\u{1}".repeat(250))), "").unwrap();
        }
        let listing = shares.list(Some("s/long")).unwrap();
        assert!(listing.truncated);
        assert!(serde_json::to_string(&listing).unwrap().len() < limits::MAX_TEXT_BYTES);
    }
}
