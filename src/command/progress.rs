//! How a running transfer looks: one line each, and the painter that keeps such lines at the bottom of a terminal.
//!
//! Lines are made without a terminal or a clock: times come in as arguments.

use std::collections::VecDeque;
use std::io::{self, Write};

use super::human;
use super::list::moment;
use crate::names::{ClientId, printable};
use crate::transfer::{Status, Transfer};

/// Rates are those of the last three seconds: long enough to read, short enough to be true.
const WINDOW_MS: u64 = 3000;
/// Lines that are painted; a terminal has room for these.
const MAX_LINES: usize = 16;
/// The name of a client is cut at this length in a line.
const MAX_LABEL: usize = 24;

/// Measures the rate of one transfer.
#[derive(Debug, Default)]
pub struct Meter {
    samples: VecDeque<(u64, u64)>,
}

impl Meter {
    /// At `now`, in milliseconds, `bytes` were there. Fewer than before means a new attempt, which is measured anew.
    pub fn note(&mut self, now: u64, bytes: u64) {
        if self.samples.back().is_some_and(|(_, before)| *before > bytes) {
            self.samples.clear();
        }
        self.samples.push_back((now, bytes));
        // The oldest one stays until the next is old enough, so that the window is always full.
        while self.samples.get(1).is_some_and(|(at, _)| at + WINDOW_MS <= now) {
            self.samples.pop_front();
        }
    }

    /// Bytes a second; nothing before there are two samples.
    pub fn rate(&self) -> Option<u64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        human::rate(last.1 - first.1, last.0.saturating_sub(first.0))
    }
}

/// The room that lines have, in characters.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Of a line.
    pub width: usize,
    /// Of the client's name at its start, so that what follows stands in columns.
    pub label: usize,
}

impl Layout {
    /// The room for lines on `clients` where a line may have `width` characters.
    pub fn of<'a>(width: usize, clients: impl Iterator<Item = &'a ClientId>) -> Layout {
        Layout { width, label: clients.map(|id| id.as_str().len()).max().unwrap_or(0).min(MAX_LABEL) }
    }
}

/// One line on `transfer`.
pub fn line(transfer: &Transfer, rate: Option<u64>, layout: Layout) -> String {
    let text = match transfer.status {
        Status::Receiving => {
            return bar(&label(transfer, layout), transfer.size, transfer.bytes, rate, layout);
        }
        Status::Queued if transfer.attempts == 0 => "queued, waits for its turn".to_owned(),
        Status::Queued => format!("queued again{}", why(transfer)),
        Status::Requested => "requested, waits for the agent".to_owned(),
        Status::Verifying => match transfer.size {
            Some(size) => format!("verifying {}", human::bytes(size)),
            None => "verifying".to_owned(),
        },
        Status::Interrupted => format!("interrupted, waits for the client{}", why(transfer)),
        Status::Completed | Status::Failed | Status::Cancelled | Status::Expired => {
            format!("{}{}", transfer.status, why(transfer))
        }
    };
    note(transfer, &text, layout)
}

/// Where `transfer` stands, without numbers that grow: for a log, where a line stays.
pub fn plain(transfer: &Transfer) -> String {
    let waits = match (transfer.status, transfer.expires_at) {
        (Status::Queued | Status::Interrupted, Some(at)) => format!("; waits until {}", moment(at)),
        _ => String::new(),
    };
    let size = match (transfer.status, transfer.size) {
        (Status::Receiving, Some(size)) => format!(" {}", human::bytes(size)),
        _ => String::new(),
    };
    let Transfer { client_id, status, .. } = transfer;
    let why = match status {
        Status::Queued | Status::Interrupted | Status::Failed | Status::Cancelled | Status::Expired => {
            why(transfer)
        }
        // What is left of an attempt before.
        Status::Requested | Status::Receiving | Status::Verifying | Status::Completed => String::new(),
    };
    format!("{client_id}: {status}{size}{why}{waits}")
}

/// As [`line`], with `text` for its state.
pub fn note(transfer: &Transfer, text: &str, layout: Layout) -> String {
    cut(&format!("{}  {text}", label(transfer, layout)), layout.width)
}

