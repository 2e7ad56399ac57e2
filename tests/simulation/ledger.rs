//! What the world outside knows and may rely on: who was promised what, what was published, what was told. Every check
//! that needs more than the server itself is here.

use std::collections::BTreeMap;
use std::rc::Rc;

use towline::hash::hash_all;
use towline::hub::Hub;
use towline::limits::{MAX_IDLE_ATTEMPTS, PAGE_BYTES};
use towline::names::{RequestId, Sha256Hash};
use towline::transfer::{FailureCode, Status, Transfer};

use crate::coverage::{Coverage, Seen};
use crate::disk::Disk;
use crate::files::SourceRef;
use crate::plan::{Kind, Rates};

/// An attempt as the agent made it.
struct Opened {
    source: SourceRef,
    size: u64,
    from: u64,
    /// The step in which its end was stated.
    to: Option<u64>,
    kind: Kind,
}

/// What is known of one transfer.
#[derive(Default)]
pub struct Known {
    /// The operator was told 202.
    pub is_accepted: bool,
    /// The hub has it from here on.
    pub is_released: bool,
    /// The end that the hub has shown since the server started.
    pub end: Option<(Status, Option<Sha256Hash>)>,
    /// An end that is on disk as well, and was told.
    pub told: Option<Status>,
    /// Its record may not say how it ended: the disk did not take it.
    pub is_record_stale: bool,
    /// The same, when the last server crashed.
    pub was_record_stale: bool,
    /// Somebody damaged its record.
    pub is_record_damaged: bool,
    /// Somebody changed or removed its download.
    pub is_download_damaged: bool,
    pub is_forgotten: bool,
    pub was_asked_in_v1: bool,
    pub was_interrupted: bool,
    pub was_restored: bool,
    pub was_mismatched: bool,
    /// Wrong hashes since the server started.
    pub mismatches: u32,
    /// The bytes of its part when the server started, until it is asked for again.
    pub restored_part: u64,
    /// Bytes that came over the wire for it, whatever its record says.
    pub arrived: u64,
    /// Its bytes on the wire can't be foretold: something was damaged, lost, changed or given up.
    pub is_disturbed: bool,
    opened: Vec<Opened>,
}

/// All transfers that ever were.
#[derive(Default)]
pub struct Ledger {
    pub known: BTreeMap<RequestId, Known>,
    /// Whose each download is.
    pub names: BTreeMap<String, RequestId>,
    /// The faults of this world: what can't be explained by them must not happen.
    pub rates: Rates,
}

impl Ledger {
    pub fn opened(&mut self, id: RequestId, source: &SourceRef, step: u64, kind: Kind) {
        let size = source.borrow().bytes().len() as u64;
        let opened = Opened { source: source.clone(), size, from: step, to: None, kind };
        self.of(id).opened.push(opened);
    }

    pub fn stated(&mut self, id: RequestId, source: &SourceRef, from: u64, step: u64) {
        let same = |opened: &&mut Opened| {
            opened.from == from && opened.to.is_none() && Rc::ptr_eq(&opened.source, source)
        };
        if let Some(opened) = self.of(id).opened.iter_mut().find(same) {
            opened.to = Some(step);
        }
    }

    pub fn of(&mut self, id: RequestId) -> &mut Known {
        self.known.entry(id).or_default()
    }

    /// Looks at all that the hub shows.
    pub fn look(&mut self, hub: &Hub, disk: &Disk, seen: &mut Coverage) {
        for (id, known) in &mut self.known {
            let Some(transfer) = hub.transfer(*id) else { continue };
            known.was_interrupted |= transfer.status == Status::Interrupted;
            match known.end {
                Some(end) => {
                    assert_eq!(end, (transfer.status, transfer.sha256), "{id} changed after its end");
                }
                // An end that comes of the crash itself never was; its part may be gone already.
                None if transfer.status.is_final() && disk.has_crashed => known.is_disturbed = true,
                None if transfer.status.is_final() => {
                    known.end = Some((transfer.status, transfer.sha256));
                    check_end(transfer, known, &self.rates, disk, seen);
                }
                None => {}
            }
        }
    }

