//! The way to the server through an HTTP proxy: tinyproxy, and proxies that do what none should.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
#[cfg(feature = "tls")]
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::agent::Agent;
#[cfg(feature = "tls")]
use crate::support::authority::Authority;
use crate::support::connect_proxy::{ScriptedProxy, TinyProxy};
use crate::support::files::random_file;
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::wait::pause;

const ONCE: (&str, &str) = ("RECONNECT", "false");
/// Nobody but a proxy could know this name.
const BEHIND: &str = "ws://server.behind.invalid:8080/ws";

/// Pulls 10 MB over `url` with these settings, and returns the agent, which is still connected.
#[track_caller]
fn pulls(server: &Server, url: &str, settings: &[(&str, &str)]) -> Agent {
    let home = TempDir::new();
    let path = home.join("file");
    let content = random_file(&path, 7, 10_000_000);
    let settings = [settings, &[("FILE_PATH", path.to_str().unwrap()), ("LOG_LEVEL", "debug")]].concat();
    let agent = Agent::start_in(home, url, "shop-001", &settings);
    server.lists_agent("shop-001");
    server.assert_verified(&server.pull_id("shop-001"), &content);
    agent
}

#[test]
fn a_file_is_pulled_through_a_proxy() {
    let (server, proxy) = (Server::start(&[]), TinyProxy::start(""));
    for name in ["HTTP_PROXY", "http_proxy"] {
        let agent = pulls(&server, &server.url(), &[(name, &proxy.url(""))]);
        agent.program.wait_line(&format!(
            "connected to {} through proxy 127.0.0.1:{}",
            server.url(),
            proxy.port
        ));
        let line = server.line_of("shop-001");
        drop(agent);
        server.lists_no_more("shop-001", Duration::from_secs(20));
        assert_eq!(line[0], true);
    }
    let connect = format!("CONNECT 127.0.0.1:{} HTTP/1.1", server.port);
    proxy.program.wait_nth_line(&connect, 2);
}

/// The proxy sees where the line goes, and nothing of what is said on it; the server proves its own name through it.
#[test]
#[cfg(feature = "tls")]
fn a_file_is_pulled_by_tls_through_a_proxy() {
    let authority = Authority::new();
    let own = authority.server(&["127.0.0.1"]);
    let settings = [("TLS_CERT", own.certificate.as_str()), ("TLS_KEY", own.key.as_str())];
    let server = Server::start_secure(Path::new(authority.ca()), &settings);
    let proxy = TinyProxy::start("BasicAuth me hunter2");
    let through = proxy.url("me:hunter2@");
    let agent = pulls(&server, &server.url(), &[("HTTPS_PROXY", &through), ("TLS_CA", authority.ca())]);
    agent.program.wait_line(&format!("connected to {} through proxy 127.0.0.1:{}", server.url(), proxy.port));
    proxy.program.wait_line(&format!("CONNECT 127.0.0.1:{} HTTP/1.1", server.port));
    server.program.wait_line("tls=TLSv1.3");
}

#[test]
fn a_proxy_that_wants_a_password_gets_it_and_nobody_else() {
    let (server, proxy) = (Server::start(&[]), TinyProxy::start("BasicAuth me hunter2"));
    // What a URL gives a meaning to is written so; tinyproxy itself takes no such characters.
    let agent = pulls(&server, &server.url(), &[("HTTP_PROXY", &proxy.url("me:h%75nter2@"))]);
    let printed = agent.program.output();
    assert!(!printed.contains("nter2") && !printed.contains("bWU6"), "{printed}");
    assert!(!server.program.output().contains("hunter2"));
    let command_line = std::fs::read(format!("/proc/{}/cmdline", agent.program.id())).unwrap();
    assert!(!String::from_utf8_lossy(&command_line).contains("hunter2"));
}

