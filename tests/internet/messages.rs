//! Messages that are too large, too deep, or name another client.

use crate::support::beside::{Beside, MEMORY};
use crate::support::raw_line::{BINARY, FIN, Masking, RawLine, TEXT};
use crate::support::v1_client::{V1Client, packed};
use crate::support::wait::eventually;

fn registration(meta: &str) -> String {
    format!(r#"{{"type":"register_meta","meta":{meta}}}"#)
}

#[test]
fn labels_have_a_bound_and_a_megabyte_of_them_costs_the_line() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let mut large = RawLine::connect(server, "large");
    large.send(FIN | TEXT, Masking::Masked, registration(r#"{"is":"small"}"#).as_bytes());
    eventually("its labels are there", || {
        (server.get("/clients/large").expect(200)["meta"]["is"] == "small").then_some(())
    });
    // Too large to keep: left out. Too large for a message: the line is closed.
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(100_000));
    large.send(FIN | TEXT, Masking::Masked, registration(&long).as_bytes());
    server.program.wait_line("large sent labels of 100008 bytes; they are left out");
    eventually("they are gone", || {
        (server.get("/clients/large").expect(200)["meta"] == serde_json::json!({})).then_some(())
    });
    let megabyte = format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20));
    large.send(FIN | TEXT, Masking::Masked, registration(&megabyte).as_bytes());
    let code = large.closed_by_server();
    assert!([Some(1008), Some(1009)].contains(&code), "{code:?}");
    beside.ends_well(MEMORY);
}

#[test]
fn json_has_a_depth_and_what_is_less_deep_is_shown_as_it_is() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let mut line = RawLine::connect(server, "deep");
    line.send(FIN | TEXT, Masking::Masked, registration(&deep(100)).as_bytes());
    eventually("its labels are there", || {
        let meta = server.get("/clients/deep").expect(200)["meta"].to_string();
        (meta == deep(100)).then_some(())
    });
    for levels in [128, 1000, 10_000] {
        let mut line = RawLine::connect(server, &format!("deep-{levels}"));
        line.send(FIN | TEXT, Masking::Masked, registration(&deep(levels)).as_bytes());
        assert_eq!(line.closed_by_server(), Some(1008), "{levels}");
    }
    // In the header of a chunk it is the header's length that counts first.
    for levels in [200, 600, 100_000] {
        let mut line = RawLine::connect(server, &format!("chunk-{levels}"));
        let header = format!(r#"{{"requestId":{}}}"#, deep(levels));
        line.send(FIN | BINARY, Masking::Masked, &packed(header.as_bytes(), b"x"));
        assert_eq!(line.closed_by_server(), Some(1008), "{levels}");
    }
    beside.ends_well(MEMORY);
}

#[test]
fn a_client_id_in_other_case_is_another_client() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let mut lower = V1Client::connect(server, "shop-001");
    let mut upper = V1Client::connect(server, "SHOP-001");
    let (for_lower, for_upper) = (server.pull_id("shop-001"), server.pull_id("SHOP-001"));
    upper.serve_one(b"upper");
    lower.serve_one(b"lower");
    server.assert_verified(&for_lower, b"lower");
    server.assert_verified(&for_upper, b"upper");
    beside.ends_well(MEMORY);
}
