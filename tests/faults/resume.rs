//! Bytes that arrived once are not sent twice: after a drop, after a death of either side, and at the next pull.
//!
//! What a transfer costs is counted by the proxy, in both directions, handshakes and heartbeats included.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use serde_json::Value;

use crate::pair::{MIB, Pair, assert_completed};
use crate::support::fault_proxy::Fault::{Cut, DieAfter, Silence};
use crate::support::fault_proxy::Toward::Server;
use crate::support::files::{log_lines, parts, random_bytes};
use crate::support::server::id;
use crate::support::v1_client::V1Client;
use crate::support::wait::eventually;

const SIZE: usize = 64 * MIB;
const PAGE: usize = 4096;

/// Pulls, and returns the transfer and what it cost on the wire.
#[track_caller]
fn pull_and_count(pair: &Pair) -> (Value, u64) {
    let before = pair.proxy.carried();
    let transfer = pair.ended(&pair.server.pull("shop-001", &serde_json::json!({})));
    (transfer, pair.proxy.carried() - before)
}

/// `wire` and `bytesOnWire` are at most this share of the file.
#[track_caller]
fn assert_cost(transfer: &Value, wire: u64, most: f64) {
    let bound = (SIZE as f64 * most) as u64;
    let stated = transfer["bytesOnWire"].as_u64().unwrap();
    assert!(wire <= bound, "{wire} bytes on the wire, {bound} allowed: {transfer}");
    assert!(stated <= bound, "{stated} bytes stated, {bound} allowed: {transfer}");
}

#[track_caller]
fn resumes_after_a_cut(percent: usize) {
    let plan =
        move |number| if number == 0 { vec![Cut(Server, (SIZE / 100 * percent) as u64)] } else { vec![] };
    let pair = Pair::start(SIZE, plan);
    let (transfer, wire) = pull_and_count(&pair);
    assert_completed(&transfer, 2);
    assert_cost(&transfer, wire, 1.02);
    pair.assert_sound(&[&transfer]);
}

#[test]
fn a_pull_that_is_cut_at_10_percent_goes_on_there() {
    resumes_after_a_cut(10);
}

#[test]
fn a_pull_that_is_cut_at_50_percent_goes_on_there() {
    resumes_after_a_cut(50);
}

#[test]
fn a_pull_that_is_cut_at_95_percent_goes_on_there() {
    resumes_after_a_cut(95);
}

/// A pull of which one half is stored, and the line silent since; and what has been carried before it.
#[track_caller]
fn half_pulled() -> (Pair, Value, u64) {
    let half = (SIZE / 2) as u64;
    let pair =
        Pair::start(SIZE, move |number| if number == 0 { vec![Silence(Server, half)] } else { vec![] });
    let before = pair.proxy.carried();
    let transfer = pair.pull_waiting();
    pair.proxy.wait_struck(1);
    eventually("what has passed is stored", || {
        let stored = pair.server.transfer(&id(&transfer))["bytes"].as_u64();
        (stored >= Some(half / 100 * 99)).then_some(())
    });
    (pair, transfer, before)
}

#[test]
fn a_pull_goes_on_where_it_was_after_its_server_was_killed() {
    let (pair, transfer, before) = half_pulled();
    let pair = pair.restart_server(|_| ());
    let transfer = pair.server.assert_verified(&id(&transfer), &pair.content);
    assert_completed(&transfer, 2);
    assert_cost(&transfer, pair.proxy.carried() - before, 1.02);
    pair.assert_sound(&[&transfer]);
}

#[test]
fn a_pull_goes_on_where_it_was_after_its_agent_was_killed() {
    let (pair, transfer, before) = half_pulled();
    let pair = pair.restart_agent(|_| ());
    let transfer = pair.server.assert_verified(&id(&transfer), &pair.content);
    assert_completed(&transfer, 2);
    assert_cost(&transfer, pair.proxy.carried() - before, 1.02);
    pair.assert_sound(&[&transfer]);
}

#[test]
fn over_a_line_that_dies_again_and_again_a_pull_ends() {
    let lives = |_| vec![DieAfter(Duration::from_millis(1500))];
    let pair = Pair::start_with(16 * MIB, &[("MAX_RATE", "4M")], lives);
    let transfer = pair.server.pull("shop-001", &serde_json::json!({}));
    let transfer = pair.server.assert_verified(&id(&transfer), &pair.content);
    assert!(transfer["attempts"].as_u64() > Some(1), "{transfer}");
    assert!(transfer["bytesOnWire"].as_u64() <= Some((17 * MIB) as u64), "{transfer}");
}

