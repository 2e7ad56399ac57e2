//! Connections without end that say nothing, or nothing that proves who they are.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::addresses::{connect_from, raise_descriptor_limit};
use crate::support::beside::{Beside, MEMORY};
use crate::support::http::{Came, Wire};
use crate::support::raw_line::ask_upgrade;
use crate::support::server::{SECRET, Server};
use crate::support::v1_client::V1Client;
use crate::support::wait::{Deadline, SOON, eventually, within};

/// What a stranger costs the server, in kB (`limits::MAX_DOOR_CONNECTIONS`).
const STRANGER: u64 = 32;
/// The room at the door, and what one address may have of it (`limits::MAX_DOOR_CONNECTIONS`, `door/hall.rs`).
const ROOM: usize = 4096;
const SHARE: usize = ROOM / 2;
const PROMPT: Duration = Duration::from_secs(5);

/// The address of stranger `n`: a hundred from each.
fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, (n / 100) as u8, 1)
}

/// A caller is answered and an agent is let in, promptly.
#[track_caller]
fn is_open(server: &Server, client: &str) {
    let asked_at = Instant::now();
    server.get("/clients").expect(200);
    drop(V1Client::connect(server, client));
    assert!(asked_at.elapsed() < PROMPT, "{:?}", asked_at.elapsed());
}

fn is_dropped(stranger: &mut Wire) -> bool {
    matches!(stranger.read_some(Deadline::soon()), Came::End)
}

#[test]
fn two_thousand_that_say_nothing_cost_little_and_keep_nobody_out() {
    raise_descriptor_limit();
    let one: fn(usize) -> Ipv4Addr = |_| Ipv4Addr::LOCALHOST;
    for from in [one, address] {
        let beside = Beside::begin(&[]);
        let server = &beside.server;
        let (threads, memory) = (server.program.status("Threads"), server.program.status("VmRSS"));
        let silent: Vec<_> = (0..2000).map(|n| connect_from(from(n), server.port)).collect();
        within(SOON, "all are in", || (server.program.status("Threads") >= 2000).then_some(()));
        let each = (server.program.status("VmRSS") - memory) / 2000;
        assert!(each <= STRANGER, "{each} kB for one");
        for n in 0..5 {
            is_open(server, &format!("shop-{n}"));
        }
        drop(silent);
        server.has_threads_again(threads);
        beside.ends_well(MEMORY + 2000 * STRANGER);
    }
}

#[test]
fn a_full_door_opens_for_whoever_comes_and_the_oldest_strangers_go() {
    raise_descriptor_limit();
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let threads = server.program.status("Threads");
    let mut strangers: Vec<_> = (0..6000).map(|n| connect_from(address(n), server.port)).collect();
    for n in 0..5 {
        is_open(server, &format!("shop-{n}"));
    }
    let at_the_door = server.program.status("Threads") - threads;
    assert!(at_the_door <= ROOM as u64 + 50, "{at_the_door} threads");
    assert!(strangers[..1000].iter_mut().all(is_dropped), "the oldest go");
    server.program.wait_line("at the door it is crowded: the oldest stranger of 127.1.");
    let told = server.program.output().matches("oldest stranger").count();
    assert!(told <= 30, "{told} lines");
    drop(strangers);
    server.has_threads_again(threads);
    beside.ends_well(MEMORY + ROOM as u64 * STRANGER);
}

#[test]
fn an_address_that_knocks_without_end_displaces_only_itself() {
    raise_descriptor_limit();
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let mut slow = Wire::connect(server.port);
    slow.send(b"GET /clients HTTP/1.1\r\nHost: localhost\r\n");
    let knocker = Ipv4Addr::new(127, 2, 0, 1);
    let mut knocking: Vec<_> = (0..SHARE + 500).map(|_| connect_from(knocker, server.port)).collect();
    is_open(server, "shop-001");
    assert!(knocking[..400].iter_mut().all(is_dropped), "its own oldest");
    slow.send(format!("x-api-key: {SECRET}\r\n\r\n").as_bytes());
    slow.answer().expect(200);
    server.program.wait_line("its address has its share: the oldest stranger of 127.2.0.1 is dropped");
    drop(knocking);
    beside.ends_well(MEMORY + ROOM as u64 * STRANGER);
}

#[test]
fn strangers_with_a_wrong_key_are_told_so_counted_and_hardly_logged() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let target = format!("/ws?clientId=shop-001&token={SECRET}x");
    for _ in 0..10 {
        let mut troop: Vec<_> = (0..100).map(|_| ask_upgrade(server.port, target.as_bytes(), "")).collect();
        troop.iter_mut().for_each(|wire| assert_eq!(wire.read_exact(13), b"HTTP/1.1 401 "));
    }
    let told = server.program.output().matches("401").count();
    assert!((1..=40).contains(&told), "{told} lines for 1000");
    beside.ends_well(MEMORY + 1000 * STRANGER);
}

/// A fleet behind one address comes back at once: more of them than the door has room for, and than strangers may be there.
#[test]
fn a_whole_fleet_from_one_address_gets_in_at_once() {
    let fits = usize::try_from(raise_descriptor_limit()).expect("a count") * 11 / 20;
    let fleet = fits.saturating_sub(1000).min(10_000);
    let server = Server::start(&[]);
    let begun = Instant::now();
    let troops: Vec<_> = (0..4)
        .map(|troop| {
            let port = server.port;
            std::thread::spawn(move || {
                let dial = |n: usize| {
                    let target = format!("/ws?clientId=shop-{troop}-{n}&token={SECRET}");
                    ask_upgrade(port, target.as_bytes(), "")
                };
                let mut lines: Vec<_> = (0..fleet / 4).map(dial).collect();
                let in_at_once = |wire: &mut Wire| match wire.read_some(Deadline::soon()) {
                    Came::Bytes(answer) => answer.starts_with(b"HTTP/1.1 101 "),
                    Came::End | Came::Nothing => false,
                };
                // On a machine that is busy elsewhere, a few of those that wait longest make way, and dial again.
                let mut refused = 0;
                for (n, wire) in lines.iter_mut().enumerate() {
                    while !in_at_once(wire) {
                        refused += 1;
                        *wire = dial(n);
                    }
                }
                (lines, refused)
            })
        })
        .collect();
    let troops: Vec<_> = troops.into_iter().map(|troop| troop.join().expect("a troop")).collect();
    let took = begun.elapsed();
    let refused: usize = troops.iter().map(|(_, refused)| refused).sum();
    assert!(refused <= fleet / 100, "{refused} of {fleet} in {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?} for {fleet}");
    eventually("all are listed", || (server.clients().len() == fleet / 4 * 4).then_some(()));
    println!("{fleet} in {took:?}, {} kB", server.program.status("VmHWM"));
    assert_eq!(server.get("/transfers").expect(200), json!([]));
}
