//! Carries packets between two TUN devices as a line does: at a rate, late, some of them not at all.
//!
//! Each way has two threads. One takes packets in, and settles there and then when each has left the bottleneck, or that it
//! is lost: by chance, or because the queue before the bottleneck is full. The other one waits for that moment and the
//! delay behind it. Chance has a fixed seed; what meets it is up to the clock.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::link::Nature;

/// The largest packet of a TUN device is 1500 bytes.
const PACKET: usize = 2 << 10;

/// Runs until it is killed; the devices are standard input and output.
pub fn run(nature: Nature) -> ExitCode {
    let near = std::io::stdin().as_fd().try_clone_to_owned().map(File::from).expect("a device");
    let far = std::io::stdout().as_fd().try_clone_to_owned().map(File::from).expect("a device");
    thread::scope(|scope| {
        for (from, to, seed) in [(&near, &far, 0x9e37_79b9_7f4a_7c15), (&far, &near, 0xbf58_476d_1ce4_e5b9)] {
            let (packets_in, packets) = channel();
            scope.spawn(move || take_in(from, nature, seed, packets_in));
            scope.spawn(move || give_out(to, packets));
        }
    });
    ExitCode::SUCCESS
}

fn take_in(mut from: &File, nature: Nature, mut dice: u64, packets: Sender<(Instant, Vec<u8>)>) {
    let bytes_a_second = nature.mbit * 1e6 / 8.0;
    let delay = Duration::from_secs_f64(nature.round_trip_ms / 2000.0);
    let mut free_at = Instant::now();
    let mut buffer = [0; PACKET];
    loop {
        let Ok(length) = from.read(&mut buffer) else {
            thread::sleep(Duration::from_millis(1)); // the device is not up yet
            continue;
        };
        dice ^= dice << 13; // xorshift64
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let now = Instant::now();
        free_at = free_at.max(now);
        let waiting = (free_at - now).as_secs_f64() * bytes_a_second;
        let is_lost = (dice >> 11) as f64 / ((1u64 << 53) as f64) < nature.loss;
        if is_lost || waiting + length as f64 > nature.queue as f64 {
            continue;
        }
        free_at += Duration::from_secs_f64(length as f64 / bytes_a_second);
        packets.send((free_at + delay, buffer[..length].to_vec())).expect("it lives as long");
    }
}

fn give_out(mut to: &File, packets: Receiver<(Instant, Vec<u8>)>) {
    for (due, packet) in packets {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A device that takes no packet loses it, as a line does.
        let _lost = to.write(&packet);
    }
}
