//! The log: one line an event on stderr, in UTC, as it was written, without thread or module.
//!
//! Only what this crate says: at `debug`, libraries below it would show heads of requests, and with them secrets.

use std::io::{self, LineWriter};

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger, format_description};

/// Starts the log at `level`; a second call changes the level alone.
pub fn start(level: LevelFilter) {
    let config = ConfigBuilder::new()
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_time_level(LevelFilter::Error)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .add_filter_allow_str("towline")
        .build();
    // stderr has no buffer: without one of ours, a line would be a system call for each of its parts. The logger itself
    // takes every level, so that `set_max_level` alone decides.
    if WriteLogger::init(LevelFilter::Debug, config, LineWriter::new(io::stderr())).is_err() {
        log::debug!("the log was started before");
    }
    log::set_max_level(level);
}
