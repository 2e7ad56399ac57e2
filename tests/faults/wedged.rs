//! A frame whose length arrives wrong swallows what follows it, heartbeats too: a line that is alive and carries nothing.

use serde_json::json;

use crate::pair::Pair;
use crate::support::fault_proxy::Fault::{self, FlipBit};
use crate::support::fault_proxy::Toward::{Agent, Server};
use crate::support::server::id;

/// On a line with this fault a first pull ends as it may; the next one must not.
#[track_caller]
fn later_pulls_complete_in_spite_of(fault: impl FnOnce(&Pair) -> Fault) {
    let (pair, next) = Pair::start_armed(1000);
    let fault = fault(&pair);
    let line = pair.server.line_of("shop-001");
    next.arm(fault);
    pair.proxy.cut();
    pair.server.lists_another_line("shop-001", &line);
    // With a rate, so that the request has more than 125 bytes, and a length of its own two.
    let body = json!({"queueFor": "1h", "maxRate": "1G"});
    let first = pair.ended(&pair.server.pull("shop-001", &body));

    let second = pair.server.assert_verified(&id(&pair.pull_waiting()), &pair.content);

    pair.assert_sound(&[&first, &second]);
}

#[test]
fn a_chunk_that_claims_more_bytes_than_follow_ends_its_line() {
    later_pulls_complete_in_spite_of(|pair| {
        // As long on every connection: the handshake, `register_meta`, and a masked frame with a head of 6.
        let id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
        let start = format!(
            r#"{{"type":"upload_start","requestId":"{id}","filename":"file","filesize":1000,"attempt":1}}"#
        );
        assert!(start.len() <= 125);
        let chunk = pair.proxy.carried_toward(Server) + 6 + start.len() as u64;
        FlipBit(Server, chunk + 2) // the high byte of its length (RFC 6455, section 5.2)
    });
}

#[test]
fn a_request_that_claims_more_bytes_than_follow_ends_its_line() {
    later_pulls_complete_in_spite_of(|pair| {
        // As long on every connection: the answer to the handshake, and `hello`; the request comes next.
        FlipBit(Agent, pair.proxy.carried_toward(Agent) + 2)
    });
}