/// As [`line`], while the verified file is fetched from the server and `bytes` of it are here.
pub fn fetching(transfer: &Transfer, bytes: u64, rate: Option<u64>, layout: Layout) -> String {
    match transfer.size {
        Some(size) if bytes >= size => {
            note(transfer, &format!("fetched, writing {} to disk", human::bytes(size)), layout)
        }
        size => bar(&format!("{}  fetching", label(transfer, layout)), size, bytes, rate, layout),
    }
}

fn label(transfer: &Transfer, layout: Layout) -> String {
    format!("{:<width$}", cut(transfer.client_id.as_str(), MAX_LABEL), width = layout.label)
}

fn why(transfer: &Transfer) -> String {
    transfer
        .failure
        .as_ref()
        .map_or(String::new(), |failure| format!(": {}", printable(&failure.to_string())))
}

fn bar(head: &str, size: Option<u64>, bytes: u64, rate: Option<u64>, layout: Layout) -> String {
    let width = layout.width;
    let rate_text = rate.map_or(String::new(), |rate| format!("{}/s", human::bytes(rate)));
    let Some(size) = size else {
        return cut(&format!("{head}  {}  {rate_text}", human::bytes(bytes)), width);
    };
    let bytes = bytes.min(size);
    let part = if size == 0 { 1.0 } else { bytes as f64 / size as f64 };
    let left = match rate {
        Some(rate) if rate > 0 && bytes < size => {
            let ms = u128::from(size - bytes) * 1000 / u128::from(rate);
            format!("{} left", human::span(u64::try_from(ms).unwrap_or(u64::MAX)))
        }
        _ => String::new(),
    };
    let facts = format!(
        "{:>3.0} %  {:>8} of {}  {rate_text:>10}  {left:<11}",
        (part * 100.0).floor(),
        human::bytes(bytes),
        human::bytes(size)
    );
    let room = width.saturating_sub(head.chars().count() + facts.chars().count() + 6);
    if room < 5 {
        return cut(&format!("{head}  {facts}"), width);
    }
    let room = room.min(40);
    let full = ((part * room as f64) as usize).min(room);
    cut(&format!("{head}  [{}{}]  {facts}", "=".repeat(full), " ".repeat(room - full)), width)
}

