//! Small file systems of the tests' own, gone with their owners.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::temp::TempDir;

/// Something that is mounted.
pub struct Mounted(PathBuf);

impl Mounted {
    /// A folder that is a file system of a few megabytes. Nothing, and a word on stderr, where the machine lets us
    /// mount none.
    pub fn small(megabytes: u32) -> Option<(Mounted, TempDir)> {
        let home = TempDir::new();
        let size = format!("size={megabytes}m");
        let mounted = mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], &home)?;
        Some((mounted, home))
    }

    /// Covers a folder with itself, read-only: what is open stays as it is, nothing new can be opened or renamed.
    /// (A true remount is refused by the kernel while a file is open for writing.)
    pub fn read_only(path: &Path) -> Option<Mounted> {
        let mounted = mount(&["--bind", path.to_str().unwrap()], path)?;
        mount(&["-o", "remount,bind,ro"], path).map(std::mem::forget)?; // the same mount, changed
        Some(mounted)
    }
}

fn mount(args: &[&str], path: &Path) -> Option<Mounted> {
    let output = Command::new("mount").args(args).arg(path).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Some(Mounted(path.to_owned())),
        Ok(output) => {
            eprintln!("SKIPPED: can't mount here: {}", String::from_utf8_lossy(&output.stderr).trim());
            None
        }
        Err(error) => {
            eprintln!("SKIPPED: no mount command: {error}");
            None
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: whatever still uses it lets go of it in its own time.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("can't unmount {}", self.0.display());
        }
        let _ = fs::remove_dir(&self.0); // it goes when it is the folder of a test, which is empty now
    }
}

/// Somebody else's file, which takes all the room there is.
pub struct Ballast(PathBuf);

impl Ballast {
    pub fn fill(home: &Path) -> Ballast {
        let path = home.join("ballast");
        let mut file = File::create(&path).expect("an empty file has room");
        for size in [64 << 10, 1] {
            let block = vec![0x55; size];
            let full = loop {
                if let Err(error) = file.write_all(&block) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        }
        Ballast(path)
    }

    pub fn remove(self) {
        fs::remove_file(&self.0).expect("it is there");
    }
}
