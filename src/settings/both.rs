//! The settings that server and agent have alike.

use log::LevelFilter;

use super::value::BadValue;
use super::{Given, Secret, UsageError};
use crate::limits;

impl Given {
    /// `AUTH_SECRET`, which must be set.
    pub(super) fn auth_secret(&self) -> Result<Secret, UsageError> {
        let wanted = "expected the secret that server and agents share, in the environment or in .env";
        self.key("AUTH_SECRET")?
            .ok_or_else(|| UsageError::Missing { name: "AUTH_SECRET", wanted: wanted.to_owned() })
    }

    /// A secret that can travel in a header: what an HTTP parser would cut off or refuse could never match.
    pub(super) fn key(&self, name: &str) -> Result<Option<Secret>, UsageError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        if text.len() > limits::MAX_SECRET_BYTES {
            return Err(self.bad(name, format!("at most {} bytes", limits::MAX_SECRET_BYTES)));
        }
        if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) || text.trim() != text {
            return Err(self.bad(name, "visible ASCII characters, and no space at its start or end"));
        }
        Ok(Some(Secret::new(text)))
    }

    /// `CHUNK_SIZE`.
    pub(super) fn chunk_size(&self) -> Result<Option<usize>, UsageError> {
        let range = limits::MIN_CHUNK_BYTES as u64..=limits::MAX_CHUNK_BYTES as u64;
        Ok(self.size("CHUNK_SIZE", range)?.map(|size| size as usize))
    }

    /// `LOG_LEVEL`; `trace` is not to be had, because it would dump what goes over the lines.
    pub(super) fn log_level(&self) -> Result<LevelFilter, UsageError> {
        let read = |text: &str| match text.to_ascii_lowercase().as_str() {
            "off" => Ok(LevelFilter::Off),
            "error" => Ok(LevelFilter::Error),
            "warn" => Ok(LevelFilter::Warn),
            "info" => Ok(LevelFilter::Info),
            "debug" => Ok(LevelFilter::Debug),
            _ => Err(BadValue("off, error, warn, info or debug")),
        };
        Ok(self.parsed("LOG_LEVEL", read)?.expect("it has a default"))
    }

    /// A number of days; 0 and `off` mean for ever.
    pub(super) fn days(&self, name: &str) -> Result<Option<u32>, UsageError> {
        Ok(self.number_or_off(name, 0..=36_500)?.filter(|days| *days > 0))
    }
}