#[test]
fn a_second_pull_of_an_unchanged_file_costs_next_to_nothing() {
    let pair = Pair::start(SIZE, |_| vec![]);
    let (first, _) = pull_and_count(&pair);
    let (second, wire) = pull_and_count(&pair);
    assert_completed(&second, 1);
    assert_cost(&second, wire, 0.001);
    pair.assert_sound(&[&first, &second]);
}

#[test]
fn a_second_pull_of_a_file_with_changed_pages_costs_little_more_than_those() {
    let mut pair = Pair::start(SIZE, |_| vec![]);
    let first = pull_and_count(&pair).0;
    let old = pair.content.clone();
    let pages = SIZE / PAGE;
    for (n, dice) in random_bytes(7, pages / 100 * 4).chunks(4).enumerate() {
        let page = u32::from_le_bytes(dice.try_into().unwrap()) as usize % pages;
        let bytes = random_bytes(1000 + n as u64, PAGE);
        pair.content[page * PAGE..][..PAGE].copy_from_slice(&bytes);
    }
    fs::write(pair.file(), &pair.content).unwrap();
    let (second, wire) = pull_and_count(&pair);
    assert_cost(&second, wire, 0.034);
    pair.assert_sound_with(&old, &[&first, &second]);
}

#[test]
fn a_second_pull_of_a_log_that_grew_costs_little_more_than_what_is_new() {
    let mut pair = Pair::start(0, |_| vec![]);
    pair.content = log_lines(0, SIZE);
    fs::write(pair.file(), &pair.content).unwrap();
    let first = pull_and_count(&pair).0;
    let old = pair.content.clone();
    pair.content.extend(log_lines(10_000_000, SIZE / 100));
    fs::write(pair.file(), &pair.content).unwrap();
    let (second, wire) = pull_and_count(&pair);
    assert_cost(&second, wire, 0.012);
    pair.assert_sound_with(&old, &[&first, &second]);
}

#[test]
fn a_part_that_was_damaged_on_the_disk_is_not_published() {
    let damages: [fn(&fs::File); 3] = [
        |part| part.write_all_at(b"damaged", 5_000_000).unwrap(),
        |part| part.set_len(7_777_777).unwrap(),
        |part| part.set_len(2 * SIZE as u64).unwrap(),
    ];
    for damage in damages {
        let (pair, transfer, _) = half_pulled();
        let pair = pair.restart_server(|uploads| {
            for part in parts(uploads) {
                damage(&OpenOptions::new().write(true).open(part).unwrap());
            }
        });
        let transfer = pair.server.assert_verified(&id(&transfer), &pair.content);
        pair.assert_sound(&[&transfer]);
    }
}

#[test]
fn a_file_that_is_another_one_when_its_agent_is_back_is_pulled_as_it_is_then() {
    let (pair, transfer, _) = half_pulled();
    let other = random_bytes(99, SIZE / 2 + 12_345);
    let mut pair = pair.restart_agent(|file| {
        fs::write(file.with_extension("new"), &other).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
    });
    pair.content = other;
    let transfer = pair.server.assert_verified(&id(&transfer), &pair.content);
    pair.assert_sound(&[&transfer]);
}

#[test]
fn a_download_that_the_operator_changed_or_removed_spoils_no_later_pull() {
    let mut pair = Pair::start(8 * MIB, |_| vec![]);
    let first = pair.ended(&pair.pull_waiting());
    let kept = pair.server.uploads.join(first["filename"].as_str().unwrap());
    OpenOptions::new().write(true).open(&kept).unwrap().write_all_at(b"changed", 3_000_000).unwrap();
    pair.content[5_000_000] ^= 1;
    fs::write(pair.file(), &pair.content).unwrap();
    let second = pair.ended(&pair.pull_waiting());
    assert_completed(&second, 1);
    for download in [kept, pair.server.uploads.join(second["filename"].as_str().unwrap())] {
        fs::remove_file(download).unwrap();
    }
    assert_completed(&pair.ended(&pair.pull_waiting()), 1);
}

#[test]
fn a_v1_client_that_drops_in_mid_transfer_starts_afresh_when_it_returns() {
    let pair = Pair::start(1000, |_| vec![]);
    let mut client = V1Client::connect(&pair.server, "installed");
    let content = random_bytes(5, 1_000_000);
    let transfer = id(&pair.server.pull("installed", &serde_json::json!({})));
    let asked = client.asked();
    client.begin(&transfer, "pos.db", content.len());
    client.chunks(&asked, &content[..600_000]);
    pair.server.has_bytes(&transfer);
    client.cut();
    pair.server.reaches(&transfer, "interrupted");

    let mut client = V1Client::connect(&pair.server, "installed");
    let asked = client.asked();
    client.upload(&asked, &content);

    assert_eq!(client.receipt(&transfer)["ok"], true);
    assert_completed(&pair.server.assert_verified(&transfer, &content), 2);
}