fn cut(text: &str, width: usize) -> String {
    let text = text.trim_end();
    match text.char_indices().nth(width) {
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// Keeps lines at the bottom of a terminal and paints over them.
#[derive(Debug, Default)]
pub struct Painter {
    drawn: usize,
}

impl Painter {
    /// Replaces the lines that stand there.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn paint(&mut self, lines: &[String], terminal: &mut impl Write) -> io::Result<()> {
        let mut text = self.up();
        let shown = lines.len().min(MAX_LINES);
        for line in &lines[..shown] {
            text.push_str("\x1b[2K"); // erase the line: the one before may have been longer
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = shown;
        if lines.len() > shown {
            text.push_str(&format!("\x1b[2K… and {} more\n", lines.len() - shown));
            self.drawn += 1;
        }
        text.push_str("\x1b[J"); // erase what is below: there may have been more lines
        terminal.write_all(text.as_bytes())?;
        terminal.flush()
    }

    /// Takes the lines away, for text that is to stay.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn clear(&mut self, terminal: &mut impl Write) -> io::Result<()> {
        self.paint(&[], terminal)
    }

    fn up(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\r", self.drawn) }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::transfer::{Failure, FailureCode};

    /// A transfer of `shop-001`.
    pub fn transfer(status: Status, bytes: u64, size: Option<u64>) -> Transfer {
        Transfer {
            request_id: "1b4e28ba-2fa1-41d2-883f-0016d3cca427".parse().unwrap(),
            client_id: "shop-001".parse().unwrap(),
            file_key: None,
            batch_id: None,
            status,
            filename: "shop-001_2025-10-31T15-30-00-123Z.bin".to_owned(),
            out_path: "downloads/shop-001_2025-10-31T15-30-00-123Z.bin".to_owned(),
            source_name: Some("pos.db".to_owned()),
            size,
            bytes,
            bytes_on_wire: bytes,
            sha256: None,
            attempts: 0,
            requested_by: "operator".to_owned(),
            max_rate: None,
            created_at: 0,
            started_at: None,
            finished_at: None,
            expires_at: None,
            failure: None,
        }
    }

    #[test]
    fn lines() {
        let of = |status, bytes, size, rate| {
            line(&transfer(status, bytes, size), rate, Layout { width: 80, label: 8 })
        };
        let (total, size) = (100_000_000, Some(100_000_000));
        for (text, expected) in [
            (of(Status::Queued, 0, None, None), "shop-001  queued, waits for its turn"),
            (of(Status::Requested, 0, None, None), "shop-001  requested, waits for the agent"),
            (of(Status::Verifying, total, size, None), "shop-001  verifying 100.0 MB"),
            (of(Status::Completed, total, size, None), "shop-001  completed"),
            (
                of(Status::Receiving, 61_500_000, size, Some(24_000_000)),
                "shop-001  [========      ]   61 %   61.5 MB of 100.0 MB   24.0 MB/s  1.6 s left",
            ),
            (
                of(Status::Receiving, 0, size, Some(0)),
                "shop-001  [              ]    0 %       0 B of 100.0 MB       0 B/s",
            ),
            (of(Status::Receiving, 5000, None, Some(1000)), "shop-001  5.0 kB  1.0 kB/s"),
            (
                of(Status::Receiving, 0, Some(0), None),
                "shop-001  [===================]  100 %       0 B of 0 B",
            ),
        ] {
            assert_eq!(text, expected);
        }
        let done = transfer(Status::Completed, total, size);
        let fetching = |bytes| fetching(&done, bytes, Some(24_000_000), Layout { width: 90, label: 8 });
        assert_eq!(
            fetching(61_500_000),
            "shop-001  fetching  [========      ]   61 %   61.5 MB of 100.0 MB   24.0 MB/s  1.6 s left"
        );
        assert_eq!(fetching(total), "shop-001  fetched, writing 100.0 MB to disk");
        let mut cut_off = transfer(Status::Interrupted, 5, Some(9));
        cut_off.failure = Some(Failure::new(FailureCode::ClientDisconnected, "went\naway"));
        cut_off.expires_at = Some(1_761_924_600_123);
        assert_eq!(
            plain(&cut_off),
            "shop-001: interrupted: client_disconnected: went\\naway; waits until 2025-10-31 15:30:00Z"
        );
        cut_off.status = Status::Receiving;
        assert_eq!(plain(&cut_off), "shop-001: receiving 9 B");
        cut_off.status = Status::Interrupted;
        let text = line(&cut_off, None, Layout { width: 200, label: 0 });
        assert_eq!(text, "shop-001  interrupted, waits for the client: client_disconnected: went\\naway");
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        let mut long = transfer(Status::Receiving, u64::MAX / 3, Some(u64::MAX));
        long.client_id = "c".repeat(64).parse().unwrap();
        long.failure = Some(Failure::new(FailureCode::Stalled, "x".repeat(500)));
        for status in Status::ALL {
            long.status = status;
            for width in [1, 20, 40, 60, 80, 200] {
                for rate in [None, Some(1), Some(u64::MAX)] {
                    let layout = Layout::of(width, [&long.client_id].into_iter());
                    assert!(line(&long, rate, layout).chars().count() <= width, "{status} {width}");
                }
            }
        }
    }

    #[test]
    fn rates_are_of_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.rate(), None);
        meter.note(0, 0);
        assert_eq!(meter.rate(), None);
        meter.note(1000, 5000);
        assert_eq!(meter.rate(), Some(5000));
        for second in 2..10 {
            meter.note(second * 1000, 5000); // nothing comes any more
        }
        assert_eq!(meter.rate(), Some(0));
        meter.note(10_000, 100); // a new attempt
        assert_eq!(meter.rate(), None);
    }

    #[test]
    fn the_painter_goes_back_to_its_first_line() {
        let mut painter = Painter::default();
        let mut out = Vec::new();
        painter.paint(&["a".to_owned(), "b".to_owned()], &mut out).unwrap();
        painter.paint(&["c".to_owned()], &mut out).unwrap();
        painter.clear(&mut out).unwrap();
        painter.clear(&mut out).unwrap();
        let expected =
            ["\x1b[2Ka\n\x1b[2Kb\n\x1b[J", "\x1b[2A\r\x1b[2Kc\n\x1b[J", "\x1b[1A\r\x1b[J", "\x1b[J"].concat();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let many: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let mut out = Vec::new();
        painter.paint(&many, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("\x1b[2K15\n\x1b[2K… and 4 more\n\x1b[J"));
    }
}
