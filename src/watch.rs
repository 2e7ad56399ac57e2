//! Tells when a file may have changed, by whatever means: written in place, renamed into place, removed, its mode changed,
//! a link set to another place.
//!
//! On Linux it is inotify on the folders that the files are in, and on those of the files that they are links to, so a
//! thread sleeps until something happens there. That sees nothing of what another machine does on a network file system, and nothing in a folder that takes the place of a
//! watched one. Whoever must not miss a change looks now and then on an occasion of its own as well.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::thread;

use crate::folder;
use crate::limits;

/// Calls `changed` at once, and then whenever something has happened in a folder of one of `paths`: often for nothing, so
/// it looks for itself what has changed. Never returns; to be run in a thread of its own.
pub fn watch(paths: &[PathBuf], mut changed: impl FnMut()) -> Infallible {
    loop {
        let why = match wait_for_events(paths, &mut changed) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        // Without a watch, or while its folder is gone. What is lost in between is seen by this look.
        log::debug!(
            "{}: not watched: {why}",
            paths.first().map_or(Path::new(""), PathBuf::as_path).display()
        );
        thread::sleep(limits::LOOK_PAUSE);
        changed();
    }
}

/// The folders where something happens when one of `paths` becomes another file: the one that its name is in, and where that
/// is a link, the one that each further name is in, whether there is a file at the end or not.
#[cfg(target_os = "linux")]
fn folders(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for path in paths {
        let mut path = path.to_owned();
        for _ in 0..limits::MAX_LINKS {
            let folder = folder::of(&path);
            // By its own name: that of a link stays when the link is set to another folder.
            folders.push(folder.canonicalize().unwrap_or_else(|_| folder.to_owned()));
            match path.read_link() {
                Ok(target) => path = folder.join(target),
                Err(_) => break, // no link, or nothing is there
            }
        }
    }
    folders
}

#[cfg(target_os = "linux")]
fn wait_for_events(paths: &[PathBuf], changed: &mut impl FnMut()) -> std::io::Result<Infallible> {
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

    let wanted = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::ATTRIB
        | WatchFlags::MOVE_SELF
        | WatchFlags::DELETE_SELF
        | WatchFlags::ONLYDIR;
    let gone = ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::DELETE_SELF | ReadFlags::UNMOUNT;
    loop {
        let watched = folders(paths);
        let events = inotify::init(CreateFlags::CLOEXEC)?;
        for folder in &watched {
            inotify::add_watch(&events, folder, wanted)?;
        }
        changed(); // it may have happened before the watch was there
        let mut buffer = vec![std::mem::MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(&events, &mut buffer);
        // Until a link leads to another folder.
        while folders(paths) == watched {
            loop {
                match reader.next() {
                    Ok(event) if event.events().intersects(gone) && folders(paths) == watched => {
                        return Err(std::io::ErrorKind::NotFound.into());
                    }
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                if reader.is_buffer_empty() {
                    break;
                }
            }
            changed(); // once for all that has happened by now
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn wait_for_events(_: &[PathBuf], _: &mut impl FnMut()) -> std::io::Result<Infallible> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::{Duration, Instant};

    use super::*;

    /// Waits until what is read has become `wanted`.
    #[track_caller]
    fn becomes(told: &Receiver<Option<String>>, wanted: Option<&str>) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let read = told.recv_timeout(left).unwrap_or_else(|_| panic!("never told of {wanted:?}"));
            if read.as_deref() == wanted {
                return;
            }
        }
    }

    #[test]
    fn every_way_to_change_a_file_is_told() {
        let dir = std::env::temp_dir().join(format!("towline-watch-{}", std::process::id()));
        let (one, two) = (dir.join("one"), dir.join("two"));
        fs::create_dir_all(&one).unwrap();
        fs::create_dir_all(&two).unwrap();
        let (file, link) = (one.join("file"), two.join("link"));
        let (tell, told) = channel();
        let paths = vec![file.clone(), link.clone()];
        // It runs until the end of the tests, as it does until the end of a program.
        thread::spawn(move || {
            let seen = paths.clone();
            watch(&paths, move || {
                let mode = |path| fs::metadata(path).map_or(0, |found| found.permissions().mode() & 0o777);
                let read = |path| fs::read_to_string(path).ok();
                let text = seen.iter().filter_map(read).collect::<Vec<_>>().join("+");
                let text = if mode(&seen[0]) == 0o640 { format!("{text} open") } else { text };
                let _the_test_is_over = tell.send(Some(text).filter(|text| !text.is_empty()));
            })
        });
        becomes(&told, None);
        fs::write(&file, "made").unwrap();
        becomes(&told, Some("made"));
        fs::write(&file, "written").unwrap();
        becomes(&told, Some("written"));
        fs::write(one.join("new"), "renamed").unwrap();
        fs::rename(one.join("new"), &file).unwrap();
        becomes(&told, Some("renamed"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        becomes(&told, Some("renamed open"));
        fs::remove_file(&file).unwrap();
        becomes(&told, None);
        fs::write(dir.join("target"), "linked").unwrap();
        symlink("../target", &link).unwrap();
        becomes(&told, Some("linked"));
        // Where a link leads into another folder, that one counts too, and each link on the way.
        let (three, four) = (dir.join("three"), dir.join("four"));
        fs::create_dir(&three).unwrap();
        fs::create_dir(&four).unwrap();
        symlink("../four/file", three.join("link")).unwrap();
        symlink("../three/link", two.join("new")).unwrap();
        fs::rename(two.join("new"), &link).unwrap();
        becomes(&told, None);
        fs::write(four.join("file"), "far").unwrap();
        becomes(&told, Some("far"));
        fs::write(four.join("new"), "renamed far").unwrap();
        fs::rename(four.join("new"), four.join("file")).unwrap();
        becomes(&told, Some("renamed far"));
        symlink("../target", three.join("new")).unwrap();
        fs::rename(three.join("new"), three.join("link")).unwrap();
        becomes(&told, Some("linked"));
        // A folder that goes and comes back is watched again.
        fs::remove_dir_all(&one).unwrap();
        fs::create_dir(&one).unwrap();
        fs::write(&file, "back").unwrap();
        becomes(&told, Some("back+linked"));
        fs::write(&file, "again").unwrap();
        becomes(&told, Some("again+linked"));
        fs::remove_dir_all(dir).unwrap();
    }
}
