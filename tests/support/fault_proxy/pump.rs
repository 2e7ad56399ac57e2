//! One direction of a connection: passes bytes on, and does the faults that are counted in bytes.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::connection::{Connection, Fate};
use super::{Fault, Shared, Toward};

/// Bytes that are read at once.
pub(super) const PIECE: usize = 32 << 10;

/// One direction of a connection.
pub(super) struct Pump {
    connection: Arc<Connection>,
    shared: Arc<Shared>,
    toward: Toward,
    passed: u64,
    /// When the throttle lets more through.
    free_at: Instant,
}

impl Pump {
    pub(super) fn new(connection: Arc<Connection>, shared: Arc<Shared>, toward: Toward) -> Pump {
        Pump { connection, shared, toward, passed: 0, free_at: Instant::now() }
    }

    pub(super) fn run(mut self) {
        let connection = Arc::clone(&self.connection);
        let at_once = self.rate().map_or(PIECE, |rate| (rate / 50).clamp(1, PIECE as u64) as usize);
        connection.read_all(self.toward, at_once, |bytes| self.carry(bytes));
        self.finish();
    }

    pub(super) fn run_late(mut self, late: &Receiver<(Instant, Vec<u8>)>) {
        while let Ok((due, mut bytes)) = late.recv() {
            if !self.connection.wait_until(due) || !self.carry(&mut bytes) {
                break;
            }
        }
        self.finish();
    }

    /// One end has closed: so does the other, unless the connection is silent.
    fn finish(&self) {
        if self.connection.is_open() {
            self.connection.cut();
        }
    }

    /// Passes bytes on, with whatever happens to them; whether more may come.
    fn carry(&mut self, bytes: &mut [u8]) -> bool {
        let whole = self.passed..self.passed + bytes.len() as u64;
        let mut struck: Option<(u64, Fault)> = None;
        for fault in &self.connection.faults {
            match *fault {
                Fault::FlipBit(toward, at) if toward == self.toward && whole.contains(&at) => {
                    bytes[(at - whole.start) as usize] ^= 0x10;
                }
                Fault::Cut(toward, at) | Fault::Reset(toward, at) | Fault::Silence(toward, at)
                    if toward == self.toward
                        && at <= whole.end
                        && struck.is_none_or(|(first, _)| at < first) =>
                {
                    struck = Some((at, *fault));
                }
                _ => {}
            }
        }
        let length = struck.map_or(whole.end, |(at, _)| at).saturating_sub(whole.start) as usize;
        if !self.wait_for_throttle(length) || !self.connection.is_open() {
            return false;
        }
        if self.connection.ends(self.toward).1.write_all(&bytes[..length]).is_err() {
            return false;
        }
        self.passed += length as u64;
        match struck {
            None => {}
            Some((_, Fault::Cut(..))) => self.connection.cut(),
            Some((_, Fault::Reset(..))) => self.connection.reset(),
            Some(_) => self.connection.turn(Fate::Silent),
        }
        // After the strike: whoever is told of it may rely on it.
        self.shared.note(|meter| {
            match self.toward {
                Toward::Server => meter.toward_server += length as u64,
                Toward::Agent => meter.toward_agent += length as u64,
            }
            meter.struck += usize::from(struck.is_some());
        });
        struck.is_none()
    }

    /// Whether the connection is still there when so many bytes may pass.
    fn wait_for_throttle(&mut self, length: usize) -> bool {
        let Some(rate) = self.rate() else { return true };
        let then = self.free_at.max(Instant::now());
        self.free_at = then + Duration::from_secs_f64(length as f64 / rate as f64);
        self.connection.wait_until(then)
    }

    fn rate(&self) -> Option<u64> {
        self.connection.faults.iter().find_map(|fault| match fault {
            Fault::Throttle(toward, rate) if *toward == self.toward => Some(*rate),
            _ => None,
        })
    }
}
