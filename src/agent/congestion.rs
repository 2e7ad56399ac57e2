//! Who finds out how fast the agent's socket may send: `CONGESTION_CONTROL`.
//!
//! It is the sender's choice, so the agent's, for the way from here to the server, or to the proxy. What can't be had is
//! said and costs no line: the kernel's own choice works everywhere.

use crate::line::Line;
use crate::settings::CongestionChoice;

/// Asks the kernel for what is set, and says what is in use, for the log.
pub(super) fn choose(line: &Line, choice: &CongestionChoice) -> String {
    let in_use = || line.congestion_control().map_or("unknown".to_owned(), String::from);
    match choice {
        CongestionChoice::System => in_use(),
        CongestionChoice::Auto => match line.set_congestion_control(&CongestionChoice::best()) {
            Ok(()) => in_use(),
            Err(error) => format!("{} ({} can't be had: {error})", in_use(), CongestionChoice::best()),
        },
        CongestionChoice::Named(name) => {
            if let Err(error) = line.set_congestion_control(name) {
                log::warn!(
                    "CONGESTION_CONTROL={name}: {error}; {} is used. This system has {}, and lets any user choose among {}",
                    in_use(),
                    listed("tcp_available_congestion_control"),
                    listed("tcp_allowed_congestion_control")
                );
            }
            in_use()
        }
    }
}

/// The names in a file of the kernel's.
fn listed(file: &str) -> String {
    let names = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{file}"));
    names.map_or_else(|error| format!("what it does not tell ({error})"), |names| names.trim().to_owned())
}
