//! `GET /transfers/:requestId/file`: the verified bytes, whole or in part (RFC 9110, sections 13 and 14).

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use tiny_http::{Header, Method, Request, Response};

use super::Server;
use super::callers::Caller;
use super::control::{Turn, header};
use super::replies::{self, Answer};
use crate::audit::{Event, Who};
use crate::encoding::{base64, percent_encoded};
use crate::hash::hash_all;
use crate::names::{RequestId, Sha256Hash};
use crate::transfer::{Status, Transfer};

/// What of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// These bytes, the last one included.
    Range {
        /// The first byte.
        first: u64,
        /// The last byte, which is in the file.
        last: u64,
    },
    /// Bytes that the file does not have.
    Unsatisfiable,
}

pub(super) fn serve(
    server: &Arc<Server>,
    caller: &Caller,
    id: RequestId,
    request: &Request,
) -> Result<Turn, Answer> {
    let transfer = caller.transfer(server, id)?;
    let (Status::Completed, Some(hash)) = (transfer.status, transfer.sha256) else {
        let message = format!("the transfer is {}; only a completed one has a file", transfer.status);
        return Err(Answer::error(409, "not complete", &message));
    };
    let file = server.spool.open_download(&transfer.filename).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Answer::error(410, "gone", "the file was removed from the server since"),
        _ => Answer::error(500, "internal error", &format!("the server can't read the file: {error}")),
    })?;
    let metadata =
        file.metadata().map_err(|error| Answer::error(500, "internal error", &error.to_string()))?;
    let size = metadata.len();
    if !metadata.is_file() || Some(size) != transfer.size {
        return Err(changed());
    }
    let etag = format!("\"{hash}\"");
    if header(request, "if-none-match").is_some_and(|tags| has_tag(&tags, &etag)) {
        return Err(Answer::empty(304).with("ETag", etag));
    }
    let unchanged = header(request, "if-range").is_none_or(|tag| tag == etag);
    let part =
        header(request, "range").filter(|_| unchanged).map_or(Part::Whole, |range| parse_range(&range, size));
    if part == Part::Unsatisfiable {
        let message = format!("the file has {size} bytes");
        return Err(
            Answer::error(416, "bad range", &message).with("Content-Range", format!("bytes */{size}"))
        );
    }
    let headers = headers(&transfer, hash, &etag, part, size);
    let is_touched = is_touched(&transfer, &metadata);
    let (server, by) = (server.clone(), caller.to_string());
    Ok(Turn::Thread(Box::new(move |request| {
        if is_touched && hash_all(&file).map(|(now, _)| now).ok() != Some(hash) {
            server.audit_refusal(&request, &changed());
            return changed().send(request);
        }
        if *request.method() != Method::Head {
            audit(&server, &transfer, part, &by);
        }
        send(file, part, size, headers, request);
    })))
}

/// Whether the file was written to, or only touched, since it was published. A file system's times may be coarse.
fn is_touched(transfer: &Transfer, metadata: &Metadata) -> bool {
    let since_epoch = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = since_epoch.map_or(u64::MAX, |at| at.as_millis() as u64);
    modified > transfer.finished_at.unwrap_or(0)
}

/// On record before the first byte leaves.
fn audit(server: &Server, transfer: &Transfer, part: Part, by: &str) {
    let (first, last) = match part {
        Part::Range { first, last } => (Some(first), Some(last)),
        Part::Whole | Part::Unsatisfiable => (None, None),
    };
    server.audit(&Event::FileTaken {
        who: Who::of(by),
        client_id: &transfer.client_id,
        file_key: transfer.file_key.as_ref(),
        request_id: transfer.request_id,
        first,
        last,
    });
}

fn changed() -> Answer {
    Answer::error(410, "gone", "what has the file's name now is not what was verified")
}

fn send(mut file: File, part: Part, size: u64, headers: Vec<Header>, request: Request) {
    let (status, first, length) = match part {
        Part::Range { first, last } => (206, first, last - first + 1),
        Part::Whole | Part::Unsatisfiable => (200, 0, size),
    };
    if let Err(error) = file.seek(SeekFrom::Start(first)) {
        return Answer::error(500, "internal error", &error.to_string()).send(request);
    }
    let length_in_memory = usize::try_from(length).unwrap_or(usize::MAX);
    let response = Response::new(status.into(), headers, file.take(length), Some(length_in_memory), None);
    if let Err(error) = request.respond(response.with_chunked_threshold(usize::MAX)) {
        log::info!("a caller went before it had its file: {error}");
    }
}

