//! What a server without TLS does, a server with TLS does too.

use std::path::Path;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::authority::Authority;
use crate::support::files;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;

#[test]
fn an_agent_is_pulled_from_by_tls() {
    let authority = Authority::new();
    let own = authority.server(&["127.0.0.1"]);
    let settings = [("TLS_CERT", own.certificate.as_str()), ("TLS_KEY", own.key.as_str())];
    let server = Server::start_secure(Path::new(authority.ca()), &settings);
    let home = TempDir::new();
    let content = files::random_file(&home.join("file"), 1, 3_000_001);
    let _agent = Agent::serving(&server, "shop-001", home, &[("TLS_CA", authority.ca())]);
    server.assert_verified(&id(&server.pull("shop-001", &json!({}))), &content);
}
