//! Whether compressing a chunk gains time, told from what chunks took before. Pure; times come in as arguments.
//!
//! A chunk that becomes smaller by `saved` bytes costs the line less by what it takes for as many: that must be some
//! times what the compressing takes, `MARGIN`, because the server has work with it too, and both have other work. So on
//! a line that takes bytes as fast as they can be compressed, chunks go plain; and where a chunk gains nothing, because it
//! does not become smaller or the line is fast, the next try is after one chunk, then two, and so on up to
//! `MOST_PLAIN`. How fast the line is, every chunk tells, compressed or not: how long its sender was kept by the line,
//! and by `MAX_RATE`, which is a thin line too. As long as nobody knows, what becomes smaller goes compressed: a thin line
//! loses much by waiting for certainty, a fast one little by not.

use std::time::Duration;

/// What compressing must save, in times of what it takes.
const MARGIN: f64 = 4.0;
/// Seconds that compressing takes for a byte at the least. A line on which even this gains nothing (250 MB/s) needs no tries.
const LEAST_WORK: f64 = 1e-9;
/// Plain chunks between two tries, at the most: what a try of no use costs is spread over them.
const MOST_PLAIN: u32 = 32;
/// What was measured so many bytes ago counts half.
const HALF: f64 = 256.0 * 1024.0;
/// Of fewer bytes nothing is concluded about a line: they may all be in some buffer on the way. A socket to a proxy or a
/// tunnel on the same machine takes 2.5 MiB at once, however thin the line is behind it; concluded too early, as many went plain.
const ENOUGH: f64 = 3.0 * 1024.0 * 1024.0;

/// When to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Where it gains time.
    Auto,
    /// Where it gains bytes.
    Always,
    /// Never.
    Off,
}

/// How long something takes for a byte, of late.
#[derive(Debug, Clone, Copy, Default)]
pub struct Speed {
    bytes: f64,
    seconds: f64,
    /// Bytes in all.
    total: f64,
}

impl Speed {
    fn note(&mut self, bytes: usize, took: Duration) {
        let fades = 0.5f64.powf(bytes as f64 / HALF);
        self.bytes = self.bytes * fades + bytes as f64;
        self.seconds = self.seconds * fades + took.as_secs_f64();
        self.total += bytes as f64;
    }

    /// Seconds a byte; `None` as long as there were too few.
    fn a_byte(&self) -> Option<f64> {
        (self.total >= ENOUGH).then(|| self.seconds / self.bytes)
    }
}

/// The decision, for one transfer.
#[derive(Debug, Clone)]
pub struct Gain {
    wish: Wish,
    line: Speed,
    /// Seconds for a byte that is compressed, and the part of it that is saved, of late.
    work: Speed,
    saved: f64,
    /// Chunks that go plain before the next try, and how many it will be after that.
    plain: u32,
    then: u32,
}

impl Gain {
    /// For a transfer on a line that was so fast a while ago.
    pub fn new(wish: Wish, line: Speed) -> Gain {
        Gain { wish, line, work: Speed::default(), saved: 0.0, plain: 0, then: 1 }
    }

    /// Whether the next chunk is to be compressed.
    pub fn tries(&mut self) -> bool {
        let is_fast = self.line.a_byte().is_some_and(|takes| takes < MARGIN * LEAST_WORK);
        match self.wish {
            Wish::Off => return false,
            Wish::Auto if is_fast => return false,
            Wish::Auto | Wish::Always => {}
        }
        if self.plain == 0 || self.would_gain() {
            return true;
        }
        self.plain -= 1;
        false
    }

    /// A chunk of `bytes` was compressed to `smaller`, or would not become smaller.
    pub fn compressed(&mut self, bytes: usize, smaller: Option<usize>, took: Duration) {
        self.work.note(bytes, took);
        let saved = smaller.map_or(0.0, |smaller| 1.0 - smaller as f64 / bytes.max(1) as f64);
        // The mean with what was saved before is enough: one odd chunk among many changes little.
        self.saved = if self.saved == 0.0 || saved == 0.0 { saved } else { (self.saved + saved) / 2.0 };
        if self.would_gain() {
            (self.plain, self.then) = (0, 1);
        } else {
            self.plain = self.then;
            self.then = (self.then * 2).min(MOST_PLAIN);
        }
    }

    /// The line took `bytes` and kept their sender for so long.
    pub fn sent(&mut self, bytes: usize, took: Duration) {
        self.line.note(bytes, took);
    }

    /// How fast the line was.
    pub fn line(&self) -> Speed {
        self.line
    }

