//! Who is in: callers that have not been answered yet, and agents that have no line yet.
//!
//! A *stranger* has not proven anything. Strangers can't hold the door shut: when the hall is nearly full, the one that
//! has been in for longest makes way for each newcomer, and an address that has its share of strangers makes way for
//! its own newcomers. Why not refuse the newcomer: it may be a shop, and those that are inside need nothing but
//! patience to stay there; a shop says who it is within a round trip. To be dropped before that, it takes as many newcomers
//! as the hall has room for, within that round trip. Why a share: one address that knocks without end only displaces itself.
//!
//! Once a caller has proven who it is ([`Ticket::vouch`]) it stays, and no longer counts for its address: a whole chain of shops may
//! come from one. So ten thousand agents that come back at once all get in, as fast as they can be heard.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::complaints::Complaints;
use crate::lock::lock;
use crate::network::network;

/// Room for so many callers; see the module.
#[derive(Debug)]
pub struct Hall {
    bound: usize,
    inside: Mutex<Inside>,
    /// Callers that were turned away, because nobody inside could make way.
    turned_away: Complaints,
    /// Strangers that made way for others.
    made_way: Complaints,
}

#[derive(Debug, Default)]
struct Inside {
    /// Everybody, also those that were told to go and have not gone yet.
    count: usize,
    last_number: u64,
    /// In the order in which they came.
    strangers: BTreeMap<u64, Stranger>,
    /// Their numbers.
    by_network: HashMap<IpAddr, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Stranger {
    network: IpAddr,
    socket: Arc<TcpStream>,
    /// Its thread, while that does nothing but wait.
    held: Option<Thread>,
}

/// The right to be inside; given back on drop.
#[derive(Debug)]
pub struct Ticket<'a> {
    hall: &'a Hall,
    number: u64,
}

impl Hall {
    /// An empty hall for at most `bound` callers.
    pub fn new(bound: usize) -> Hall {
        let inside = Mutex::default();
        Hall { bound, inside, turned_away: Complaints::new(), made_way: Complaints::new() }
    }

    /// Strangers that one address may have inside: half of the room.
    fn share(&self) -> usize {
        self.bound.div_ceil(2)
    }

    /// With so many inside, strangers make way. The rest is room for those that are on their way out.
    fn crowded(&self) -> usize {
        self.bound - self.bound / 8
    }

    /// Lets a caller in; `None` when there is no room.
    pub fn enter(&self, socket: &Arc<TcpStream>, from: IpAddr) -> Option<Ticket<'_>> {
        let network = network(from);
        let mut inside = self.lock();
        if inside.count >= self.bound {
            drop(inside);
            self.turned_away.about(format_args!("more than {} connections at the door", self.bound));
            return None;
        }
        let of_network = inside.by_network.get(&network).filter(|numbers| numbers.len() >= self.share());
        let (is_crowded, has_its_share) = (inside.count >= self.crowded(), of_network.is_some());
        let oldest = match of_network {
            Some(numbers) => numbers.first().copied(),
            None if is_crowded => inside.strangers.keys().next().copied(),
            None => None,
        };
        let dropped = oldest.and_then(|number| inside.forget(number));
        let number = inside.add(network, socket.clone());
        drop(inside);
        if let Some(Stranger { network, socket, held }) = dropped {
            let why = if has_its_share { "its address has its share" } else { "it is crowded" };
            self.made_way
                .about(format_args!("at the door {why}: the oldest stranger of {network} is dropped"));
            // Wakes its thread. One that has gone already needs no push.
            let _gone = socket.shutdown(Shutdown::Both);
            if let Some(thread) = held {
                thread.unpark();
            }
        }
        Some(Ticket { hall: self, number })
    }

    /// How many are inside.
    #[cfg(test)]
    pub(super) fn inside(&self) -> usize {
        self.lock().count
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        lock(&self.inside)
    }
}

impl Inside {
    fn add(&mut self, network: IpAddr, socket: Arc<TcpStream>) -> u64 {
        self.count += 1;
        self.last_number += 1;
        let number = self.last_number;
        self.strangers.insert(number, Stranger { network, socket, held: None });
        self.by_network.entry(network).or_default().insert(number);
        number
    }

    fn forget(&mut self, number: u64) -> Option<Stranger> {
        let stranger = self.strangers.remove(&number)?;
        if let Some(numbers) = self.by_network.get_mut(&stranger.network) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_network.remove(&stranger.network);
            }
        }
        Some(stranger)
    }
}

