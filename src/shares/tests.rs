//! Shares over real folders: what opens, what does not, and with which code. Attacks and the tests of listings stand apart.

use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, mkfifoat, utimensat};

use super::*;

/// A folder of its own for each test, removed with it.
pub(super) struct Temp(pub(super) PathBuf);

impl Temp {
    fn new() -> Temp {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("towline-shares-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Temp(path)
    }

    /// `shop/` is the share `s`, `secret` lies beside it.
    pub(super) fn shop() -> (Temp, Shares) {
        let temp = Temp::new();
        for folder in ["shop", "shop/sub", "outside"] {
            fs::create_dir(temp.0.join(folder)).unwrap();
        }
        for (file, content) in [
            ("secret", "secret"),
            ("outside/f", "secret"),
            ("shop/a.log", "a"),
            ("shop/sub/b c.log", "bc"),
            ("shop/sub/kaßse ✓.db", "unicode"),
        ] {
            fs::write(temp.0.join(file), content).unwrap();
        }
        let shares = Shares::new(
            Some(temp.0.join("shop/a.log")),
            vec![share("s", temp.0.join("shop")), share("db", temp.0.join("shop/sub/b c.log"))],
        );
        (temp, shares)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // a test that failed half-way may have removed it
    }
}

pub(super) fn share(name: &str, path: PathBuf) -> (ShareName, PathBuf) {
    (name.parse().unwrap(), path)
}

pub(super) fn pull(shares: &Shares, key: Option<&str>) -> Result<(String, String), RefusalCode> {
    let key = key.map(|key| key.parse::<FileKey>().unwrap());
    let mut open = shares.open(key.as_ref()).map_err(|refusal| {
        assert!(!refusal.message.contains(std::env::temp_dir().to_str().unwrap()), "{refusal}");
        refusal.code
    })?;
    let mut content = String::new();
    open.file.read_to_string(&mut content).unwrap();
    assert_eq!(open.restat(), Ok(open.stamp));
    assert_eq!(open.stamp.size, content.len() as u64);
    Ok((open.name, content))
}

#[test]
fn what_is_shared_opens() {
    let (temp, shares) = Temp::shop();
    let sub = temp.0.join("shop/sub");
    symlink("sub/b c.log", temp.0.join("shop/inside")).unwrap();
    symlink("sub", temp.0.join("shop/inside-folder")).unwrap();
    symlink("../a.log", sub.join("up-and-inside")).unwrap();
    fs::write(sub.join("empty"), "").unwrap();
    for (key, name, content) in [
        (None, "a.log", "a"),
        (Some("db"), "b c.log", "bc"),
        (Some("s/a.log"), "a.log", "a"),
        (Some("s/sub/b c.log"), "b c.log", "bc"),
        (Some("s/sub/kaßse ✓.db"), "kaßse ✓.db", "unicode"),
        (Some("s/sub/empty"), "empty", ""),
        (Some("s/inside"), "inside", "bc"),
        (Some("s/inside-folder/b c.log"), "b c.log", "bc"),
        (Some("s/sub/up-and-inside"), "up-and-inside", "a"),
    ] {
        assert_eq!(pull(&shares, key), Ok((name.to_owned(), content.to_owned())), "{key:?}");
    }
}

#[test]
fn everything_else_is_refused_by_name() {
    use RefusalCode::{BadRequest, FileNotFound, NotAFile, NotShared};
    let (temp, shares) = Temp::shop();
    let shop = temp.0.join("shop");
    for (target, link) in [
        (temp.0.join("secret"), "abs-out"),
        ("../secret".into(), "rel-out"),
        ("sub/../../secret".into(), "deep-out"),
        ("../outside".into(), "folder-out"),
        (temp.0.join("outside"), "abs-folder-out"),
        (shop.join("a.log"), "abs-in"), // an absolute link starts at the root, wherever it ends
        ("/dev/zero".into(), "device"),
        ("/proc/self/root/etc/passwd".into(), "magic"),
        ("circle".into(), "circle"),
        ("gone".into(), "dangling"),
    ] {
        symlink(target, shop.join(link)).unwrap();
    }
    mkfifoat(CWD, shop.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    let _listener = UnixListener::bind(shop.join("socket")).unwrap();
    for (key, code) in [
        ("../secret", BadRequest),
        ("/etc/passwd", BadRequest),
        ("s/../secret", BadRequest),
        ("s/sub/../../secret", BadRequest),
        ("s//a.log", BadRequest),
        ("s/./a.log", BadRequest),
        ("s/sub\\..\\..\\secret", BadRequest),
        ("s/", BadRequest),
        ("other", NotShared),
        ("other/a.log", NotShared),
        ("secret", NotShared),
        ("db/x", NotShared),
        ("s/abs-out", NotShared),
        ("s/rel-out", NotShared),
        ("s/deep-out", NotShared),
        ("s/folder-out/f", NotShared),
        ("s/abs-folder-out/f", NotShared),
        ("s/abs-in", NotShared),
        ("s/device", NotShared),
        ("s/magic", NotShared),
        ("s", NotAFile),
        ("s/sub", NotAFile),
        ("s/pipe", NotAFile),
        ("s/socket", NotAFile),
        ("s/gone", FileNotFound),
        ("s/circle", FileNotFound),
        ("s/dangling", FileNotFound),
        ("s/a.log/x", FileNotFound),
        (&format!("s/{}", "x".repeat(300)), FileNotFound),
        (&format!("s/{}x", "sub/".repeat(1000)), FileNotFound),
    ] {
        assert_eq!(pull(&shares, Some(key)), Err(code), "{key}");
    }
}

#[test]
fn the_owners_paths_are_trusted_but_must_be_files() {
    use RefusalCode::{FileNotFound, NotAFile};
    let (temp, _) = Temp::shop();
    symlink(temp.0.join("secret"), temp.0.join("link")).unwrap();
    mkfifoat(CWD, temp.0.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    for (path, result) in [
        (temp.0.join("link"), Ok(("link".to_owned(), "secret".to_owned()))),
        (temp.0.join("gone"), Err(FileNotFound)),
        (temp.0.join("shop"), Err(NotAFile)),
        (temp.0.join("pipe"), Err(NotAFile)),
        ("/dev/zero".into(), Err(NotAFile)),
        ("/dev/null".into(), Err(NotAFile)),
    ] {
        let shares = Shares::new(Some(path.clone()), vec![share("x", path.clone())]);
        assert_eq!(pull(&shares, None), result, "FILE_PATH {path:?}");
        assert_eq!(pull(&shares, Some("x")), result, "share {path:?}");
        // A folder is a fine share, and no FILE_PATH.
        let warnings = if result.is_ok() { 0 } else { 2 - usize::from(path.is_dir()) };
        assert_eq!(shares.warnings().len(), warnings, "{path:?}");
    }
}

#[test]
fn warnings_say_what_is_missing_and_a_share_may_come_later() {
    let (temp, shares) = Temp::shop();
    assert_eq!(shares.warnings(), [] as [&str; 0]);
    assert_eq!(Shares::new(None, vec![]).warnings().len(), 1);
    assert_eq!(pull(&Shares::new(None, vec![]), None), Err(RefusalCode::FileNotFound));

    let late = temp.0.join("late");
    let shares = Shares::new(None, vec![share("late", late.clone())]);
    assert!(shares.warnings()[0].contains("late"), "{:?}", shares.warnings());
    assert_eq!(pull(&shares, Some("late/f")), Err(RefusalCode::FileNotFound));
    fs::rename(temp.0.join("outside"), late).unwrap();
    assert_eq!(shares.warnings(), [] as [&str; 0]);
    assert_eq!(pull(&shares, Some("late/f")), Ok(("f".to_owned(), "secret".to_owned())));
}

#[test]
fn unreadable_files_are_refused() {
    if rustix::process::geteuid().is_root() {
        return; // root reads everything
    }
    let (temp, shares) = Temp::shop();
    fs::set_permissions(temp.0.join("shop/a.log"), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(pull(&shares, Some("s/a.log")), Err(RefusalCode::PermissionDenied));
    assert_eq!(pull(&shares, None), Err(RefusalCode::PermissionDenied));
    assert_eq!(shares.warnings().len(), 1);
}

#[test]
fn a_change_shows_in_the_stamp() {
    let (temp, shares) = Temp::shop();
    let path = temp.0.join("shop/a.log");
    let open = shares.open(None).unwrap();
    fs::write(&path, "bb").unwrap();
    assert_ne!(open.restat().unwrap(), open.stamp);
    let open = shares.open(None).unwrap();
    let later = Timespec { tv_sec: 4_000_000_000, tv_nsec: 1 };
    let times = Timestamps { last_access: later, last_modification: later };
    utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
    assert_ne!(open.restat().unwrap(), open.stamp);
    // Another file in its place is not this file: the handle stays with what was opened.
    let open = shares.open(None).unwrap();
    fs::write(temp.0.join("new"), "cccc").unwrap();
    fs::rename(temp.0.join("new"), &path).unwrap();
    assert_eq!(open.restat().unwrap(), open.stamp);
}

#[test]
fn an_open_never_waits() {
    // Opening a pipe without a writer blocks for ever unless O_NONBLOCK is there: shown on the flags themselves.
    let temp = Temp::new();
    let pipe = temp.0.join("pipe");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    let (done, finished) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let file = fs::OpenOptions::new().read(true).custom_flags(OPEN_FLAGS).open(&pipe).unwrap();
        done.send(checked(file, &pipe, "pipe").map(drop)).unwrap();
    });
    let refused = finished.recv_timeout(Duration::from_secs(10)).unwrap().unwrap_err();
    assert_eq!(refused.code, RefusalCode::NotAFile);
}