    /// A server has started: what was shown and not saved is void, what was told holds.
    pub fn restarted(&mut self, hub: &Hub, disk: &Disk) {
        for (id, known) in &mut self.known {
            let transfer = hub.transfer(*id);
            let before = known.end.take();
            known.mismatches = 0;
            if known.is_record_damaged {
                continue;
            }
            if known.is_accepted && !known.is_forgotten {
                assert!(transfer.is_some(), "{id} was accepted and is lost");
            }
            let Some(transfer) = transfer else { continue };
            known.was_restored = true;
            let is_published = matches!(before, Some((Status::Completed, _))) && !known.is_download_damaged;
            if is_published {
                assert_eq!(transfer.status, Status::Completed, "{id} was published, and is forgotten");
            } else if known.was_record_stale || known.is_download_damaged {
                known.told = None;
            } else if let Some(told) = known.told {
                assert_eq!(transfer.status, told, "{id} was told to have ended");
            }
            if transfer.status.is_final() {
                assert!(!disk.has_part(*id), "{id} has ended and has a part");
                known.end = Some((transfer.status, transfer.sha256));
            }
        }
    }

    /// All is quiet.
    pub fn check_all(&self, hub: &Hub, disk: &Disk) {
        for (id, known) in &self.known {
            let Some(transfer) = hub.transfer(*id) else {
                let excused = known.is_forgotten || known.is_record_damaged || !known.is_accepted;
                assert!(excused, "{id} is lost");
                continue;
            };
            assert!(transfer.status.is_final(), "{id} has no end: {transfer:?}");
            assert!(!disk.has_part(*id), "{id} has ended and has a part");
        }
        for id in disk.folders() {
            assert!(hub.transfer(id).is_some(), "{id} is forgotten, and its record is there");
        }
        for filename in disk.downloads.keys() {
            let id = self.names.get(filename).expect("downloads have names that were reserved");
            let known = &self.known[id];
            let status = hub.transfer(*id).map(|transfer| transfer.status);
            let is_right = match status {
                Some(status) => status == Status::Completed || known.is_download_damaged,
                None => known.is_forgotten || known.is_record_damaged,
            };
            assert!(is_right, "{filename} is there, its transfer is {status:?}");
        }
    }
}

fn check_end(transfer: &Transfer, known: &mut Known, rates: &Rates, disk: &Disk, seen: &mut Coverage) {
    let id = transfer.request_id;
    let file = disk.downloads.get(&transfer.filename);
    if transfer.status != Status::Completed {
        assert!(
            file.is_none() || known.is_download_damaged,
            "{id} is {} and there is a file",
            transfer.status
        );
        return check_failure(transfer, known, rates, seen);
    }
    let file = file.unwrap_or_else(|| panic!("{id} is completed without a file")).borrow();
    let (hash, length) = hash_all(&file.bytes[..]).expect("memory can be read");
    assert_eq!(Some(hash), transfer.sha256, "{id} is published with another hash");
    assert_eq!((transfer.size, transfer.bytes), (Some(length), length), "{id} has another size");
    let is_real = |opened: &Opened| {
        let Some(to) = opened.to else { return false };
        let source = opened.source.borrow();
        let is_v1 = opened.kind == Kind::Node && !source.is_unchanged(opened.from, to);
        is_v1 || (opened.size == length && source.was(&file.bytes, opened.from, to))
    };
    let real = known.opened.iter().find(|opened| is_real(opened));
    let real = real.unwrap_or_else(|| panic!("{id} is published with what the file never was"));
    seen.note(Seen::Completed);
    if real.kind != Kind::Towline {
        seen.note(Seen::CompletedByV1);
    } else if !real.source.borrow().is_unchanged(real.from, real.to.unwrap_or_default()) {
        seen.note(Seen::CompletedWhileFileGrew);
    }
    for (is_so, what) in [
        (length > 10_000_000, Seen::CompletedLarge),
        (known.was_interrupted, Seen::CompletedAfterInterruption),
        (known.was_restored, Seen::CompletedAfterRestart),
        (known.was_mismatched, Seen::MismatchMended),
    ] {
        if is_so {
            seen.note(what);
        }
    }
    check_wire(transfer, known, seen);
}