impl Ticket<'_> {
    /// The caller has proven who it is, or has nothing to prove and is being answered: it stays. False when it comes too
    /// late: it has been told to make way, and its socket is shut, or will be in a moment.
    #[must_use]
    pub fn vouch(&self) -> bool {
        self.hall.lock().forget(self.number).is_some()
    }

    /// Makes a stranger wait, in this thread; shorter when it makes way.
    pub fn hold(&self, time: Duration) {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut inside = self.hall.lock();
            let Some(stranger) = inside.strangers.get_mut(&self.number) else { return };
            stranger.held = (!left.is_zero()).then(thread::current);
            drop(inside);
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left); // which may also end for no reason
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut inside = self.hall.lock();
        inside.forget(self.number);
        assert!(inside.count > 0, "every ticket was counted when it was given out");
        inside.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::door::tests::sockets;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A caller from this address: its own end, its ticket, and our end, which its thread holds.
    fn caller<'h>(hall: &'h Hall, from: &str) -> (TcpStream, Option<Ticket<'h>>, Arc<TcpStream>) {
        let (end, ours, _) = sockets();
        let ours = Arc::new(ours);
        (end, hall.enter(&ours, ip(from)), ours)
    }

    fn is_dropped(mut end: &TcpStream) -> bool {
        end.set_nonblocking(true).unwrap();
        end.read(&mut [0]).is_ok_and(|count| count == 0)
    }

    #[test]
    fn the_oldest_stranger_makes_way_and_nobody_else() {
        let hall = Hall::new(16); // crowded with 14
        let callers: Vec<_> = (0..14).map(|n| caller(&hall, &format!("10.0.0.{n}"))).collect();
        assert!(callers[0].1.as_ref().unwrap().vouch());
        assert!(callers.iter().all(|(end, ..)| !is_dropped(end)));
        let (_end, ticket, _ours) = caller(&hall, "10.0.1.1");
        assert!(ticket.is_some() && !is_dropped(&callers[0].0), "it is known");
        assert!(is_dropped(&callers[1].0) && !is_dropped(&callers[2].0));
        assert!(!callers[1].1.as_ref().unwrap().vouch(), "too late");
        let second = caller(&hall, "10.0.1.2");
        assert!(second.1.is_some() && is_dropped(&callers[2].0));
        // Those that were dropped are still on their way out.
        assert_eq!(hall.inside(), 16);
        assert!(caller(&hall, "10.0.1.3").1.is_none());
        assert_eq!((hall.made_way.total(), hall.turned_away.total()), (2, 1));
        drop((callers, ticket, second));
        assert_eq!(hall.inside(), 0);
        assert!(hall.lock().strangers.is_empty() && hall.lock().by_network.is_empty());
    }

    #[test]
    fn one_that_is_held_waits_its_time_unless_it_makes_way() {
        let hall = Hall::new(2);
        let (_one, first, _ours) = caller(&hall, "10.0.0.1");
        let first = first.unwrap();
        let begun = Instant::now();
        first.hold(Duration::from_millis(50));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        thread::scope(|scope| {
            let held = scope.spawn(|| first.hold(Duration::from_secs(3600)));
            while hall.lock().strangers.values().all(|stranger| stranger.held.is_none()) {
                thread::yield_now();
            }
            let _newcomer = caller(&hall, "10.0.0.1");
            held.join().unwrap();
        });
        assert!(!first.vouch(), "it has made way");
        first.hold(Duration::from_secs(3600)); // nobody whom we know waits
    }

    #[test]
    fn where_all_are_known_the_newcomer_is_turned_away() {
        let hall = Hall::new(2);
        let callers = [caller(&hall, "10.0.0.1"), caller(&hall, "10.0.0.2")];
        assert!(callers.iter().all(|(_, ticket, _)| ticket.as_ref().unwrap().vouch()));
        assert!(caller(&hall, "10.0.0.3").1.is_none());
        assert!(callers.iter().all(|(end, ..)| !is_dropped(end)));
    }

    #[test]
    fn an_address_that_has_its_share_makes_way_for_itself() {
        let hall = Hall::new(16);
        let other = caller(&hall, "10.0.0.2");
        let many: Vec<_> = (0..8).map(|_| caller(&hall, "10.0.0.1")).collect();
        let next = caller(&hall, "10.0.0.1");
        assert!(next.1.is_some() && is_dropped(&many[0].0) && !is_dropped(&many[1].0));
        assert!(!is_dropped(&other.0), "though it is older");
        // Those that are known do not count for it.
        assert!(many[1..].iter().all(|(_, ticket, _)| ticket.as_ref().unwrap().vouch()));
        let more = caller(&hall, "10.0.0.1");
        assert!(more.1.is_some() && !is_dropped(&next.0));
    }
}
