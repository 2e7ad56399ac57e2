//! Shows transfers while they run, on stderr: bars on a terminal, a line for each change of status elsewhere.
//!
//! stdout stays free for results, so that it can be a pipe while a person watches.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use super::follow::{Event, Pace};
use super::progress::{self, Layout, Meter, Painter};
use crate::transfer::Transfer;

/// Between two paintings.
const PAINT_TIME: Duration = Duration::from_millis(100);

/// The transfers that are shown.
pub struct View {
    rows: Vec<Row>,
    painter: Option<Painter>,
    layout: Layout,
    started: Instant,
    painted: Option<Instant>,
}

struct Row {
    transfer: Transfer,
    meter: Meter,
    /// Bytes of the file that is fetched after the transfer.
    fetched: Option<u64>,
    /// Why the server does not tell at the moment.
    away: Option<String>,
    /// The last line that was printed where there is no terminal.
    printed: String,
    done: bool,
}

impl View {
    /// Shows `transfers`, in this order.
    pub fn new<'a>(transfers: impl Iterator<Item = &'a Transfer> + Clone) -> View {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width: usize = columns.filter(|columns| (20..=500).contains(columns)).unwrap_or(80);
        let layout = Layout::of(width - 1, transfers.clone().map(|transfer| &transfer.client_id));
        let row = |transfer: &Transfer| Row {
            transfer: transfer.clone(),
            meter: Meter::default(),
            fetched: None,
            away: None,
            printed: String::new(),
            done: false,
        };
        let terminal = io::stderr().is_terminal();
        View {
            rows: transfers.map(row).collect(),
            painter: terminal.then(Painter::default),
            layout,
            started: Instant::now(),
            painted: None,
        }
    }

    /// How often the server must be asked for this view.
    pub fn pace(&self) -> Pace {
        if self.is_painted() { Pace::Poll } else { Pace::Wait }
    }

    /// Whether somebody looks at a terminal.
    pub fn is_painted(&self) -> bool {
        self.painter.is_some()
    }

    /// How long to wait for an event before [`View::paint`]; without a terminal there is nothing to paint.
    pub fn repaint_after(&self) -> Duration {
        match (&self.painter, self.painted) {
            (None, _) => Duration::from_secs(3600),
            (Some(_), None) => Duration::ZERO,
            (Some(_), Some(painted)) => PAINT_TIME.saturating_sub(painted.elapsed()),
        }
    }

    /// Takes news of the transfer at `index`.
    pub fn note(&mut self, index: usize, event: Event) {
        let now = self.started.elapsed().as_millis() as u64;
        let row = &mut self.rows[index];
        match event {
            Event::Seen(transfer) => {
                row.meter.note(now, transfer.bytes);
                row.transfer = *transfer;
                row.away = None;
                // Its end is printed by whoever asked for it.
                if !row.transfer.status.is_final() {
                    let line = progress::plain(&row.transfer);
                    self.print(index, line);
                }
            }
            Event::Away(why) => {
                row.away = Some(why.clone());
                let client = row.transfer.client_id.clone();
                self.print(index, format!("{client}: {why}; trying again"));
            }
            Event::Fetching(bytes) => {
                if row.fetched.is_none() {
                    row.meter = Meter::default();
                }
                row.meter.note(now, bytes);
                row.fetched = Some(bytes);
            }
            Event::Ended(_) => self.end(index),
        }
        if self.painter.is_some() && self.repaint_after().is_zero() {
            self.paint();
        }
    }

    /// The transfer at `index` has ended: its line goes, so that the caller can print what became of it.
    pub fn end(&mut self, index: usize) {
        self.rows[index].done = true;
        self.close();
    }

    /// Takes all lines away.
    pub fn close(&mut self) {
        if let Some(painter) = &mut self.painter {
            // A terminal that is gone has nobody to look at it; the transfers go on.
            let _ = painter.clear(&mut io::stderr());
            self.painted = None;
        }
    }

    /// Paints all lines.
    pub fn paint(&mut self) {
        let Some(painter) = &mut self.painter else { return };
        let line = |row: &Row| match (&row.away, row.fetched) {
            (Some(why), _) => progress::note(&row.transfer, why, self.layout),
            (None, Some(bytes)) => progress::fetching(&row.transfer, bytes, row.meter.rate(), self.layout),
            (None, None) => progress::line(&row.transfer, row.meter.rate(), self.layout),
        };
        let lines: Vec<String> = self.rows.iter().filter(|row| !row.done).map(line).collect();
        // As above: without a terminal there is nobody to tell.
        let _ = painter.paint(&lines, &mut io::stderr());
        self.painted = Some(Instant::now());
    }

    /// Prints `line` where there is no terminal, unless it is the one before.
    fn print(&mut self, index: usize, line: String) {
        if self.painter.is_none() && self.rows[index].printed != line {
            eprintln!("{line}");
            self.rows[index].printed = line;
        }
    }
}
