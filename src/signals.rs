//! SIGTERM and SIGINT. The only file that names `signal-hook`.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `stop` in a thread of its own at the first signal; at the second one the process ends at once, with exit code 1.
///
/// # Errors
/// When the system does not take the signal handlers, or has no thread.
pub fn on_stop(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let wait = move || {
        let mut stop = Some(stop);
        for _ in &mut signals {
            let Some(stop) = stop.take() else { std::process::exit(1) };
            if let Err(error) = thread::Builder::new().name("stop".to_owned()).spawn(stop) {
                log::error!("no thread to stop in order: {error}");
                std::process::exit(1);
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}
