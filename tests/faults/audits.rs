//! The audit itself: what it could not see, no test here would prove.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::audit::{Audit, Pull};
use crate::support::files::{random_file, sha256};
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;

/// What is found after one good pull and a misdeed in UPLOAD_DIR; the misdeed gets its path and the download's name.
fn audit_after(misdeed: impl FnOnce(&Path, &str)) -> Audit {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 1, 100_000);
    let _agent = Agent::serving(&server, "shop-001", home, &[]);
    let transfer = server.ended(&id(&server.pull("shop-001", &json!({}))));
    let pull = Pull { id: id(&transfer), may_be: BTreeSet::from([sha256(&content)]) };
    misdeed(&server.uploads, transfer["filename"].as_str().unwrap());
    Audit::of(&server, &[pull])
}

#[test]
fn it_sees_nothing_where_nothing_is() {
    audit_after(|_, _| ()).assert_sound();
}

#[test]
fn it_sees_a_download_that_is_gone_or_other() {
    for misdeed in [(|dir, name| fs::remove_file(dir.join(name)).unwrap()) as fn(&Path, &str), |dir, name| {
        fs::write(dir.join(name), "other").unwrap()
    }] {
        let audit = audit_after(misdeed);
        assert_eq!((audit.corrupt, audit.is_sound()), (1, false), "{audit}");
    }
}

#[test]
fn it_sees_a_second_file_and_one_that_is_no_source() {
    let audit = audit_after(|dir, name| {
        fs::copy(dir.join(name), dir.join("second.bin")).unwrap();
        fs::write(dir.join("third.bin"), "half of it").unwrap();
    });
    assert_eq!((audit.duplicated, audit.unverified, audit.is_sound()), (1, 1, false), "{audit}");
}

#[test]
fn it_sees_a_record_that_was_set_aside() {
    let audit = audit_after(|dir, _| fs::create_dir(dir.join(".towline/damaged-1")).unwrap());
    assert_eq!((audit.set_aside, audit.is_sound()), (1, false), "{audit}");
}

#[test]
fn it_sees_a_transfer_that_the_server_does_not_know() {
    let server = Server::start(&[]);
    let pull = Pull { id: "1b4e28ba-2fa1-41d2-883f-0016d3cca427".to_owned(), may_be: BTreeSet::new() };
    let audit = Audit::of(&server, &[pull]);
    assert_eq!((audit.lost, audit.is_sound()), (1, false), "{audit}");
}
