//! Bytes that arrive other than they were sent: TCP's checksum misses one in some tens of thousands of damaged segments.

use crate::pair::{MIB, Pair};
use crate::support::fault_proxy::Fault::FlipBit;
use crate::support::fault_proxy::Toward::{Agent, Server};
use crate::support::files::random_bytes;
use crate::support::server::{id, is_final};

#[test]
fn a_flipped_bit_of_the_file_is_never_published() {
    let pair = Pair::start(
        2 * MIB,
        |number| if number == 0 { vec![FlipBit(Server, MIB as u64)] } else { Vec::new() },
    );
    let transfer = pair.pull();
    let is_told = transfer["failure"]["code"] == "checksum_mismatch";
    assert!(is_told || transfer["attempts"].as_u64() > Some(1), "{transfer}");
}

#[test]
fn a_flipped_bit_anywhere_ends_in_the_right_file_or_in_a_reason() {
    let (pair, next) = Pair::start_armed(1000);
    let seed = std::process::id().into();
    eprintln!("seed {seed}"); // shown when the test fails
    let mut transfers = Vec::new();
    for dice in random_bytes(seed, 36).chunks(3) {
        let place = u64::from(dice[0]) << 8 | u64::from(dice[1]);
        // Handshake, messages, and of what the agent says also the head of a chunk.
        let fault = if dice[2] % 3 == 0 { FlipBit(Agent, place % 600) } else { FlipBit(Server, place % 800) };
        eprintln!("{fault:?}");
        next.arm(fault);
        pair.proxy.cut();
        let transfer = pair.pull_waiting();
        if !is_final(&pair.server.get(&format!("/transfers/{}?wait=8", id(&transfer))).json()) {
            pair.proxy.cut(); // it dialled in under another name, which is as good as any
        }
        transfers.push(pair.ended(&transfer));
    }
    pair.proxy.cut(); // it may have taken the server for v1
    pair.assert_sound(&transfers.iter().collect::<Vec<_>>());
}