    /// Whether compressing gains, as far as one knows.
    fn would_gain(&self) -> bool {
        match (self.wish, self.line.a_byte()) {
            (Wish::Off, _) => false,
            (Wish::Always, _) | (Wish::Auto, None) => self.saved > 0.0,
            (Wish::Auto, Some(takes)) => {
                self.work.bytes > 0.0 && takes * self.saved > MARGIN * self.work.seconds / self.work.bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 64 << 10;

    /// A line, a processor, and a file.
    struct World {
        /// Bytes a second.
        line: f64,
        compressing: f64,
        /// What is left of a byte.
        left: f64,
        /// Bytes that a buffer takes before the line is felt.
        buffer: f64,
    }

    const THIN: f64 = 2.5e6;
    const LOCAL: f64 = 1.5e9;

    impl World {
        /// Sends so many chunks; returns how many went compressed, and the seconds.
        fn send(&mut self, gain: &mut Gain, chunks: usize) -> (usize, f64) {
            let (mut compressed, mut seconds) = (0, 0.0);
            for _ in 0..chunks {
                let mut wire = CHUNK as f64;
                if gain.tries() {
                    let took = CHUNK as f64 / self.compressing;
                    seconds += took;
                    let smaller = (self.left < 0.95).then_some((CHUNK as f64 * self.left) as usize);
                    gain.compressed(CHUNK, smaller, Duration::from_secs_f64(took));
                    compressed += usize::from(smaller.is_some());
                    wire *= if smaller.is_some() { self.left } else { 1.0 };
                }
                let felt = (wire - self.buffer).max(0.0);
                self.buffer = (self.buffer - wire).max(0.0);
                let took = felt / self.line + (wire - felt) / LOCAL;
                seconds += took;
                gain.sent(wire as usize, Duration::from_secs_f64(took));
            }
            (compressed, seconds)
        }
    }

    fn auto() -> Gain {
        Gain::new(Wish::Auto, Speed::default())
    }

    #[test]
    fn a_thin_line_gets_all_of_a_log_compressed() {
        let mut world = World { line: THIN, compressing: 500e6, left: 0.2, buffer: 0.0 };
        assert_eq!(world.send(&mut auto(), 1000).0, 1000);
    }

    #[test]
    fn a_fast_line_gets_only_the_beginning_compressed() {
        let mut world = World { line: LOCAL, compressing: 500e6, left: 0.2, buffer: 0.0 };
        let mut gain = auto();
        let beginning = (ENOUGH / (0.2 * CHUNK as f64)) as usize;
        let (compressed, _) = world.send(&mut gain, 1600);
        assert!(compressed <= beginning + 1, "{compressed}");
        let mut next = Gain::new(Wish::Auto, gain.line());
        assert_eq!(world.send(&mut next, 1600).0, 0, "of the next file nothing");
    }

    #[test]
    fn a_gigabit_is_worth_it_and_ten_are_not() {
        for (line, wanted) in [(110e6, 900..=1000), (1100e6, 0..=300)] {
            let mut world = World { line, compressing: 900e6, left: 0.2, buffer: 0.0 };
            let (compressed, _) = world.send(&mut auto(), 1000);
            assert!(wanted.contains(&compressed), "{line}: {compressed}");
        }
    }

    #[test]
    fn noise_is_tried_seldom_and_costs_little() {
        for line in [THIN, 12e6, 110e6, LOCAL] {
            // Noise is passed over at some GB/s; this is the worst that was seen.
            let mut world = World { line, compressing: 1e9, left: 1.0, buffer: 0.0 };
            let (compressed, seconds) = world.send(&mut auto(), 1600);
            assert_eq!(compressed, 0);
            let ratio = seconds / ((1600 * CHUNK) as f64 / line);
            assert!(ratio < 1.01, "{line}: {ratio}");
        }
    }

    #[test]
    fn a_log_behind_noise_is_found() {
        let mut world = World { line: THIN, compressing: 500e6, left: 1.0, buffer: 0.0 };
        let mut gain = auto();
        world.send(&mut gain, 1000);
        world.left = 0.2;
        let (compressed, _) = world.send(&mut gain, 100);
        assert!(compressed >= 100 - MOST_PLAIN as usize - 1, "{compressed}");
    }

    #[test]
    fn buffers_on_the_way_deceive_only_for_as_long_as_they_fill() {
        let buffer = 4e6;
        let mut world = World { line: THIN, compressing: 500e6, left: 0.2, buffer };
        let (compressed, _) = world.send(&mut auto(), 1000);
        let in_buffer = (buffer - ENOUGH) / CHUNK as f64;
        assert!(compressed as f64 > 1000.0 - in_buffer - 10.0, "{compressed}");
    }

    #[test]
    fn a_line_that_becomes_faster_or_slower_is_noticed() {
        let mut world = World { line: THIN, compressing: 500e6, left: 0.2, buffer: 0.0 };
        let mut gain = auto();
        world.send(&mut gain, 300);
        world.line = LOCAL;
        world.send(&mut gain, 200);
        assert_eq!(world.send(&mut gain, 200).0, 0, "faster");
        world.line = THIN;
        assert!(world.send(&mut gain, 200).0 > 190, "slower");
    }

    #[test]
    fn the_other_wishes() {
        let mut world = World { line: LOCAL, compressing: 500e6, left: 0.2, buffer: 0.0 };
        assert_eq!(world.send(&mut Gain::new(Wish::Always, Speed::default()), 500).0, 500);
        assert_eq!(world.send(&mut Gain::new(Wish::Off, Speed::default()), 500).0, 0);
        let mut always = Gain::new(Wish::Always, Speed::default());
        assert_eq!(
            (0..1000)
                .filter(|_| always.tries() && {
                    always.compressed(CHUNK, None, Duration::ZERO);
                    true
                })
                .count(),
            35
        );
    }
}