fn headers(transfer: &Transfer, hash: Sha256Hash, etag: &str, part: Part, size: u64) -> Vec<Header> {
    let name = transfer.source_name.as_deref().unwrap_or(&transfer.filename);
    let mut headers = vec![
        ("Content-Type", "application/octet-stream".to_owned()),
        ("Accept-Ranges", "bytes".to_owned()),
        ("ETag", etag.to_owned()),
        ("Repr-Digest", format!("sha-256=:{}:", base64(&hash.0))),
        ("Content-Disposition", disposition(name)),
        // A shop's file is never a page of this server, whatever it holds.
        ("X-Content-Type-Options", "nosniff".to_owned()),
    ];
    if let Part::Range { first, last } = part {
        headers.push(("Content-Range", format!("bytes {first}-{last}/{size}")));
    }
    headers.iter().filter_map(|(name, value)| replies::header(name, value)).collect()
}

/// Whether a list of entity tags holds this one; weak comparison (RFC 9110, section 13.1.2).
fn has_tag(list: &str, etag: &str) -> bool {
    list.trim() == "*" || list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
}

/// One range of bytes (RFC 9110, section 14.1.2). What is malformed, or more than one, is as if it were not there.
pub fn parse_range(range: &str, size: u64) -> Part {
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
    };
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Part::Whole;
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Part::Whole,
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some()) => {
            Part::Unsatisfiable
        }
        (Some(first), Some(last)) => Part::Range { first, last: last.min(size - 1) },
        (Some(first), None) if last.is_empty() => Part::Range { first, last: size - 1 },
        (None, Some(0)) if first.is_empty() => Part::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && size == 0 => Part::Unsatisfiable,
        (None, Some(length)) if first.is_empty() => {
            Part::Range { first: size.saturating_sub(length), last: size - 1 }
        }
        _ => Part::Whole,
    }
}

/// `Content-Disposition` for a name that a peer chose (RFC 6266 and RFC 8187): plain for old programs, and exact.
pub fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if (' '..='~').contains(&c) && !matches!(c, '"' | '\\' | '%') { c } else { '_' })
        .collect();
    let exact = percent_encoded(name, "._-~");
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = |first, last| Part::Range { first, last };
        for (text, size, part) in [
            ("bytes=0-0", 10, range(0, 0)),
            ("bytes=2-4", 10, range(2, 4)),
            ("bytes=5-", 10, range(5, 9)),
            ("bytes=-3", 10, range(7, 9)),
            ("bytes=-30", 10, range(0, 9)),
            ("bytes=5-99", 10, range(5, 9)),
            ("bytes=10-", 10, Part::Unsatisfiable),
            ("bytes=10-12", 10, Part::Unsatisfiable),
            ("bytes=-0", 10, Part::Unsatisfiable),
            ("bytes=0-", 0, Part::Unsatisfiable),
            ("bytes=-1", 0, Part::Unsatisfiable),
            ("bytes=4-2", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("bytes=a-b", 10, Part::Whole),
            ("bytes=+1-2", 10, Part::Whole),
            ("bytes=-", 10, Part::Whole),
            ("lines=1-2", 10, Part::Whole),
            ("bytes=99999999999999999999-", 10, Part::Whole),
        ] {
            assert_eq!(parse_range(text, size), part, "{text} of {size}");
        }
    }

    #[test]
    fn names_of_peers_stay_within_their_header() {
        assert_eq!(disposition("pos.db"), "attachment; filename=\"pos.db\"; filename*=UTF-8''pos.db");
        let hostile = disposition("a\"; x=\\\r\nSet-Cookie: ü.db");
        assert_eq!(
            hostile,
            "attachment; filename=\"a_; x=___Set-Cookie: _.db\"; filename*=UTF-8''a%22%3B%20x%3D%5C%0D%0ASet-Cookie%3A%20%C3%BC.db"
        );
    }

    #[test]
    fn tags() {
        assert!(has_tag("\"x\", W/\"y\"", "\"y\"") && has_tag("*", "\"y\"") && !has_tag("\"x\"", "\"y\""));
    }
}
