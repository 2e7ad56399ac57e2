//! What is where: unknown routes and methods, probes, and a control plane on an address of its own.

use serde_json::json;

use crate::support::http::{Wire, exchange};
use crate::support::raw_line;
use crate::support::server::{SECRET, Server};
use crate::support::v1_client::V1Client;

#[test]
fn an_unknown_route_is_404() {
    let server = Server::start(&[]);
    for path in [
        "/nothing",
        "/clients/",
        "/download",
        "/download/",
        "/clients/a/b/c",
        "/transfers/a/b/c",
        "//clients",
        "/..",
        "/%2e%2e/etc/passwd",
        "/CLIENTS",
    ] {
        let answer = server.get(path);
        assert!([400, 404, 405].contains(&answer.status), "{path}: {}", answer.status);
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    assert_eq!(server.get("/nothing").status, 404);
}

#[test]
fn an_unknown_method_is_405_and_says_which_are_known() {
    let server = Server::start(&[]);
    for (method, path, allowed) in [
        ("DELETE", "/clients", "GET"),
        ("PUT", "/clients", "GET"),
        ("POST", "/transfers", "GET"),
        ("GET", "/download/shop-001", "POST"),
        ("PATCH", "/transfers/00000000-0000-4000-8000-000000000000", "DELETE"),
        ("BREW", "/clients", "GET"),
    ] {
        let answer = server.request(method, path, &[], None);
        assert_eq!(answer.status, 405, "{method} {path}");
        let allow = answer.header("allow").unwrap_or_else(|| panic!("no Allow for {method} {path}"));
        assert!(allow.split(", ").any(|known| known == allowed), "{method} {path}: {allow}");
        assert!(answer.json()["error"].is_string());
    }
    server.get("/clients").expect(200);
}

#[test]
fn an_unknown_query_parameter_does_no_harm() {
    let server = Server::start(&[]);
    let status = server.get("/clients?_=123").status;
    assert!(status == 200 || status == 400, "{status}");
}

#[test]
fn the_probes_need_no_key() {
    let server = Server::start(&[]);
    for path in ["/healthz", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(exchange(server.port, request.as_bytes()).status, 200, "{path}");
    }
}

#[test]
fn answers_are_json_and_say_so() {
    let server = Server::start(&[]);
    for path in ["/clients", "/transfers", "/nothing"] {
        let answer = server.get(path);
        assert!(
            answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")),
            "{path}"
        );
        assert_eq!(answer.header("connection").map(str::to_lowercase).as_deref(), Some("close"), "{path}");
    }
}

#[test]
fn with_control_listen_rest_is_served_there_and_agents_only_on_the_port() {
    let (mut server, control) = with_control_listen();
    let agents = server.port;
    let _client = V1Client::connect_unlisted(agents, "shop-001").serve(b"x".to_vec());
    server.port = control;
    server.lists("shop-001");
    server.assert_verified(&server.pull_id("shop-001"), b"x");

    let request = format!("GET /clients HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n\r\n");
    let (_, bytes) = {
        let mut wire = Wire::connect(agents);
        wire.send(request.as_bytes());
        wire.read_to_end(crate::support::wait::SOON)
    };
    let answer = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!answer.starts_with("HTTP/1.1 200"), "no REST on the agents' port: {answer}");
    let target = format!("/ws?clientId=shop-002&token={SECRET}");
    let status = raw_line::refused(control, target.as_bytes(), "").status;
    assert!((400..500).contains(&status), "no agents on the control port: {status}");
    assert_eq!(server.get("/clients").expect(200).as_array().map(Vec::len), Some(1));
    server.post("/download/shop-002", &json!({})).expect_error(404, "not connected");
}

/// A server with a control address of its own, and that address's port.
fn with_control_listen() -> (Server, u16) {
    let server = Server::start(&[("CONTROL_LISTEN", "127.0.0.1:0")]);
    let line = server.program.wait_line("REST on ");
    let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
    (server, port.unwrap_or_else(|| panic!("no port in {line:?}")))
}
