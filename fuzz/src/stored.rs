//! What is read back from the disk: a transfer's record, and what the hub makes of it; the audit log; the file of keys.

use std::path::Path;

use towline::audit::Link;
use towline::audit::line::{self, Head};
use towline::audit::verify::verify_whole;
use towline::hub::{Action, Begun, Config, Hub, Now, Registration};
use towline::keys::Ring;
use towline::limits::MAX_ATTEMPTS;
use towline::names::disguises;
use towline::names::{RequestId, Sha256Hash};
use towline::protocol::Dialect;
use towline::record::{BadRecord, Record};
use towline::transfer::{Failure, FailureCode};

use super::Choices;

const DAY: u64 = 24 * 3600 * 1000;

/// What stands before the first NUL is a record, behind it is what happens next.
///
/// A record that is taken up names a file and no path, is written as it was read, and comes to an end whatever happens.
/// Whatever is noted in the audit log is one line of it; whatever is done to the log, [`verify_whole`] says so.
/// A file of keys is written as it was read, and no complaint about one shows a key.
pub fn run(data: &[u8]) {
    check_ring(data);
    check_line(data);
    check_log(Choices(data));
    check_record(data);
}

fn check_record(data: &[u8]) {
    let (text, rest) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let asked = RequestId::from_random([1; 16]);
    let id = match Record::read(text, asked) {
        Ok(_) => asked,
        Err(BadRecord::OfAnother { id }) => id,
        Err(bad) => return super::assert_one_line(&bad.to_string()),
    };
    match Record::read(text, id) {
        Ok(record) => check(record, Choices(rest)),
        Err(bad) => assert_eq!(bad, BadRecord::NoFileName),
    }
}

fn check_ring(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match Ring::parse(text) {
        Ok(ring) => {
            let written = ring.render();
            assert!(!written.contains("twl_"), "no secret is in it");
            assert_eq!(Ring::parse(&written).as_ref(), Ok(&ring));
            for key in ring.keys() {
                assert_eq!(ring.key(&key.id), Some(key), "ids are unique");
            }
        }
        Err(bad) => {
            let shown = bad.to_string();
            super::assert_one_line(&shown);
            assert!(!shown.contains("twl_0"), "{shown}");
        }
    }
}

/// An event with any text is one line; a line that is read can be followed by one that is.
fn check_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let body = line::body(&serde_json::json!({ "event": "x", "text": text }));
    assert!(!body.chars().any(disguises), "{body}");
    let again: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
    assert_eq!(again["text"], *text);
    let last = match line::read(data) {
        Some(head) if head.seq < u64::MAX - 1 => Link { seq: head.seq, hash: line::hash(data) },
        Some(_) | None => Link::START,
    };
    let (line, link) = line::line(last, 5, &body);
    let line = line.strip_suffix('\n').expect("it ends so").as_bytes();
    assert!(!line.contains(&b'\n'));
    let head = line::read(line).expect("what we write is read");
    assert_eq!(head, Head { seq: last.seq + 1, prev: last.hash, event: "x" });
    assert_eq!(link, Link { seq: head.seq, hash: line::hash(line) });
}

/// A log of four lines, to which somebody does something.
fn check_log(mut choices: Choices<'_>) {
    let (mut log, mut last) = (String::new(), Link::START);
    for event in ["server_started", "pull_asked", "pull_ended", "server_stopped"] {
        let body = line::body(&serde_json::json!({ "event": event }));
        let (line, next) = line::line(last, 1_761_924_600_123, &body);
        log.push_str(&line);
        last = next;
    }
    let from = (usize::from(choices.byte()) << 2 | usize::from(choices.way(4))).min(log.len());
    let to = from.saturating_add(choices.byte().into()).min(log.len());
    let changed = [&log.as_bytes()[..from], choices.0, &log.as_bytes()[to..]].concat();
    let found = verify_whole(Path::new("audit.jsonl"), &changed[..], Some(last.hash));
    match found {
        Ok(verified) => {
            // Old lines may have been removed, and new ones have been written behind the last.
            let head = verified.head.expect("what was looked for is there");
            assert!(head.seq > last.seq || log.as_bytes().ends_with(&changed), "{changed:?}");
        }
        Err(broken) => {
            assert_ne!(changed, log.as_bytes());
            super::assert_one_line(&broken.to_string());
        }
    }
}