#[test]
fn a_proxy_that_takes_no_such_user_is_named_and_its_password_is_not() {
    let (server, proxy) = (Server::start(&[]), TinyProxy::start("BasicAuth me hunter2"));
    for (user, why) in
        [("", "wants a user and password (407)"), ("me:hunter3@", "does not take the user and password")]
    {
        let settings = [ONCE, ("HTTP_PROXY", &*proxy.url(user)), ("LOG_LEVEL", "debug")];
        let mut agent = Agent::start(&server.url(), "shop-001", &settings);
        assert_eq!(agent.program.wait_exit(), 1);
        let printed = agent.program.output();
        let whole = format!("can't reach the server through the proxy 127.0.0.1:{}: ", proxy.port);
        assert!(printed.contains(&whole) && printed.contains(why), "{printed}");
        assert!(printed.contains("check HTTP_PROXY") && !printed.contains("hunter"), "{printed}");
    }
}

#[test]
fn a_proxy_that_does_not_connect_says_why() {
    let server = Server::start(&[]);
    let strict = TinyProxy::start("ConnectPort 1");
    let mut agent = Agent::start(&server.url(), "shop-001", &[ONCE, ("HTTP_PROXY", &strict.url(""))]);
    assert_eq!(agent.program.wait_exit(), 1);
    let printed = agent.program.output();
    assert!(printed.contains("the proxy does not allow this connection (403 "), "{printed}");

    let proxy = TinyProxy::start("");
    let mut agent = Agent::start(BEHIND, "shop-001", &[ONCE, ("HTTP_PROXY", &proxy.url(""))]);
    assert_eq!(agent.program.wait_exit(), 1);
    let printed = agent.program.output();
    assert!(printed.contains("the proxy can't reach the server (5"), "{printed}");

    let port = proxy.port;
    drop(proxy);
    let gone = format!("http://127.0.0.1:{port}");
    let mut agent = Agent::start(BEHIND, "shop-001", &[ONCE, ("HTTP_PROXY", &gone)]);
    assert_eq!(agent.program.wait_exit(), 1);
    let printed = agent.program.output();
    assert!(printed.contains(&format!("through the proxy 127.0.0.1:{port}: ")), "{printed}");
    assert!(printed.contains("refused"), "{printed}");
}

#[test]
fn a_pull_goes_on_when_its_proxy_is_back() {
    let (server, proxy) = (Server::start(&[]), TinyProxy::start(""));
    let home = TempDir::new();
    let path = home.join("file");
    let content = random_file(&path, 8, 4_000_000);
    let settings =
        [("FILE_PATH", path.to_str().unwrap()), ("HTTP_PROXY", &*proxy.url("")), ("MAX_RATE", "3M")];
    let _agent = Agent::start_in(home, &server.url(), "shop-001", &settings);
    server.lists_agent("shop-001");
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);

    let _proxy = proxy.restart();

    let transfer = server.assert_verified(&id, &content);
    assert!(transfer["attempts"].as_u64() > Some(1), "{transfer}");
}

#[test]
fn what_no_proxy_names_is_dialled_directly() {
    let server = Server::start(&[]);
    for (name, list) in [("NO_PROXY", "127.0.0.0/8"), ("no_proxy", "x, 127.0.0.1"), ("NO_PROXY", "*")] {
        let settings = [("HTTP_PROXY", "http://nobody.invalid:1"), (name, list)];
        let agent = Agent::start(&server.url(), "shop-001", &settings);
        let line = agent.program.wait_line("connected to");
        assert!(!line.contains("proxy"), "{line}");
        drop(agent);
        server.lists_no_more("shop-001", Duration::from_secs(20));
    }
    // That of the other scheme is none of ours.
    let agent = Agent::start(&server.url(), "shop-001", &[("HTTPS_PROXY", "http://nobody.invalid:1")]);
    agent.program.wait_line("connected to");
}

#[test]
fn a_proxy_that_can_be_none_ends_it_with_2() {
    for (value, wanted) in [
        ("https://me:hunter2@proxy:3128", "TLS is not supported"),
        ("socks5://me:hunter2@proxy:1080", "SOCKS is not supported"),
        ("http://me:hunter2@proxy:0", "such as http://proxy"),
    ] {
        let mut agent = Agent::start(BEHIND, "shop-001", &[("HTTP_PROXY", value)]);
        assert_eq!(agent.program.wait_exit(), 2, "{value}");
        let printed = agent.program.output();
        assert!(printed.contains("HTTP_PROXY") && printed.contains(wanted), "{printed}");
        assert!(!printed.contains("hunter2") && printed.lines().count() == 1, "{printed}");
    }
}

