//! Logs on the disk: what is written is good, and whatever is done to it is found.

use std::fs;
use std::path::{Path, PathBuf};

use super::event::{About, Event, Who};
use super::verify::{Verified, verify_files, verify_log};
use super::*;
use crate::names::{ClientId, FileKey, RequestId, Sha256Hash};

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("towline-audit-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

const NEVER: u64 = u64::MAX;

fn chain(path: &Path, rotate: u64) -> Chain {
    Chain::new(Place::new(path).unwrap(), rotate)
}

fn add(chain: &mut Chain, text: &str) {
    chain.append(1, &format!("{{\"event\":\"word\",\"text\":\"{text}\"}}")).unwrap();
}

fn three_lines(path: &Path) -> Vec<u8> {
    let mut chain = chain(path, NEVER);
    ["one", "two", "three"].iter().for_each(|text| add(&mut chain, text));
    fs::read(path).unwrap()
}

fn good(path: &Path) -> Verified {
    verify_log(path, None).unwrap_or_else(|broken| panic!("{broken}"))
}

fn fault(path: &Path) -> (String, u64, Fault) {
    match verify_log(path, None) {
        Err(Broken::Line { file, line, fault }) => {
            (file.file_name().unwrap().to_str().unwrap().to_owned(), line, fault)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_good_and_goes_on() {
    let folder = Folder::new("good");
    let path = folder.log();
    assert!(matches!(verify_log(&path, None), Err(Broken::Absent(_))));
    three_lines(&path);
    let before = good(&path);
    assert_eq!((before.files, before.lines, before.first), (1, 3, Some(1)));
    let mut again = chain(&path, NEVER);
    add(&mut again, "four");
    let after = good(&path);
    assert_eq!((after.lines, after.head), (4, again.last()));
    // The head that was noted before is still there; one that was not is missed.
    let head = before.head.unwrap();
    assert_eq!(verify_log(&path, Some(head.hash)).unwrap().expected, Some(3));
    assert!(matches!(verify_log(&path, Some(Sha256Hash([7; 32]))), Err(Broken::NotThere(_))));
    // Only one writes at a time.
    let error = chain(&path, NEVER).append(1, "{\"event\":\"x\"}").unwrap_err();
    assert_eq!(error.to_string(), "another process writes to it");
}

#[test]
fn a_tail_that_is_torn_at_any_byte_is_cut_off_and_said() {
    let folder = Folder::new("torn");
    let path = folder.log();
    let whole = three_lines(&path);
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        let is_torn = length > 0 && whole[length - 1] != b'\n';
        if is_torn && length % 29 == 0 {
            // A line that may be being written is waited for, so not each time.
            assert_eq!(fault(&path), ("audit.jsonl".to_owned(), lines + 1, Fault::Torn), "at {length}");
        }
        add(&mut chain(&path, NEVER), "behind");
        let found = good(&path);
        assert_eq!(found.lines, lines + u64::from(is_torn) + 1, "at {length}");
        assert_eq!(found.remarks.len(), usize::from(is_torn));
    }
    // Zeros, as some file systems leave them.
    for zeros in [1, 5000, limits::MAX_AUDIT_TAIL_BYTES as usize - whole.len()] {
        fs::write(&path, [whole.clone(), vec![0; zeros]].concat()).unwrap();
        add(&mut chain(&path, NEVER), "behind");
        assert_eq!(good(&path).remarks[0].event, "torn_line_cut_off");
    }
}

#[test]
fn a_file_that_is_none_of_ours_is_set_aside_untouched_and_found() {
    for (name, foreign) in [
        ("text", b"hello\nworld\n".to_vec()),
        ("zeros", vec![0; limits::MAX_AUDIT_TAIL_BYTES as usize + 5]),
        ("tail", b"{\"seq\":1}\n".to_vec()),
        ("a config without a line feed", b"SERVER_URL=wss://x".to_vec()),
        ("json", b"{\"sequence\":1}".to_vec()),
        ("zeros first", b"\0\0{\"seq\":1".to_vec()),
    ] {
        let folder = Folder::new(&format!("foreign-{name}"));
        let path = folder.log();
        fs::write(&path, &foreign).unwrap();
        add(&mut chain(&path, NEVER), "one");
        let Err(Broken::SetAside(aside)) = verify_log(&path, None) else { panic!("not found") };
        assert!(fs::read(&aside).unwrap() == foreign);
        fs::remove_file(aside).unwrap();
        assert_eq!(good(&path).lines, 2, "one says that it was set aside");
    }
}

#[test]
fn a_line_that_is_changed_is_found_whichever_byte_it_is() {
    let folder = Folder::new("flip");
    let path = folder.log();
    let whole = three_lines(&path);
    let head = good(&path).head.unwrap().hash;
    for at in 0..whole.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= flip;
            fs::write(&path, &changed).unwrap();
            let line = 1 + whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
            match verify_log(&path, Some(head)) {
                Err(Broken::Line { line: found, .. }) => {
                    // What a line says of the one before it is found there.
                    assert!(found == line || found + 1 == line, "byte {at} of line {line}, found in {found}");
                }
                Err(Broken::NotThere(_)) => assert_eq!(line, 3, "the last line: by the head that was noted"),
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn lines_missing_doubled_and_out_of_order_are_named() {
    let folder = Folder::new("order");
    let path = folder.log();
    let text = String::from_utf8(three_lines(&path)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let name = "audit.jsonl".to_owned();
    let changed = lines[1].replace("two", "2");
    for (kept, line, expected) in [
        (vec![lines[0], lines[2]], 2, Fault::Missing { from: 2, to: 2 }),
        (vec![lines[0], lines[1], lines[1], lines[2]], 3, Fault::Misplaced { seq: 2, expected: 3 }),
        (vec![lines[0], lines[2], lines[1]], 2, Fault::Missing { from: 2, to: 2 }),
        (vec![lines[1], lines[0], lines[2]], 2, Fault::Misplaced { seq: 1, expected: 3 }),
        (vec![lines[0], &changed, lines[2]], 2, Fault::Changed { next: 3 }),
        (vec![lines[0], "", lines[1]], 2, Fault::NoLine),
        (vec![lines[0], "{}"], 2, Fault::NoLine),
    ] {
        fs::write(&path, kept.join("\n") + "\n").unwrap();
        assert_eq!(fault(&path), (name.clone(), line, expected));
    }
    let long = format!("{}\n{}\n", lines[0], "x".repeat(limits::MAX_AUDIT_LINE_BYTES + 1));
    fs::write(&path, long).unwrap();
    assert_eq!(fault(&path), (name.clone(), 2, Fault::TooLong));
    fs::write(&path, lines[0].replace("000000\"", "000001\"") + "\n").unwrap();
    assert_eq!(fault(&path), (name, 1, Fault::NotTheFirst));
    // The beginning may be gone, as a whole; the end is missed only by who knows it.
    fs::write(&path, lines[1..].join("\n") + "\n").unwrap();
    assert_eq!(good(&path).first, Some(2));
    assert_eq!(verify_log(&path, Some(line::hash(lines[0].as_bytes()))).unwrap().expected, Some(1));
    fs::write(&path, lines[..2].join("\n") + "\n").unwrap();
    assert_eq!(good(&path).lines, 2);
    assert!(matches!(verify_log(&path, Some(line::hash(lines[2].as_bytes()))), Err(Broken::NotThere(_))));
}

#[test]
fn full_files_get_names_and_the_chain_goes_through_them() {
    // A file is full before, at and behind the end of each of its first lines.
    let folder = Folder::new("rotate");
    let text = three_lines(&folder.log());
    fs::remove_file(folder.log()).unwrap();
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at as u64 + 1);
    for full in [1].into_iter().chain(ends.flat_map(|end| [end - 1, end, end + 1])) {
        let path = folder.0.join(format!("log{full}.jsonl"));
        let mut chain = chain(&path, full);
        ["one", "two", "three", "four", "five", "six", "seven"].iter().for_each(|text| add(&mut chain, text));
        let found = good(&path);
        assert_eq!((found.lines, found.head, found.remarks.len()), (7, chain.last(), 0), "full at {full}");
        let old = || Place::new(&path).unwrap().look().unwrap().0;
        assert_eq!(old().len() + 1, found.files);
        let most = (full as usize).div_ceil(text.len() / 3 - 3);
        assert!(found.files >= 7_usize.div_ceil(most), "{} files, full at {full}", found.files);
        // A start goes on, also one between the two steps of a rotation.
        drop(chain);
        add(&mut self::chain(&path, full), "eight");
        assert_eq!(good(&path).lines, 8);
        fs::remove_file(&path).unwrap();
        let newest = old().pop().unwrap();
        add(&mut self::chain(&path, full), "again");
        let kept = fs::read_to_string(newest.path).unwrap().lines().count() as u64;
        assert_eq!(good(&path).head.unwrap().seq, newest.first + kept);
    }
}

#[test]
fn a_full_file_that_a_power_cut_has_torn_is_gone_on_with() {
    let folder = Folder::new("torn-full");
    let path = folder.log();
    let whole = three_lines(&path);
    fs::remove_file(&path).unwrap();
    fs::write(folder.0.join("audit.000000000001.jsonl"), &whole[..whole.len() - 9]).unwrap();
    add(&mut chain(&path, NEVER), "behind");
    let found = good(&path);
    assert_eq!((found.lines, found.remarks[0].event), (4, "torn_line_cut_off"));
}

#[test]
fn a_file_in_the_middle_is_missed_the_oldest_may_go() {
    let folder = Folder::new("middle");
    let path = folder.log();
    let mut chain = chain(&path, 1);
    ["one", "two", "three", "four"].iter().for_each(|text| add(&mut chain, text));
    let names = ["audit.000000000001.jsonl", "audit.000000000002.jsonl", "audit.000000000003.jsonl"];
    assert_eq!(folder.names(), [&names[..], &["audit.jsonl"]].concat());
    let away = folder.0.join("away");
    fs::rename(folder.0.join(names[1]), &away).unwrap();
    assert_eq!(fault(&path), (names[2].to_owned(), 1, Fault::Missing { from: 2, to: 2 }));
    // In any order that is not theirs, too.
    let named = |order: [usize; 2]| order.map(|at| folder.0.join(names[at])).to_vec();
    assert!(matches!(
        verify_files(&named([2, 0]), None),
        Err(Broken::Line { line: 1, fault: Fault::Misplaced { seq: 1, expected: 4 }, .. })
    ));
    fs::rename(&away, folder.0.join(names[1])).unwrap();
    assert_eq!(verify_files(&named([0, 1]), None).unwrap().lines, 2);
    fs::remove_file(folder.0.join(names[0])).unwrap();
    assert_eq!((good(&path).first, good(&path).lines), (Some(2), 3));
    fs::write(folder.0.join(names[1]), "torn").unwrap();
    assert_eq!(fault(&path), (names[1].to_owned(), 1, Fault::Torn));
}

#[test]
fn a_file_that_is_moved_or_removed_begins_anew_behind_what_it_held() {
    let folder = Folder::new("moved");
    let path = folder.log();
    let mut chain = chain(&path, NEVER);
    add(&mut chain, "one");
    let old = folder.0.join("old");
    fs::rename(&path, &old).unwrap();
    add(&mut chain, "two");
    let found = verify_files(&[old, path.clone()], None).unwrap();
    assert_eq!((found.lines, found.remarks[0].event), (3, "file_began_anew"));
    // A copy in its place is as good; another log is not.
    let copy = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, copy).unwrap();
    add(&mut chain, "three");
    assert_eq!((good(&path).lines, good(&path).remarks.len()), (3, 1));
    fs::remove_file(&path).unwrap();
    add(&mut self::chain(&path, NEVER), "of another");
    add(&mut chain, "four");
    assert!(matches!(verify_log(&path, None), Err(Broken::SetAside(_))));
}

fn longest_event<'a>(key: &'a FileKey, client: &'a ClientId, text: &'a str, about: &'a About) -> Vec<String> {
    let (who, id) = (Who { by: Some(text), address: text }, RequestId::from_random([1; 16]));
    let file_key = Some(key);
    let asked = Event::PullAsked {
        who,
        client_id: client,
        file_key,
        request_id: id,
        batch_id: Some(id),
        again: true,
    };
    let refused = Event::Refused { who, method: text, path: text, status: 404, error: text, about };
    let listing = Event::ListingAsked { who, client_id: client, path: Some(key.as_str()) };
    [asked, refused, listing].iter().map(line::body).collect()
}

#[test]
fn the_longest_line_is_within_its_bound() {
    let key: FileKey = "\u{1}".repeat(limits::MAX_FILE_KEY_BYTES).parse().unwrap();
    let client: ClientId = "x".repeat(64).parse().unwrap();
    let text = "\u{202e}".repeat(1000);
    let about = About {
        client_id: Some(client.clone()),
        file_key: Some(Some(key.clone())),
        request_id: None,
        batch_id: Some(RequestId::from_random([1; 16])),
    };
    for body in longest_event(&key, &client, cut(&text), &about) {
        let (line, _) = line::line(Link { seq: u64::MAX - 1, ..Link::START }, u64::MAX, &body);
        assert!(line.len() < limits::MAX_AUDIT_LINE_BYTES, "{}", line.len());
    }
}

#[test]
fn what_the_disk_does_not_take_waits_and_a_flood_is_counted() {
    let folder = Folder::new("waits");
    let path = folder.0.join("no/audit.jsonl");
    let log = Log::new(&path, NEVER).unwrap();
    log.note(&Event::ServerStopped).unwrap_err();
    assert!(!log.is_written() && log.head().is_none());
    fs::create_dir(path.parent().unwrap()).unwrap();
    log.note(&Event::ServerStopped).unwrap();
    assert!(log.is_written());
    let who = Who::of("10.0.0.1:5");
    let about = About::default();
    for _ in 0..5000 {
        let refused = Event::Refused {
            who,
            method: "GET",
            path: "/",
            status: 401,
            error: "unauthorized",
            about: &about,
        };
        log.note(&refused).unwrap();
    }
    log.close(&Event::ServerStopped);
    log.note(&Event::ServerStopped).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().count() as u64;
    assert!(lines < 4 + limits::AUDIT_STRANGERS.0 + 5, "{lines}");
    let last: serde_json::Value = serde_json::from_str(text.lines().nth_back(1).unwrap()).unwrap();
    assert_eq!((&last["event"], &last["kind"]), (&"left_out".into(), &"strangers".into()));
    assert_eq!(last["count"].as_u64(), Some(5000 - (lines - 4)));
    assert_eq!(good(&path).lines, lines);
}
