//! Ways out of a share that somebody may try: by the key, by what lies in the share, by swapping things while they are
//! opened. What counts is that no byte of `secret` comes out.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mkfifoat, mknodat, renameat_with};

use super::tests::{Temp, pull, share};
use super::*;

/// Swaps `one` with `other`, over and over, while something is pulled: thousands of each. Now and then it stands still
/// until a pull has met it so, in either place by turns: however the threads are scheduled, some pulls find the one and
/// some the other. Between that they race.
fn race(one: &Path, other: &Path, pulled: impl Fn() + Send + Sync) {
    let (pulls, swaps) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let puller = scope.spawn(|| {
            while pulls.load(Ordering::SeqCst) < 4000 || swaps.load(Ordering::SeqCst) < 4000 {
                pulled();
                pulls.fetch_add(1, Ordering::SeqCst);
            }
        });
        // An even number of swaps, so that all is in its place afterwards.
        while !puller.is_finished() || swaps.load(Ordering::SeqCst) % 2 == 1 {
            renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
            if swaps.fetch_add(1, Ordering::SeqCst) % 17 == 0 {
                // The pull that runs may have begun before the swap; the next one has not.
                let seen = pulls.load(Ordering::SeqCst) + 2;
                while pulls.load(Ordering::SeqCst) < seen && !puller.is_finished() {
                    thread::yield_now();
                }
            }
        }
    });
}