fn check(record: Record, choices: Choices<'_>) {
    let name = &record.transfer.filename;
    assert!(!name.is_empty() && !name.contains('/') && !name.starts_with('.'));
    let id = record.transfer.request_id;
    let written = serde_json::to_vec_pretty(&record).expect("a record holds strings and numbers only");
    assert_eq!(Record::read(&written, id).as_ref(), Ok(&record));
    live(record, choices);
}

/// The hub takes up the record; its client comes and goes, and attempts at it end as they may.
fn live(record: Record, mut choices: Choices<'_>) {
    let (id, client) = (record.transfer.request_id, record.transfer.client_id.clone());
    let mut hub = Hub::new(Config {
        max_concurrent: 1,
        max_per_client: 1,
        max_queued: 10,
        max_clients: 10,
        stall_ms: 60_000,
        max_spool_bytes: 1 << 30,
        keep_transfers: 10,
        keep_ms: Some(90 * DAY),
    });
    let mut now = Now { wall: 1_800_000_000_000, mono: 5 };
    let before = record.transfer.attempts;
    let was_final = record.transfer.status.is_final();
    let never_expires = record.transfer.expires_at.is_some_and(|at| at > now.wall + 40 * DAY);
    let why = Failure::new(FailureCode::ServerRestarted, "it went down");
    let part = choices.number(1000);
    hub.restore(record, part.min(1 << 62), why, now);
    let mut line = None;
    while !choices.is_over() {
        let passed = choices.number(1000).min(DAY);
        now = Now { wall: now.wall + passed, mono: now.mono + passed };
        let attempt = hub.transfer(id).map_or(1, |transfer| transfer.attempts);
        let actions = match choices.way(9) {
            0 | 1 if line.is_none() => {
                line = hub.connect(&client, "10.0.0.1:5".to_owned(), now);
                let dialect = if choices.way(4) == 0 { Dialect::V1 } else { Dialect::V2 };
                let said = Registration::of(dialect);
                line.map_or(vec![], |generation| hub.register(&client, generation, said, now))
            }
            2 => line.take().map_or(vec![], |generation| hub.disconnect(&client, generation, now.wall, now)),
            3 | 4 => {
                hub.begin(id, attempt, choices.text(), choices.number(1000));
                vec![]
            }
            5 => {
                let bytes = choices.number(1000).min(1 << 40);
                hub.covered(id, attempt, bytes, choices.number(1000));
                vec![]
            }
            6 if hub.verify(id, attempt, Sha256Hash([7; 32])) == Begun::Wanted => {
                match hub.publish(id, attempt, now).is_some() {
                    true => hub.complete(id, now),
                    false => vec![],
                }
            }
            7 => hub.attempt_failed(id, attempt, Failure::new(code(&mut choices), "x"), now),
            _ => hub.tick(now),
        };
        for action in &actions {
            if let Action::Request { attempt, .. } = action {
                // A restart, and a file that changes, may add a few.
                assert!(!was_final && *attempt > 0 && (*attempt <= MAX_ATTEMPTS + 5 || *attempt >= before));
            }
        }
    }
    // Everybody goes for good.
    if let Some(generation) = line {
        hub.disconnect(&client, generation, now.wall, now);
    }
    let attempt = hub.transfer(id).map_or(1, |transfer| transfer.attempts);
    hub.attempt_failed(id, attempt, Failure::new(FailureCode::ClientDisconnected, "x"), now);
    hub.tick(Now { wall: now.wall + 41 * DAY, mono: now.mono + 41 * DAY });
    let has_ended = hub.transfer(id).is_none_or(|transfer| transfer.status.is_final());
    assert!(has_ended || never_expires, "{:?}", hub.transfer(id));
}

fn code(choices: &mut Choices<'_>) -> FailureCode {
    [
        FailureCode::ClientDisconnected,
        FailureCode::FileChanged,
        FailureCode::ChecksumMismatch,
        FailureCode::Stalled,
        FailureCode::DiskFull,
    ][usize::from(choices.way(5))]
}
