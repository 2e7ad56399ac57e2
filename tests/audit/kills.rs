//! What has been answered is on record, whatever kills the server a moment later.

use serde_json::json;

use crate::log::{events, good, lines, log_of};
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::v1_client::V1Client;

#[test]
fn a_kill_right_after_an_answer_loses_no_line() {
    let mut home = TempDir::new();
    let (mut asked, mut cancelled) = (Vec::new(), Vec::new());
    for round in 0..10 {
        let server = Server::start_in(home, &[("AUDIT_ROTATE_BYTES", "1M")]);
        let _client = V1Client::connect(&server, "till-7");
        asked.push(id(&server.pull("till-7", &json!({ "fileKey": format!("x{round}") }))));
        if round % 2 == 1 {
            let id = asked.last().unwrap();
            server.delete(&format!("/transfers/{id}")).expect(200);
            cancelled.push(id.clone());
        }
        let log = log_of(&server.uploads);
        home = server.kill();
        let has = |event: &str, id: &String| events(&log, event).iter().any(|line| line["requestId"] == **id);
        assert!(asked.iter().all(|id| has("pull_asked", id)), "after kill {round}");
        assert!(cancelled.iter().all(|id| has("cancel_asked", id) && has("transfer_ended", id)));
        assert_eq!(events(&log, "server_started").len(), round + 1);
        good(&log);
        let seqs: Vec<u64> = lines(&log).iter().map(|line| line["seq"].as_u64().unwrap()).collect();
        assert!(seqs.into_iter().eq(1..=lines(&log).len() as u64));
    }
}

#[test]
fn a_torn_last_line_is_cut_off_and_said_so() {
    let server = Server::start(&[]);
    let log = log_of(&server.uploads);
    let home = server.kill();
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, [&whole[..], b"{\"seq\":2,\"time\":17"].concat()).unwrap();
    let server = Server::start_in(home, &[]);
    server.program.wait_line("18 bytes of a torn last line are cut off");
    let events: Vec<_> = lines(&log).iter().map(|line| line["event"].clone()).collect();
    assert_eq!(events, ["server_started", "torn_line_cut_off", "server_started"]);
    good(&log);
}
