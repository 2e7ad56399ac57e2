//! How many connections of which kind fit, by what the system allows this process.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::limits;
use crate::settings::ServerSettings;
use crate::threads;

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

/// What the system allows this process.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    /// Open files, after the limit was raised as far as it may be.
    descriptors: u64,
    /// Threads, by memory maps.
    by_maps: usize,
    /// Threads, by the system and the control group.
    tasks: u64,
}

/// How many clients fit, and what decides it.
#[derive(Debug, PartialEq, Eq)]
struct Fit {
    clients: usize,
    /// In words, with its number.
    bound: String,
    /// How it is raised.
    raise: &'static str,
}

/// Divides what there is, and says how much that is.
pub(super) fn room(settings: &ServerSettings, descriptors: u64) -> Room {
    let allowed = Allowed { descriptors, by_maps: threads::most(), tasks: tasks() };
    let (door, relays, fit) = (allowed.door(), allowed.relays(), allowed.fit());
    match settings.max_clients {
        Some(asked) if asked > fit.clients => log::warn!("MAX_CLIENTS={asked}: {fit}"),
        None if fit.clients < limits::PLANNED_CLIENTS => log::warn!("{fit}"),
        Some(_) | None => log::info!("{fit}"),
    }
    let clients = settings.max_clients.map_or(fit.clients, |asked| asked.min(fit.clients));
    Room { clients, door, relays }
}

impl Allowed {
    /// Connections at the door. Silent strangers may take all of these, and must leave threads for everything else: where none is to be
    /// had, tiny_http's pool would panic.
    fn door(self) -> usize {
        share((self.descriptors / 4).min(self.tasks / 5), limits::MAX_DOOR_CONNECTIONS)
    }

    /// Requests with the control plane.
    fn relays(self) -> usize {
        share((self.descriptors / 16).min(self.tasks / 16), limits::MAX_RELAYED)
    }

    /// Of descriptors, a quarter is for the door and three sixteenths for requests; of threads, three tenths for both, for transfers and for answers.
    fn fit(self) -> Fit {
        let Allowed { descriptors, by_maps, tasks } = self;
        let fits = [
            (
                descriptors / 20 * 11,
                format!("this process may have {descriptors} open files"),
                "LimitNOFILE= in its unit, or ulimit -Hn, raises that",
            ),
            (
                by_maps as u64 / 10 * 7,
                format!("vm.max_map_count lets it have {by_maps} threads"),
                "sysctl -w vm.max_map_count=262144 raises that",
            ),
            (
                tasks / 10 * 7,
                format!("it may have {tasks} threads"),
                "TasksMax= in its unit, pids.max of its control group or kernel.pid_max raises that",
            ),
        ];
        let (clients, bound, raise) = fits.into_iter().min_by_key(|(clients, ..)| *clients).expect("three");
        Fit { clients: usize::try_from(clients).unwrap_or(usize::MAX).max(1), bound, raise }
    }
}

fn share(of: u64, most: usize) -> usize {
    usize::try_from(of).unwrap_or(most).clamp(1, most)
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is room for {} clients, for {}; {}", self.clients, self.bound, self.raise)
    }
}

/// Threads that the system lets this process have, at most: those of others are not known.
fn tasks() -> u64 {
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let system = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"].into_iter();
    // Version 2 of control groups; each group above has a say.
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let groups = Path::new("/sys/fs/cgroup").join(group);
    let groups = groups.ancestors().take_while(|path| path.starts_with("/sys/fs/cgroup"));
    let of_groups = groups.filter_map(|path| number(&path.join("pids.max"))); // or the word `max`
    system.filter_map(|path| number(Path::new(path))).chain(of_groups).min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tightest_decides_and_is_named() {
        let ample = Allowed { descriptors: 1 << 20, by_maps: 1 << 20, tasks: 1 << 20 };
        for (allowed, clients, words) in [
            (Allowed { descriptors: 20_000, ..ample }, 11_000, "20000 open files; LimitNOFILE="),
            (Allowed { descriptors: 1024, ..ample }, 561, "1024 open files"),
            (Allowed { by_maps: 15_870, ..ample }, 11_109, "vm.max_map_count lets it have 15870 threads"),
            (Allowed { tasks: 4915, ..ample }, 3437, "it may have 4915 threads; TasksMax="),
            (Allowed { descriptors: 0, ..ample }, 1, "0 open files"),
            (Allowed { descriptors: u64::MAX, by_maps: 15_870, tasks: u64::MAX }, 11_109, "vm.max_map_count"),
        ] {
            let fit = allowed.fit();
            assert_eq!(fit.clients, clients);
            assert!(fit.to_string().contains(words), "{fit}");
        }
        assert!((2..=u64::MAX).contains(&tasks()));
    }

    #[test]
    fn strangers_and_clients_together_leave_threads_for_the_rest() {
        for tasks in [100, 1024, 4915, 32_768] {
            let allowed = Allowed { descriptors: 1 << 20, by_maps: 1 << 20, tasks };
            let taken = allowed.fit().clients + allowed.door() + allowed.relays();
            assert!(taken as u64 + tasks / 30 <= tasks, "{taken} of {tasks}");
        }
        let ample = Allowed { descriptors: 1 << 20, by_maps: 1 << 20, tasks: 1 << 20 };
        assert_eq!((ample.door(), ample.relays()), (limits::MAX_DOOR_CONNECTIONS, limits::MAX_RELAYED));
    }
}
