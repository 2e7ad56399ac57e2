//! How many connections of which kind fit, by what the system allows this process.

use crate::limits;
use crate::settings::ServerSettings;

/// Room for connections, by what the system allows this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Lines of clients: a thread and a descriptor each.
    pub(super) clients: usize,
    /// Connections that are not, or not yet.
    pub(super) door: usize,
    /// Requests with the control plane: three descriptors more each. tiny_http must never run out of them.
    pub(super) relays: usize,
}

/// Divides descriptors; threads are bounded by memory maps as well, four each.
pub(super) fn room(settings: &ServerSettings, descriptors: u64) -> Room {
    let share = |part: u64, most: usize| usize::try_from(descriptors / part).unwrap_or(most).clamp(1, most);
    let (door, relays) = (share(4, limits::MAX_DOOR_CONNECTIONS), share(16, limits::MAX_RELAYED));
    Room { clients: max_clients(settings, descriptors), door, relays }
}

fn max_clients(settings: &ServerSettings, descriptors: u64) -> usize {
    let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    let maps = maps.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(65_530);
    let fit = (maps / 4 * 7 / 10).min(descriptors * 11 / 20).max(1) as usize;
    match settings.max_clients {
        Some(asked) if asked > fit => {
            log::warn!(
                "MAX_CLIENTS={asked}: this machine has room for {fit} (raise the descriptor limit, or vm.max_map_count)"
            );
            fit
        }
        Some(asked) => asked,
        None => fit,
    }
}
