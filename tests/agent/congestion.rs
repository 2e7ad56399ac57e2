//! `CONGESTION_CONTROL`: what is in use is in the log and in the list of clients; what can't be had costs no line.

use crate::support::agent::Agent;
use crate::support::server::Server;

const SETTING: &str = "CONGESTION_CONTROL";

/// What the kernel lets anybody have.
fn allowed() -> Vec<String> {
    let names = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control").expect("Linux");
    names.split_whitespace().map(str::to_owned).collect()
}

/// What the list of clients says, and the log's line.
#[track_caller]
fn in_use(settings: &[(&str, &str)]) -> (String, Agent, String) {
    let server = Server::start(&[]);
    let agent = Agent::start(&server.url(), "shop-001", settings);
    server.lists_agent("shop-001");
    let listed = server.get("/clients").expect(200)[0]["congestionControl"].clone();
    let line = agent.program.wait_line("connected to");
    (listed.as_str().expect("our agent says it").to_owned(), agent, line)
}

#[test]
fn what_the_kernel_allows_is_taken_by_name() {
    for name in allowed() {
        let (listed, agent, line) = in_use(&[(SETTING, &name)]);
        assert_eq!(listed, name);
        assert!(line.ends_with(&format!(" congestionControl={name}")), "{line}");
        assert!(!agent.program.output().contains(SETTING), "{}", agent.program.output());
    }
}

#[test]
fn unless_set_it_is_bbr_where_that_is_allowed_and_said_where_not() {
    for settings in [&[][..], &[(SETTING, "auto")]] {
        let (listed, _agent, line) = in_use(settings);
        if allowed().iter().any(|name| name == "bbr") {
            assert_eq!(listed, "bbr");
        }
        let end = if listed == "bbr" { " congestionControl=bbr" } else { "can't be had: " };
        assert!(line.contains(&format!(" congestionControl={listed}")) && line.contains(end), "{line}");
    }
}

#[test]
fn what_the_kernel_does_not_have_is_said_and_costs_no_line() {
    let (of_the_system, ..) = in_use(&[(SETTING, "system")]);
    let (listed, agent, line) = in_use(&[(SETTING, "no-such-control")]);
    assert_eq!(listed, of_the_system);
    assert!(line.ends_with(&format!(" congestionControl={listed}")), "{line}");
    let warning = agent.program.wait_line("CONGESTION_CONTROL=no-such-control");
    for name in allowed() {
        assert!(warning.contains(&name), "it says what there is: {warning}");
    }
}