/// Bytes that arrived once are not sent twice: of each attempt but the last at most a page is lost, beside the hashes.
fn check_wire(transfer: &Transfer, known: &Known, seen: &mut Coverage) {
    let (length, wire) = (transfer.bytes, known.arrived);
    assert!(transfer.bytes_on_wire <= wire, "{} counts more bytes than came", transfer.request_id);
    let is_v2 = known.opened.iter().all(|opened| opened.kind == Kind::Towline);
    if length > 10_000 && wire < length / 50 {
        seen.note(Seen::UnchangedPull);
    }
    let first = &known.opened[0];
    let changed = |opened: &Opened| {
        !Rc::ptr_eq(&opened.source, &first.source)
            || !opened.source.borrow().is_unchanged(first.from, u64::MAX)
    };
    if !is_v2 || known.is_disturbed || known.opened.iter().any(changed) {
        return;
    }
    let blocks = length.div_ceil(65_536) + 1;
    let slack = u64::from(transfer.attempts) * (PAGE_BYTES as u64 + 8 * 17 * blocks);
    assert!(wire <= length + slack, "{} sent {wire} bytes of {length}: {transfer:?}", transfer.request_id);
}

/// Which reasons there can be when both sides are honest.
fn check_failure(transfer: &Transfer, known: &Known, rates: &Rates, seen: &mut Coverage) {
    seen.note(match transfer.status {
        Status::Failed => Seen::Failed,
        Status::Cancelled => return seen.note(Seen::Cancelled),
        Status::Expired => return seen.note(Seen::Expired),
        _ => unreachable!("not an end"),
    });
    let failure = transfer.failure.as_ref().expect("a failed transfer has a reason");
    let is_v1 = known.was_asked_in_v1;
    let is_tried_enough = transfer.attempts >= MAX_IDLE_ATTEMPTS;
    let changes = rates.file_change + rates.file_change_in_transfer > 0;
    let damages = rates.payload_damage + rates.part_damage + rates.download_damage > 0;
    let (is_explained, what) = match failure.code {
        FailureCode::FileChanged => (changes && transfer.attempts >= 3, Some(Seen::FileChangedFailed)),
        FailureCode::FileNotFound => (true, Some(Seen::FileMissing)),
        FailureCode::ChecksumMismatch => (damages, Some(Seen::MismatchFailed)),
        FailureCode::ClientDisconnected => (is_tried_enough, Some(Seen::NoProgressFailed)),
        FailureCode::Stalled => (is_tried_enough || is_v1, None),
        FailureCode::SizeMismatch => (changes && is_v1, None),
        FailureCode::BadRequest => (transfer.max_rate.is_some(), None),
        FailureCode::DiskFull => (rates.disk_trouble + rates.no_room > 0, Some(Seen::DiskFull)),
        // A download that somebody changed keeps its name.
        FailureCode::WriteFailed => {
            (rates.disk_trouble > 0 || known.is_download_damaged, Some(Seen::WriteFailed))
        }
        // Threads that a slow disk holds count, and every attempt has one.
        FailureCode::TooManyTransfers => (rates.agent_stall > 0, None),
        FailureCode::NotShared
        | FailureCode::NotAFile
        | FailureCode::PermissionDenied
        | FailureCode::ReadFailed
        | FailureCode::Cancelled
        | FailureCode::LimitReached
        | FailureCode::AgentError
        | FailureCode::ProtocolViolation
        | FailureCode::ServerRestarted
        | FailureCode::FileTooLarge
        | FailureCode::Expired => (false, None),
    };
    assert!(is_explained, "{} failed for {}: {transfer:?}", transfer.request_id, failure.code);
    if let Some(what) = what {
        seen.note(what);
    }
}
