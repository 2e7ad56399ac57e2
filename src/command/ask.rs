//! Asks for a transfer until it is known what became of that: a line that breaks before the answer is here begins
//! nothing twice.

use std::thread;
use std::time::{Duration, Instant};

use super::api::{Api, ApiError, PullBody};
use crate::limits;
use crate::names::ClientId;
use crate::random;
use crate::transfer::Transfer;

/// Between two tries.
const RETRY_TIME: Duration = Duration::from_secs(1);

/// Asks for one file of one client, at most until it is time to `give_up`. A server that is not there is not asked
/// again: nothing has begun, and whoever asks learns at once that `SERVER` is wrong.
///
/// # Errors
/// When the server does not accept it, or does not tell for a minute.
pub fn ask(
    api: &Api,
    client: &ClientId,
    body: &PullBody,
    give_up: Option<Instant>,
) -> Result<Transfer, ApiError> {
    let key = random::request_id();
    let mut lost_at = None;
    loop {
        let error = match api.pull(client, body, key) {
            Ok(transfer) => return Ok(transfer),
            Err(error) => error,
        };
        if !error.leaves_open() && (lost_at.is_none() || !error.may_pass()) {
            return Err(error);
        }
        let patience = *lost_at.get_or_insert_with(Instant::now) + limits::PULL_PATIENCE;
        let until = give_up.map_or(patience, |give_up| give_up.min(patience));
        if until.saturating_duration_since(Instant::now()) <= RETRY_TIME {
            return Err(error);
        }
        eprintln!("{client}: {error}; asking again, which begins nothing twice");
        thread::sleep(RETRY_TIME);
    }
}
