//! HTTP proxies that take CONNECT: the real tinyproxy, and one made by hand whose answers are up to the test.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use super::program::Program;
use super::temp::TempDir;
use super::wait::{SOON, eventually};

const TINYPROXY: &str = "/usr/bin/tinyproxy";

/// Debian's tinyproxy on a port of its own.
pub struct TinyProxy {
    pub program: Program,
    pub port: u16,
    home: TempDir,
}

impl TinyProxy {
    /// Starts it with these lines of configuration, and waits until it takes connections.
    #[track_caller]
    pub fn start(lines: &str) -> TinyProxy {
        assert!(std::path::Path::new(TINYPROXY).exists(), "apt-get install tinyproxy-bin");
        // It does not tell the port when it is free to choose: another program may have taken ours meanwhile.
        eventually("tinyproxy has a port", || {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
            let port = listener.local_addr().expect("a bound socket").port();
            drop(listener);
            TinyProxy::start_at(port, lines)
        })
    }

    fn start_at(port: u16, lines: &str) -> Option<TinyProxy> {
        let home = TempDir::new();
        let configuration =
            format!("Port {port}\nListen 127.0.0.1\nTimeout 600\nLogLevel Connect\n{lines}\n");
        std::fs::write(home.join("conf"), configuration).expect("the test's folder takes a file");
        let program = Program::start("tinyproxy", TINYPROXY, &["-d", "-c", "conf"], &[], &home);
        let is_up = eventually("tinyproxy listens, or has ended", || {
            let connected = TcpStream::connect(("127.0.0.1", port)).is_ok();
            (connected || program.has_ended()).then_some(connected && !program.has_ended())
        });
        is_up.then_some(TinyProxy { program, port, home })
    }

    /// Ends it as a power cut would, and starts it again on its port.
    #[track_caller]
    pub fn restart(mut self) -> TinyProxy {
        self.program.kill();
        let configuration = std::fs::read_to_string(self.home.join("conf")).expect("it was written");
        let lines = configuration.lines().skip(4).collect::<Vec<_>>().join("\n");
        let port = self.port;
        drop(self);
        eventually("tinyproxy has its port again", || TinyProxy::start_at(port, &lines))
    }

    /// The setting, with `user:password@` or nothing in front.
    pub fn url(&self, user: &str) -> String {
        format!("http://{user}127.0.0.1:{}", self.port)
    }
}

/// A proxy that says what its test wants.
pub struct ScriptedProxy {
    listener: TcpListener,
}

impl ScriptedProxy {
    pub fn start() -> ScriptedProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket takes options");
        ScriptedProxy { listener }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("a bound socket").port()
    }

    /// The next connection, and the head of its request.
    #[track_caller]
    pub fn accept(&self) -> (TcpStream, String) {
        let mut socket = eventually("an agent dials the proxy", || self.listener.accept().ok()).0;
        socket.set_nonblocking(false).expect("a socket takes options");
        socket.set_read_timeout(Some(SOON)).expect("a socket takes options");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a whole head comes");
            head.extend(byte);
        }
        (socket, String::from_utf8(head).expect("a head is text"))
    }
}