/// An agent whose proxy is made by hand: what it was asked, and the connection.
fn scripted() -> (Agent, TcpStream) {
    let proxy = ScriptedProxy::start();
    let url = format!("http://me:hunter2@127.0.0.1:{}", proxy.port());
    let agent = Agent::start(BEHIND, "shop-001", &[ONCE, ("HTTP_PROXY", &url), ("LOG_LEVEL", "debug")]);
    let (socket, head) = proxy.accept();
    assert!(head.starts_with("CONNECT server.behind.invalid:8080 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic bWU6aHVudGVyMg==\r\n"), "{head}");
    (agent, socket)
}

/// The agent gives up on its proxy, for this reason.
#[track_caller]
fn gives_up(mut agent: Agent, why: &str) {
    assert_eq!(agent.program.wait_exit(), 1);
    let printed = agent.program.output();
    assert!(printed.contains("through the proxy 127.0.0.1:") && printed.contains(why), "{why} in {printed}");
    assert!(!printed.contains("hunter2") && !printed.contains("aHVudGVyMg"), "{printed}");
    assert!(printed.chars().all(|c| c == '\n' || !c.is_control()), "{printed:?}");
}

#[test]
fn answers_that_are_none() {
    for (answer, why) in [
        ("", "closed the connection without a whole answer"),
        ("HTTP/1.1 200 OK\r\n", "closed the connection without a whole answer"),
        ("HTTP/1.1 200 OK\r\n\r\nsurprise", "sent data of its own"),
        ("\x15\x03\x01\0\x02\x02\x28", "no HTTP proxy"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "no HTTP proxy"),
        ("HTTP/1.1 OK\r\n\r\n", "no HTTP proxy"),
        ("HTTP/1.1 407 Go away\r\n\r\n", "another method than Basic"),
        ("HTTP/1.1 407 Go away\r\nProxy-Authenticate: Basic\r\n\r\n", "does not take the user and password"),
        (
            "HTTP/1.1 503 \x1b[2J\x07gone\n2026 INFO all is well\r\n\r\n",
            "can't reach the server (503 \\u{1b}[2J",
        ),
        ("HTTP/1.1 302 Found\r\nLocation: http://evil/\r\n\r\n", "does not connect (302 Found)"),
    ] {
        let (agent, mut socket) = scripted();
        socket.write_all(answer.as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        gives_up(agent, why);
    }
}

#[test]
fn an_answer_without_end_is_given_up_at_once() {
    let (agent, mut socket) = scripted();
    socket.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
    let started = Instant::now();
    let mut sent = 0;
    // The kernel takes some until the agent has closed.
    while socket.write_all(&[b'x'; 1000]).is_ok() {
        sent += 1000;
        assert!(sent < 64 << 20 && started.elapsed() < Duration::from_secs(10), "{sent} bytes are read");
    }
    gives_up(agent, "an answer without end");
}

#[test]
fn an_answer_that_drips_is_given_up_when_its_time_is_over() {
    let (agent, mut socket) = scripted();
    let started = Instant::now();
    socket.write_all(b"HTTP/1.1 200 ").unwrap();
    while socket.write_all(b"O").is_ok() {
        assert!(started.elapsed() < Duration::from_secs(40), "it still waits");
        pause(Duration::from_millis(200));
    }
    assert!(started.elapsed() > Duration::from_secs(15), "{:?}", started.elapsed());
    gives_up(agent, "no whole answer within 20 s");
}

#[test]
fn a_proxy_that_says_nothing_is_given_up_when_its_time_is_over() {
    let (agent, socket) = scripted();
    let mut byte = [0];
    socket.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let read = std::io::Read::read(&mut &socket, &mut byte);
    assert!(matches!(read, Ok(0)), "it closes, and says nothing before the proxy has: {read:?}");
    gives_up(agent, "no whole answer within 20 s");
}
