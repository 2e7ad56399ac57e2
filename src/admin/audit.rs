//! `towline-server audit verify`: whether an audit log is as it was written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::audit::Broken;
use crate::audit::SERVERS;
use crate::audit::verify::{MAX_REMARKS, Verified, verify_files, verify_log};
use crate::exit::Exit;
use crate::names::Sha256Hash;
use crate::settings::{AUDIT_SETTINGS, Flag, Given, Program, UsageError};
use crate::spool;

pub(super) static VERIFY: Program = Program {
    name: "towline-server audit verify",
    about: "Finds out whether an audit log is as it was written: nothing changed, missing, doubled or out of order.",
    arguments: "[FILE…]",
    settings: AUDIT_SETTINGS,
    flags: &[Flag {
        name: "--expect",
        takes: "HASH",
        help: "a head that was noted before, which must still be in the chain",
    }],
    notes: "\
Without FILE it is the log of the server whose UPLOAD_DIR this is, which may be running. One FILE is a log,
such as an agent's AUDIT_FILE, with the full files beside it; several are these alone, in this order.

No chain shows that its end was cut off, or all of it written anew. For that, keep the head that this prints,
or that the server logs when it starts and stops, on another machine, and look for it with --expect.

Exit codes: 0 good, 1 not good, 2 bad usage, or no such log.",
};

pub(super) fn verify(given: &Given) -> Result<Exit, UsageError> {
    let expect = given.parsed_flag("--expect", |text| Sha256Hash::try_from(text.to_owned()))?;
    let paths: Vec<PathBuf> = given.arguments.iter().map(|path| given.resolve(path)).collect();
    let verified = match &paths[..] {
        [] => verify_log(&servers_log(given), expect),
        [path] => verify_log(path, expect),
        paths => verify_files(paths, expect),
    };
    Ok(match verified {
        Ok(verified) => print(&verified, expect),
        Err(broken) => {
            eprintln!("{}: {broken}", VERIFY.name);
            match broken {
                Broken::Absent(_) => Exit::BadUsage,
                _ => Exit::Failed,
            }
        }
    })
}

fn servers_log(given: &Given) -> PathBuf {
    let uploads = given.resolve(given.text("UPLOAD_DIR").expect("it has a default"));
    uploads.join(Path::new(spool::STATE_FOLDER)).join(SERVERS)
}

fn print(verified: &Verified, expect: Option<Sha256Hash>) -> Exit {
    let Verified { files, lines, first, head, expected, remarks } = verified;
    let mut text = String::new();
    for remark in remarks {
        text += &format!("seq={} says {}\n", remark.seq, remark.event);
    }
    if remarks.len() == MAX_REMARKS {
        text += "and maybe more such lines\n";
    }
    if let (Some(hash), Some(seq)) = (expect, expected) {
        text += &format!("expected head {hash} is seq={seq}\n");
    }
    text += &match (first, head) {
        (Some(first), Some(head)) => {
            format!("good: files={files} lines={lines} first={first} last={} head={}\n", head.seq, head.hash)
        }
        _ => format!("good: files={files} lines=0\n"),
    };
    // Whoever reads it may have gone; the exit code tells it too.
    let _gone = io::stdout().write_all(text.as_bytes());
    Exit::Done
}