/// Pulls `key` in such a race: whatever opens holds `inside`. Refusals have any code: where cap-std walks part by part (an
/// old kernel, or too many renames) it may meet half a swap.
fn only_what_is_inside(shares: &Shares, key: Option<&str>, inside: &str, one: &Path, other: &Path) {
    let (opened, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    race(one, other, || match pull(shares, key) {
        Ok((_, content)) => {
            assert_eq!(content, inside);
            opened.fetch_add(1, Ordering::Relaxed);
        }
        Err(_) => {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (opened, refused) = (opened.into_inner(), refused.into_inner());
    // It stood still 4000 / 17 times, with the right one in its place at every other one.
    assert!(opened >= 100 && refused >= 100, "no race: {opened} opened, {refused} refused");
}

#[test]
fn a_folder_swapped_for_a_link_never_leads_out() {
    let (temp, shares) = Temp::shop();
    fs::write(temp.0.join("shop/sub/f"), "inside").unwrap();
    let link = temp.0.join("link");
    symlink(temp.0.join("outside"), &link).unwrap();
    only_what_is_inside(&shares, Some("s/sub/f"), "inside", &temp.0.join("shop/sub"), &link);
}

#[test]
fn a_file_swapped_for_a_link_never_leads_out() {
    let (temp, shares) = Temp::shop();
    for (number, target) in [temp.0.join("secret"), "../secret".into()].into_iter().enumerate() {
        let link = temp.0.join("shop").join(number.to_string());
        symlink(target, &link).unwrap();
        only_what_is_inside(&shares, Some("s/a.log"), "a", &temp.0.join("shop/a.log"), &link);
    }
}

#[test]
fn a_folder_that_is_moved_out_takes_no_open_along() {
    // Inside and outside alike there is a folder with a link `up` to the a.log beside the folder. While the path is walked,
    // the folder changes places: the `..` of the link must not be that of the outside.
    let (temp, shares) = Temp::shop();
    let outside = temp.0.join("outside/sub");
    fs::create_dir(&outside).unwrap();
    fs::write(temp.0.join("outside/a.log"), "secret").unwrap();
    for folder in [&outside, &temp.0.join("shop/sub")] {
        symlink("../a.log", folder.join("up")).unwrap();
    }
    race(&temp.0.join("shop/sub"), &outside, || {
        if let Ok((_, content)) = pull(&shares, Some("s/sub/up")) {
            assert_eq!(content, "a");
        }
    });
}

#[test]
fn a_file_swapped_for_a_pipe_never_hangs_the_open() {
    let (temp, shares) = Temp::shop();
    let pipe = temp.0.join("shop/pipe"); // within the share: what leaves it meanwhile is refused as such
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    // Beneath a share, and as the owner's own path, which is opened otherwise.
    for key in [Some("s/a.log"), None] {
        only_what_is_inside(&shares, key, "a", &temp.0.join("shop/a.log"), &pipe);
    }
}

#[test]
fn a_share_swapped_for_a_pipe_never_hangs_the_open() {
    let (temp, _) = Temp::shop();
    let (sub, pipe) = (temp.0.join("shop/sub"), temp.0.join("pipe"));
    fs::write(sub.join("f"), "inside").unwrap();
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    let shares = Shares::new(None, vec![share("t", sub.clone())]);
    only_what_is_inside(&shares, Some("t/f"), "inside", &sub, &pipe);
}

#[test]
fn a_file_swapped_for_a_device_is_not_read() {
    let (temp, shares) = Temp::shop();
    // By a link on the owner's own path, where links are followed, and by a device of its own, where we may make one.
    let link = temp.0.join("link");
    symlink("/dev/zero", &link).unwrap();
    only_what_is_inside(&shares, None, "a", &temp.0.join("shop/a.log"), &link);
    let device = temp.0.join("shop/zero");
    let zero = rustix::fs::makedev(1, 5);
    if mknodat(CWD, &device, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, zero).is_err() {
        return eprintln!("SKIPPED: can't make a device here");
    }
    assert_eq!(pull(&shares, Some("s/zero")), Err(RefusalCode::NotAFile));
    only_what_is_inside(&shares, Some("s/a.log"), "a", &temp.0.join("shop/a.log"), &device);
}

#[test]
fn magic_links_of_proc_lead_nowhere_even_in_a_share_of_proc() {
    let shares = Shares::new(None, vec![share("proc", "/proc".into())]);
    let (temp, _) = Temp::shop();
    let outside = File::open(temp.0.join("outside")).unwrap();
    let secret = File::open(temp.0.join("secret")).unwrap();
    let fd = |file: &File| std::os::fd::AsRawFd::as_raw_fd(file);
    for key in [
        format!("self/fd/{}/f", fd(&outside)),
        format!("self/fd/{}", fd(&secret)),
        format!("{}/fd/{}", std::process::id(), fd(&secret)),
        "self/root/etc/passwd".to_owned(),
        "thread-self/root/etc/passwd".to_owned(),
        "self/cwd/Cargo.toml".to_owned(),
        "self/exe".to_owned(),
    ] {
        let refused = pull(&shares, Some(&format!("proc/{key}"))).unwrap_err();
        assert!(matches!(refused, RefusalCode::NotShared | RefusalCode::FileNotFound), "{key}: {refused}");
    }
    let opened = shares.open(Some(&"proc/self/status".parse().unwrap()));
    assert!(opened.is_ok(), "what is no such link opens");
}

#[test]
fn what_means_something_elsewhere_is_a_plain_name_here() {
    let (temp, shares) = Temp::shop();
    let names = [
        "．．",         // fullwidth full stops, which compatibility folding makes `..` of
        "．．／secret", // and a fullwidth slash
        "‥",            // two dot leader
        "..\u{2215}secret",
        "..\u{2044}secret",
        "..\u{200d}",
        "..\u{202e}",
        "..;",
        "...",
        ".. ",
        "..%00",
        "%2e%2e",
        "%2e%2e%2fsecret",
        "..%2fsecret",
        "..%c0%af..%c0%afsecret",
        "%252e%252e%252fsecret",
        "~",
        "~root",
        "$HOME",
        "CON",
        "NUL.txt",
        "COM1",
        "a.log::$DATA",
        "a.log:secret",
        "A.LOG",
        "a.log.",
        "a.log ",
        " a.log",
        "A~1.LOG",
        "PROGRA~1",
        "C:",
        "file:",
        "*",
        "a.lo?",
        "[a].log",
        "{a,secret}",
        "-",
        "a.log\n",
        "a.log\r\n",
        "\u{1b}[2J",
        "a.log\u{301}",
        "@eaDir",
    ];
    for name in names {
        for key in [format!("s/{name}"), format!("s/{name}/f"), format!("s/{name}/secret")] {
            assert_eq!(pull(&shares, Some(&key)), Err(RefusalCode::FileNotFound), "{key:?}");
            assert!(shares.list(Some(&key)).is_err(), "{key:?}");
        }
    }
    // And where there is a file of that name, exactly it is what opens.
    for name in names {
        fs::write(temp.0.join("shop").join(name), name).unwrap();
    }
    for name in names {
        let content = pull(&shares, Some(&format!("s/{name}"))).unwrap().1;
        assert_eq!(content, name);
    }
}

#[test]
fn what_the_owners_machine_puts_into_a_share_is_in_it() {
    // As the README says: a hard link is the file itself, and what is mounted there is there.
    let (temp, shares) = Temp::shop();
    fs::hard_link(temp.0.join("secret"), temp.0.join("shop/hard")).unwrap();
    assert_eq!(pull(&shares, Some("s/hard")), Ok(("hard".to_owned(), "secret".to_owned())));

    let (from, to) = (temp.0.join("outside"), temp.0.join("shop/sub"));
    let mounted = Command::new("mount").arg("--bind").args([&from, &to]).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return eprintln!("SKIPPED: can't mount here");
    }
    let pulled = pull(&shares, Some("s/sub/f"));
    let beyond = pull(&shares, Some("s/sub/../secret"));
    let unmounted = Command::new("umount").arg(&to).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert_eq!(pulled, Ok(("f".to_owned(), "secret".to_owned())));
    assert_eq!(beyond, Err(RefusalCode::BadRequest));
}
